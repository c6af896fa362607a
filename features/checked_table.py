"""One table, read and checked under the contract; what tables must be to each other is not here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from features import columns as checks
from features import rejects, relations
from features.columns import Checked
from features.contract import CHANGES, EVENTS, LEADS, Column, ContractError, Example, Finding, Table
from features.faults import NO_ROWS, Fault, Int64, Places, shown
from features.findings import EXAMPLES
from features.mapping import choose
from features.rules import found, is_error
from features.sources import Extract, Form, Place, Source, locate
from features.threads import in_threads, threads_for

CATEGORIES = ("event_type", "channel", "attribute")
WORDS = {
    "outcome": checks.outcomes,
    "suppress": checks.suppressions,
    "value": checks.texts,
}
HAPPENED = {
    "leads": "created_at",
    "events": "occurred_at",
    "outcomes": "closed_at",
    "changes": "changed_at",
}
"""When a row of each table happened."""


def _nowhere(rows: Sequence[int]) -> list[str]:
    return [""] * len(rows)


@dataclass(frozen=True)
class Terms:
    """What is told beside the tables.

    Attributes
    ----------
    timezone : str or None
        The zone of times without one; a known one.
    now_us : int or None
        The clock, microseconds since the epoch (UTC).
    as_of_column : str or None
        The column of the leads that holds the moment each row is judged at.
    max_rejected_share : float or None
        Bad rows are left out, up to this share of a table; None: they stay, and are errors.
    undated : bool
        No time is required.
    attributes_may_lack : bool
        An attribute that is mapped to a column which is not there is no error.
    """

    timezone: str | None = None
    now_us: int | None = None
    as_of_column: str | None = None
    max_rejected_share: float | None = None
    undated: bool = False
    attributes_may_lack: bool = False


@dataclass(frozen=True)
class Read:
    """A table under the contract.

    Attributes
    ----------
    table : pa.Table
        Under our names: times in UTC, ids and outcomes as text (of the events perhaps as a
        dictionary), categories as one dictionary, numbers as float64, attributes as they came. A
        column that cannot be read is not there, a value that cannot be read is null.
    findings : tuple of Finding
    bad_rows : int64
        The rows of the source that break a rule whose severity is error. They are in `table`,
        unless they were set aside.
    rejected : pa.Table or None
        The rows that were to be set aside, as text, with where and why.
    source_rows : int64 or None
        The row of the source that each row of `table` is; None: the same one.
    places : callable
        Says where rows of the source stand: ``line 7``.
    """

    table: pa.Table
    findings: tuple[Finding, ...]
    bad_rows: Int64 = field(default_factory=lambda: NO_ROWS)
    rejected: pa.Table | None = None
    source_rows: Int64 | None = None
    places: Places = _nowhere

    @property
    def usable(self) -> bool:
        """Whether no finding is an error."""
        return all(finding.severity != "error" for finding in self.findings)

    def where(self, rows: Sequence[int]) -> list[str]:
        """Say where rows of `table` stand in the source."""
        if self.source_rows is None:
            return self.places(rows)
        return self.places(self.source_rows[np.asarray(rows, np.int64)].tolist())


@dataclass(frozen=True)
class Plan:
    """What is to be read of a source.

    Attributes
    ----------
    table : Table
        With the column that holds each row's moment, where one does.
    chosen : mapping of our name to theirs
    findings : tuple of Finding
    categories : tuple of str
        Their names of the columns to read as a dictionary.
    """

    table: Table
    chosen: Mapping[str, str]
    findings: tuple[Finding, ...]
    categories: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Their names of the columns to read."""
        return list(dict.fromkeys(self.chosen.values()))


def plan(table: Table, located: Source, renamed: Mapping[str, str], terms: Terms) -> Plan:
    """Choose what to read; `renamed` gives their names of our columns."""
    table = _with_moments(table, terms)
    chosen, findings = choose(
        table,
        located.names,
        located.kinds,
        renamed,
        attributes_may_lack=terms.attributes_may_lack,
    )
    categories = (
        theirs
        for ours, theirs in chosen.items()
        if ours in CATEGORIES or (_repeats(table, ours) and located.has_codes(theirs))
    )
    return Plan(table, chosen, tuple(findings), tuple(categories))


