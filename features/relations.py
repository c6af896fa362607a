"""What rows and tables must be to each other; what single columns must hold is not here."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.faults import NO_ROWS, Fault, Int64, fault, rows_where
from features.findings import EXAMPLES
from features.moments import iso
from features.threads import in_threads, threads_for
from features.timestamps import UTC_US

BLOCK_ROWS = 1 << 20
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


def repeated_events(events: pa.Table, elsewhere: Int64 = NO_ROWS) -> tuple[list[Fault], Int64]:
    """Find events whose id stood there before: faults, and the rows that say the same again.

    `elsewhere` are rows whose id is known to stand for an event that is not in this table.
    """
    if "event_id" not in events.column_names:
        return [], NO_ROWS
    rows = _of_repeated(events["event_id"])
    some = events.take(pa.array(rows))
    first = rows[_first(some, ["event_id"])]
    same = rows[_first(some, events.column_names)]
    conflicting = np.union1d(rows[(same == rows) & (first != rows)], elsewhere)
    repeated = rows[same != rows]
    faults = [
        fault(rule, "event_id", at, events["event_id"])
        for rule, at in (("conflicting_event", conflicting), ("repeated_event", repeated))
        if len(at)
    ]
    return faults, repeated


def repeated_outcomes(outcomes: pa.Table) -> tuple[list[Fault], Int64]:
    """Find outcomes that stood there before: the fault, and the rows that say the same again."""
    lead_id = outcomes["lead_id"]
    rows = _of_repeated(lead_id)
    same = rows[_first(outcomes.take(pa.array(rows)), outcomes.column_names)]
    repeated = rows[same != rows]
    faults = [fault("repeated_outcome", "lead_id", repeated, lead_id)] if len(repeated) else []
    return faults, repeated


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
    from features.lookup import first_rows  # noqa: PLC0415  numba takes a while to import

    return first_rows(lead_id, leads, threads=threads_for(len(lead_id)))


def unknown_leads(lead_id: pa.ChunkedArray, lead: Int32) -> Iterator[Fault]:
    """Find rows of leads that are not in the leads table; rows without an id are another fault."""
    count = int(np.count_nonzero(lead == NO_LEAD)) - lead_id.null_count
    if count:
        rows = np.flatnonzero(lead == NO_LEAD)
        rows = (
            rows[pc.is_valid(lead_id.take(pa.array(rows))).to_numpy()]
            if lead_id.null_count
            else rows
        )
        yield _counted("unknown_lead", "lead_id", rows[:EXAMPLES], count, lead_id)


def before_created(
    name: str, happened: pa.ChunkedArray, lead: Int32, created: pa.ChunkedArray
) -> Iterator[Fault]:
    """Find rows of before their lead was created."""
    if not len(created):
        return
    created_us = pc.fill_null(created.cast(pa.int64()), 0).to_numpy()

    def early(start: int) -> Int64:
        here = lead[start : start + BLOCK_ROWS]
        stamps = happened.slice(start, BLOCK_ROWS).cast(pa.int64())
        happened_us = pc.fill_null(stamps, np.iinfo(np.int64).max).to_numpy()
        return np.flatnonzero((happened_us < created_us[here]) & (here != NO_LEAD)) + start

    blocks = in_threads(early, range(0, len(lead), BLOCK_ROWS), threads_for(len(lead)))
    count = sum(map(len, blocks))
    if count:
        first = np.concatenate([block[:EXAMPLES] for block in blocks])[:EXAMPLES]
        yield _counted("before_created", name, first, count, happened)


def after_until(table: pa.Table, names: list[str], until_us: int) -> Iterator[Fault]:
    """Find times after the moment of the export."""
    until = pa.scalar(until_us, UTC_US)
    for name in names:
        newest = pc.max(table[name])
        if newest.is_valid and newest.value > until_us:
            rows = rows_where(pc.greater(table[name], until))
            yield fault("time_after_until", name, rows, table[name], until=iso(until_us))


def _counted(rule: str, name: str, first: Int64, count: int, values: pa.ChunkedArray) -> Fault:
    return replace(fault(rule, name, first, values), count=count)


def _all_differ(column: pa.ChunkedArray) -> bool:
    if not column.null_count and pc.all(pc.less(column[:-1], column[1:])).as_py():
        return True  # sorted, as exports often are
    return bool(pc.count_distinct(column).as_py() == len(column) - column.null_count)


def _of_repeated(ids: pa.ChunkedArray) -> Int64:
    """Give the rows whose id stands in more than one row."""
    if _all_differ(ids):
        return NO_ROWS
    counts = pc.value_counts(ids.drop_null())
    often = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    return rows_where(pc.is_in(ids, often))


def _first(table: pa.Table, names: Sequence[str]) -> Int64:
    """Give for each row the first one that is the same in these columns."""
    key = np.zeros(len(table), np.int64)
    for name in names:
        codes = _codes(table[name])
        key = np.unique(key * (codes.max(initial=0) + 1) + codes, return_inverse=True)[1]
    first, inverse = np.unique(key, return_index=True, return_inverse=True)[1:]
    return first[inverse]


def _codes(column: pa.ChunkedArray) -> Int64:
    """Give each value of a column a number, 0 where there is none."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    codes = column.combine_chunks().dictionary_encode().indices
    return pc.fill_null(pc.add(codes.cast(pa.int64()), 1), 0).to_numpy(zero_copy_only=False)
