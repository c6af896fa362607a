"""A CRM's history as a training run sees it: leads, their events and their outcomes as arrays; nothing is learned here."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.contract import Finding
from features.history import Int64, from_arrow
from features.matrix import Leads, leads_from_arrow
from features.readers import Tables
from training.snapshots import Outcomes


@dataclass(frozen=True)
class Crm:
    """What a training run reads.

    Attributes
    ----------
    table : pa.Table
        The leads table.
    leads : Leads
    outcomes : Outcomes
    until_us : int
        The moment of the export: nothing after it is looked at.
    findings : tuple of Finding
        What the readers found.
    """

    table: pa.Table
    leads: Leads
    outcomes: Outcomes
    until_us: int
    findings: tuple[Finding, ...] = ()

    @cached_property
    def lead_of_event(self) -> Int64:
        """The row of the leads table of each event of the history, int64 [events]."""
        return np.repeat(np.arange(len(self.leads)), np.diff(self.leads.history.ptr))

    def of_types(self, names: tuple[str, ...]) -> tuple[Int64, Int64]:
        """Give lead and time of every event whose type is one of `names`."""
        history = self.leads.history
        wanted = np.isin(
            history.type_code, [code for code, name in enumerate(history.types) if name in names]
        )
        return self.lead_of_event[wanted], history.occurred_us[wanted]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content, whatever order the events came in."""
        history, outcomes = self.leads.history, self.outcomes
        order = np.lexsort((outcomes.won, outcomes.closed_us, outcomes.lead))
        whole = hashlib.sha256(repr((history.types, history.channels, self.until_us)).encode())
        for column in (
            history.ptr,
            history.occurred_us,
            history.known_us,
            history.type_code,
            history.channel_code,
        ):
            whole.update(column.tobytes())
        whole.update(history.value.tobytes())
        for column in (outcomes.lead, outcomes.closed_us, outcomes.known_us, outcomes.won):
            whole.update(column[order].tobytes())
        for name in self.table.column_names:
            whole.update(repr((name, str(self.table[name].type))).encode())
            whole.update(_content(self.table[name]))
        return whole.hexdigest()


def from_tables(tables: Tables) -> Crm:
    """Bring tables that keep the contract into arrays; events and outcomes of unknown leads are left out (and counted there)."""
    history = from_arrow(tables.events, tables.event_segment, tables.leads.num_rows)
    return Crm(
        tables.leads,
        leads_from_arrow(tables.leads, history),
        _outcomes(tables.outcomes, tables.leads),
        tables.until_us,
        tables.findings,
    )


def _outcomes(table: pa.Table | None, leads: pa.Table) -> Outcomes:
    if table is None:
        nothing = np.empty(0, np.int64)
        return Outcomes(nothing, nothing, nothing, np.empty(0, np.bool_))
    lead = (
        pc.fill_null(pc.index_in(table["lead_id"], leads["lead_id"]), -1)
        .to_numpy()
        .astype(np.int64)
    )
    closed = _micros(table["closed_at"])
    known = closed
    if "recorded_at" in table.column_names:
        known = np.maximum(closed, _micros(table["recorded_at"]))
    ours = lead >= 0
    won = pc.equal(table["outcome"], "won").to_numpy(zero_copy_only=False)
    return Outcomes(lead[ours], closed[ours], known[ours], won[ours])


def _micros(column: pa.ChunkedArray) -> Int64:
    stamps = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    return pc.fill_null(stamps, np.iinfo(np.int64).min).to_numpy()  # type: ignore[no-any-return]


def _content(column: pa.ChunkedArray) -> bytes:
    sink = pa.BufferOutputStream()
    plain = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    batch = pa.table({"column": plain.combine_chunks()}).combine_chunks()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_table(batch)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]
