import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from features.contract import EVENTS, LEADS, OUTCOMES, RULES, ContractError, Finding
from features.readers import Tables, inspect_tables, read, read_tables
from features.rules import LONGEST_ID, MAX_DISTINCT

TWO_LEADS = "lead_id,created_at\nL-1,2026-01-01T00:00:00Z\nL-2,2026-01-02T00:00:00Z\n"
NO_EVENTS = "lead_id,occurred_at,event_type\n"
EVENT = "L-1,2026-01-03T00:00:00Z,call\n"
TIME = pa.timestamp("us", "UTC")


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def write(folder: Path, **tables: str) -> dict[str, Any]:
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8", newline="")
    return {name: folder / f"{name}.csv" for name in tables}


def inspect(
    folder: Path,
    leads: str = TWO_LEADS,
    events: str = NO_EVENTS + EVENT,
    outcomes: str | None = None,
    **options: Any,
) -> Tables:
    texts = {"leads": leads, "events": events} | (
        {} if outcomes is None else {"outcomes": outcomes}
    )
    return inspect_tables(**write(folder, **texts), **options)


def of_rule(findings: tuple[Finding, ...], rule: str) -> Finding:
    (finding,) = (finding for finding in findings if finding.rule == rule)
    return finding


def rules(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.rule for finding in findings]


# ---- one case of every rule -------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    finding: str
    leads: str | None = TWO_LEADS
    events: str | None = NO_EVENTS + EVENT
    outcomes: str | None = None
    changes: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


