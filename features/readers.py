"""The tables of a CRM, read and checked under the data contract; nothing is learned here."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import rejects, relations
from features.attributes import RESERVED
from features.changes import Timeline, histories, odd_histories, timelines
from features.checked_table import HAPPENED, Read, Terms, read_table
from features.contract import CHANGES, EVENTS, LEADS, OUTCOMES, ContractError, Finding, Table
from features.faults import Fault, Int64
from features.readings import Clues, clues
from features.relations import NO_LEAD, Int32
from features.rules import MAX_REJECTED_SHARE, found
from features.sources import Place, Source
from features.timestamps import is_zone
from features.undated import SPACING_US, dated

__all__ = ["Read", "Tables", "inspect_tables", "read", "read_clues", "read_tables"]

NO_COLUMNS: Mapping[str, str] = {}


@dataclass(frozen=True)
class Tables:
    """The tables of a CRM under the contract.

    Attributes
    ----------
    leads, events : pa.Table
    outcomes : pa.Table or None
    findings : tuple of Finding
        Of all tables. Where one is an error, the tables may lack columns, and values may be null.
    until_us : int
        The moment of the export: as given, else the newest time in the tables.
    event_segment, outcome_segment : int32
        The (first) row of the leads that each event and outcome belongs to, -1 where there is none.
    changes : mapping of attribute name to Timeline
        The attributes whose history is known.
    lead_rows : int64 or None
        The row of the source that each lead is; None: the same one.
    """

    leads: pa.Table
    events: pa.Table
    outcomes: pa.Table | None
    findings: tuple[Finding, ...]
    until_us: int
    event_segment: Int32
    outcome_segment: Int32
    changes: Mapping[str, Timeline] = field(default_factory=dict)
    lead_rows: Int64 | None = None

    @property
    def usable(self) -> bool:
        """Whether no finding is an error."""
        return all(finding.severity != "error" for finding in self.findings)


def read_tables(
    leads: Place,
    events: Place,
    outcomes: Place | None = None,
    *,
    columns: Mapping[str, Mapping[str, str]] | None = None,
    timezone: str | None = None,
    until_us: int | None = None,
    now_us: int | None = None,
    as_of_column: str | None = None,
    reject_file: str | Path | None = None,
    max_rejected_share: float = MAX_REJECTED_SHARE,
    undated: bool = False,
    order_by: str | None = None,
    attributes_may_lack: bool = False,
    changes: Place | None = None,
) -> Tables:
    """Read and check the tables of a CRM; parameters and result are those of `inspect_tables`.

    Raises
    ------
    ContractError
        If a rule whose severity is error is broken; it holds all findings of all tables.
    """
    tables = inspect_tables(
        leads,
        events,
        outcomes,
        columns=columns,
        timezone=timezone,
        until_us=until_us,
        now_us=now_us,
        as_of_column=as_of_column,
        reject_file=reject_file,
        max_rejected_share=max_rejected_share,
        undated=undated,
        order_by=order_by,
        attributes_may_lack=attributes_may_lack,
        changes=changes,
    )
    if not tables.usable:
        raise ContractError(tables.findings)
    return tables


def inspect_tables(
    leads: Place,
    events: Place,
    outcomes: Place | None = None,
    *,
    columns: Mapping[str, Mapping[str, str]] | None = None,
    timezone: str | None = None,
    until_us: int | None = None,
    now_us: int | None = None,
    as_of_column: str | None = None,
    reject_file: str | Path | None = None,
    max_rejected_share: float = MAX_REJECTED_SHARE,
    undated: bool = False,
    order_by: str | None = None,
    attributes_may_lack: bool = False,
    changes: Place | None = None,
) -> Tables:
    """Read and check the tables of a CRM, and report what is found without raising.

    Parameters
    ----------
    leads, events, outcomes : str, Path or Source
        A CSV, a Parquet file, a folder of parts, or a SQL URL with a table (``…#leads``).
    columns : mapping of table name to a mapping of our column names to theirs
    timezone : str, optional
        The zone of times without one.
    until_us : int, optional
        The moment of the export, microseconds since the epoch (UTC); default: the newest time in
        the tables. Later rows are found, and stay.
    now_us : int, optional
        The clock; a later time is an error.
    as_of_column : str, optional
        A column of the leads that holds the moment each row is judged at; a lead may then stand
        there several times.
    reject_file : str or Path, optional
        Bad rows are written to this CSV and left out, up to `max_rejected_share` of a table.
    undated : bool
        The tables have no dates: see `features.undated`.
    order_by : str, optional
        The column of the leads whose order stands for time where they are undated.
    attributes_may_lack : bool
        An attribute that is mapped to a column which is not there is no error: a model knows its
        own attributes, and says which are missing.
    changes : str or Path, optional
        The history of attributes, in the same forms.
    """
    zone, findings = _known_zone(timezone, LEADS.name)
    share = None if reject_file is None else max_rejected_share
    terms = Terms(zone, now_us, as_of_column, share, undated, attributes_may_lack)
    sources = [(LEADS, leads), (EVENTS, events)]
    sources += [] if outcomes is None else [(OUTCOMES, outcomes)]
    sources += [] if changes is None else [(CHANGES, changes)]
    reads = _reads(sources, columns or {}, terms)
    if reject_file is not None:
        rejects.write(Path(reject_file), (each.rejected for each in reads.values()))
    if undated:
        reads = dated(reads, order_by)
    if until_us is None:
        until_us = max(
            (newest for table, _ in sources for newest in _newest(table, reads[table.name].table)),
            default=0,
        )
        until_us += SPACING_US if undated else 0
    records = reads[LEADS.name].table
    segments = {
        table.name: _segments(reads[table.name].table, records)
        for table, _ in sources
        if table != LEADS
    }
    for table, _ in sources:
        done = reads[table.name]
        # of a share without leads the events are of unknown leads; a table without any is an error
        segment = segments.get(table.name) if records.num_rows or _is_share(leads) else None
        faults = _across(table, done.table, segment, records, until_us)
        findings += [*done.findings, *(fault.finding(table.name, done.where) for fault in faults)]
    known: Mapping[str, Timeline] = {}
    if changes is not None:
        names = _ours((columns or {}).get(LEADS.name, NO_COLUMNS))
        done = reads[CHANGES.name]
        readings = changes.readings if isinstance(changes, Source) else None
        known = timelines(done.table, segments[CHANGES.name], names, records, readings)
        faults = odd_histories(known, done.table, records)
        findings += [fault.finding(CHANGES.name, done.where) for fault in faults]
        known = {name: known[name] for name in known if name not in RESERVED}
    return Tables(
        records,
        reads[EVENTS.name].table,
        reads[OUTCOMES.name].table if outcomes is not None else None,
        tuple(findings),
        until_us,
        segments[EVENTS.name],
        segments.get(OUTCOMES.name, np.empty(0, np.int32)),
        known,
        reads[LEADS.name].source_rows,
    )


def read_clues(
    leads: Source, changes: Source, columns: Mapping[str, Mapping[str, str]], terms: Terms
) -> dict[str, Clues]:
    """Read what some leads tell of how the histories of all are to be read.

    Parameters
    ----------
    leads, changes : Source
        A share of each table; what is wrong there is not told.
    columns : mapping of table name to a mapping of our column names to theirs
    terms : Terms
        Those under which the share will be read.
    """
    zone, _ = _known_zone(terms.timezone, LEADS.name)
    terms = replace(terms, timezone=zone)
    reads = _reads([(LEADS, leads), (CHANGES, changes)], columns, terms)
    if terms.undated:
        reads = dated(reads, None)
    records, rows = reads[LEADS.name].table, reads[CHANGES.name].table
    names = _ours(columns.get(LEADS.name, NO_COLUMNS))
    found = histories(rows, _segments(rows, records), names)
    return clues(found, records, {*found, *records.column_names})


def read(
    table: Table,
    source: Place,
    *,
    columns: Mapping[str, str] = NO_COLUMNS,
    timezone: str | None = None,
    now_us: int | None = None,
    as_of_column: str | None = None,
    max_rejected_share: float | None = None,
) -> Read:
    """Read and check one table, and report what is found without raising.

    Parameters
    ----------
    table : Table
        One of ``contract.TABLES``.
    source : str or Path
        A CSV, a Parquet file, a folder of parts, or a SQL URL with a table (``…#leads``).
    columns : mapping of our column names to theirs
    timezone, now_us, as_of_column
        As in `inspect_tables`.
    max_rejected_share : float, optional
        Leave bad rows out, up to this share; without it they stay, and are errors.
    """
    zone, findings = _known_zone(timezone, table.name)
    terms = Terms(zone, now_us, as_of_column, max_rejected_share)
    done = read_table(table, source, columns, terms)
    return replace(done, findings=(*findings, *done.findings))


def _reads(
    sources: Iterable[tuple[Table, Place]],
    columns: Mapping[str, Mapping[str, str]],
    terms: Terms,
) -> dict[str, Read]:
    return {
        table.name: read_table(table, source, columns.get(table.name, NO_COLUMNS), terms)
        for table, source in sources
    }


def _known_zone(timezone: str | None, table: str) -> tuple[str | None, list[Finding]]:
    """Check the zone; where it is unknown, go on with UTC so that other findings are seen too."""
    if timezone is None or is_zone(timezone):
        return timezone, []
    return "UTC", [found("unknown_time_zone", table, timezone=timezone)]


def _is_share(place: Place) -> bool:
    return isinstance(place, Source) and place.is_share


def _times(table: Table, values: pa.Table) -> list[str]:
    names = [column.name for column in table.columns if column.kind == "time"]
    return [name for name in names if name in values.column_names]


def _newest(table: Table, values: pa.Table) -> Iterator[int]:
    newest = (pc.max(values[name]).value for name in _times(table, values))
    return (moment for moment in newest if moment is not None)


def _segments(values: pa.Table, leads: pa.Table) -> Int32:
    if "lead_id" not in values.column_names or "lead_id" not in leads.column_names:
        return np.full(values.num_rows, NO_LEAD, np.int32)
    return relations.rows_of(values["lead_id"], leads["lead_id"])


def _ours(renamed: Mapping[str, str]) -> dict[str, str]:
    """Give our name of each of their attributes."""
    return {theirs: ours for ours, theirs in renamed.items() if LEADS.column(ours) is None}


def _across(
    table: Table, values: pa.Table, segment: Int32 | None, leads: pa.Table, until_us: int
) -> Iterator[Fault]:
    yield from relations.after_until(values, _times(table, values), until_us)
    if segment is None or "lead_id" not in values.column_names:
        return
    if "lead_id" in leads.column_names:
        yield from relations.unknown_leads(values["lead_id"], segment)
    happened = HAPPENED[table.name]
    if happened in values.column_names and "created_at" in leads.column_names:
        yield from relations.before_created(
            happened, values[happened], segment, leads["created_at"]
        )
