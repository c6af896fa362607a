"""The engagement history of many leads in columns; which events are features stands elsewhere."""

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.threads import in_threads, threads_for
from features.timestamps import micros

DAY_US = 86_400_000_000
NO_CHANNEL = 65_535
"""The channel code of an event without a channel."""
LARGEST = float(np.finfo(np.float32).max)
"""A value beyond it would be infinite as float32: it is missing."""
SEGMENTS_PER_BLOCK = 1 << 17
FEW_EVENTS = 64
"""So many events of a segment are sorted by insertion alone."""
CODES = 1 << 15
"""What is taken from a type's code so that it fits into 16 bits with a sign."""

Int32 = npt.NDArray[np.int32]
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
    with ThreadPoolExecutor(threads_for(len(events))) as pool:
        kinds = pool.submit(_codes, events["event_type"])
        ways = pool.submit(_codes, events["channel"]) if "channel" in given else None
        value = pool.submit(_finite, events["value"]) if "value" in given else None
        occurred = micros(events["occurred_at"])
    type_code, types = kinds.result()
    channel_code, channels = ways.result() if ways else (None, ())
    return group(
        segment,
        occurred,
        _known(occurred, events["recorded_at"]) if "recorded_at" in given else None,
        type_code,
        channel_code,
        value.result() if value else None,
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
    given = (
        np.ascontiguousarray(segment, np.int32),
        occurred_us,
        np.empty(0, np.int64) if known_us is None or known_us is occurred_us else known_us,
        type_code,
        np.empty(0, np.uint16) if channel_code is None else channel_code,
        np.empty(0, np.float32) if value is None else value,
    )
    events = frozen(given)
    ptr, reach = _starts(events[0], segments, SEGMENTS_PER_BLOCK)
    columns = given[1:] if _in_order(*events) else _sorted(ptr, reach, events)
    occurred, known, kind, channel, amount = (
        np.require(column, requirements="W") for column in columns
    )
    if not len(channel):
        channel = np.full(ptr[-1], NO_CHANNEL, np.uint16)
    return History(
        ptr, occurred, known if len(known) else occurred, kind, channel, amount, types, channels
    )


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
    occurred = np.array(occurred_us, np.int64)
    columns = (
        occurred,
        occurred if known_us is occurred_us else np.array(known_us, np.int64),
        np.array([type_of[name] for name in event_types], np.uint16),
        np.array([channel_of[name] for name in channels], np.uint16),
        np.array([_value(value) for value in values], np.float32),
    )
    if (occurred[1:] > occurred[:-1]).all():  # as in most requests of one lead
        return History(np.array([*accumulate(lengths, initial=0)]), *columns, types, ways)
    segment = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    return group(segment, *columns, segments=len(lengths), types=types, channels=ways)


def _sorted(
    ptr: Int64, reach: Int64, events: tuple[npt.NDArray[Any], ...]
) -> tuple[npt.NDArray[Any], ...]:
    """Give the columns of events by segment and time."""
    columns = tuple(np.empty(ptr[-1] if len(column) else 0, column.dtype) for column in events[1:])
    kernel: Callable[..., None] = _sort
    threads = threads_for(len(events[0]))
    segments = len(ptr) - 1
    starts = range(0, segments, SEGMENTS_PER_BLOCK)
    most = int(np.diff(ptr[[*starts, segments]]).max(initial=0))

    def sort(worker: int) -> None:
        lines = np.empty((most, 3 if len(columns[1]) else 2), np.int64)
        for low, where in zip(starts[worker::threads], reach[worker::threads], strict=True):
            high = min(low + SEGMENTS_PER_BLOCK, segments)
            kernel(low, high, *where, ptr, *events, lines, *columns)

    in_threads(sort, range(threads), threads)
    return columns


def frozen(columns: Iterable[npt.NDArray[Any]]) -> tuple[npt.NDArray[Any], ...]:
    """Give columns as numba always sees them here: for writable ones it would compile anew."""
    views = tuple(np.ascontiguousarray(column).view() for column in columns)
    for view in views:
        view.flags.writeable = False
    return views


def _codes(column: pa.ChunkedArray) -> tuple[Codes, tuple[str, ...]]:
    """Give the alphabetical codes of a text column, whatever order its dictionary has."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    named = [chunk.dictionary.to_pylist() for chunk in column.chunks]
    names = sorted({name for chunk in named for name in chunk if name is not None})
    if len(names) > NO_CHANNEL:
        raise ValueError(
            f"{len(names)} different event types or channels, such as {names[0]!r}, but codes for "
            f"{NO_CHANNEL} only: does the column hold an id or a text? Map another one"
        )
    code_of = {name: code for code, name in enumerate(names)}
    codes, start = np.empty(len(column), np.uint16), 0
    for chunk, raw in zip(column.chunks, named, strict=True):
        recode = np.array([code_of.get(name, NO_CHANNEL) for name in [*raw, None]], np.uint16)
        index = pc.fill_null(chunk.indices.cast(pa.int32()), len(raw)).to_numpy()
        codes[start : start + len(chunk)] = recode[index]
        start += len(chunk)
    return codes, tuple(names)


def _known(occurred_us: Int64, recorded: pa.ChunkedArray) -> Int64:
    known: Int64 = np.maximum(occurred_us, micros(recorded))
    return known


def _value(value: float | None) -> float:
    return math.nan if value is None or not -LARGEST <= value <= LARGEST else value


def _finite(column: pa.ChunkedArray) -> Float32:
    """Give numbers as float32; NaN where one is missing, infinite or beyond what float32 holds."""
    narrow, start = np.empty(len(column), np.float32), 0
    for chunk in column.chunks:
        (given,) = frozen([chunk.to_numpy(zero_copy_only=False)])
        _narrow(given, narrow[start:])
        start += len(chunk)
    return narrow


@nb.njit(cache=True, nogil=True)
def _narrow(values: npt.NDArray[np.float64], narrow: Float32) -> None:
    for i in range(values.shape[0]):
        fits = -LARGEST <= values[i] <= LARGEST
        narrow[i] = values[i] if fits else math.nan


@nb.njit(cache=True, nogil=True)
def _in_order(  # noqa: PLR0917
    segment: Int32, occurred: Int64, known: Int64, kind: Codes, channel: Codes, value: Float32
) -> bool:
    """Say whether all events belong to a segment and stand by segment and time already."""
    bits = value.view(np.uint32)
    for i in range(segment.shape[0]):
        last = max(i - 1, 0)
        if segment[i] < 0 or segment[i] < segment[last]:
            return False
        if segment[i] > segment[last] or occurred[i] > occurred[last]:
            continue
        way = channel.shape[0] and np.int64(channel[i]) - channel[last]
        amount = bits.shape[0] and np.int64(bits[i]) - bits[last]
        later = known.shape[0] and known[i] - known[last]
        kinds = np.int64(kind[i]) - kind[last]
        if (occurred[i] - occurred[last], kinds, way, amount, later) < (0, 0, 0, 0, 0):
            return False
    return True


@nb.njit(cache=True, nogil=True)
def _starts(segment: Int32, segments: int, per_block: int) -> tuple[Int64, Int64]:
    """Give where each segment's events will start, and where each block's first and last stand."""
    ptr = np.zeros(segments + 1, np.int64)
    reach = np.zeros((-(-segments // per_block), 2), np.int64)
    for i in range(segment.shape[0]):
        s = segment[i]
        if s < 0:
            continue
        block = s // per_block
        if reach[block, 1] == 0:
            reach[block, 0] = i
        reach[block, 1] = i + 1
        ptr[s + 1] += 1
    for s in range(segments):
        ptr[s + 1] += ptr[s]
    return ptr, reach


@nb.njit(cache=True, nogil=True)
def _sort(  # noqa: PLR0917
    low: int,
    high: int,
    first: int,
    end: int,
    ptr: Int64,
    segment: Int32,
    occurred: Int64,
    known: Int64,
    kind: Codes,
    channel: Codes,
    value: Float32,
    lines: Int64,
    occurred_out: Int64,
    known_out: Int64,
    kind_out: Codes,
    channel_out: Codes,
    value_out: Float32,
) -> None:
    """Sort the events of segments [low, high), which stand in rows [first, end).

    Each event is gathered in `lines` as numbers that sort as events do: one cache miss an event.
    """
    base = ptr[low]
    free = ptr[low:high] - base
    bits, bits_out = value.view(np.uint32), value_out.view(np.uint32)
    for i in range(first, end):
        s = segment[i]
        if not low <= s < high:
            continue
        at = free[s - low]
        free[s - low] += 1
        lines[at, 0] = occurred[i]
        way = np.int64(channel[i] if channel.shape[0] else NO_CHANNEL)
        amount = np.int64(bits[i] if bits.shape[0] else 0)
        lines[at, 1] = (np.int64(kind[i]) - CODES) << 48 | way << 32 | amount
        if known.shape[0]:
            lines[at, 2] = known[i]
    for s in range(low, high):
        _sort_lines(lines[ptr[s] - base : ptr[s + 1] - base])
    for at in range(ptr[high] - base):
        occurred_out[base + at] = lines[at, 0]
        label = lines[at, 1]
        kind_out[base + at] = (label >> 48) + CODES
        if channel.shape[0]:
            channel_out[base + at] = (label >> 32) & 0xFFFF
        if bits.shape[0]:
            bits_out[base + at] = label & 0xFFFFFFFF
        if known.shape[0]:
            known_out[base + at] = lines[at, 2]


@nb.njit(cache=True, nogil=True)
def _sort_lines(lines: Int64) -> None:
    """Sort by insertion; many lines first by Shell's steps, each a third of the one before."""
    step = 1
    while step * FEW_EVENTS < lines.shape[0]:
        step = 3 * step + 1
    while step:
        for i in range(step, lines.shape[0]):
            time, label = lines[i, 0], lines[i, 1]
            known = lines[i, 2] if lines.shape[1] == 3 else 0
            at = i
            while at >= step and _is_after(lines, at - step, time, label, known):
                for k in range(lines.shape[1]):
                    lines[at, k] = lines[at - step, k]
                at -= step
            lines[at, 0], lines[at, 1] = time, label
            if lines.shape[1] == 3:
                lines[at, 2] = known
        step //= 3


@nb.njit(cache=True, nogil=True, inline="always")
def _is_after(lines: Int64, at: int, time: int, label: int, known: int) -> bool:
    if lines[at, 0] != time:
        return lines[at, 0] > time
    if lines[at, 1] != label:
        return lines[at, 1] > label
    return lines.shape[1] == 3 and lines[at, 2] > known