EVENTS_WITH = "lead_id,occurred_at,event_type"
OUTCOMES_WITH = "lead_id,closed_at,outcome"
CHANGES_WITH = "lead_id,changed_at,attribute,value"
CASES = {
    "no_such_file": Case(
        "error leads: no_such_file. Check the path: {folder}/leads.csv does not exist.", leads=None
    ),
    "empty_file": Case("error events: empty_file. Export {folder}/events.csv again.", events=""),
    "wrong_delimiter": Case(
        "error leads: wrong_delimiter. Save {folder}/leads.csv with commas between the columns: "
        "its header has one column, and semicolons in it.",
        leads="lead_id;created_at\nL-1;2026-01-01T00:00:00Z\n",
    ),
    "ragged_row": Case(
        "error leads: ragged_row in 1 row (line 4: L-3). Put cells that hold commas or line ends "
        'into quotes ("…"); the header has 2 columns.',
        leads=TWO_LEADS + "L-3\n",
    ),
    "missing_column": Case(
        "error leads.created_at: missing_column. Say which column it is in leadqual.toml: "
        '[columns] leads.created_at = "Created At"; the table has lead_id, Created At, 業種.',
        leads="lead_id,Created At,業種\nL-1,2026-01-01T00:00:00Z,製造\n",
    ),
    "repeated_column": Case(
        "error leads.lead_id: repeated_column. Rename one of them.",
        leads="lead_id,lead_id,created_at\n1,1,2026-01-01T00:00:00Z\n",
    ),
    "ignored_columns": Case(
        "note events: ignored_columns. Nothing, or map them: user, 部署.",
        events="user,lead_id,occurred_at,event_type,部署\nu,L-1,2026-01-03T00:00:00Z,call,x\n",
    ),
    "no_leads": Case(
        "error leads: no_leads. Check the export's filter.", leads="lead_id,created_at\n"
    ),
    "empty_table": Case(
        "note events: empty_table. Nothing, if nothing has happened yet.", events=NO_EVENTS
    ),
    "missing_id": Case(
        "error leads.lead_id: missing_id in 2 rows (line 4: empty; line 5: empty). "
        "Fill it in, or leave the row out.",
        leads=TWO_LEADS + ",2026-01-01T00:00:00Z\n ,2026-01-01T00:00:00Z\n",
    ),
    "long_id": Case(
        f"error events.lead_id: long_id in 1 row (line 3: {'x' * 60}…). "
        "Map the column that holds the id.",
        events=NO_EVENTS + EVENT + "x" * (LONGEST_ID + 1) + EVENT[3:],
    ),
    "repeated_lead": Case(
        "error leads.lead_id: repeated_lead in 2 rows (line 4: L-1; line 5: L-1). Keep one row per "
        "lead; to judge a lead at several moments, name their column: --as-of COLUMN.",
        leads=TWO_LEADS + "L-1,2026-01-01T00:00:00Z\n" * 2,
    ),
    "missing_time": Case(
        "error outcomes.closed_at: missing_time in 1 row (line 2: empty). "
        "Fill it in, or leave the row out.",
        outcomes=f"{OUTCOMES_WITH}\nL-1,,won\n",
    ),
    "not_a_time": Case(
        "error leads.created_at: not_a_time in 4 rows (line 2: soon; line 4: 31.01.2026; "
        "line 5: 2026-02-30). Write it as ISO 8601: 2026-01-31T09:30:00+09:00.",
        leads="lead_id,created_at\n1,soon\n2,2026-01-01T00:00:00Z\n3,31.01.2026\n4,2026-02-30\n5,x\n",
    ),
    "no_time_zone": Case(
        "error events.occurred_at: no_time_zone in 2 rows (line 2: 2026-01-03T00:00:00; "
        "line 4: 2026-01-03). Say which zone the export's times are in: "
        "--timezone Europe/Berlin (or Asia/Tokyo, UTC, +09:00).",
        events=f"{NO_EVENTS}L-1,2026-01-03T00:00:00,call\n{EVENT}L-1,2026-01-03,call\n",
    ),
    "unknown_time_zone": Case(
        "error leads: unknown_time_zone. Give a name such as Europe/Berlin or an offset such as "
        "+09:00 instead of Europe/Berln.",
        options={"timezone": "Europe/Berln"},
    ),
    "time_out_of_range": Case(
        "error events.occurred_at: time_out_of_range in 1 row (line 3: 2206-01-03T00:00:00Z). "
        "Correct it: it looks like a typo.",
        events=f"{NO_EVENTS}{EVENT}L-1,2206-01-03T00:00:00Z,call\n",
    ),
    "time_after_now": Case(
        "error events.occurred_at: time_after_now in 1 row (line 2: 2026-01-03T00:00:00Z). Correct "
        "it: one typo would age everything. The clock says 2026-01-02T23:59:59.999999Z.",
        options={"now_us": us("2026-01-03") - 1},
    ),
    "time_after_until": Case(
        "warning leads.created_at: time_after_until in 1 row (line 3: 2026-01-02 00:00:00+00:00). "
        "Nothing: what comes after 2026-01-01T23:59:59.999999Z is not looked at. "
        "Give a later --until if it should be.",
        events=NO_EVENTS,
        options={"until_us": us("2026-01-02") - 1},
    ),
    "clock_change": Case(
        "note leads.created_at: clock_change in 1 row (line 2: 2026-10-25T02:30:00). "
        "Export times with a zone; the first of two was taken, and the next that exists.",
        leads="lead_id,created_at\nL-1,2026-10-25T02:30:00\n",
        options={"timezone": "Europe/Berlin"},
    ),
    "missing_type": Case(
        "error events.event_type: missing_type in 1 row (line 3: empty). "
        "Fill it in, or leave the row out.",
        events=f"{NO_EVENTS}{EVENT}L-1,2026-01-03T00:00:00Z,\n",
    ),
    "too_many_values": Case(
        "error events.event_type: too_many_values. Map a column of categories: this one, with "
        "65,536 values, looks like an id or free text.",
        events=NO_EVENTS
        + "".join(f"L-1,2026-01-03T00:00:00Z,{n}\n" for n in range(MAX_DISTINCT + 1)),
    ),
    "not_a_number": Case(
        "error events.value: not_a_number in 1 row (line 3: 12 min). "
        "Write it as 1234.5; leave the cell empty if unknown.",
        events=f"{EVENTS_WITH},value\nL-1,2026-01-03T00:00:00Z,call,-3\n"
        "L-1,2026-01-03T00:00:00Z,call,12 min\n",
    ),
    "not_finite": Case(
        "error leads.size: not_finite in 1 row (line 3: inf). "
        "Leave the cell empty if the number is unknown.",
        leads="lead_id,created_at,size\n1,2026-01-01T00:00:00Z,1.5\n2,2026-01-01T00:00:00Z,inf\n",
    ),
    "unknown_outcome": Case(
        "error outcomes.outcome: unknown_outcome in 2 rows (line 3: 商談中; line 4: empty). "
        "Write won or lost; leave open leads out.",
        outcomes=f"{OUTCOMES_WITH}\nL-1,2026-02-01T00:00:00Z, Won\n"
        "L-2,2026-02-01T00:00:00Z,商談中\nL-2,2026-02-01T00:00:00Z,\n",
    ),
    "repeated_event": Case(
        "warning events.event_id: repeated_event in 1 row (line 3: e-1). Nothing: it counts once.",
        events=f"{EVENTS_WITH},event_id\n" + "L-1,2026-01-03T00:00:00Z,call,e-1\n" * 2,
    ),
    "conflicting_event": Case(
        "error events.event_id: conflicting_event in 1 row (line 3: e-1). "
        "Give each event its own id, or leave event_id out if it is not one.",
        events=f"{EVENTS_WITH},event_id\nL-1,2026-01-03T00:00:00Z,call,e-1\n"
        "L-1,2026-01-03T00:00:00Z,visit,e-1\n",
    ),
    "repeated_outcome": Case(
        "warning outcomes.lead_id: repeated_outcome in 1 row (line 3: L-1). "
        "Nothing: it counts once.",
        outcomes=f"{OUTCOMES_WITH}\nL-1,2026-02-01T00:00:00Z,won\nL-1,2026-02-01T00:00:00Z,WON\n",
    ),
    "unknown_lead": Case(
        "warning events.lead_id: unknown_lead in 4 rows (line 3: l-1; line 4: X; line 5: X). "
        "Nothing, if the leads table is a selection: the row is not used. "
        "Else check that ids are written alike.",
        events=NO_EVENTS + EVENT + "l" + EVENT[1:] + f"X{EVENT[3:]}" * 3,
    ),
    "before_created": Case(
        "warning outcomes.closed_at: before_created in 1 row (line 2: 2025-12-31 23:59:59+00:00). "
        "Nothing, if leads are created after their first contact: the row is kept and used.",
        outcomes=f"{OUTCOMES_WITH}\nL-1,2025-12-31T23:59:59Z,won\nL-1,2026-01-01T00:00:00Z,won\n",
    ),
    "recorded_early": Case(
        "warning events.recorded_at: recorded_early in 1 row (line 3: 2026-01-02 00:00:00+00:00). "
        "Check which column is which; it counts as known when it happened.",
        events=f"{EVENTS_WITH},recorded_at\n"
        "L-1,2026-01-03T00:00:00Z,call,2026-01-03T00:00:00Z\n"
        "L-1,2026-01-03T00:00:00Z,call,2026-01-02T00:00:00Z\n",
    ),
    "conflicting_change": Case(
        "warning changes.value: conflicting_change in 2 rows (line 3: small; line 5: empty). "
        "Nothing, if rows stand in the order they were made: the last one counts.",
        changes=f"{CHANGES_WITH}\nL-1,2026-01-03T00:00:00Z,size,large\n"
        "L-2,2026-01-03T00:00:00Z,size,small\nL-2,2026-01-03T00:00:00Z,size,large\n"
        "L-1,2026-01-03T00:00:00Z,tier,\nL-1,2026-01-03T00:00:00Z,size,large\n"
        "L-1,2026-01-03T00:00:00Z,tier,gold\n",
    ),
    "reserved_attribute": Case(
        "warning changes.attribute: reserved_attribute in 1 row (line 2: created_at). "
        "Nothing: these are read from the leads table alone.",
        changes=f"{CHANGES_WITH}\nL-1,2026-01-03T00:00:00Z,created_at,2025-01-01\n"
        "L-1,2026-01-03T00:00:00Z,size,large\n",
    ),
    "late_history": Case(
        "warning changes.size: late_history in 2 rows. Add a change at created_at with the value "
        "of then; until its first change the attribute is missing, since the leads table may show "
        "what it says today.",
        leads="lead_id,created_at,size\n1,2026-01-01T00:00:00Z,5\n2,2026-01-01T00:00:00Z,6\n"
        "3,2026-01-01T00:00:00Z,\n4,2026-01-01T00:00:00Z,8\n",
        events=NO_EVENTS,
        changes=f"{CHANGES_WITH}\n1,2026-01-01T00:00:01Z,size,5\n4,2026-01-01T00:00:00Z,size,7\n",
    ),
    "too_many_rejects": Case(
        "error leads: too_many_rejects in 1 row. Mend the export: 33.33% of the rows are bad, "
        "and at most 33.00% may be set aside (--max-rejected-share).",
        leads=TWO_LEADS + ",2026-01-01T00:00:00Z\n",
        options={"reject_file": "{folder}/rejects.csv", "max_rejected_share": 0.33},
    ),
}
ELSEWHERE = {
    # test_sources
    "empty_folder", "not_parquet", "not_csv", "open_quote", "not_utf8", "parts_differ",
    "ignored_files", "cannot_query", "cannot_reach",
    # below
    "wrong_type", "left_out_attribute",
    # test_attributes
    "left_out_sensitive", "left_out_time", "left_out_type", "left_out_constant", "left_out_id",
    "left_out_free_text", "left_out_rare_levels",
    # test_matrix
    "unknown_exclude",
    # test_undated
    "unknown_order", "undated_events",
    # test_profile
    "missing_share_moved", "values_moved",
}  # fmt: skip


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_says_where_how_many_what_and_the_mend(tmp_path: Path, rule: str):
    case = CASES[rule]
    texts = {name: getattr(case, name) for name in ("leads", "events", "outcomes", "changes")}
    paths = write(tmp_path, **{name: text for name, text in texts.items() if text is not None})
    paths.setdefault("leads", tmp_path / "leads.csv")
    options: dict[str, Any] = {
        name: value.format(folder=tmp_path) if isinstance(value, str) else value
        for name, value in case.options.items()
    }
    found = of_rule(inspect_tables(**paths, **options).findings, rule)
    assert str(found) == case.finding.replace("{folder}", str(tmp_path))


