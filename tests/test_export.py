import io
import json
import threading
import tracemalloc

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from features.readers import read_tables
from serving.http import export_routes
from serving.store import export, outbox
from serving.store.database import Database
from serving.store.tables import audit, events, handoffs, merges, outcomes, steps
from tests.commands import run
from tests.scorers import AS_OF_US, json_leads
from tests.states import crm, put

DAY_US = 86_400_000_000
EVENT = {"source": "crm", "event_type": "x", "occurred_us": 1, "received_us": 1, "verified": True}


@pytest.fixture
def service(database_url):
    with crm(database_url) as opened:
        yield opened


def fill(service):
    """Leads with a history, outcomes, hand-offs and what sales did."""
    put(service, *json_leads(3, 30))
    put(service, json_leads(4, 1)[0] | {"lead_id": "objected"}, suppress='["objected"]')
    handoff = {
        "handoff_id": "h-1", "lead_id": "L-0", "episode": 99, "kind": "flagged",
        "status": "accepted", "decision_id": 1, "reasons": "[]", "created_us": 1, "version": 1,
        "proposed_us": AS_OF_US,
    }  # fmt: skip
    step = {"handoff_id": "h-1", "version": 1, "lead_id": "L-0", "status": "accepted"}
    with service.database.writing() as connection:
        for number in range(30):
            row = {"lead_id": f"L-{number}", "closed_us": AS_OF_US + number, "received_us": 1}
            won = "won" if number % 3 else "lost"
            connection.execute(outcomes.insert().values(**row, outcome=won, amount=0.1 * number))
        connection.execute(handoffs.insert().values(handoff))
        connection.execute(
            steps.insert().values(**step, action="accept", at_us=AS_OF_US, received_us=AS_OF_US)
        )
        note = {"client": "crm", "action": "x", "items": 1, "request_id": "r", "at_us": 1}
        connection.execute(audit.insert().values(note))
        merged = {"lead_id": "gone", "merged_into": "L-0", "merged_us": 1}
        connection.execute(merges.insert().values(merged))
        outbox.put(connection, "lead.handoff", "L-0", {"lead_id": "リード"}, AS_OF_US)


def fetch(service, table, form="parquet", **options):
    return service.get(f"/v1/export/{table}.{form}", **options)


def parquet(answer):
    assert answer.status_code == 200, answer.text
    return pq.read_table(io.BytesIO(answer.content))


@pytest.mark.parametrize("name", export.NAMES)
def test_every_table_is_exported_whole_in_both_formats(service, name):
    fill(service)
    found = parquet(fetch(service, name))
    rows = sa.select(sa.func.count()).select_from(sa.table(name))
    assert len(found) == service.rows(rows)[0][0] > 0
    assert found.schema.equals(export.table(name).schema)
    answer = fetch(service, name, "csv")
    assert answer.content.startswith("\ufeff".encode())
    options = pa_csv.ParseOptions(newlines_in_values=True)
    assert len(pa_csv.read_csv(io.BytesIO(answer.content), parse_options=options)) == len(found)
    assert f'"{name}.csv"' in answer.headers["content-disposition"]


def test_times_are_times_in_utc_and_values_are_as_kept(service):
    with service.database.writing() as connection:
        row = EVENT | {"event_id": "E-1", "lead_id": "リード", "occurred_us": 1_790_000_000_123_456}
        connection.execute(events.insert().values(**row, value=0.1))
    found = parquet(fetch(service, "events"))
    assert found.schema.field("occurred_at").type == pa.timestamp("us", tz="UTC")
    [row] = found.to_pylist()
    assert row["occurred_at"].isoformat() == "2026-09-21T14:13:20.123456+00:00"
    assert (row["lead_id"], row["value"], row["verified"]) == ("リード", 0.1, True)
    assert row["recorded_at"] is None
    assert parquet(fetch(service, "training_events")).to_pylist() == [
        {
            "lead_id": "リード", "occurred_at": row["occurred_at"], "event_type": "x",
            "channel": None, "value": 0.1, "recorded_at": None,
        }
    ]  # fmt: skip
    assert "2026-09-21T14:13:20.123456Z" in fetch(service, "events", "csv").text


def test_a_table_without_rows_has_its_columns(service):
    found = parquet(fetch(service, "handoffs"))
    assert len(found) == 0
    assert "proposed_at" in found.column_names
    assert fetch(service, "audit", "csv").text.count("\n") == 1


def test_no_secret_is_exported(service):
    assert not {"keys", "endpoints", "idempotency", "facts"} & {*export.NAMES}
    for name in ("keys", "endpoints", "facts", "leads;", "..%2fleads"):
        assert fetch(service, name).status_code == 404
    assert fetch(service, "leads", "txt").status_code == 404


