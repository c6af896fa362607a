"""The values of a column as few groups, each with a name; no figures of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

MOST_LEVELS = 12
FEWEST_DIGITS, MOST_DIGITS = 3, 17
BINS = 4


@dataclass(frozen=True)
class Levels:
    """Which group each row belongs to.

    Attributes
    ----------
    names : tuple of (str or None)
        None is the group without a value.
    code : int64 [rows]
        Place in `names`.
    distinct : int
        Values there were before rare ones were put together.
    """

    names: tuple[str | None, ...]
    code: Int64
    distinct: int


def of_column(column: pa.ChunkedArray, most: int = MOST_LEVELS) -> Levels:
    """Group a column: each value by itself; numbers of many values by quarters.

    Of text with more values than `most`, the most frequent stand for themselves, the others
    together, last but for those without a value.

    Examples
    --------
    >>> found = of_column(pa.chunked_array([["b", "a", None, "b"]]))
    >>> found.names, found.code.tolist()
    (('b', 'a', None), [0, 1, 2, 0])
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if is_number and pc.count_distinct(column, mode="only_valid").as_py() > most:
        doubles = column.cast(pa.float64(), safe=False).to_numpy().astype(np.float64)
        return of_numbers(np.where(np.isfinite(doubles), doubles, np.nan))
    return _of_texts(_texts(column), most)


def of_numbers(values: npt.NDArray[np.floating], bins: int = BINS) -> Levels:
    """Group numbers by quantiles, or each by itself where there are no more of them than bins.

    Examples
    --------
    >>> of_numbers(np.array([0.0, 0.0, 0.0, 5.0, 9.0, np.nan])).names
    ('0', '5', '9', None)
    >>> of_numbers(np.arange(8.0)).names
    ('up to 1', 'above 1 to 3', 'above 3 to 5', 'above 5')
    """
    missing = np.isnan(values)
    present = values[~missing].astype(np.float64)
    distinct = np.unique(present)
    if len(distinct) <= bins:
        edges, names = distinct[:-1], _told_apart(distinct.tolist())
    else:
        steps = np.linspace(0, 1, bins + 1)[1:-1]
        edges = np.unique(np.quantile(present, steps, method="lower"))
        edges = edges[edges < distinct[-1]]
        edges = edges if len(edges) else distinct[-2:-1]
        names = _between(edges.tolist(), float(distinct[0]))
    code = np.searchsorted(edges, values, "left")
    code[missing] = len(names)
    return Levels((*names, *([None] if missing.any() else [])), code, len(distinct))


def of_codes(values: npt.NDArray[np.floating], names: tuple[str, ...]) -> Levels:
    """Group the codes of a category: 1, 2, … have names, 0 is every other value, NaN is none.

    Examples
    --------
    >>> of_codes(np.array([1.0, 0.0, np.nan]), ("finance",)).names
    ('finance', 'others', None)
    """
    every: tuple[str | None, ...] = (*names, "others", None)
    given = np.where(values == 0, len(names), np.nan_to_num(values) - 1)
    code = np.where(np.isnan(values), len(names) + 1, given).astype(np.int64)
    used = np.unique(code)
    return Levels(tuple(every[k] for k in used), np.searchsorted(used, code), len(names))


def _of_texts(texts: pa.ChunkedArray, most: int) -> Levels:
    coded = texts.combine_chunks().dictionary_encode()
    values = coded.dictionary.to_pylist()
    index = pc.fill_null(coded.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    count = np.bincount(index[index >= 0], minlength=len(values))
    ranked = sorted(range(len(values)), key=lambda k: (-int(count[k]), values[k]))
    alone = ranked if len(ranked) <= most else ranked[:most]
    place = np.full(len(values) + 1, len(alone))
    place[alone] = np.arange(len(alone))
    names: list[str | None] = [values[k] for k in alone]
    if pooled := len(values) - len(alone):
        names.append(f"{pooled:,} others")
    place[-1] = len(names)  # of -1, a missing value
    if (index < 0).any():
        names.append(None)
    return Levels(tuple(names), place[index], len(values))


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_nested(column.type):
        found = [None if value is None else str(value) for value in column.to_pylist()]
        return pa.chunked_array([pa.array(found, pa.string())])
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    return column.cast(pa.string())


def _between(edges: list[float], least: float) -> list[str]:
    shown = _told_apart(edges)
    first = shown[0] if edges[0] == least else f"up to {shown[0]}"
    inner = [f"above {low} to {high}" for low, high in pairwise(shown)]
    return [first, *inner, f"above {shown[-1]}"]


def _told_apart(values: Sequence[float]) -> list[str]:
    """Write numbers with as few digits, three or more, as tell them apart."""
    for digits in range(FEWEST_DIGITS, MOST_DIGITS):
        shown = [_short(value, digits) for value in values]
        if len(set(shown)) == len(shown):
            return shown
    return [_short(value, MOST_DIGITS) for value in values]


def _short(value: float, digits: int = FEWEST_DIGITS) -> str:
    """Write a number with so many digits, without an exponent where it can be read.

    >>> _short(1000.26), _short(1000.26, 5), _short(0.01234)
    ('1,000', '1,000.3', '0.0123')
    """
    if value == int(value):
        return f"{value:,.0f}"
    if abs(value) >= 1:
        return f"{value:,.{max(digits - len(str(int(abs(value)))), 0)}f}"
    return f"{value:.{digits}g}"