def test_every_rule_has_a_case():
    assert CASES.keys() | ELSEWHERE == {rule.name for rule in RULES}


def test_a_type_that_fits_nothing(tmp_path: Path):
    leads = pa.table({"lead_id": [["L-1"]], "created_at": pa.array([0], TIME)})
    pq.write_table(leads, tmp_path / "leads.parquet")
    (finding,) = read(LEADS, tmp_path / "leads.parquet").findings
    assert str(finding) == (
        "error leads.lead_id: wrong_type. "
        "Write it as text or whole numbers, not list<element: string>."
    )


def test_attributes_that_are_lists_structures_or_bytes_are_left_out_and_named(tmp_path: Path):
    columns = {
        "lead_id": ["L-1"],
        "created_at": pa.array([0], TIME),
        "tags": [["a"]],
        "photo": [b"x"],
        "size": [7],
        "suppress": [["customer"]],
    }
    pq.write_table(pa.table(columns), tmp_path / "leads.parquet")
    leads = read(LEADS, tmp_path / "leads.parquet")
    assert leads.table.column_names == ["lead_id", "created_at", "suppress", "size"]
    assert leads.table["suppress"].to_pylist() == [["customer"]]
    assert [str(finding) for finding in leads.findings] == [
        "note leads.tags: left_out_attribute. Spread it over plain columns if the model should "
        "see it; list<element: string> is left out.",
        "note leads.photo: left_out_attribute. Spread it over plain columns if the model should "
        "see it; binary is left out.",
    ]


