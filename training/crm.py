"""A CRM's history as a training run sees it: leads, events and outcomes as arrays; no learning."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.contract import Finding
from features.history import Codes, Int64, from_arrow
from features.matrix import Leads, leads_from_arrow
from features.readers import Tables
from features.relations import NO_LEAD
from features.timestamps import micros
from training.snapshots import Outcomes


@dataclass(frozen=True)
class Crm:
    """What a training run reads.

    Attributes
    ----------
    table : pa.Table
        The leads table, without attributes whose history is known.
    leads : Leads
    outcomes : Outcomes
    until_us : int
        The moment of the export: nothing is in here that was not known then.
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

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the leads table and the attributes whose history is known."""
        return (*self.table.column_names, *self.leads.changes)

    def records(self, row: Int64, as_of_us: Int64) -> pa.Table:
        """Give rows of the leads table as they stood at moments, with every attribute."""
        table = self.table.take(pa.array(row))
        for name, timeline in self.leads.changes.items():
            table = table.append_column(name, timeline.at(row, as_of_us))
        return table

    def records_at(self, moment_us: int) -> pa.Table:
        """Give the leads table as it stood at one moment, with every attribute."""
        if not self.leads.changes:
            return self.table
        every = np.arange(len(self.leads))
        return self.records(every, np.full(len(every), moment_us))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content, whatever order events and outcomes came in."""
        whole = hashlib.sha256(str(self.until_us).encode())
        for part in (*self._engagement(), *self._closes(), *self._records(), *self._changes()):
            whole.update(part)
        return whole.hexdigest()

    def _engagement(self) -> Iterator[bytes]:
        history = self.leads.history
        yield from (history.ptr.tobytes(), history.occurred_us.tobytes())
        yield from (history.known_us.tobytes(), history.value.tobytes())
        yield from _named(history.type_code, history.types)
        yield from _named(history.channel_code, history.channels)

    def _closes(self) -> Iterator[bytes]:
        known = self.outcomes
        order = np.lexsort((known.won, known.known_us, known.closed_us, known.lead))
        yield from (known.lead[order].tobytes(), known.closed_us[order].tobytes())
        yield from (known.known_us[order].tobytes(), known.won[order].tobytes())

    def _records(self) -> Iterator[bytes]:
        for name in self.table.column_names:
            yield repr((name, str(self.table[name].type))).encode()
            yield _content(self.table[name])

    def _changes(self) -> Iterator[bytes]:
        for name, timeline in self.leads.changes.items():
            yield repr((name, str(timeline.said.type))).encode()
            yield from (timeline.lead.tobytes(), timeline.changed_us.tobytes())
            yield from (timeline.known_us.tobytes(), _content(timeline.said))


def from_tables(tables: Tables) -> Crm:
    """Bring tables that keep the contract into arrays.

    Rows of after ``tables.until_us``, and rows that became known after it, are left out: the model
    and its digest are what they would have been on that day. So are events and outcomes of unknown
    leads. The readers count both.
    """
    created = _by(tables.leads, ("created_at",), tables.until_us)
    leads = tables.leads if created.all() else tables.leads.filter(pa.array(created))
    row = np.append(np.where(created, np.cumsum(created) - 1, NO_LEAD), NO_LEAD)
    events, segment = _cut(tables.events, row[tables.event_segment], "occurred_at", tables.until_us)
    history = from_arrow(events, segment, leads.num_rows)
    changes = {
        name: timeline.of_leads(row, tables.until_us) for name, timeline in tables.changes.items()
    }
    return Crm(
        leads.drop_columns([name for name in changes if name in leads.column_names]),
        leads_from_arrow(leads, history, changes=changes),
        _outcomes(tables, row),
        tables.until_us,
        tables.findings,
    )


def _outcomes(tables: Tables, row: Int64) -> Outcomes:
    if tables.outcomes is None:
        nothing = np.empty(0, np.int64)
        return Outcomes(nothing, nothing, nothing, np.empty(0, np.bool_))
    closes, lead = _cut(tables.outcomes, row[tables.outcome_segment], "closed_at", tables.until_us)
    closed = known = micros(closes["closed_at"])
    if "recorded_at" in closes.column_names:
        known = np.maximum(closed, micros(closes["recorded_at"]))
    won = pc.equal(closes["outcome"], "won").to_numpy()
    ours = lead != NO_LEAD
    return Outcomes(lead[ours], closed[ours], known[ours], won[ours])


def _cut(table: pa.Table, lead: Int64, happened: str, until_us: int) -> tuple[pa.Table, Int64]:
    """Leave out what was not known at a moment; `lead` is the row of the leads of each row."""
    known = _by(table, (happened, "recorded_at"), until_us)
    return (table, lead) if known.all() else (table.filter(pa.array(known)), lead[known])


def _by(table: pa.Table, times: Sequence[str], until_us: int) -> npt.NDArray[np.bool_]:
    """Tell which rows have none of their times after a moment; an empty time is not."""
    until = pa.scalar(until_us, pa.timestamp("us", "UTC"))
    given = [name for name in times if name in table.column_names]
    within = [pc.less_equal(table[name], until) for name in given]
    masks = [pc.fill_null(mask, True).to_numpy() for mask in within]
    return np.logical_and.reduce(masks, dtype=np.bool_)


def _named(codes: Codes, names: Sequence[str]) -> Iterator[bytes]:
    """Give codes and what they mean, whatever further names are known."""
    used = np.flatnonzero(np.bincount(codes))
    yield repr([names[code] for code in used.tolist() if code < len(names)]).encode()
    yield np.searchsorted(used, codes).astype(np.uint16).tobytes()


def _content(column: pa.ChunkedArray) -> bytes:
    sink = pa.BufferOutputStream()
    plain = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    batch = pa.table({"column": plain.combine_chunks()}).combine_chunks()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_table(batch)
    return sink.getvalue().to_pybytes()
