"""The tables of a CRM in a real PostgreSQL, as they are in Parquet."""

import socket

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from features import sql_table
from features.contract import ContractError
from features.readers import read_tables
from tests.commands import run
from tests.factories import event, make_events, make_leads
from tests.postgres import engine, postgres

pytestmark = pytest.mark.postgres
TABLES = {
    "leads": make_leads({"lead-1": 9, "名刺-2": 5, "lead-3": 2}),
    "events": make_events(
        {"lead-1": [event(8, value=1.5), event(3, "資料請求", "web")], "名刺-2": [event(4)]}
    ),
}


@pytest.fixture(scope="module")
def database():
    with postgres() as url:
        yield url


@pytest.fixture(scope="module")
def crm(database):
    with engine(database).begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA crm"))
        for name, table in TABLES.items():
            frame = table.to_pandas()
            frame.to_sql(name, connection, schema="crm", index=False)
    return database.render_as_string(hide_password=False)


def test_tables_in_postgresql_are_those_in_parquet(crm, tmp_path):
    for name, table in TABLES.items():
        pq.write_table(table, tmp_path / f"{name}.parquet")
    there = read_tables(f"{crm}#crm.leads", f"{crm}#crm.events")
    here = read_tables(tmp_path / "leads.parquet", tmp_path / "events.parquet")
    assert there.leads.to_pylist() == here.leads.to_pylist()
    assert there.event_segment.tolist() == here.event_segment.tolist()
    assert there.events.to_pylist() == here.events.to_pylist()


def test_types_that_only_postgresql_has(database):
    with engine(database).begin() as connection:
        connection.execute(
            sa.text(
                "CREATE TABLE odd AS SELECT 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid lead_id,"
                " '2026-01-01 09:00+09'::timestamptz AS created_at, 12.50::numeric AS budget, "
                "'{\"a\": 1}'::jsonb AS notes, true AS member"
            )
        )
    url = database.render_as_string(hide_password=False)
    leads = read_tables(f"{url}#odd", f"{url}#crm.events").leads
    (row,) = leads.to_pylist()
    assert row["lead_id"] == "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    assert row["created_at"].isoformat() == "2026-01-01T00:00:00+00:00"
    assert (float(row["budget"]), row["member"]) == (12.5, True)


def test_the_command_names_a_table_that_is_not_there(crm):
    done = run("check", "--leads", f"{crm}#crm.orders", "--events", f"{crm}#crm.events")
    assert done.code == 2
    assert "there is no table" in done.err + done.out


def test_a_server_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(sql_table, "CONNECT_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://crm@127.0.0.1:{silent.getsockname()[1]}/crm#leads"
        with pytest.raises(ContractError, match="timeout expired"):
            read_tables(url, url)