# ---- all findings at once ---------------------------------------------------------------


def test_all_findings_of_all_tables_are_raised_at_once(tmp_path: Path):
    paths = write(
        tmp_path,
        leads="lead_id,created_at,size\n,soon,1\nL-1,2026-01-02,inf\nL-1,2026-01-02T00:00:00Z,1\n",
        events="lead_id,occurred_at,value\nL-1,,x\nL-9,2026-01-02T00:00:00Z,1\n",
        outcomes="lead_id,closed_at,outcome\nL-1,2026-01-02T00:00:00Z,maybe\n",
    )
    with pytest.raises(ContractError) as raised:
        read_tables(**paths)
    assert [(each.table, each.column, each.rule) for each in raised.value.findings] == [
        ("leads", "lead_id", "missing_id"),
        ("leads", "created_at", "not_a_time"),
        ("leads", "created_at", "no_time_zone"),
        ("leads", "size", "not_finite"),
        ("leads", "lead_id", "repeated_lead"),
        ("events", "event_type", "missing_column"),
        ("events", "occurred_at", "missing_time"),
        ("events", "value", "not_a_number"),
        ("outcomes", "outcome", "unknown_outcome"),
        ("events", "lead_id", "unknown_lead"),
    ]
    for finding in raised.value.findings:
        assert str(finding) in str(raised.value)


def test_tables_that_cannot_be_read_do_not_hide_what_is_wrong_with_the_others(tmp_path: Path):
    (tmp_path / "leads.parquet").write_bytes(b"no")
    paths = write(tmp_path, events=NO_EVENTS + "L-1,soon,call\n", outcomes="")
    tables = inspect_tables(tmp_path / "leads.parquet", **paths)
    assert rules(tables.findings) == ["not_parquet", "not_a_time", "empty_file"]
    assert not tables.usable
    assert tables.event_segment.tolist() == [-1]


def test_tables_without_errors_are_usable(tmp_path: Path):
    tables = inspect(tmp_path, events=NO_EVENTS)
    assert tables.usable
    assert rules(tables.findings) == ["empty_table"]
    paths = write(tmp_path, leads=TWO_LEADS, events=NO_EVENTS)
    assert read_tables(**paths).leads.equals(tables.leads)


def test_tables_that_keep_the_contract_have_no_findings(tmp_path: Path):
    outcomes = f"{OUTCOMES_WITH}\nL-1,2026-02-01T00:00:00Z,won\nL-1,2026-03-01T00:00:00Z,lost\n"
    assert inspect(tmp_path, outcomes=outcomes).findings == ()


# ---- what comes out ---------------------------------------------------------------------


def test_the_tables_in_their_types(tmp_path: Path):
    tables = inspect(
        tmp_path,
        "lead_id,created_at,業種,class,paying,suppress\n007,2026-01-01T09:00:00+09:00,製造,1,true,\n",
        f"{EVENTS_WITH},channel,value,recorded_at\n007,2026-01-03T00:00:00Z,call,,,\n",
        f"{OUTCOMES_WITH},amount\n007,2026-01-04T00:00:00Z,Won,1\n",
    )
    assert tables.findings == ()
    category = pa.dictionary(pa.int32(), pa.string())
    assert dict(zip(tables.leads.column_names, tables.leads.schema.types, strict=True)) == {
        "lead_id": pa.string(),
        "created_at": TIME,
        "suppress": pa.string(),
        "業種": pa.string(),
        "class": pa.int64(),
        "paying": pa.bool_(),
    }
    assert dict(zip(tables.events.column_names, tables.events.schema.types, strict=True)) == {
        "lead_id": pa.string(),
        "occurred_at": TIME,
        "event_type": category,
        "value": pa.float64(),
        "channel": category,
        "recorded_at": TIME,
    }
    assert tables.outcomes is not None
    assert tables.outcomes.to_pydict() == {
        "lead_id": ["007"],
        "closed_at": [datetime(2026, 1, 4, tzinfo=UTC)],
        "outcome": ["won"],
        "amount": [1.0],
    }
    assert tables.leads["created_at"][0].as_py() == datetime(2026, 1, 1, tzinfo=UTC)


