"""A column of times, however written, as times in UTC; whether one may be missing is not here."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.faults import NO_ROWS, Int64, rows_where
from features.moments import END, to_us, written

UTC_US = pa.timestamp("us", "UTC")
LOCAL_US = pa.timestamp("us")
END_S = to_us(END) // 1_000_000
"""The year 2200: what lies beyond it, or before 1970, is a typo."""
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
SAMPLE_ROWS = 100
NOT_A_TIME = np.iinfo(np.int64).min


def micros(column: pa.ChunkedArray) -> Int64:
    """Give times as microseconds since the epoch (UTC); ``NOT_A_TIME`` where one is missing.

    >>> micros(pa.chunked_array([pa.array([7, None], UTC_US)])).tolist() == [7, NOT_A_TIME]
    True
    """
    stamps = column.cast(UTC_US).cast(pa.int64())
    return pc.fill_null(stamps, NOT_A_TIME).to_numpy()


@dataclass(frozen=True)
class Times:
    """A column of times.

    Attributes
    ----------
    utc : pa.ChunkedArray of timestamp[us, UTC]
        Null where the time is missing or at fault.
    unreadable, zoneless, outside : int64
        The rows at fault: no time, no zone and none given, before 1970 or after 2199.
    changed : int64
        Rows whose local time exists twice or not at all; they have a time.
    """

    utc: pa.ChunkedArray
    unreadable: Int64 = field(default_factory=lambda: NO_ROWS)
    zoneless: Int64 = field(default_factory=lambda: NO_ROWS)
    outside: Int64 = field(default_factory=lambda: NO_ROWS)
    changed: Int64 = field(default_factory=lambda: NO_ROWS)


def is_zone(timezone: str) -> bool:
    """Say whether a zone is known by its name or offset.

    >>> is_zone("Asia/Tokyo"), is_zone("+09:00"), is_zone("Mars/Base")
    (True, True, False)
    """
    try:
        pc.assume_timezone(pa.scalar(0, LOCAL_US), timezone)
    except pa.ArrowInvalid:
        return False
    return True


def read_times(column: pa.ChunkedArray, timezone: str | None) -> Times:
    """Read times out of a column of any type.

    Parameters
    ----------
    column : pa.ChunkedArray
        Timestamps of any unit, dates (midnight), or ISO 8601 text.
    timezone : str or None
        The zone of times without one; of a local time that exists twice the first is taken, and
        for one that the clocks leapt over the next that exists.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    kind = column.type
    if pa.types.is_null(kind):
        return Times(column.cast(UTC_US))
    if pa.types.is_date(kind):
        return _from_stamps(
            column.cast(pa.timestamp("s" if kind == pa.date32() else "ms")), timezone
        )
    if pa.types.is_timestamp(kind):
        return _from_stamps(column, timezone)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _from_text(column, timezone)
    return Times(_nothing(len(column)), unreadable=rows_where(column.is_valid()))


def _from_stamps(column: pa.ChunkedArray, timezone: str | None) -> Times:
    outside = _outside(column)
    if len(outside):
        column = _without(column, outside)
    column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    if column.type.tz is not None:
        return Times(column.cast(UTC_US), outside=outside)
    if timezone is None:
        return Times(_nothing(len(column)), zoneless=rows_where(column.is_valid()), outside=outside)
    first = _localized(column, timezone, ambiguous="earliest", nonexistent="latest")
    other = _localized(column, timezone, ambiguous="latest", nonexistent="earliest")
    return Times(first, outside=outside, changed=rows_where(pc.not_equal(first, other)))


def _from_text(column: pa.ChunkedArray, timezone: str | None) -> Times:
    first = column.drop_null()[:SAMPLE_ROWS]  # a failed cast of all rows is slow
    for prepared in (_as_is, _as_arrow_writes):
        for kind in (UTC_US, LOCAL_US):
            try:
                prepared(first).cast(kind)
                return _from_stamps(prepared(column).cast(kind), timezone)
            except pa.ArrowInvalid:
                continue
    return _one_by_one(column, timezone)


def _as_is(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    return texts


def _as_arrow_writes(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Write UTC as Z, and fractions of seconds down to microseconds."""
    zoned = pc.replace_substring_regex(texts, r" ?UTC$", "Z")
    return pc.replace_substring_regex(zoned, r"(\.\d{6})\d+", r"\1")


def _one_by_one(column: pa.ChunkedArray, timezone: str | None) -> Times:
    """Read text that is not all in the one form that Arrow reads: zones here and there, typos."""
    zoned = np.full(len(column), NOT_A_TIME)
    local = np.full(len(column), NOT_A_TIME)
    unreadable = []
    for row, text in _texts(column):
        moment = written(text)
        if moment is None:
            unreadable.append(row)
        elif moment.tzinfo is None:
            local[row] = to_us(moment.replace(tzinfo=UTC))
        else:
            zoned[row] = to_us(moment)
    here, there = (
        _from_stamps(_stamps(zoned, UTC_US), timezone),
        _from_stamps(_stamps(local, LOCAL_US), timezone),
    )
    return Times(
        pc.coalesce(here.utc, there.utc),
        unreadable=np.array(unreadable, np.int64),
        zoneless=there.zoneless,
        outside=np.union1d(here.outside, there.outside),
        changed=there.changed,
    )


def _texts(column: pa.ChunkedArray) -> Iterator[tuple[int, str]]:
    start = 0
    for chunk in column.chunks:
        for row, text in enumerate(chunk.to_pylist(), start):
            if text is not None and not text.isspace() and text:
                yield row, text.strip()
        start += len(chunk)


def _outside(column: pa.ChunkedArray) -> Int64:
    """Return the rows before 1970 or after 2199, in the column's unit: casts might overflow."""
    end = END_S * PER_SECOND[column.type.unit]
    bounds = pc.min_max(column)
    first, last = bounds["min"].value, bounds["max"].value
    if first is None or (first >= 0 and last < end):
        return NO_ROWS
    counts = column.cast(pa.int64())
    return rows_where(pc.or_(pc.less(counts, 0), pc.greater_equal(counts, end)))


def _without(column: pa.ChunkedArray, rows: Int64) -> pa.ChunkedArray:
    gone = np.zeros(len(column), np.bool_)
    gone[rows] = True
    return pc.if_else(pa.chunked_array([gone]), pa.scalar(None, column.type), column)


def _localized(
    column: pa.ChunkedArray, timezone: str, *, ambiguous: str, nonexistent: str
) -> pa.ChunkedArray:
    zoned = pc.assume_timezone(column, timezone, ambiguous=ambiguous, nonexistent=nonexistent)
    return zoned.cast(UTC_US)


def _stamps(micros: Int64, kind: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(micros, mask=micros == NOT_A_TIME).cast(kind)])


def _nothing(rows: int) -> pa.ChunkedArray:
    return pa.chunked_array([pa.nulls(rows, UTC_US)])