def test_it_takes_the_scope_admin(service):
    token = service.key("other", ["read", "write", "score"])
    assert fetch(service, "leads", token=token).status_code == 403


def test_all_rows_are_of_one_moment(service, monkeypatch):
    monkeypatch.setattr(export, "ROWS_AT_ONCE", 10)
    add(service.database, 0, 25)
    with service.database.reading() as connection:
        parts = export.table("events").parts(connection)
        first = [next(parts), next(parts)]
        add(service.database, 25, 100)
        assert sum(map(len, [*first, *parts])) == 25


def add(database, start, stop):
    with database.writing() as connection:
        rows = [EVENT | {"event_id": f"E-{n}", "lead_id": f"L-{n}"} for n in range(start, stop)]
        connection.execute(events.insert(), rows)


def test_memory_does_not_grow_with_the_table(service, monkeypatch):
    monkeypatch.setattr(export, "ROWS_AT_ONCE", 500)

    def peak():
        slots = threading.BoundedSemaphore(1)
        slots.acquire()
        tracemalloc.start()
        for _ in export_routes._chunks(service.database, export.table("events"), slots, csv=False):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    add(service.database, 0, 3_000)
    few = peak()
    add(service.database, 3_000, 30_000)
    assert peak() < 2 * few


def test_only_so_many_are_exported_at_once_and_one_that_is_left_frees_its_place(service):
    slots = threading.BoundedSemaphore(1)
    slots.acquire()
    chunks = export_routes._chunks(service.database, export.table("events"), slots, csv=False)
    next(chunks)
    assert not slots.acquire(blocking=False)
    chunks.close()
    assert slots.acquire(blocking=False)


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_the_command_writes_what_train_reads(service, database_url, tmp_path, form):
    fill(service)
    done = run("export", "--database-url", database_url, "--output", tmp_path, "--format", form,
               "--json")  # fmt: skip
    assert done.code == 0, done.err
    assert sorted(path.name for path in tmp_path.glob(f"*.{form}")) == sorted(
        f"{name}.{form}" for name in export.NAMES
    )
    rows = json.loads(done.out)["rows"]
    tables = read_tables(*(
        tmp_path / f"training_{name}.{form}" for name in ("leads", "events", "outcomes")
    ), changes=tmp_path / f"training_changes.{form}")  # fmt: skip
    assert tables.usable
    assert len(tables.leads) == rows["training_leads"] == 30
    assert len(tables.events) == rows["training_events"]
    assert tables.outcomes is not None
    assert len(tables.outcomes) == 30
    assert "handoff_accepted" in tables.events["event_type"].unique().to_pylist()
    assert "objected" not in tables.leads["lead_id"].to_pylist()
    assert tables.changes


def test_some_tables_may_be_named(service, database_url, tmp_path):
    done = run("export", "--database-url", database_url, "--output", tmp_path / "new",
               "--tables", "leads,audit")  # fmt: skip
    assert done.code == 0, done.err
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "leads.parquet", "audit.parquet",
    }  # fmt: skip


def test_an_export_that_fails_leaves_what_stood_there(service, database_url, tmp_path, monkeypatch):
    (tmp_path / "leads.parquet").write_text("before")
    parts = export.Exported.parts

    def fails(table, connection):
        if table.name == "audit":
            raise MemoryError
        return parts(table, connection)

    monkeypatch.setattr(export.Exported, "parts", fails)
    done = run("export", "--database-url", database_url, "--output", tmp_path,
               "--tables", "leads,audit")  # fmt: skip
    assert done.code == 5
    assert [path.name for path in tmp_path.glob("*.parquet*")] == ["leads.parquet"]
    assert (tmp_path / "leads.parquet").read_text() == "before"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--tables", "keys"], 2, "no such table"), (["--tables", ""], 2, "--tables is empty"),
        (["--format", "xlsx"], 2, "xlsx"),
        (["--database-url", "sqlite:///{folder}/none.db"], 2, "there is no"),
        (["--output", "/dev/null/x"], 5, "/dev/null"),
    ],
)  # fmt: skip
def test_what_the_command_refuses(sqlite_url, tmp_path, arguments, code, said):
    given = {"--database-url": sqlite_url, "--output": str(tmp_path / "out")}
    given |= dict([[each.format(folder=tmp_path) for each in arguments]])
    done = run("export", *(word for pair in given.items() for word in pair))
    assert done.code == code, done.err
    assert said in done.err
    assert not (tmp_path / "none.db").exists()


def test_a_database_is_named_by_the_environment_too(sqlite_url, tmp_path, monkeypatch):
    monkeypatch.setenv("LEADQUAL_DATABASE_URL", sqlite_url)
    Database.open(sqlite_url).close()
    assert run("export", "--output", tmp_path / "out", "--tables", "leads").code == 0