def read_table(table: Table, source: Place, renamed: Mapping[str, str], terms: Terms) -> Read:
    """Read and check one table; `renamed` gives their names of our columns."""
    try:
        located = locate(table.name, source)
        planned = plan(table, located, renamed, terms)
        extract = located.read(planned.names, planned.categories)
    except ContractError as refused:
        return Read(pa.table({}), refused.findings)
    table, chosen, findings = planned.table, planned.chosen, list(planned.findings)

    def check(ours: str) -> Checked:
        return _check(table, ours, extract.columns[chosen[ours]], terms, located.form(chosen[ours]))

    done = in_threads(check, chosen, threads_for(extract.columns.num_rows))
    checked = dict(zip(chosen, done, strict=True))
    values = pa.table({n: c.values for n, c in checked.items() if c.values is not None})
    between, repeats = _between_rows(
        table, values, located.conflicting, repeated=terms.as_of_column is not None
    )
    faults = [fault for column in checked.values() for fault in column.faults] + between
    findings += located.findings
    findings += _about_rows(table.name, extract, located)
    findings += [fault.finding(table.name, extract.layout.places) for fault in faults]
    seen = _Seen(table.name, values, extract, tuple(findings), faults, repeats)
    return _without_bad(seen, terms.max_rejected_share)


@dataclass(frozen=True)
class _Seen:
    """All rows of a table and what was found."""

    name: str
    values: pa.Table
    extract: Extract
    findings: tuple[Finding, ...]
    faults: Sequence[Fault]
    repeats: Int64


def _with_moments(table: Table, terms: Terms) -> Table:
    if terms.undated:
        untimed = (replace(c, required=c.required and c.kind != "time") for c in table.columns)
        table = replace(table, columns=tuple(untimed))
    name = terms.as_of_column
    if name is None or table.name != LEADS.name or table.column(name):
        return table
    moment = Column(name, "time", True, "The moment this row is judged at.")
    return replace(table, columns=(*table.columns, moment))


def _check(table: Table, name: str, values: pa.ChunkedArray, terms: Terms, form: Form) -> Checked:
    column, whole = table.column(name), form.whole
    if column is None:
        return checks.attributes(name, values, read=form.read)
    if column.kind == "time":
        clock = None if name == terms.as_of_column else terms.now_us
        return checks.times(
            name, values, required=column.required, timezone=terms.timezone, now_us=clock
        )
    if column.kind == "number":
        return checks.numbers(name, values)
    if name in CATEGORIES:
        return checks.categories(name, values, required=column.required, whole=whole)
    if name in WORDS:
        return WORDS[name](name, values, whole=whole)
    check = checks.coded_ids if _repeats(table, name) else checks.ids
    return check(name, values, required=column.required, whole=whole)


def _repeats(table: Table, name: str) -> bool:
    return table.name in {EVENTS.name, CHANGES.name} and name == "lead_id"


def _between_rows(
    table: Table, values: pa.Table, conflicting: Int64, *, repeated: bool
) -> tuple[list[Fault], Int64]:
    """Check rows against each other: faults, and rows that only repeat another one."""
    given = set(values.column_names)
    faults, repeats = list(relations.recorded_early(HAPPENED[table.name], values)), NO_ROWS
    more: list[Fault] = []
    if table.name == "leads" and "lead_id" in given and not repeated:
        more = list(relations.repeated_leads(values))
    elif table.name == "events" and "event_id" in given:
        more, repeats = relations.repeated_events(values, conflicting)
    elif table.name == "outcomes" and {"lead_id", "closed_at", "outcome"} <= given:
        more, repeats = relations.repeated_outcomes(values)
    return faults + more, repeats


def _about_rows(table: str, extract: Extract, located: Source) -> list[Finding]:
    findings = []
    if extract.ragged:
        first = [Example(each.where, shown(each.value)) for each in extract.ragged[:EXAMPLES]]
        rows = len(extract.ragged)
        columns = str(len(located.names))
        findings.append(found("ragged_row", table, rows=rows, examples=first, columns=columns))
    elif extract.columns.num_columns and not extract.columns.num_rows and not located.is_share:
        findings.append(found("no_leads" if table == "leads" else "empty_table", table))
    return findings


def _without_bad(seen: _Seen, max_share: float | None) -> Read:
    """Leave out rows that only repeat another one and, where it was asked for, bad ones."""
    errors = [fault for fault in seen.faults if is_error(fault.rule)]
    bad_rows = np.unique(np.concatenate([NO_ROWS, *(fault.rows for fault in errors)]))
    values, extract, findings = seen.values, seen.extract, seen.findings
    rejected, rows, gone = None, None, seen.repeats
    if max_share is not None and (len(bad_rows) or extract.ragged):
        rejected = rejects.rejected(
            seen.name,
            extract.columns.take(pa.array(bad_rows)),
            bad_rows,
            errors,
            places=extract.layout.places,
            ragged=extract.ragged,
        )
        total = extract.columns.num_rows + len(extract.ragged)
        few, findings = rejects.judge(seen.name, findings, len(rejected), total, max_share)
        gone = np.union1d(gone, bad_rows) if few else gone
    if len(gone):
        rows = np.setdiff1d(np.arange(extract.columns.num_rows), gone)
        values = values.take(pa.array(rows))
    return Read(values, findings, bad_rows, rejected, rows, extract.layout.places)
