import json

import pytest
import sqlalchemy as sa

from serving.store import outbox
from serving.store.database import Database
from serving.store.tables import deliveries, endpoints, messages

NOW_US = 1_790_000_000_000_000


@pytest.fixture
def database(database_url):
    opened = Database.open(database_url)
    yield opened
    opened.close()


def add_endpoint(database, name, types=(), **more):
    with database.writing() as connection:
        connection.execute(
            endpoints.insert().values(
                endpoint_id=name, url="https://crm.example/", types=json.dumps(types),
                secrets="[]", created_us=NOW_US, **more,
            )
        )  # fmt: skip


def put(database, type="lead.handoff", lead_id="L-1", **data):
    with database.writing() as connection:
        return outbox.put(connection, type, lead_id, data, NOW_US)


def rows(database, query):
    with database.reading() as connection:
        return connection.execute(query).all()


def test_a_message_waits_for_every_enabled_endpoint_that_wants_its_type(database):
    add_endpoint(database, "all")
    add_endpoint(database, "outcomes", ["lead.outcome"])
    add_endpoint(database, "off", disabled_us=NOW_US)
    first = put(database, lead_id="L-1")
    second = put(database, "lead.outcome", "L-1", outcome="won")
    found = rows(database, sa.select(deliveries.c.message_id, deliveries.c.endpoint_id))
    assert sorted(map(tuple, found)) == sorted(
        [(first, "all"), (second, "all"), (second, "outcomes")]
    )


def test_the_payload_is_kept_as_it_is_sent(database):
    message_id = put(database, lead_id="リード", lead="リード", score=0.25)
    [row] = rows(database, sa.select(messages))
    assert (row.message_id, row.lead_id, row.type) == (message_id, "リード", "lead.handoff")
    assert message_id.startswith("msg_")
    assert json.loads(row.payload) == {
        "type": "lead.handoff",
        "timestamp": "2026-09-21T14:13:20Z",
        "data": {"lead": "リード", "score": 0.25},
    }
    assert "リード" in row.payload


def test_of_a_payload_that_is_too_large_the_largest_values_are_left_out_and_named(database):
    put(database, lead_id="L-1", handoff_id="h", reasons=["語" * 7_000], note="n")
    [row] = rows(database, sa.select(messages.c.payload))
    assert len(row.payload.encode()) < outbox.MOST_BYTES
    assert json.loads(row.payload)["data"] == {
        "handoff_id": "h", "note": "n", "left_out": ["reasons"],
    }  # fmt: skip


def test_a_message_is_kept_only_with_what_it_follows_from(database):
    with pytest.raises(ZeroDivisionError), database.writing() as connection:
        outbox.put(connection, "lead.handoff", "L-1", {}, NOW_US)
        1 / 0  # noqa: B018
    assert rows(database, sa.select(messages)) == []
