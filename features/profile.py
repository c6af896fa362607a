"""What attributes usually look like, and where a table is far from it; encoding is elsewhere.

A column that was renamed, comes in another unit or is no longer filled in still scores, and badly.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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

Float32 = npt.NDArray[np.float32]
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
        Where 98 % of the numbers lie; None of others.
    """

    name: str
    missing: float
    strange: float
    low: float | None = None
    high: float | None = None


def profiles(
    attributes: Sequence[Attribute], columns: Mapping[str, pa.ChunkedArray], rows: Int64
) -> tuple[Profile, ...]:
    """Describe attributes over some rows of a leads table.

    Examples
    --------
    >>> column = pa.chunked_array([["a", "b", None, "b"]])
    >>> profiles([Attribute("x", "category", ("b",))], {"x": column}, np.arange(4))[0]
    Profile(name='x', missing=0.25, strange=0.3333333333333333, low=None, high=None)
    """
    return tuple(
        _profile(attribute, _encoded(attribute, columns[attribute.name], rows))
        for attribute in attributes
        if attribute.name in columns and len(rows)
    )


def moved(
    usual: Sequence[Profile],
    attributes: Sequence[Attribute],
    columns: Mapping[str, pa.ChunkedArray],
    rows: Int64,
    *,
    who: Who,
    sample: Int64 | None = None,
) -> Iterator[Finding]:
    """Find attributes that look otherwise than usual on some rows; absent columns are none.

    A sample of them decides, at most `ROWS` of them by default; what is found in it is then
    counted on all rows.
    """
    known = {attribute.name: attribute for attribute in attributes}
    few = spread(rows) if sample is None else sample
    for was in usual:
        column = columns.get(was.name)
        if not isinstance(column, pa.ChunkedArray):
            continue
        attribute = known[was.name]
        values = _encoded(attribute, column, few)
        missing, strange = np.isnan(values), _strange(attribute, values, was.low, was.high)
        if _far(missing, was.missing):
            yield _missing(was, attribute, column, rows, who)
        elif _far(strange[~missing], was.strange, more=True):
            yield _values(was, attribute, column, rows, who)


def spread(rows: Int64, most: int = ROWS) -> Int64:
    """Take at most so many rows, evenly.

    >>> spread(np.arange(10), 4).tolist()
    [0, 3, 6, 9]
    """
    return rows[:: -(-len(rows) // most)] if len(rows) else rows


def _profile(attribute: Attribute, values: Float32) -> Profile:
    missing = np.isnan(values)
    present = values[~missing]
    low = high = None
    if attribute.kind == "number" and len(present):
        low, high = (float(edge) for edge in np.quantile(present, RANGE))
    strange = _strange(attribute, present, low, high)
    return Profile(
        attribute.name,
        float(missing.mean()),
        float(strange.mean()) if len(present) else 0.0,
        low,
        high,
    )


def _strange(
    attribute: Attribute, values: Float32, low: float | None, high: float | None
) -> npt.NDArray[np.bool_]:
    if attribute.kind == "category":
        return values == 0
    if low is None or high is None:
        return np.zeros(len(values), np.bool_)
    return (values < low) | (values > high)


def _far(is_so: npt.NDArray[np.bool_], usual: float, *, more: bool = False) -> bool:
    if len(is_so) < FEWEST_ROWS:
        return False
    difference = float(is_so.mean()) - usual
    expected = min(max(usual, RARE), 1 - RARE)
    error = float(np.sqrt(expected * (1 - expected) / len(is_so)))
    size = difference if more else abs(difference)
    return size > FAR and size > ERRORS * error


def _missing(
    was: Profile, attribute: Attribute, column: pa.ChunkedArray, rows: Int64, who: Who
) -> Finding:
    missing = np.isnan(_encoded(attribute, column, rows))
    return found(
        "missing_share_moved",
        "leads",
        was.name,
        rows=int(missing.sum()),
        now=_percent(missing.mean()),
        usual=_percent(was.missing),
        these=ADVICE[who].these,
        those=ADVICE[who].those,
        advice=ADVICE[who].advice,
    )


def _values(
    was: Profile, attribute: Attribute, column: pa.ChunkedArray, rows: Int64, who: Who
) -> Finding:
    values = _encoded(attribute, column, rows)
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
        now=_percent(strange.sum() / (~np.isnan(values)).sum()),
        usual=_percent(was.strange),
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
