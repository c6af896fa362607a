"""The rows in which ids stand, found by their hashes; what it means to stand in none isn't here."""

from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.threads import in_threads

NO_ROW = -1
ROWS_PER_PART = 1 << 20
IDS_PER_BATCH = 1_024
LOWER = np.uint64(0xFFFFFFFF)
"""Of a slot: the row + 1. The upper half is that of the id's hash; a slot of 0 is free."""
EIGHT, ODD, OTHER_ODD = np.uint64(8), np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Slots = npt.NDArray[np.uint64]
Texts = tuple[npt.NDArray[np.signedinteger[Any]], Bytes, Bools]
"""Where each text starts (and the last one ends), their bytes, and which are missing, if any."""


def first_rows(ids: pa.ChunkedArray, among: pa.ChunkedArray, *, threads: int) -> Int32:
    """Give the first row of `among` that holds each id; `NO_ROW` where none does, or it is null.

    Parameters
    ----------
    ids, among : pa.ChunkedArray of string
        The ids may be dictionaries.
    threads : int

    Examples
    --------
    >>> ids, among = pa.chunked_array([["b", "x", None]]), pa.chunked_array([["a", "b", "b"]])
    >>> first_rows(ids, among, threads=1).tolist()
    [1, -1, -1]
    """
    known = _texts(pa.concat_arrays([*among.chunks, pa.array([], among.type)]))
    known = (known[0].astype(np.int64), *known[1:])
    slots = _slots(*known)
    rows = np.empty(len(ids), np.int32)

    def find(start: int) -> None:
        for part in ids[start : start + ROWS_PER_PART].chunks:
            rows[start : start + len(part)] = _rows(part, slots, known)
            start += len(part)

    in_threads(find, range(0, len(ids), ROWS_PER_PART), threads)
    return rows


def hashes(ids: pa.ChunkedArray) -> Slots:
    """Give each text a number that depends on nothing else; 0 where it is null.

    >>> hashes(pa.chunked_array([["a", None, "a"]])).tolist()[1:] == [
    ...     0,
    ...     hashes(pa.chunked_array([["b"], ["a"]])).tolist()[1],
    ... ]
    True
    """
    return np.concatenate(
        [np.empty(0, np.uint64), *(_hashes(*_texts(part)) for part in ids.chunks)]
    )


def _rows(ids: pa.Array, slots: Slots, known: Texts) -> Int32:
    if not pa.types.is_dictionary(ids.type):
        return _find(*_texts(ids), slots, *known)
    row_of = np.append(_rows(ids.dictionary, slots, known), np.int32(NO_ROW))
    codes = ids.indices.fill_null(len(ids.dictionary))
    return row_of[codes.to_numpy()]


def _texts(array: pa.Array) -> Texts:
    _, starts, data = array.buffers()
    width = np.dtype(np.int64 if pa.types.is_large_string(array.type) else np.int32)
    given = np.frombuffer(starts or bytes(8), width)[array.offset :][: len(array) + 1]
    missing = np.asarray(array.is_null()) if array.null_count else np.empty(0, np.bool_)
    return given, np.frombuffer(data or b"", np.uint8), missing


@nb.njit(cache=True, nogil=True, inline="always")
def _word(data: Bytes, at: np.uint64) -> np.uint64:
    """Eight bytes as one number; LLVM makes it one load."""
    return (
        np.uint64(data[at])
        | np.uint64(data[at + np.uint64(1)]) << np.uint64(8)
        | np.uint64(data[at + np.uint64(2)]) << np.uint64(16)
        | np.uint64(data[at + np.uint64(3)]) << np.uint64(24)
        | np.uint64(data[at + np.uint64(4)]) << np.uint64(32)
        | np.uint64(data[at + np.uint64(5)]) << np.uint64(40)
        | np.uint64(data[at + np.uint64(6)]) << np.uint64(48)
        | np.uint64(data[at + np.uint64(7)]) << np.uint64(56)
    )


@nb.njit(cache=True, nogil=True, inline="always")
def _tail(data: Bytes, start: np.uint64, end: np.uint64) -> np.uint64:
    word = np.uint64(0)
    for at in range(start, end):
        word = word << np.uint64(8) | np.uint64(data[at])
    return word


@nb.njit(cache=True, nogil=True)
def _hash(data: Bytes, start: int, end: int) -> np.uint64:
    at, stop = np.uint64(start), np.uint64(end)
    mixed = stop - at
    if stop - at < EIGHT:
        mixed ^= _tail(data, at, stop) * ODD
    else:
        while at + EIGHT < stop:
            mixed = (mixed ^ _word(data, at)) * ODD
            mixed ^= mixed >> np.uint64(29)
            at += EIGHT
        mixed = (mixed ^ _word(data, stop - EIGHT)) * ODD
    mixed ^= mixed >> np.uint64(29)
    mixed *= OTHER_ODD
    return mixed ^ (mixed >> np.uint64(32))


