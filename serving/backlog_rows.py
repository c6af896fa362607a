"""The rows of a backlog: leads, their moments and their history as read; nothing is scored here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from features.checked_table import Plan, Terms, plan
from features.contract import CHANGES, EVENTS, LEADS
from features.findings import ContractError, Finding, UsageError
from features.history import Int64, from_arrow
from features.matrix import Leads, leads_from_arrow
from features.readers import Tables, read_clues, read_tables
from features.readings import Clues
from features.relations import rows_of
from features.rules import MAX_REJECTED_SHARE
from features.sources import Place, Source
from serving.suppression import foremost

TABLES = {table.name: table for table in (LEADS, EVENTS, CHANGES)}


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
    changed : frozenset of str
        The attributes that come from the table of changes.
    """

    lead_id: pa.ChunkedArray
    leads: Leads
    as_of_us: Int64
    suppress: Sequence[str | None] | None = None
    findings: tuple[Finding, ...] = ()
    source_rows: Int64 | None = None
    changed: frozenset[str] = frozenset()

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


@dataclass(frozen=True)
class Reader:
    """How a backlog is read; it can be sent to other processes.

    Attributes
    ----------
    as_of : int or str
        Microseconds since the epoch (UTC) for all rows, or the column of the leads table that holds
        each row's moment; with such a column a lead may stand several times.
    timezone, columns, now_us, undated
        As the readers take them.
    """

    as_of: int | str
    timezone: str | None = None
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    now_us: int | None = None
    undated: bool = False

    @property
    def moments(self) -> str | None:
        """The column that holds each row's moment."""
        return self.as_of if isinstance(self.as_of, str) else None

    def to_dict(self) -> dict[str, Any]:
        """Return what decides the answers, as JSON can hold it."""
        columns = {name: dict(renamed) for name, renamed in self.columns.items()}
        return {"as_of": self.as_of, "timezone": self.timezone, "columns": columns}

    def plans(self, sources: Mapping[str, Source]) -> dict[str, Plan]:
        """Choose what is read of each table.

        Raises
        ------
        ContractError
            Columns are missing.
        """
        terms = self._terms(None)
        found = {
            name: plan(TABLES[name], source, self.columns.get(name, {}), terms)
            for name, source in sources.items()
        }
        findings = [finding for each in found.values() for finding in each.findings]
        if any(finding.severity == "error" for finding in findings):
            raise ContractError(findings)
        return found

    def clues(self, sources: Mapping[str, Source], *, rejecting: bool = False) -> dict[str, Clues]:
        """Read what a share tells of the histories of attributes; `rejecting` leaves bad rows out.

        What is wrong with the tables, `read` says.
        """
        terms = self._terms(1.0 if rejecting else None)
        return read_clues(sources[LEADS.name], sources[CHANGES.name], self.columns, terms)

    def _terms(self, max_rejected_share: float | None) -> Terms:
        return Terms(
            self.timezone,
            self.now_us,
            self.moments,
            max_rejected_share,
            self.undated,
            attributes_may_lack=True,
        )

    def read(
        self,
        sources: Mapping[str, Place],
        *,
        reject_file: Path | None = None,
        max_rejected_share: float = MAX_REJECTED_SHARE,
    ) -> Backlog:
        """Read leads, events and, where there are any, changes, and group the events.

        Raises
        ------
        ContractError
            The tables break the contract, or a row has no moment.
        UsageError
            The column cannot hold moments.
        """
        known = LEADS.column(self.moments) if self.moments else None
        if known and known.kind != "time":
            raise UsageError(
                f"--as-of {self.moments}: that column holds no times, name one that does"
            )
        return self._backlog(
            read_tables(
                sources[LEADS.name],
                sources[EVENTS.name],
                columns=self.columns,
                timezone=self.timezone,
                now_us=self.now_us,
                as_of_column=self.moments,
                reject_file=reject_file,
                max_rejected_share=max_rejected_share,
                undated=self.undated,
                attributes_may_lack=True,
                changes=sources.get(CHANGES.name),
            )
        )

    def _backlog(self, tables: Tables) -> Backlog:
        rows, changes = tables.leads, tables.changes
        history = from_arrow(tables.events, tables.event_segment, len(rows))
        found, source_rows, changed = tables.findings, tables.lead_rows, frozenset(changes)
        del tables  # the events are in the history
        lead_id = rows["lead_id"]
        if self.moments is None:
            own, as_of_us = np.arange(len(rows)), np.full(len(rows), self.as_of, np.int64)
        else:
            own = rows_of(lead_id, lead_id).astype(np.int64)
            as_of_us = rows[self.moments].cast(pa.int64()).to_numpy()
        leads = leads_from_arrow(rows, history, own, changes)
        if changes:
            then = {name: timeline.at(own, as_of_us) for name, timeline in changes.items()}
            leads = replace(leads, columns={**leads.columns, **then}, changes={})
        if self.undated:  # the place in the table stands for time, and no lead comes after as_of
            leads = replace(leads, created_us=as_of_us)
        return Backlog(lead_id, leads, as_of_us, _suppressions(rows), found, source_rows, changed)


def _suppressions(leads: pa.Table) -> list[str | None] | None:
    """Return what counts of each lead's suppressions; None where no lead has one."""
    if "suppress" not in leads.column_names or leads["suppress"].null_count == len(leads):
        return None
    return [foremost(_named(reasons)) for reasons in leads["suppress"].to_pylist()]


def _named(reasons: str | Sequence[str | None] | None) -> list[str]:
    given = [reasons] if isinstance(reasons, str) else reasons or []
    return [reason for reason in given if reason]
