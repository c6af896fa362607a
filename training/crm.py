"""A CRM's history as a training run sees it: leads, events and outcomes as arrays; no learning."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.changes import Timeline
from features.contract import Finding
from features.history import NO_CHANNEL, Codes, History, Int64, from_arrow
from features.matrix import Leads, leads_from_arrow
from features.partitions import stack
from features.readers import Tables
from features.relations import NO_LEAD
from features.timestamps import micros
from training.overview import Overview, UInt64, fingerprints, hashes
from training.snapshots import Outcomes, stacked


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
    origin : Overview or None
        Of the history that these leads are a part of; None: they are all there is.
    source_rows : int64 [leads] or None
        The row of the source that each lead is; None: that of `table`, as it was read.
    """

    table: pa.Table
    leads: Leads
    outcomes: Outcomes
    until_us: int
    findings: tuple[Finding, ...] = ()
    origin: Overview | None = None
    source_rows: Int64 | None = None

    @cached_property
    def overview(self) -> Overview:
        """What is known of all leads, those that are left out here among them."""
        if self.origin is not None:
            return self.origin
        history = self.leads.history
        return Overview(
            self.table["lead_id"],
            self.leads.created_us,
            self.outcomes,
            len(history.occurred_us),
            fingerprints(history),
        )

    @cached_property
    def hashes(self) -> UInt64:
        """A number per lead, by its id, uint64 [leads]."""
        return hashes(self.table["lead_id"])

    def rows(self, kept: npt.NDArray[np.bool_]) -> "Crm":
        """Return the leads of a mask and what belongs to them; the overview stays."""
        if kept.all():
            return self
        at = np.flatnonzero(kept)
        row = np.append(np.where(kept, np.cumsum(kept) - 1, NO_LEAD), NO_LEAD)
        changes = {n: t.of_leads(row, self.until_us) for n, t in self.leads.changes.items()}
        table = self.table.filter(pa.array(kept))
        return Crm(
            table,
            leads_from_arrow(table, _segments(self.leads.history, at), changes=changes),
            self.outcomes.of_leads(row),
            self.until_us,
            self.findings,
            self.overview,
            at if self.source_rows is None else self.source_rows[at],
        )

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
        for part in (*self._engagement(), *_closes(self.outcomes), *self._records()):
            whole.update(part)
        for part in (*self._changes(), *self._others()):
            whole.update(part)
        return whole.hexdigest()

    def _engagement(self) -> Iterator[bytes]:
        history = self.leads.history
        yield from (history.ptr.tobytes(), history.occurred_us.tobytes())
        yield from (history.known_us.tobytes(), history.value.tobytes())
        yield from _named(history.type_code, history.types)
        yield from _named(history.channel_code, history.channels)

    def _others(self) -> Iterator[bytes]:
        """Give what is known of the leads that are left out here."""
        if self.origin is not None:
            yield from (self.origin.created_us.tobytes(), self.origin.hashes.tobytes())
            yield self.origin.fingerprints.tobytes()
            yield from _closes(self.origin.outcomes)

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
        source_rows=_of_source(tables, created),
    )


def joined(parts: Sequence[Crm], origin: Overview, findings: tuple[Finding, ...]) -> Crm:
    """Put leads that were read apart together, in the order of their `source_rows`.

    Parameters
    ----------
    parts : sequence of Crm
        At least one. The `source_row` of a change stays that of its part.
    origin : Overview
        Of all leads.
    findings : tuple of Finding
    """
    starts = np.cumsum([0, *(len(part.leads) for part in parts)])
    rows = np.concatenate([part.source_rows for part in parts])
    order = np.argsort(rows, kind="stable")
    table = stack([part.table for part in parts]).unify_dictionaries().take(pa.array(order))
    history = _stacked([part.leads.history for part in parts])
    closes = stacked(
        [
            replace(part.outcomes, lead=part.outcomes.lead + start)
            for part, start in zip(parts, starts[:-1], strict=True)
        ]
    )
    rank = np.argsort(order)
    changes = {
        name: Timeline.joined(
            [part.leads.changes[name] for part in parts], np.split(rank, starts[1:-1])
        )
        for name in parts[0].leads.changes
    }
    return Crm(
        table,
        leads_from_arrow(table, _segments(history, order), changes=changes),
        closes.of_leads(rank),
        parts[0].until_us,
        findings,
        origin if len(origin) > len(rows) else None,
        rows[order],
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
    found = Outcomes(lead[ours], closed[ours], known[ours], won[ours])
    return found.of_leads(np.arange(len(row)))


def _of_source(tables: Tables, created: npt.NDArray[np.bool_]) -> Int64 | None:
    """Give the row of the source that each lead is that was created by then."""
    if tables.lead_rows is None and created.all():
        return None
    rows = np.arange(len(created)) if tables.lead_rows is None else tables.lead_rows
    return rows[created]


def _segments(history: History, at: Int64) -> History:
    """Take some segments, in this order."""
    lengths = np.diff(history.ptr)[at]
    ptr = np.concatenate([[0], np.cumsum(lengths)])
    row = np.repeat(history.ptr[at] - ptr[:-1], lengths) + np.arange(ptr[-1])
    occurred = history.occurred_us[row]
    return replace(
        history,
        ptr=ptr,
        occurred_us=occurred,
        known_us=occurred if _as_it_happens(history) else history.known_us[row],
        type_code=history.type_code[row],
        channel_code=history.channel_code[row],
        value=history.value[row] if len(history.value) else history.value,
    )


def _stacked(parts: Sequence[History]) -> History:
    """Put the segments of histories one after the other, with the names of all."""
    types = tuple(sorted({name for part in parts for name in part.types}))
    channels = tuple(sorted({name for part in parts for name in part.channels}))
    lengths = np.concatenate([np.diff(part.ptr) for part in parts])
    occurred = np.concatenate([part.occurred_us for part in parts])
    at_once = all(map(_as_it_happens, parts))
    return History(
        np.concatenate([[0], np.cumsum(lengths)]),
        occurred,
        occurred if at_once else np.concatenate([part.known_us for part in parts]),
        np.concatenate([_recoded(part.type_code, part.types, types) for part in parts]),
        np.concatenate([_recoded(part.channel_code, part.channels, channels) for part in parts]),
        np.concatenate([part.value for part in parts]),
        types,
        channels,
    )


def _as_it_happens(history: History) -> bool:
    return history.known_us is history.occurred_us


def _recoded(codes: Codes, names: Sequence[str], others: Sequence[str]) -> Codes:
    """Give codes of other names; ``NO_CHANNEL``, beyond all names, stays."""
    place = {name: code for code, name in enumerate(others)}
    recode = np.array([*(place[name] for name in names), NO_CHANNEL], np.uint16)
    return recode[np.minimum(codes, len(names))]


def _closes(known: Outcomes) -> Iterator[bytes]:
    yield from (known.lead.tobytes(), known.closed_us.tobytes())
    yield from (known.known_us.tobytes(), known.won.tobytes())


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
