"""What attributes usually look like, and where a table is far from it; encoding is elsewhere.

A column that was renamed, comes in another unit or is no longer filled in still scores, and badly.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.attributes import Attribute, encode
from features.faults import shown
from features.findings import EXAMPLES, Example, Finding
from features.rules import found

ROWS = 20_000
"""So many rows, evenly spread, are enough to see it."""
FEWEST_ROWS = 20
FAR, ERRORS = 0.2, 6.0
"""Both are asked: a difference of shares above `FAR`, and of so many standard errors."""
RARE = 0.01
"""No share counts as rarer, or as more common than its complement."""
RANGE = (0.01, 0.99)
AGES_DAYS = (0.0, 1.0, 3.0, 7.0, 14.0, 30.0, 60.0, 90.0, 120.0, 180.0, 365.0, 730.0)
"""Records with a history are compared with records of leads between the same two of these ages."""

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Who = Literal["scored", "newest"]


class Advice(NamedTuple):
    """Of whom a finding speaks, with whom they are compared, and what to do."""

    these: str
    those: str
    advice: str


ADVICE: dict[Who, Advice] = {
    "scored": Advice(
        "these leads",
        "the leads that the model learned from",
        "check the export (another name, unit or spelling?), or train again",
    ),
    "newest": Advice(
        "the newest tenth of the leads",
        "the others",
        "leads to score will look like the newest; if it is filled in long after the creation, "
        "export its value at created_at, or add it to [features] exclude",
    ),
}


@dataclass(frozen=True)
class Profile:
    """How an attribute looks.

    Attributes
    ----------
    name : str
    missing : float
        Share of the leads without a value of its kind.
    strange : float
        Of those with one, the share whose value is no known level, or outside `low` and `high`.
    low, high : float or None
        Where 98 % of the numbers lie, of leads of all ages; None of others.
    from_days, to_days : float or None
        Of leads of these ages, the later one excluded; None of all leads.
    """

    name: str
    missing: float
    strange: float
    low: float | None = None
    high: float | None = None
    from_days: float | None = None
    to_days: float | None = None


def profiles(
    attributes: Sequence[Attribute], columns: Mapping[str, pa.ChunkedArray], rows: Int64
) -> tuple[Profile, ...]:
    """Describe attributes over some rows of a leads table.

    Examples
    --------
    >>> column = pa.chunked_array([["a", "b", None, "b"]])
    >>> (one,) = profiles([Attribute("x", "category", ("b",))], {"x": column}, np.arange(4))
    >>> one.missing, round(one.strange, 3)
    (0.25, 0.333)
    """
    return tuple(
        _profile(attribute, values, *_range(attribute, values))
        for attribute in attributes
        if attribute.name in columns and len(rows)
        for values in [_encoded(attribute, columns[attribute.name], rows)]
    )


def profiles_by_age(
    attributes: Sequence[Attribute], columns: Mapping[str, pa.ChunkedArray], age_days: Float64
) -> tuple[Profile, ...]:
    """Describe attributes with a history, once for each span of `AGES_DAYS` with enough rows.

    What is filled in as leads grow older would look strange on younger ones.

    Parameters
    ----------
    attributes : sequence of Attribute
    columns : mapping of name to pa.ChunkedArray [rows]
        What records said.
    age_days : float64 [rows]
        How old their leads were then.

    Examples
    --------
    >>> column = pa.chunked_array([[None] * 20 + ["b"] * 20 + ["b"]])
    >>> age_days = np.repeat([0.0, 7.0, 60.0], [20, 20, 1])
    >>> found = profiles_by_age([Attribute("x", "category", ("b",))], {"x": column}, age_days)
    >>> [(one.from_days, one.to_days, one.missing) for one in found]
    [(0.0, 1.0, 1.0), (7.0, 14.0, 0.0)]
    """
    span = np.searchsorted(AGES_DAYS, age_days, "right") - 1
    return tuple(
        profile
        for attribute in attributes
        if attribute.name in columns
        for profile in _by_age(attribute, encode(columns, [attribute], len(span))[:, 0], span)
    )


def _by_age(attribute: Attribute, values: Float32, span: Int64) -> Iterator[Profile]:
    low, high = _range(attribute, values)
    for at, ages in enumerate(pairwise(AGES_DAYS)):
        there = values[span == at]
        if len(there) >= FEWEST_ROWS:
            yield replace(_profile(attribute, there, low, high), from_days=ages[0], to_days=ages[1])


def moved(
    usual: Sequence[Profile],
    attributes: Sequence[Attribute],
    columns: Mapping[str, pa.ChunkedArray],
    rows: Int64,
    *,
    who: Who,
    sample: Int64 | None = None,
    age_days: Float64 | None = None,
) -> Iterator[Finding]:
    """Find attributes that look otherwise than usual on some rows; absent columns are none.

    A sample of them decides, at most `ROWS` of them by default; what is found in it is then
    counted on all rows. `age_days` says how old the lead of each row of the table is: profiles of
    ages are compared with rows of those ages only, and with none where it is not given.
    """
    known = {attribute.name: attribute for attribute in attributes}
    few = spread(rows) if sample is None else sample
    for name, group in groupby(usual, lambda one: one.name):
        column, was = columns.get(name), tuple(group)
        if not isinstance(column, pa.ChunkedArray):
            continue
        attribute = known[name]
        usually = _usually(was, len(column), age_days)
        sampled = few[~np.isnan(usually.missing[few])]
        values = _encoded(attribute, column, sampled)
        missing, strange = np.isnan(values), _strange(attribute, values, was[0].low, was[0].high)
        if _far(missing, usually.missing[sampled]):
            finding = _missing
        elif _far(strange[~missing], usually.strange[sampled[~missing]], more=True):
            finding = _values
        else:
            continue
        compared = rows[~np.isnan(usually.missing[rows])]
        yield finding(was[0], usually, attribute, column, compared, who)


class Usually(NamedTuple):
    """The shares that are usual for each row of a table; NaN where nothing is known of its age."""

    missing: Float64
    strange: Float64


def _usually(was: Sequence[Profile], rows: int, age_days: Float64 | None) -> Usually:
    found = Usually(np.full(rows, np.nan), np.full(rows, np.nan))
    for one in was:
        if one.from_days is None or one.to_days is None:
            there = np.ones(rows, np.bool_)
        elif age_days is None:
            continue
        else:
            there = (age_days >= one.from_days) & (age_days < one.to_days)
        found.missing[there], found.strange[there] = one.missing, one.strange
    return found


def spread(rows: Int64, most: int = ROWS) -> Int64:
    """Take at most so many rows, evenly.

    >>> spread(np.arange(10), 4).tolist()
    [0, 3, 6, 9]
    """
    return rows[:: -(-len(rows) // most)] if len(rows) else rows


def _range(attribute: Attribute, values: Float32) -> tuple[float | None, float | None]:
    present = values[~np.isnan(values)]
    if attribute.kind != "number" or not len(present):
        return None, None
    low, high = np.quantile(present, RANGE)
    return float(low), float(high)


def _profile(
    attribute: Attribute, values: Float32, low: float | None, high: float | None
) -> Profile:
    missing = np.isnan(values)
    strange = _strange(attribute, values[~missing], low, high)
    share = float(strange.mean()) if len(strange) else 0.0
    return Profile(attribute.name, float(missing.mean()), share, low, high)


def _strange(
    attribute: Attribute, values: Float32, low: float | None, high: float | None
) -> npt.NDArray[np.bool_]:
    if attribute.kind == "category":
        return values == 0
    if low is None or high is None:
        return np.zeros(len(values), np.bool_)
    return (values < low) | (values > high)


def _far(is_so: npt.NDArray[np.bool_], usually: Float64, *, more: bool = False) -> bool:
    if len(is_so) < FEWEST_ROWS:
        return False
    usual = float(usually.mean())
    difference = float(is_so.mean()) - usual
    expected = min(max(usual, RARE), 1 - RARE)
    error = float(np.sqrt(expected * (1 - expected) / len(is_so)))
    size = difference if more else abs(difference)
    return size > FAR and size > ERRORS * error


def _missing(  # noqa: PLR0917
    was: Profile,
    usually: Usually,
    attribute: Attribute,
    column: pa.ChunkedArray,
    rows: Int64,
    who: Who,
) -> Finding:
    missing = np.isnan(_encoded(attribute, column, rows))
    return found(
        "missing_share_moved",
        "leads",
        was.name,
        rows=int(missing.sum()),
        now=_percent(missing.mean()),
        usual=_percent(usually.missing[rows].mean()),
        these=ADVICE[who].these,
        those=ADVICE[who].those,
        advice=ADVICE[who].advice,
    )


def _values(  # noqa: PLR0917
    was: Profile,
    usually: Usually,
    attribute: Attribute,
    column: pa.ChunkedArray,
    rows: Int64,
    who: Who,
) -> Finding:
    values = _encoded(attribute, column, rows)
    present = rows[~np.isnan(values)]
    strange = _strange(attribute, values, was.low, was.high)
    counts = pc.value_counts(column.take(pa.array(rows[strange])).combine_chunks())
    ranked = sorted((-each["counts"].as_py(), str(each["values"].as_py())) for each in counts)
    limits = None if was.low is None else f"one outside {was.low:g} to {was.high:g}"
    return found(
        "values_moved",
        "leads",
        was.name,
        rows=int(strange.sum()),
        examples=[Example(shown(value), f"{-count:,} rows") for count, value in ranked[:EXAMPLES]],
        now=_percent(strange.sum() / len(present)),
        usual=_percent(usually.strange[present].mean()),
        odd=limits or "one that the model does not know",
        these=ADVICE[who].these,
        those=ADVICE[who].those,
        advice=ADVICE[who].advice,
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _encoded(attribute: Attribute, column: pa.ChunkedArray, rows: Int64) -> Float32:
    whole = len(rows) == len(column)
    taken = column if whole else column.take(pa.array(rows))
    return encode({attribute.name: taken}, [attribute], len(rows))[:, 0]