def test_ids_meet_across_types(tmp_path: Path):
    created = pa.array([0, 0, 0], TIME)
    pq.write_table(pa.table({"lead_id": [7, 8, 9], "created_at": created}), tmp_path / "l.parquet")
    events = {
        "lead_id": [9.0, 7.0, float("nan"), None],
        "occurred_at": pa.array([1, 1, 1, 1], TIME),
        "event_type": ["call"] * 4,
    }
    pq.write_table(pa.table(events), tmp_path / "e.parquet")
    won = "2026-01-01T00:00:00Z,won"
    paths = write(tmp_path, outcomes=f"{OUTCOMES_WITH}\n8,{won}\n08,{won}\n")
    tables = inspect_tables(tmp_path / "l.parquet", tmp_path / "e.parquet", **paths)
    assert tables.event_segment.tolist() == [2, 0, -1, -1]
    assert tables.outcome_segment.tolist() == [1, -1]
    assert of_rule(tables.findings, "missing_id").rows == 2


@pytest.mark.parametrize("in_runs", [True, False])
def test_segments_of_many_events(tmp_path: Path, in_runs: bool):
    rng = np.random.default_rng(7)
    lead = rng.integers(0, 1_200, 50_000)
    lead = np.sort(lead) if in_runs else lead
    ids = np.array([f"L-{n}" for n in range(1_200)])
    leads = {"lead_id": ids[:1_000], "created_at": pa.array(np.zeros(1_000, np.int64), TIME)}
    events = {
        "lead_id": ids[lead],
        "occurred_at": pa.array(np.ones(len(lead), np.int64), TIME),
        "event_type": pa.array(["call"] * len(lead)),
    }
    pq.write_table(pa.table(leads), tmp_path / "l.parquet")
    pq.write_table(pa.table(events), tmp_path / "e.parquet", row_group_size=9_999)
    tables = inspect_tables(tmp_path / "l.parquet", tmp_path / "e.parquet")
    assert tables.event_segment.dtype == np.int32
    np.testing.assert_array_equal(tables.event_segment, np.where(lead < 1_000, lead, -1))
    unknown = of_rule(tables.findings, "unknown_lead")
    first = np.flatnonzero(lead >= 1_000)[:3]
    assert unknown.rows == int((lead >= 1_000).sum())
    assert [each.where for each in unknown.examples] == [f"row {row + 1}" for row in first]


def test_rows_of_parts_are_named_by_their_file(tmp_path: Path):
    folder = tmp_path / "events"
    folder.mkdir()
    (folder / "b.csv").write_text(NO_EVENTS + EVENT + "L-1,soon,call\n")
    (folder / "a.csv").write_text(NO_EVENTS + "L-1,now,call\n")
    paths = write(tmp_path, leads=TWO_LEADS)
    found = of_rule(inspect_tables(events=folder, **paths).findings, "not_a_time")
    assert [str(example) for example in found.examples] == [
        "a.csv, line 2: now",
        "b.csv, line 3: soon",
    ]


def test_a_database(tmp_path: Path):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'crm.db'}")
    with engine.begin() as connection:
        connection.execute(
            sa.text("CREATE TABLE leads (lead_id INTEGER, created_at TEXT, size REAL)")
        )
        connection.execute(sa.text("INSERT INTO leads VALUES (7, '2026-01-01T00:00:00Z', 1.5)"))
        connection.execute(
            sa.text("CREATE TABLE events (lead_id TEXT, occurred_at TEXT, event_type TEXT)")
        )
        connection.execute(
            sa.text("INSERT INTO events VALUES ('7', '2026-01-02T00:00:00Z', 'call')")
        )
    engine.dispose()
    url = f"sqlite:///{tmp_path / 'crm.db'}"
    tables = read_tables(f"{url}#leads", f"{url}#events")
    assert tables.leads["size"].to_pylist() == [1.5]
    assert tables.event_segment.tolist() == [0]


# ---- the column map ---------------------------------------------------------------------


def test_columns_are_mapped(tmp_path: Path):
    tables = inspect(
        tmp_path,
        "ID,作成日時,created_at,Staff\n1,2026-01-01T00:00:00Z,x,9\n",
        "ID,occurred_at,event_type,Minutes\n1,2026-01-03T00:00:00Z,call,5\n",
        columns={
            "leads": {"lead_id": "ID", "created_at": "作成日時", "employees": "Staff"},
            "events": {"lead_id": "ID", "value": "Minutes"},
        },
    )
    assert tables.leads.to_pydict() == {
        "lead_id": ["1"],
        "created_at": [datetime(2026, 1, 1, tzinfo=UTC)],
        "employees": [9],
    }
    assert tables.events["value"].to_pylist() == [5.0]
    assert [str(finding) for finding in tables.findings] == [
        "note leads: ignored_columns. Nothing, or map them: created_at."
    ]


def test_a_map_may_speak_of_other_tables_columns(tmp_path: Path):
    columns = {"leads": {"occurred_at": "When", "event_type": "Kind"}}
    leads = "lead_id,created_at,Kind\nL-1,2026-01-01T00:00:00Z,x\n"
    tables = inspect(tmp_path, leads, columns=columns)
    assert tables.leads.column_names == ["lead_id", "created_at", "Kind"]
    assert tables.findings == ()


def test_a_mapped_column_that_is_not_there_is_missing_even_if_optional(tmp_path: Path):
    tables = inspect(tmp_path, columns={"events": {"value": "Minuts"}})
    assert str(of_rule(tables.findings, "missing_column")) == (
        "error events.value: missing_column. Say which column it is in leadqual.toml: "
        '[columns] events.value = "its name"; the table has lead_id, occurred_at, event_type.'
    )


