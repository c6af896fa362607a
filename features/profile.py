"""What attributes usually look like, and where a table is far from it; encoding is elsewhere.

A column that was renamed, comes in another unit or is no longer filled in still scores, and badly.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nsmallest
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
MOST_VALUES = 1_000
"""So many unusual values of an attribute are counted one by one."""
AGES_DAYS = (0.0, 1.0, 3.0, 7.0, 14.0, 30.0, 60.0, 90.0, 120.0, 180.0, 365.0, 730.0)
"""Records with a history are compared with records of leads between the same two of these ages."""

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Tally = Sequence[Sequence[int]]
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


@dataclass(frozen=True)
class Look:
    """How an attribute looks on some rows; looks on other rows can be added.

    Attributes
    ----------
    name : str
    rows, sample : int [profiles, 3]
        For each of the attribute's profiles: rows of its ages, those without a value of its kind,
        those with an unusual one; of all rows, and of those that decide.
    odd : mapping of str to int
        Rows with each unusual value; where there are more than `MOST_VALUES`, only those that come
        first in the alphabet.
    """

    name: str
    rows: Tally
    sample: Tally
    odd: Mapping[str, int]

    def __add__(self, other: "Look") -> "Look":
        """Add a look on other rows at the same attribute."""
        odd = Counter(self.odd) + Counter(other.odd)
        rows, sample = (
            (np.array(one) + np.array(two)).tolist()
            for one, two in ((self.rows, other.rows), (self.sample, other.sample))
        )
        return Look(self.name, rows, sample, _first_values(odd))


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
    """Find attributes that look otherwise than usual on some rows; see `looks` and `far_off`.

    A sample of them decides, at most `ROWS` of them by default; what is found in it is then
    counted on all rows.
    """
    few = spread(rows) if sample is None else sample
    every = looks(usual, attributes, columns, rows, sample=few, age_days=age_days)
    return far_off(usual, every, who=who)


def looks(
    usual: Sequence[Profile],
    attributes: Sequence[Attribute],
    columns: Mapping[str, pa.ChunkedArray],
    rows: Int64,
    *,
    sample: Int64,
    age_days: Float64 | None = None,
) -> tuple[Look, ...]:
    """Say how attributes look on some rows; absent columns are left out.

    Parameters
    ----------
    usual : sequence of Profile
        What they are compared with.
    attributes : sequence of Attribute
    columns : mapping of name to pa.ChunkedArray
    rows : int64
    sample : int64
        Those of the rows that decide whether an attribute is far off.
    age_days : float64 [rows of the columns], optional
        How old leads are: profiles of ages are compared with rows of those ages only, and with none
        where it is not given.
    """
    known = {attribute.name: attribute for attribute in attributes}
    rows = np.sort(rows)
    decides = np.isin(rows, sample)
    return tuple(
        _look(known[name], was, column, rows, decides, age_days)
        for name, was in _by_name(usual)
        if isinstance(column := columns.get(name), pa.ChunkedArray)
    )


def far_off(usual: Sequence[Profile], every: Iterable[Look], *, who: Who) -> Iterator[Finding]:
    """Find the attributes that look otherwise than usual on all rows together."""
    total: dict[str, Look] = {}
    for look in every:
        total[look.name] = total[look.name] + look if look.name in total else look
    for name, was in _by_name(usual):
        if name in total:
            seen, there = _Seen(was, total[name].sample), _Seen(was, total[name].rows)
            if seen.missing.is_far(either=True):
                yield _missing(was[0], there.missing, who)
            elif seen.strange.is_far():
                yield _values(was[0], there.strange, total[name].odd, who)


class _Share(NamedTuple):
    """How many of some rows are so, and which share of them usually is."""

    so: int
    rows: int
    usual: float

    def is_far(self, *, either: bool = False) -> bool:
        """Whether far more are so than usual; with `either`, or far fewer."""
        if self.rows < FEWEST_ROWS:
            return False
        expected = min(max(self.usual, RARE), 1 - RARE)
        error = float(np.sqrt(expected * (1 - expected) / self.rows))
        difference = self.so / self.rows - self.usual
        size = abs(difference) if either else difference
        return size > FAR and size > ERRORS * error


class _Seen:
    """A tally and what is usual there."""

    def __init__(self, was: Sequence[Profile], tally: Tally) -> None:
        rows, missing, strange = np.array(tally).T
        self.missing = _share(missing, rows, [one.missing for one in was])
        self.strange = _share(strange, rows - missing, [one.strange for one in was])


def _share(so: Int64, rows: Int64, usual: Sequence[float]) -> _Share:
    every = int(rows.sum())
    return _Share(int(so.sum()), every, float(rows @ np.array(usual)) / max(every, 1))


def _by_name(usual: Sequence[Profile]) -> Iterator[tuple[str, tuple[Profile, ...]]]:
    return ((name, tuple(group)) for name, group in groupby(usual, lambda one: one.name))


def _look(  # noqa: PLR0917
    attribute: Attribute,
    was: Sequence[Profile],
    column: pa.ChunkedArray,
    rows: Int64,
    decides: npt.NDArray[np.bool_],
    age_days: Float64 | None,
) -> Look:
    values = _encoded(attribute, column, rows)
    ages = _ages(was, rows, age_days)
    missing, strange = np.isnan(values), _strange(attribute, values, was[0].low, was[0].high)
    compared = ages < len(was)
    every = _tally(ages, len(was), compared, missing, strange)
    few = every if decides.all() else _tally(ages, len(was), decides, missing, strange)
    said = column.take(pa.array(rows[strange & compared])).combine_chunks()
    return Look(attribute.name, every, few, _first_values(_counted(said)))


def _counted(values: pa.Array) -> dict[str, int]:
    counted = pc.value_counts(values)
    texts = map(str, counted.field("values").to_pylist())
    return dict(zip(texts, counted.field("counts").to_pylist(), strict=True))


def _ages(was: Sequence[Profile], rows: Int64, age_days: Float64 | None) -> Int64:
    """Give the profile that each row is compared with; their number where there is none."""
    found = np.full(len(rows), len(was))
    for at, one in enumerate(was):
        if one.from_days is None or one.to_days is None:
            found[:] = at
        elif age_days is not None:
            age = age_days[rows]
            found[(age >= one.from_days) & (age < one.to_days)] = at
    return found


def _tally(
    ages: Int64,
    profiles: int,
    there: npt.NDArray[np.bool_],
    missing: npt.NDArray[np.bool_],
    strange: npt.NDArray[np.bool_],
) -> Tally:
    """Count rows, those missing and those strange, for each profile."""
    kinds = (there, there & missing, there & strange)
    if profiles == 1:
        return [[int(np.count_nonzero(kind & (ages == 0))) for kind in kinds]]
    counts = [np.bincount(ages[kind], minlength=profiles)[:profiles] for kind in kinds]
    tally: Tally = np.stack(counts, axis=1).tolist()
    return tally


def _first_values(rows_of: Mapping[str, int]) -> dict[str, int]:
    if len(rows_of) <= MOST_VALUES:
        return dict(rows_of)
    return {value: rows_of[value] for value in nsmallest(MOST_VALUES, rows_of)}


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


def _missing(was: Profile, share: _Share, who: Who) -> Finding:
    return found(
        "missing_share_moved",
        "leads",
        was.name,
        rows=share.so,
        now=_percent(share.so / share.rows),
        usual=_percent(share.usual),
        these=ADVICE[who].these,
        those=ADVICE[who].those,
        advice=ADVICE[who].advice,
    )


def _values(was: Profile, share: _Share, odd: Mapping[str, int], who: Who) -> Finding:
    ranked = sorted((-count, value) for value, count in odd.items())
    limits = None if was.low is None else f"one outside {was.low:g} to {was.high:g}"
    return found(
        "values_moved",
        "leads",
        was.name,
        rows=share.so,
        examples=[Example(shown(value), f"{-count:,} rows") for count, value in ranked[:EXAMPLES]],
        now=_percent(share.so / share.rows),
        usual=_percent(share.usual),
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
