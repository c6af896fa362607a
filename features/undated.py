"""Tables without dates, such as a spreadsheet of leads: their order stands for time."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.checked_table import Read
from features.contract import CHANGES, EVENTS, LEADS, OUTCOMES
from features.findings import Finding
from features.history import DAY_US, Int64
from features.relations import NO_LEAD, rows_of
from features.rules import found
from features.timestamps import UTC_US

HORIZON_DAYS = 1
"""Of labels: an outcome comes at once."""
SPACING_US = 2 * DAY_US
"""Between one lead and the next: whatever came before is known, and matured."""


def dated(reads: Mapping[str, Read], order_by: str | None) -> dict[str, Read]:
    """Give leads and outcomes moments in place of those that they lack.

    Leads are created one after the other in the order of a column of theirs, of their rows without
    one; where the column is empty, first. An outcome comes at once. Events and changes are left
    out, since nothing tells what came before the outcome: only attributes can be learned from.

    Parameters
    ----------
    reads : mapping of table name to Read
    order_by : str, optional
    """
    leads = reads[LEADS.name]
    findings: list[Finding] = []
    if order_by is not None and order_by not in leads.table.column_names:
        known = ", ".join(leads.table.column_names)
        findings.append(found("unknown_order", LEADS.name, order_by, known=known))
        order_by = None
    created = _moments(leads.table, order_by)
    done = {LEADS.name: _with(leads, {"created_at": created}, findings)}
    for name, happened in ((EVENTS.name, "occurred_at"), (CHANGES.name, "changed_at")):
        if name in reads:
            done[name] = _emptied(name, reads[name], happened)
    if OUTCOMES.name in reads:
        outcomes = reads[OUTCOMES.name]
        closed = _closed(outcomes.table, leads.table, created)
        done[OUTCOMES.name] = _with(outcomes, {"closed_at": closed}, [])
    return done


def _emptied(name: str, read: Read, happened: str) -> Read:
    ignored = found("undated_events", name, rows=read.table.num_rows)
    nothing = _put(read.table.slice(0, 0), {happened: np.empty(0, np.int64)})
    findings = (*read.findings, *[ignored] * bool(read.table.num_rows))
    return replace(read, table=nothing, findings=findings)


def _moments(leads: pa.Table, order_by: str | None) -> Int64:
    place = np.arange(leads.num_rows)
    if order_by is not None:
        order = pc.array_sort_indices(leads[order_by].combine_chunks(), null_placement="at_start")
        place[order.to_numpy()] = np.arange(leads.num_rows)
    return place * SPACING_US


def _closed(outcomes: pa.Table, leads: pa.Table, created: Int64) -> Int64:
    if not {"lead_id"} <= {*outcomes.column_names} & {*leads.column_names}:
        return np.zeros(outcomes.num_rows, np.int64)
    row = rows_of(outcomes["lead_id"], leads["lead_id"])
    return np.where(row == NO_LEAD, 0, np.append(created, 0)[row] + 1)


def _with(read: Read, moments: Mapping[str, Int64], findings: list[Finding]) -> Read:
    return replace(read, table=_put(read.table, moments), findings=(*read.findings, *findings))


def _put(table: pa.Table, moments: Mapping[str, Int64]) -> pa.Table:
    """Put columns of moments in; all other times of the contract go, which would tell nothing."""
    kept = table.drop_columns(
        [name for name in ("recorded_at", *moments) if name in table.column_names]
    )
    for name, micros in moments.items():
        kept = kept.append_column(name, pa.array(micros).cast(UTC_US))
    return kept