def test_an_attribute_mapped_to_a_column_that_is_not_there_is_named_with_the_nearest(tmp_path):
    leads = "lead_id,created_at,Industry\nL-1,2026-01-01T00:00:00Z,x\n"
    columns = {"leads": {"industry": "Industri"}}
    found = of_rule(inspect(tmp_path, leads, columns=columns).findings, "missing_column")
    assert str(found) == (
        "error leads.industry: missing_column. leadqual.toml maps it to Industri, did you mean "
        "Industry? The table has lead_id, created_at, Industry. Name one of them, or drop the line."
    )
    far = of_rule(
        inspect(tmp_path, leads, columns={"leads": {"industry": "業種"}}).findings, "missing_column"
    )
    assert "maps it to 業種. The table has lead_id, created_at, Industry." in str(far)
    allowed = inspect(tmp_path, leads, columns=columns, attributes_may_lack=True)
    assert allowed.usable


def test_one_column_may_be_two(tmp_path: Path):
    columns = {"events": {"recorded_at": "occurred_at"}}
    events = inspect(tmp_path, columns=columns).events
    assert events["recorded_at"].to_pylist() == events["occurred_at"].to_pylist()


def test_columns_without_a_name_are_ignored(tmp_path: Path):
    tables = inspect(tmp_path, "lead_id,created_at,\nL-1,2026-01-01T00:00:00Z,0\n")
    assert tables.leads.column_names == ["lead_id", "created_at"]
    assert str(tables.findings[0]) == 'note leads: ignored_columns. Nothing, or map them: "".'


# ---- times --------------------------------------------------------------------------------


def test_the_moment_of_the_export_is_the_newest_time_of_all_tables(tmp_path: Path):
    recorded = f"{OUTCOMES_WITH},recorded_at\nL-1,2026-02-01T00:00:00Z,won,2026-05-01T00:00:00Z\n"
    assert inspect(tmp_path, outcomes=recorded).until_us == us("2026-05-01")
    assert inspect(tmp_path).until_us == us("2026-01-03")
    assert inspect(tmp_path, events=NO_EVENTS).until_us == us("2026-01-02")
    assert inspect(tmp_path, until_us=5).until_us == 5


def test_rows_after_the_moment_of_the_export_stay(tmp_path: Path):
    until_us = us("2026-01-03") - 1
    tables = inspect(tmp_path, until_us=until_us)
    assert rules(tables.findings) == ["time_after_until"]
    assert tables.events.num_rows == 1
    assert inspect(tmp_path, until_us=until_us + 1).findings == ()


def test_a_time_may_be_as_late_as_the_clock(tmp_path: Path):
    assert inspect(tmp_path, now_us=us("2026-01-03")).findings == ()


def test_an_unknown_zone_is_said_once_and_hides_nothing(tmp_path: Path):
    tables = inspect(tmp_path, TWO_LEADS + "L-3,soon\nL-4,2026-01-01\n", timezone="Mars")
    assert rules(tables.findings) == ["unknown_time_zone", "not_a_time"]


def test_the_zone_of_times_without_one(tmp_path: Path):
    leads = "lead_id,created_at\nL-1,2026-01-01\nL-2,2026-01-01T09:00:00+09:00\n"
    created = inspect(tmp_path, leads, timezone="Asia/Tokyo").leads["created_at"].to_pylist()
    assert created == [
        datetime(2025, 12, 31, 15, tzinfo=UTC),
        datetime(2026, 1, 1, tzinfo=UTC),
    ]


def test_an_event_at_the_moment_of_creation_is_not_before_it(tmp_path: Path):
    events = f"{NO_EVENTS}L-1,2026-01-01T00:00:00Z,call\nL-2,2026-01-01T23:59:59.999999Z,call\n"
    found = of_rule(inspect(tmp_path, events=events).findings, "before_created")
    assert (found.rows, found.examples[0].where) == (1, "line 3")


def test_events_before_creation_are_counted_over_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("features.relations.BLOCK_ROWS", 2)
    early = "L-1,2025-01-01T00:00:00Z,call\n"
    tables = inspect(tmp_path, events=NO_EVENTS + (EVENT + early) * 4)
    found = of_rule(tables.findings, "before_created")
    assert found.rows == 4
    assert [each.where for each in found.examples] == ["line 3", "line 5", "line 7"]
    assert tables.events.num_rows == 8
    assert tables.event_segment.tolist() == [0] * 8


# ---- rows that stand there again ----------------------------------------------------------


def test_with_a_column_of_moments_a_lead_may_stand_several_times(tmp_path: Path):
    leads = (
        "lead_id,created_at,judged\nL-1,2026-01-01T00:00:00Z,2026-01-05T00:00:00Z\n"
        "L-1,2026-01-01T00:00:00Z,2099-01-05T00:00:00Z\nL-1,2026-01-01T00:00:00Z,2026-01-05T00:00:00Z\n"
    )
    now_us = us("2026-02-01")
    tables = inspect(tmp_path, leads, as_of_column="judged", now_us=now_us)
    assert tables.findings == ()
    assert tables.leads["judged"].type == TIME
    assert tables.event_segment.tolist() == [0]
    assert tables.until_us == us("2026-01-03")
    assert rules(inspect(tmp_path, leads, now_us=now_us).findings) == ["repeated_lead"]


