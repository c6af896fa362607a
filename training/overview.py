"""What is known of every lead of a history, few bytes a lead; what is kept of some is not here."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.history import History, Int64
from training.origins import lead_hash
from training.snapshots import Outcomes

UInt64 = npt.NDArray[np.uint64]

EVENTS_TO_COMPARE = 3
HOUR_US, SECOND_US = 3_600_000_000, 1_000_000
MIX = np.uint64(0x9E3779B97F4A7C15)
MIX_AGAIN = np.uint64(0xBF58476D1CE4E5B9)
NO_FINGERPRINT = 0


@dataclass(frozen=True)
class Overview:
    """Every lead of a history, in the order of the leads table.

    Attributes
    ----------
    lead_id : pa.ChunkedArray [n]
    created_us : int64 [n]
        Microseconds since the epoch (UTC).
    outcomes : Outcomes
    events : int
        How many events of these leads there are.
    fingerprints : uint64 [n]
        See `fingerprints`.
    """

    lead_id: pa.ChunkedArray
    created_us: Int64
    outcomes: Outcomes
    events: int
    fingerprints: UInt64

    def __len__(self) -> int:
        """Return the number of leads."""
        return len(self.created_us)

    @cached_property
    def hashes(self) -> UInt64:
        """A number per lead, by its id, uint64 [n]."""
        return hashes(self.lead_id)


def hashes(lead_id: pa.ChunkedArray) -> UInt64:
    """Return `lead_hash` of a column of ids, which are brought into Python a chunk at a time."""
    parts = [lead_hash(batch["id"].to_pylist()) for batch in _batches(lead_id)]
    return np.concatenate([np.empty(0, np.uint64), *parts])


def fingerprints(history: History) -> UInt64:
    """Give each segment a number by the moments and types of its events, uint64 [n].

    It is `NO_FINGERPRINT` where fewer than `EVENTS_TO_COMPARE` events tell leads apart: times at
    the turn of an hour, as exports by day or week have them, do not.
    """
    at_turn = (history.occurred_us + SECOND_US) % HOUR_US <= SECOND_US
    mixed = history.occurred_us.astype(np.uint64) ^ lead_hash(history.types)[history.type_code]
    mixed *= MIX
    mixed ^= mixed >> np.uint64(29)
    mixed *= MIX_AGAIN
    enough = _sums(history.ptr, ~at_turn) >= EVENTS_TO_COMPARE
    return np.where(enough, np.maximum(_sums(history.ptr, mixed), 1), NO_FINGERPRINT)


def _sums(ptr: Int64, values: npt.NDArray[np.generic]) -> UInt64:
    """Add up each segment's values; they may overflow."""
    total = np.concatenate([[np.uint64(0)], np.cumsum(values, dtype=np.uint64)])
    return total[ptr[1:]] - total[ptr[:-1]]


def _batches(lead_id: pa.ChunkedArray) -> list[pa.RecordBatch]:
    return pa.table({"id": lead_id}).to_batches(max_chunksize=1 << 16)
