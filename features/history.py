"""The engagement history of many leads in columns; which events are features stands elsewhere."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

DAY_US = 86_400_000_000
NO_CHANNEL = 65_535
"""The channel code of an event without a channel."""
NOT_RECORDED = np.iinfo(np.int64).min
LARGEST = float(np.finfo(np.float32).max)
"""A value beyond it would be infinite as float32: it is missing."""

Int64 = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint16]
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class History:
    """The events of n segments (a lead each) in CSR form, sorted by segment and time.

    Attributes
    ----------
    ptr : int64 [n + 1]
        The events of segment i are ``[ptr[i], ptr[i + 1])``.
    occurred_us, known_us : int64 [m]
        When it happened and when it became known, microseconds since the epoch (UTC).
    type_code, channel_code : uint16 [m]
        Indices into `types` and `channels`; ``NO_CHANNEL`` where there is none.
    value : float32 [m] or [0]
        NaN where missing; of length 0 where no event has one.
    types, channels : tuple of str
        In alphabetical order, so that codes order the events of one moment alike everywhere.
    """

    ptr: Int64
    occurred_us: Int64
    known_us: Int64
    type_code: Codes
    channel_code: Codes
    value: Float32
    types: tuple[str, ...]
    channels: tuple[str, ...]

    @property
    def segments(self) -> int:
        """The number of segments."""
        return len(self.ptr) - 1


def from_arrow(events: pa.Table, segment: npt.NDArray[np.integer[Any]], segments: int) -> History:
    """Group a table of events by segment.

    Parameters
    ----------
    events : pa.Table
        ``occurred_at`` and ``event_type``, optional ``channel``, ``value`` and ``recorded_at``,
        as the readers give them.
    segment : int [rows of events]
        The segment of each event; events at -1 (of an unknown lead) are left out.
    segments : int
        How many segments there are.

    Raises
    ------
    ValueError
        If an event has no type, or there are more types or channels than codes.
    """
    if events["event_type"].null_count:
        raise ValueError(
            f"event_type is missing in {events['event_type'].null_count} of {len(events)} events: "
            "check the table under the data contract first"
        )
    given = set(events.column_names)
    type_code, types = _codes(events["event_type"])
    channel_code, channels = _codes(events["channel"]) if "channel" in given else (None, ())
    occurred = _micros(events["occurred_at"])
    return group(
        segment,
        occurred,
        _known(occurred, events["recorded_at"]) if "recorded_at" in given else None,
        type_code,
        channel_code,
        _finite(events["value"].to_numpy()) if "value" in given else None,
        segments=segments,
        types=types,
        channels=channels,
    )


def group(  # noqa: PLR0917
    segment: npt.NDArray[np.integer[Any]],
    occurred_us: Int64,
    known_us: Int64 | None,
    type_code: Codes,
    channel_code: Codes | None,
    value: Float32 | None,
    *,
    segments: int,
    types: tuple[str, ...],
    channels: tuple[str, ...],
) -> History:
    """Bring event columns in any order into CSR form: a counting sort by segment, then by time.

    Events of one moment are ordered by type, channel, value and the moment they became known, so
    the result does not depend on the order they came in.

    Parameters
    ----------
    segment : int [events]
        The segment of each event; events at -1 are left out.
    occurred_us, known_us, type_code, channel_code, value
        As in `History`, one element an event; None where none of them has one.
    segments : int
        How many segments there are.
    types, channels : tuple of str
        In alphabetical order.
    """
    place, ptr = _placement(segment, segments)
    columns = _take(
        place,
        occurred_us,
        occurred_us if known_us is None else known_us,
        type_code,
        np.full(len(type_code), NO_CHANNEL, np.uint16) if channel_code is None else channel_code,
        np.empty(0, np.float32) if value is None else value,
    )
    return History(ptr, *_in_order(ptr, columns), types, channels)


Row = tuple[int, int, str, str | None, float | None]


def from_rows(rows: Iterable[Sequence[Row]]) -> History:
    """Group events given as Python rows, one sequence a segment: the door for a single request.

    A row is (occurred_us, known_us, event_type, channel, value); a value that is no finite number
    is missing.

    Examples
    --------
    >>> visit, inquiry = (20, 20, "web_visit", "web", None), (10, 10, "inquiry", None, 3.0)
    >>> history = from_rows([[visit, inquiry], []])
    >>> history.ptr.tolist(), history.occurred_us.tolist(), history.types
    ([0, 2, 2], [10, 20], ('inquiry', 'web_visit'))
    """
    leads = [list(events) for events in rows]
    flat = [event for events in leads for event in events]
    columns = zip(*flat, strict=True) if flat else ((),) * 5
    return from_columns([len(events) for events in leads], *columns)


def from_columns(  # noqa: PLR0917
    lengths: Sequence[int],
    occurred_us: Sequence[int],
    known_us: Sequence[int],
    event_types: Sequence[str],
    channels: Sequence[str | None],
    values: Sequence[float | None],
) -> History:
    """Group events given as Python columns; the first ``lengths[0]`` are of the first segment.

    Examples
    --------
    >>> from_columns([1, 0], [10], [10], ["inquiry"], [None], [3.0]).ptr.tolist()
    [0, 1, 1]
    """
    types = tuple(sorted(set(event_types)))
    ways = tuple(sorted({channel for channel in channels if channel is not None}))
    type_of = {name: code for code, name in enumerate(types)}
    channel_of: dict[str | None, int] = {name: code for code, name in enumerate(ways)}
    channel_of[None] = NO_CHANNEL
    ptr = np.array([*accumulate(lengths, initial=0)], np.int64)
    occurred = np.array(occurred_us, np.int64)
    columns = (
        occurred,
        occurred if known_us is occurred_us else np.array(known_us, np.int64),
        np.array([type_of[name] for name in event_types], np.uint16),
        np.array([channel_of[name] for name in channels], np.uint16),
        np.array([_value(value) for value in values], np.float32),
    )
    return History(ptr, *_in_order(ptr, columns), types, ways)


Columns = tuple[Int64, Int64, Codes, Codes, Float32]
"""Time, moment known, type, channel and value of events."""


def _in_order(ptr: Int64, columns: Columns) -> Columns:
    """Bring the events of each segment into order."""
    amount = columns[-1]
    bits = amount.view(np.int32) if len(amount) else np.zeros(len(columns[0]), np.int32)
    order = _order(ptr, *columns[:-1], bits)
    return _take(order, *columns) if len(order) else columns


def _take(  # noqa: PLR0917
    place: Int64, occurred: Int64, known: Int64, kind: Codes, channel: Codes, value: Float32
) -> Columns:
    taken = occurred[place]
    return (
        taken,
        taken if known is occurred else known[place],
        kind[place],
        channel[place],
        value[place] if len(value) else value,
    )


def _codes(column: pa.ChunkedArray) -> tuple[Codes, tuple[str, ...]]:
    """Give the alphabetical codes of a text column, whatever order its dictionary has."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    wide = column.cast(pa.dictionary(pa.int32(), column.type.value_type))
    array = wide.unify_dictionaries().combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], wide.type)
    raw = array.dictionary.to_pylist()
    names = sorted({name for name in raw if name is not None})
    if len(names) > NO_CHANNEL:
        raise ValueError(
            f"{len(names)} different event types or channels, such as {names[0]!r}, but codes for "
            f"{NO_CHANNEL} only: does the column hold an id or a text? Map another one"
        )
    code_of = {name: code for code, name in enumerate(names)}
    recode = np.array([code_of.get(name, NO_CHANNEL) for name in raw] + [NO_CHANNEL], np.uint16)
    index = pc.fill_null(array.indices, len(raw)).to_numpy(zero_copy_only=False)
    return recode[index], tuple(names)


