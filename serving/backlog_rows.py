"""The rows of a backlog: leads, their moments and their history as read; nothing is scored here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.contract import ContractError, Finding
from features.faults import fault, rows_where
from features.history import Int64, from_arrow
from features.matrix import Leads, leads_from_arrow
from features.readers import read_tables
from features.timestamps import read_times
from serving.answer_file import UsageError
from serving.suppression import foremost


@dataclass(frozen=True)
class Backlog:
    """Rows to score.

    Attributes
    ----------
    lead_id : pa.ChunkedArray [rows]
    leads : Leads
        One entry a row; rows of one lead share its segment.
    as_of_us : int64 [rows]
    suppress : sequence of str or None [rows], or None
        Why a lead is never flagged.
    findings : tuple of Finding
        What the readers found.
    """

    lead_id: pa.ChunkedArray
    leads: Leads
    as_of_us: Int64
    suppress: Sequence[str | None] | None = None
    findings: tuple[Finding, ...] = ()

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.leads)

    def block(self, rows: slice) -> "Backlog":
        """Return some of the rows, without copying them."""
        leads = self.leads
        columns = {name: column[rows] for name, column in leads.columns.items()}
        return Backlog(
            self.lead_id[rows],
            Leads(leads.created_us[rows], columns, leads.history, leads.segment[rows]),
            self.as_of_us[rows],
            None if self.suppress is None else self.suppress[rows],
        )


def read_backlog(
    leads: str,
    events: str,
    *,
    as_of: int | str,
    timezone: str | None = None,
    columns: Mapping[str, Mapping[str, str]] | None = None,
    reject_file: Path | None = None,
) -> Backlog:
    """Read leads and events, and group the events.

    Parameters
    ----------
    leads, events, timezone, columns, reject_file
        As the readers take them.
    as_of : int or str
        Microseconds since the epoch (UTC) for all rows, or the column of the leads table that holds
        each row's moment; with such a column a lead may stand several times.

    Raises
    ------
    UsageError
        There is no such column.
    ContractError
        The tables break the contract, or a row has no moment.
    """
    tables = read_tables(
        leads,
        events,
        None,
        columns=columns,
        timezone=timezone,
        reject_file=reject_file,
        repeated=isinstance(as_of, str),
    )
    rows = tables.leads
    if isinstance(as_of, str):
        as_of_us = _moments(rows, as_of, timezone)
        first = pc.index_in(rows["lead_id"], rows["lead_id"]).to_numpy().astype(np.int64)
    else:
        as_of_us, first = np.full(len(rows), as_of, np.int64), None
    history = from_arrow(tables.events, tables.event_segment, len(rows))
    return Backlog(
        rows["lead_id"],
        leads_from_arrow(rows, history, first),
        as_of_us,
        _suppressions(rows),
        tables.findings,
    )


def _moments(leads: pa.Table, name: str, timezone: str | None) -> Int64:
    if name not in leads.column_names:
        raise UsageError(
            f"--as-of {name} is neither a time such as 2026-09-01T00:00:00Z nor a column of the "
            f"leads table, which has {', '.join(leads.column_names[:20])}"
        )
    times = read_times(leads[name], timezone)
    faults = {
        "missing_time": rows_where(leads[name].is_null()),
        "not_a_time": times.unreadable,
        "no_time_zone": times.zoneless,
        "time_out_of_range": times.outside,
    }
    found = [
        fault(rule, name, rows, leads[name]).finding("leads", _row_numbers)
        for rule, rows in faults.items()
        if len(rows)
    ]
    if found:
        raise ContractError(found)
    return times.utc.cast(pa.int64()).to_numpy()


def _row_numbers(rows: Sequence[int]) -> list[str]:
    return [f"row {row + 1}" for row in rows]


def _suppressions(leads: pa.Table) -> list[str | None] | None:
    """Return what counts of each lead's suppressions; None where no lead has one."""
    if "suppress" not in leads.column_names or leads["suppress"].null_count == len(leads):
        return None
    return [foremost(_named(reasons)) for reasons in leads["suppress"].to_pylist()]


def _named(reasons: str | Sequence[str | None] | None) -> list[str]:
    given = [reasons] if isinstance(reasons, str) else reasons or []
    return [reason for reason in given if reason]
