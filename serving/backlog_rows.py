"""The rows of a backlog: leads, their moments and their history as read; nothing is scored here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from features.contract import LEADS
from features.findings import Finding, UsageError
from features.history import Int64, from_arrow
from features.matrix import Leads, leads_from_arrow
from features.readers import read_tables
from features.relations import rows_of
from features.rules import MAX_REJECTED_SHARE
from features.sources import Place
from serving.suppression import foremost

IDS = ("lead_id", "event_id")
CATEGORY = pa.dictionary(pa.uint16(), pa.string())


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
    source_rows : int64 [rows], or None
        The row of the leads table that each is; None: the same one.
    """

    lead_id: pa.ChunkedArray
    leads: Leads
    as_of_us: Int64
    suppress: Sequence[str | None] | None = None
    findings: tuple[Finding, ...] = ()
    source_rows: Int64 | None = None

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
    leads: Place,
    events: Place,
    *,
    as_of: int | str,
    timezone: str | None = None,
    columns: Mapping[str, Mapping[str, str]] | None = None,
    reject_file: str | Path | None = None,
    max_rejected_share: float = MAX_REJECTED_SHARE,
    now_us: int | None = None,
    undated: bool = False,
    changes: Place | None = None,
) -> Backlog:
    """Read leads and events, and group the events.

    Parameters
    ----------
    leads, events, timezone, columns, reject_file, max_rejected_share, now_us, undated, changes
        As the readers take them.
    as_of : int or str
        Microseconds since the epoch (UTC) for all rows, or the column of the leads table that holds
        each row's moment; with such a column a lead may stand several times.

    Raises
    ------
    ContractError
        The tables break the contract, or a row has no moment.
    UsageError
        The column cannot hold moments.
    """
    moments = as_of if isinstance(as_of, str) else None
    known = LEADS.column(moments) if moments else None
    if known and known.kind != "time":
        raise UsageError(f"--as-of {moments}: that column holds no times, name one that does")
    tables = read_tables(
        leads,
        events,
        columns=columns,
        timezone=timezone,
        now_us=now_us,
        as_of_column=moments,
        reject_file=reject_file,
        max_rejected_share=max_rejected_share,
        undated=undated,
        attributes_may_lack=True,
        changes=changes,
    )
    rows, findings, changes_of = tables.leads, tables.findings, tables.changes
    source_rows = tables.lead_rows
    history = from_arrow(tables.events, tables.event_segment, len(rows))
    del tables
    lead_id = rows["lead_id"]
    if moments is None:
        own, as_of_us = np.arange(len(rows)), np.full(len(rows), as_of, np.int64)
    else:
        own = rows_of(lead_id, lead_id).astype(np.int64)
        as_of_us = rows[moments].cast(pa.int64()).to_numpy()
    found = leads_from_arrow(rows, history, own, changes_of)
    if changes_of:
        then = {name: timeline.at(own, as_of_us) for name, timeline in changes_of.items()}
        found = replace(found, columns={**found.columns, **then}, changes={})
    return Backlog(lead_id, found, as_of_us, _suppressions(rows), findings, source_rows)


def _suppressions(leads: pa.Table) -> list[str | None] | None:
    """Return what counts of each lead's suppressions; None where no lead has one."""
    if "suppress" not in leads.column_names or leads["suppress"].null_count == len(leads):
        return None
    return [foremost(_named(reasons)) for reasons in leads["suppress"].to_pylist()]


def _named(reasons: str | Sequence[str | None] | None) -> list[str]:
    given = [reasons] if isinstance(reasons, str) else reasons or []
    return [reason for reason in given if reason]