@nb.njit(cache=True, nogil=True)
def _hashes(starts: Int64, data: Bytes, missing: Bools) -> Slots:
    hashed = np.zeros(starts.shape[0] - 1, np.uint64)
    for row in range(hashed.shape[0]):
        if not (missing.shape[0] and missing[row]):
            hashed[row] = _hash(data, starts[row], starts[row + 1])
    return hashed


@nb.njit(cache=True, nogil=True)
def _same(  # noqa: PLR0917
    one: Bytes, start: int, end: int, other: Bytes, begin: int, until: int
) -> bool:
    if end - start != until - begin:
        return False
    a, b, stop = np.uint64(start), np.uint64(begin), np.uint64(end)
    if stop - a < EIGHT:
        return _tail(one, a, stop) == _tail(other, b, np.uint64(until))
    while a + EIGHT < stop:
        if _word(one, a) != _word(other, b):
            return False
        a += EIGHT
        b += EIGHT
    return _word(one, stop - EIGHT) == _word(other, np.uint64(until) - EIGHT)


@nb.njit(cache=True, nogil=True)
def _slot(  # noqa: PLR0917
    slots: Slots,
    key: np.uint64,
    data: Bytes,
    start: int,
    end: int,
    known_starts: Int64,
    known_data: Bytes,
) -> np.uint64:
    """Give the slot of an id, or the free one where it would stand."""
    last = np.uint64(slots.shape[0] - 1)
    at = key & last
    while slots[at]:
        row = np.int64(slots[at] & LOWER) - 1
        if (slots[at] ^ key) <= LOWER and _same(
            data, start, end, known_data, known_starts[row], known_starts[row + 1]
        ):
            break
        at = (at + np.uint64(1)) & last
    return at


@nb.njit(cache=True, nogil=True)
def _slots(starts: Int64, data: Bytes, missing: Bools) -> Slots:
    """Lay ids out by their hash; half of the slots or more stay free."""
    size = 16
    while size < 2 * starts.shape[0]:
        size *= 2
    slots = np.zeros(size, np.uint64)
    for row in range(starts.shape[0] - 1):
        if missing.shape[0] and missing[row]:
            continue
        start, end = starts[row], starts[row + 1]
        key = _hash(data, start, end)
        at = _slot(slots, key, data, start, end, starts, data)
        if not slots[at]:
            slots[at] = (key & ~LOWER) | np.uint64(row + 1)
    return slots


@nb.njit(cache=True, nogil=True)
def _find(  # noqa: PLR0917
    starts: Int64,
    data: Bytes,
    missing: Bools,
    slots: Slots,
    known_starts: Int64,
    known_data: Bytes,
    known_missing: Bools,
) -> Int32:
    """Find ids step by step: within a step no load waits for another one, so memory is not slow."""
    rows = np.full(starts.shape[0] - 1, NO_ROW, np.int32)
    last = np.uint64(slots.shape[0] - 1)
    keys = np.empty(IDS_PER_BATCH, np.uint64)
    likely = np.empty(IDS_PER_BATCH, np.int64)
    begins = np.empty(IDS_PER_BATCH, np.int64)
    ends = np.empty(IDS_PER_BATCH, np.int64)
    for first in range(0, rows.shape[0], IDS_PER_BATCH):
        batch = min(IDS_PER_BATCH, rows.shape[0] - first)
        for i in range(batch):
            keys[i] = _hash(data, starts[first + i], starts[first + i + 1])
        for i in range(batch):
            at = keys[i] & last
            while slots[at] and (slots[at] ^ keys[i]) > LOWER:
                at = (at + np.uint64(1)) & last
            likely[i] = np.int64(slots[at] & LOWER) - 1
        for i in range(batch):
            if likely[i] != NO_ROW:
                begins[i], ends[i] = known_starts[likely[i]], known_starts[likely[i] + 1]
        for i in range(batch):
            if likely[i] == NO_ROW or (missing.shape[0] and missing[first + i]):
                continue
            start, end = starts[first + i], starts[first + i + 1]
            if _same(data, start, end, known_data, begins[i], ends[i]):
                rows[first + i] = likely[i]
            else:  # another id with the same half of its hash
                at = _slot(slots, keys[i], data, start, end, known_starts, known_data)
                rows[first + i] = np.int64(slots[at] & LOWER) - 1
    return rows
