"""What rows and tables must be to each other: repeated rows, unknown leads, times in order; single columns are not here."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.contract import EVENTS, OUTCOMES
from features.faults import NO_ROWS, Fault, fault, rows_where, shown
from features.findings import EXAMPLES
from features.history import Int64
from features.moments import iso
from features.timestamps import UTC_US

BLOCK_ROWS = 1 << 20
HAPPENED = {"events": "occurred_at", "outcomes": "closed_at"}
NO_LEAD = -1

Int32 = npt.NDArray[np.int32]


def repeated_leads(leads: pa.Table) -> Iterator[Fault]:
    """Find the rows of leads that stood there before."""
    lead_id = leads["lead_id"]
    if _all_differ(lead_id):
        return
    first = rows_of(lead_id, lead_id)
    repeated = np.flatnonzero((first != np.arange(len(first))) & (first != NO_LEAD))
    yield fault("repeated_lead", "lead_id", repeated, lead_id)


def repeated_events(events: pa.Table) -> tuple[list[Fault], Int64]:
    """Find events whose id stands there again: faults, and the rows that say the very same again."""
    if "event_id" not in events.column_names or _all_differ(events["event_id"]):
        return [], NO_ROWS
    event_id = events["event_id"]
    counts = pc.value_counts(event_id.drop_null())
    often = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    rows = rows_where(pc.is_in(event_id, often))
    some = _plain(events.take(pa.array(rows))).append_column("row", pa.array(rows))
    first = _first_rows(some, ["event_id"])
    same = _first_rows(some, [name for name in events.column_names])
    conflicting = rows[(same == rows) & (first != rows)]
    repeated = rows[same != rows]
    faults = [
        fault(rule, "event_id", at, event_id)
        for rule, at in (("conflicting_event", conflicting), ("repeated_event", repeated))
        if len(at)
    ]
    return faults, repeated


def repeated_outcomes(outcomes: pa.Table) -> tuple[list[Fault], Int64]:
    """Find outcomes that stand there again: the fault, and the rows."""
    if _all_differ(outcomes["lead_id"]):
        return [], NO_ROWS
    rows = np.arange(len(outcomes))
    same = _first_rows(_plain(outcomes).append_column("row", pa.array(rows)), outcomes.column_names)
    repeated = rows[same != rows]
    if not len(repeated):
        return [], NO_ROWS
    return [fault("repeated_outcome", "lead_id", repeated, outcomes["lead_id"])], repeated


def recorded_early(happened_at: str, table: pa.Table) -> Iterator[Fault]:
    """Find rows that were recorded before they happened."""
    if not {happened_at, "recorded_at"} <= set(table.column_names):
        return
    rows = rows_where(pc.less(table["recorded_at"], table[happened_at]))
    if len(rows):
        yield fault("recorded_early", "recorded_at", rows, table["recorded_at"])


def rows_of(lead_id: pa.ChunkedArray, leads: pa.ChunkedArray) -> Int32:
    """Give the first row of the leads that has each id; `NO_LEAD` where none has.

    >>> rows_of(pa.chunked_array([["b", "x", None]]), pa.chunked_array([["a", "b", "b"]])).tolist()
    [1, -1, -1]
    """
    rows = np.empty(len(lead_id), np.int32)
    threads = pa.cpu_count() if len(lead_id) > BLOCK_ROWS else 1
    share = -(-len(lead_id) // threads) or 1

    def look_up(start: int) -> None:
        found = pc.index_in(lead_id.slice(start, share), value_set=leads, skip_nulls=True)
        rows[start : start + share] = pc.fill_null(found, NO_LEAD).to_numpy()

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(look_up, range(0, len(lead_id), share)))
    return rows


def unknown_leads(lead_id: pa.ChunkedArray, lead: Int32) -> Iterator[Fault]:
    """Find rows of leads that are not in the leads table; rows without an id are another fault."""
    count = int(np.count_nonzero(lead == NO_LEAD)) - lead_id.null_count
    if count:
        rows = np.flatnonzero(lead == NO_LEAD)
        rows = rows[pc.is_valid(lead_id.take(pa.array(rows))).to_numpy()] if lead_id.null_count else rows
        yield _counted("unknown_lead", "lead_id", rows[:EXAMPLES], count, lead_id)


def before_created(name: str, happened: pa.ChunkedArray, lead: Int32, created: pa.ChunkedArray) -> Iterator[Fault]:
    """Find rows of before their lead was created."""
    created_us = pc.fill_null(created.cast(pa.int64()), 0).to_numpy()
    count, first = 0, NO_ROWS
    for start in range(0, len(lead), BLOCK_ROWS):
        here = lead[start : start + BLOCK_ROWS]
        stamps = happened.slice(start, BLOCK_ROWS).cast(pa.int64())
        happened_us = pc.fill_null(stamps, np.iinfo(np.int64).max).to_numpy()
        early = np.flatnonzero((happened_us < _at(created_us, here)) & (here != NO_LEAD))
        count += len(early)
        if len(first) < EXAMPLES:
            first = np.concatenate([first, early[:EXAMPLES] + start])
    if count:
        yield _counted("before_created", name, first[:EXAMPLES], count, happened)


def after_until(table: pa.Table, names: list[str], until_us: int) -> Iterator[Fault]:
    """Find times after the moment of the export."""
    until = pa.scalar(until_us, UTC_US)
    for name in names:
        newest = pc.max(table[name])
        if newest.is_valid and newest.value > until_us:
            rows = rows_where(pc.greater(table[name], until))
            yield fault("time_after_until", name, rows, table[name], until=iso(until_us))


def _all_differ(column: pa.ChunkedArray) -> bool:
    return pc.count_distinct(column).as_py() == len(column) - column.null_count