def _micros(column: pa.ChunkedArray) -> Int64:
    micros: Int64 = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    return micros


def _known(occurred_us: Int64, recorded: pa.ChunkedArray) -> Int64:
    stamps = recorded.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    known: Int64 = np.maximum(occurred_us, pc.fill_null(stamps, NOT_RECORDED).to_numpy())
    return known


def _value(value: float | None) -> float:
    return math.nan if value is None or not -LARGEST <= value <= LARGEST else value


def _finite(values: npt.NDArray[Any]) -> Float32:
    """Give numbers as float32; NaN where one is missing, infinite or beyond what float32 holds."""
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    narrow[~((values >= -LARGEST) & (values <= LARGEST))] = np.nan
    return narrow


@nb.njit(cache=True, nogil=True)
def _placement(segment: npt.NDArray[np.integer[Any]], segments: int) -> tuple[Int64, Int64]:
    """Give the place of each event that belongs to a segment, by segment, and where each starts."""
    ptr = np.zeros(segments + 1, np.int64)
    for i in range(segment.shape[0]):
        if segment[i] >= 0:
            ptr[segment[i] + 1] += 1
    for s in range(segments):
        ptr[s + 1] += ptr[s]
    place = np.empty(ptr[segments], np.int64)
    free = ptr[:-1].copy()
    for i in range(segment.shape[0]):
        s = segment[i]
        if s >= 0:
            place[free[s]] = i
            free[s] += 1
    return place, ptr


@nb.njit(cache=True, nogil=True)
def _order(  # noqa: PLR0917
    ptr: Int64,
    occurred: Int64,
    known: Int64,
    kind: Codes,
    channel: Codes,
    bits: npt.NDArray[np.int32],
) -> Int64:
    """Give the order within segments as a permutation, empty where everything is in order."""
    order = np.arange(0)
    for s in range(ptr.shape[0] - 1):
        start, end = ptr[s], ptr[s + 1]
        in_order = True
        for e in range(start + 1, end):
            a, b = e - 1, e
            if occurred[a] != occurred[b]:
                in_order = occurred[a] < occurred[b]
            elif kind[a] != kind[b]:
                in_order = kind[a] < kind[b]
            elif channel[a] != channel[b]:
                in_order = channel[a] < channel[b]
            elif bits[a] != bits[b]:
                in_order = bits[a] < bits[b]
            else:
                in_order = known[a] <= known[b]
            if not in_order:
                break
        if in_order:
            continue
        if order.shape[0] == 0:
            order = np.arange(occurred.shape[0])
        label = kind[start:end].astype(np.int64) * 65_536 + channel[start:end]
        turn = np.argsort(known[start:end], kind="mergesort")
        turn = turn[np.argsort(bits[start:end][turn], kind="mergesort")]
        turn = turn[np.argsort(label[turn], kind="mergesort")]
        turn = turn[np.argsort(occurred[start:end][turn], kind="mergesort")]
        order[start:end] = start + turn
    return order
