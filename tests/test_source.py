"""A model that learns from the service's database is the one that learns from its export."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from features.history import DAY_US
from features.readers import read_tables
from serving.store import tables
from serving.store.database import Database
from tests.commands import run
from tests.states import as_csv
from training.simulator import simulate

TABLES = ("leads", "events", "outcomes", "changes")


def us(column):
    return column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_pylist()


def fill(database, world):
    """Put a simulated CRM into the tables as the service keeps it."""
    received = {"received_us": 1}
    leads, events, outcomes = world.leads, world.events, world.outcomes
    names = [name for name in leads.column_names if name not in {"lead_id", "created_at"}]
    created = dict(zip(leads["lead_id"].to_pylist(), us(leads["created_at"]), strict=True))
    kept = {"suppress": "[]", "episode": 0, "changed_us": 1, **received}
    with database.writing() as connection:
        rows = [{"lead_id": lead, "created_us": at, **kept} for lead, at in created.items()]
        connection.execute(tables.leads.insert(), rows)
        rows = [
            {
                "lead_id": row["lead_id"],
                "attribute": name,
                "value": as_csv(row[name]),
                "changed_us": created[row["lead_id"]],
                **received,
            }
            for row in leads.to_pylist()
            for name in names
        ]
        connection.execute(tables.changes.insert(), rows)
        rows = [
            {
                "source": "crm",
                "event_id": str(number),
                "verified": True,
                "occurred_us": at,
                **{name: row[name] for name in ("lead_id", "event_type", "channel", "value")},
                **received,
            }
            for number, (row, at) in enumerate(
                zip(events.to_pylist(), us(events["occurred_at"]), strict=True)
            )
        ]
        connection.execute(tables.events.insert(), rows)
        rows = [
            {"lead_id": row["lead_id"], "outcome": row["outcome"], "closed_us": at, **received}
            for row, at in zip(outcomes.to_pylist(), us(outcomes["closed_at"]), strict=True)
        ]
        connection.execute(tables.outcomes.insert(), rows)


def export(database, folder):
    with database.reading() as connection:
        for name in TABLES:
            rows = connection.execute(sa.text(f"SELECT * FROM training_{name}"))
            found = pa.Table.from_pylist([dict(row) for row in rows.mappings()])
            pq.write_table(found, folder / f"{name}.parquet")


@pytest.mark.slow
def test_the_database_and_its_export_give_the_same_model(database_url, tmp_path):
    database = Database.open(database_url)
    fill(database, simulate(leads=900, months=15, seed=3, scenario="stationary"))
    export(database, tmp_path)
    database.close()
    given = [word for name in TABLES for word in (f"--{name}", tmp_path / f"{name}.parquet")]
    for name, places in (("source", ["--source", database_url]), ("files", given)):
        done = run("train", *places, "--output", tmp_path / name, "--allow-weak")
        assert done.code == 0, done.err
    one, other = (
        json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("source", "files")
    )
    assert one["files"]["trees.txt"] == other["files"]["trees.txt"]
    assert one["canaries"] == other["canaries"]
    assert one["rule"] == other["rule"]
    assert "handoff_accepted" in one["spec"]["sales"]


def insert(connection, table, same, *rows):
    connection.execute(table.insert(), [{**same, **row} for row in rows])


def test_what_sales_did_ends_the_snapshots_and_merged_leads_are_one(database_url):
    database = Database.open(database_url)
    lead = {"created_us": DAY_US, "received_us": 1, "suppress": "[]", "episode": 0, "changed_us": 1}
    event = {"source": "crm", "event_type": "inquiry", "received_us": 1, "verified": True}
    step = {"handoff_id": "h", "lead_id": "L-2", "status": "x", "at_us": 5 * DAY_US}
    with database.writing() as connection:
        insert(
            connection,
            tables.leads,
            {"merged_into": None, "merged_us": None, **lead},
            {"lead_id": "L-1"},
            {"lead_id": "L-2", "merged_into": "L-1", "merged_us": 3},
            {"lead_id": "L-3", "suppress": '["objected"]'},
        )
        for lead_id, day in (("L-1", 2), ("L-2", 3), ("L-3", 4)):
            own = {"event_id": lead_id, "lead_id": lead_id, "occurred_us": day * DAY_US}
            insert(connection, tables.events, event, own)
        for version, action in enumerate(("accept", "contact", "closing", "reject")):
            insert(
                connection,
                tables.steps,
                step,
                {"version": version, "action": action, "received_us": 1},
            )
    with database.reading() as connection:
        query = "SELECT lead_id, event_type FROM training_events ORDER BY occurred_at, event_type"
        seen = [tuple(row) for row in connection.execute(sa.text(query))]
        leads = connection.execute(sa.text("SELECT lead_id FROM training_leads")).scalars().all()
    database.close()
    assert leads == ["L-1"]
    assert seen == [
        ("L-1", "inquiry"),
        ("L-1", "inquiry"),
        ("L-1", "call"),
        ("L-1", "closing_attempt"),
        ("L-1", "handoff_accepted"),
    ]
    places = [f"{database_url}#training_{name}" for name in TABLES]
    read = read_tables(places[0], places[1], places[2], changes=places[3])
    assert read.events.num_rows == 5


def test_a_source_and_tables_are_not_given_together(tmp_path):
    both = run("train", "--source", "sqlite:///x.db", "--leads", "l.csv", "--output", tmp_path)
    assert (both.code, "--leads is given too" in both.err) == (2, True)
    neither = run("train", "--leads", "l.csv", "--output", tmp_path)
    assert (neither.code, "--events, --outcomes must be given" in neither.err) == (2, True)