@pytest.mark.parametrize(("moment", "rule"), [("", "missing_time"), ("2026-01-05", "no_time_zone")])
def test_moments_are_times(tmp_path: Path, moment: str, rule: str):
    leads = f"lead_id,created_at,judged\nL-1,2026-01-01T00:00:00Z,{moment}\n"
    found = of_rule(inspect(tmp_path, leads, as_of_column="judged").findings, rule)
    assert (found.column, found.severity) == ("judged", "error")


def test_a_column_of_moments_that_is_not_there(tmp_path: Path):
    assert (
        of_rule(inspect(tmp_path, as_of_column="judged").findings, "missing_column").column
        == "judged"
    )


def test_repeated_events_are_kept_once_and_lines_still_count(tmp_path: Path):
    events = f"{EVENTS_WITH},event_id,value\n" + (
        "L-1,2026-01-03T00:00:00Z,call,e-1,\n"
        "L-1,2026-01-03T00:00:00Z,call,e-1,\n"
        "L-1,2026-01-03T00:00:00Z,call,,\n"
        "L-1,2026-01-03T00:00:00Z,call,,\n"
        "L-1,2026-01-03T00:00:00Z,call,e-2,1\n"
        "L-9,2026-01-03T00:00:00Z,call,e-3,\n"
        "L-1,2026-01-03T00:00:00Z,call,e-1,\n"
    )
    tables = inspect(tmp_path, events=events)
    assert tables.events["event_id"].to_pylist() == ["e-1", None, None, "e-2", "e-3"]
    assert tables.event_segment.tolist() == [0, 0, 0, 0, -1]
    repeated = of_rule(tables.findings, "repeated_event")
    assert (repeated.rows, [each.where for each in repeated.examples]) == (2, ["line 3", "line 8"])
    assert of_rule(tables.findings, "unknown_lead").examples[0].where == "line 7"


@pytest.mark.parametrize(
    "content",
    [
        "L-2,{at}Z,call,web,1",
        "L-1,{at}+01:00,call,web,1",
        "L-1,{at}Z,visit,web,1",
        "L-1,{at}Z,call,,1",
        "L-1,{at}Z,call,web,2",
        "L-1,{at}Z,call,web,",
    ],
)
def test_any_other_content_of_an_event_is_a_conflict(tmp_path: Path, content: str):
    rows = ["L-1,{at}Z,call,web,1,e-1\n", f"{content},e-1\n"]
    events = f"{EVENTS_WITH},channel,value,event_id\n{''.join(rows)}".format(
        at="2026-01-03T00:00:00"
    )
    found = of_rule(inspect(tmp_path, events=events).findings, "conflicting_event")
    assert (found.rows, found.examples[0].where) == (1, "line 3")


def test_equal_events_without_an_id_are_all_kept(tmp_path: Path):
    tables = inspect(tmp_path, events=NO_EVENTS + EVENT * 3)
    assert (tables.events.num_rows, tables.findings) == (3, ())


def test_repeated_outcomes_are_kept_once(tmp_path: Path):
    outcomes = f"{OUTCOMES_WITH},amount\n" + (
        "L-1,2026-02-01T00:00:00Z,won,5\n"
        "L-1,2026-02-01T00:00:00Z,won,5\n"
        "L-1,2026-02-01T00:00:00Z,won,\n"
        "L-1,2026-03-01T00:00:00Z,lost,5\n"
        "L-2,2026-02-01T00:00:00Z,won,5\n"
    )
    tables = inspect(tmp_path, outcomes=outcomes)
    assert tables.outcomes is not None
    assert tables.outcomes["amount"].to_pylist() == [5.0, None, 5.0, 5.0]
    assert tables.outcome_segment.tolist() == [0, 0, 0, 1]


# ---- rows set aside -------------------------------------------------------------------------

BAD_LEADS = (
    "lead_id,created_at,size\n"
    + "".join(f"L-{n},2026-01-01T00:00:00Z,1\n" for n in range(195))
    + ',2026-01-01,"inf"\nL-9\nL-7,2026-01-01T00:00:00Z,1\n'
    + "L-200,2026-01-01T00:00:00Z,\n"
    + "L-201,2026-01-01T00:00:00Z,\n"
)


def test_bad_rows_are_set_aside_with_where_and_why(tmp_path: Path):
    rejects = tmp_path / "拒否.csv"
    tables = inspect(tmp_path, BAD_LEADS, reject_file=rejects, max_rejected_share=0.015)
    assert tables.usable
    assert {(each.rule, each.severity) for each in tables.findings} == {
        ("ragged_row", "warning"),
        ("missing_id", "warning"),
        ("no_time_zone", "warning"),
        ("not_finite", "warning"),
        ("repeated_lead", "warning"),
    }
    assert all(finding.mend.startswith("Set aside. ") for finding in tables.findings)
    assert tables.leads["lead_id"].to_pylist() == [f"L-{n}" for n in [*range(195), 200, 201]]
    assert rejects.read_bytes().startswith(b"\xef\xbb\xbf")
    with rejects.open(encoding="utf-8-sig", newline="") as file:
        assert list(csv.reader(file)) == [
            ["table", "where", "rule", "column", "row"],
            ["leads", "line 198", "ragged_row", "", "L-9"],
            [
                "leads",
                "line 197",
                "missing_id; no_time_zone; not_finite",
                "lead_id; created_at; size",
                '{"lead_id": null, "created_at": "2026-01-01", "size": "inf"}',
            ],
            [
                "leads",
                "line 199",
                "repeated_lead",
                "lead_id",
                '{"lead_id": "L-7", "created_at": "2026-01-01T00:00:00Z", "size": "1"}',
            ],
        ]


def test_more_bad_rows_than_may_be_set_aside_are_errors_and_still_written(tmp_path: Path):
    rejects = tmp_path / "rejects.csv"
    tables = inspect(tmp_path, BAD_LEADS, reject_file=rejects, max_rejected_share=0.0149)
    assert not tables.usable
    assert of_rule(tables.findings, "too_many_rejects").rows == 3
    assert of_rule(tables.findings, "missing_id").severity == "error"
    assert len(rejects.read_text().splitlines()) == 4


def test_nothing_bad_leaves_an_empty_reject_file(tmp_path: Path):
    rejects = tmp_path / "rejects.csv"
    assert inspect(tmp_path, reject_file=rejects).findings == ()
    assert rejects.read_text("utf-8-sig").splitlines() == ["table,where,rule,column,row"]


def test_a_column_that_is_missing_cannot_be_set_aside(tmp_path: Path):
    leads = "lead_id,since\nL-1,2026-01-01T00:00:00Z\n"
    tables = inspect(tmp_path, leads, reject_file=tmp_path / "r.csv", max_rejected_share=1.0)
    assert of_rule(tables.findings, "missing_column").severity == "error"


def test_a_typo_that_was_set_aside_does_not_make_the_export_late(tmp_path: Path):
    events = NO_EVENTS + EVENT + "L-1,2099-01-03T00:00:00Z,call\n"
    options: dict[str, Any] = {"reject_file": tmp_path / "r.csv", "max_rejected_share": 0.5}
    tables = inspect(tmp_path, events=events, now_us=us("2026-02-01"), **options)
    assert (tables.usable, tables.until_us) == (True, us("2026-01-03"))


def test_events_of_a_lead_that_was_set_aside_belong_to_none(tmp_path: Path):
    leads = TWO_LEADS.replace("L-1,2026-01-01T00:00:00Z", "L-1,soon")
    options: dict[str, Any] = {"reject_file": tmp_path / "r.csv", "max_rejected_share": 0.5}
    tables = inspect(tmp_path, leads, NO_EVENTS + EVENT + EVENT.replace("L-1", "L-2"), **options)
    assert tables.event_segment.tolist() == [-1, 0]
    assert of_rule(tables.findings, "unknown_lead").rows == 1


# ---- one table --------------------------------------------------------------------------------


def test_one_table_says_which_rows_are_bad(tmp_path: Path):
    path = write(tmp_path, events=f"{NO_EVENTS}{EVENT}L-1,soon,\n{EVENT},2026-01-03T00:00:00Z,x\n")
    events = read(EVENTS, path["events"])
    assert not events.usable
    assert events.bad_rows.tolist() == [1, 3]
    assert events.where([1, 3]) == ["line 3", "line 5"]
    assert events.table.num_rows == 4
    assert events.rejected is None


def test_one_table_without_its_bad_rows(tmp_path: Path):
    path = write(tmp_path, events=f"{NO_EVENTS}L-1,soon,\n{EVENT}")
    events = read(EVENTS, path["events"], max_rejected_share=0.5)
    assert events.usable
    assert events.table["event_type"].to_pylist() == ["call"]
    assert events.where([0]) == ["line 3"]
    assert events.rejected is not None
    assert events.rejected["where"].to_pylist() == ["line 2"]


def test_reading_changes_no_file_and_forgets_nothing(tmp_path: Path):
    created = pa.array(
        [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(3)], TIME
    )
    given = pa.table({"lead_id": ["b", "a", "c"], "created_at": created, "size": [1.5, None, -2.0]})
    pq.write_table(given, tmp_path / "leads.parquet")
    before = (tmp_path / "leads.parquet").read_bytes()
    assert read(LEADS, tmp_path / "leads.parquet").table.equals(given)
    assert (tmp_path / "leads.parquet").read_bytes() == before


def test_outcomes_of_a_table_without_rows(tmp_path: Path):
    path = write(tmp_path, outcomes=f"{OUTCOMES_WITH}\n")
    outcomes = read(OUTCOMES, path["outcomes"])
    assert rules(outcomes.findings) == ["empty_table"]
    assert outcomes.table.schema.types == [pa.string(), TIME, pa.string()]
