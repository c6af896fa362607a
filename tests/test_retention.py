import threading
from itertools import count

import pytest
import sqlalchemy as sa

from serving.store import erasure, jobs, life, outbox, retention
from serving.store.database import Database
from serving.store.held import hold
from serving.store.policy import DAY_US, HOUR_US, Policy
from serving.store.retention import Retention
from serving.store.tables import (
    audit,
    decisions,
    deliveries,
    endpoints,
    events,
    handoffs,
    idempotency,
    leads,
    messages,
)
from tests.postgres import until_one_waits

NOW_US = 1_790_000_000_000_000
NUMBERS = count()


@pytest.fixture
def database(database_url):
    opened = Database.open(database_url)
    yield opened
    opened.close()


def insert(database, table, *rows):
    with database.writing() as connection:
        for row in rows:
            connection.execute(table.insert().values(row))


def column(database, column):
    with database.reading() as connection:
        return sorted(connection.execute(sa.select(column)).scalars())


def run(database, now_us=NOW_US, **policy):
    return Retention(database, Policy(**policy)).run(now_us)


def answer(key, age_us):
    return {
        "client": "crm", "key": key, "fingerprint": "", "status": 200, "body": b"",
        "lead_ids": "[]", "created_us": NOW_US - age_us,
    }  # fmt: skip


def noted(client, age_us):
    return {
        "client": client, "at_us": NOW_US - age_us, "action": "x", "items": 0, "request_id": "",
    }  # fmt: skip


def lead(lead_id, **more):
    times = {"created_us": 1, "received_us": 1, "changed_us": 1}
    return {"lead_id": lead_id, "suppress": "[]", "episode": 0, **times, **more}


def decision(number, lead_id, age_us):
    return {
        "decision_id": number, "lead_id": lead_id, "as_of_us": 1, "decided_us": NOW_US - age_us,
        "cause": "event", "decision": "nurture", "why": "", "reasons": "[]", "margin": 0.0,
        "features_digest": "", "model_digest": "", "model_name": "", "model_version": "",
        "last_seq": 0, "last_change_id": 0, "suppress": "[]",
    }  # fmt: skip


def handoff(lead_id, decision_id, status):
    return {
        "handoff_id": f"h-{lead_id}", "lead_id": lead_id, "episode": 1, "kind": "flagged",
        "status": status, "decision_id": decision_id, "reasons": "[]", "proposed_us": 1,
        "created_us": 1, "version": 1,
    }  # fmt: skip


def event(lead_id, occurred_age_us, received_age_us=None):
    received = occurred_age_us if received_age_us is None else received_age_us
    return {
        "source": "crm", "event_id": f"E-{next(NUMBERS)}", "lead_id": lead_id, "event_type": "x",
        "occurred_us": NOW_US - occurred_age_us, "received_us": NOW_US - received,
        "verified": True,
    }  # fmt: skip


def test_answers_go_after_their_hours(database):
    rows = [answer("old", 48 * HOUR_US + 1), answer("young", 48 * HOUR_US)]
    insert(database, idempotency, *rows)
    assert run(database)["idempotency"] == 1
    assert column(database, idempotency.c.key) == ["young"]


def test_lines_of_the_audit_go_after_their_days_or_never(database):
    insert(database, audit, noted("old", 365 * DAY_US + 1), noted("young", 365 * DAY_US))
    assert "audit" not in run(database, keep_audit_days=None)
    assert run(database)["audit"] == 1
    assert column(database, audit.c.client) == ["young"]


def test_all_of_a_table_may_be_old(database):
    insert(database, audit, noted("a", 400 * DAY_US), noted("b", 400 * DAY_US))
    assert run(database)["audit"] == 2


def test_messages_go_when_they_are_old_and_their_deliveries_ended(database):
    endpoint = {"url": "https://crm.example/", "types": "[]", "secrets": "[]", "created_us": 1}
    insert(database, endpoints, endpoint | {"endpoint_id": "e"})
    ids = {}
    with database.writing() as connection:
        for name, age in (("ended", 31), ("waits", 31), ("young", 29)):
            at_us = NOW_US - age * DAY_US
            ids[name] = outbox.put(connection, "lead.handoff", name, {}, at_us)
        for name in ("ended", "young"):
            own = deliveries.c.message_id == ids[name]
            connection.execute(deliveries.update().where(own).values(next_us=None))
    assert run(database)["messages"] == 1
    assert column(database, messages.c.lead_id) == ["waits", "young"]
    assert column(database, deliveries.c.message_id) == sorted([ids["waits"], ids["young"]])


def test_what_waits_for_an_endpoint_that_is_gone_goes(database):
    row = {"message_id": "m", "endpoint_id": "gone", "attempts": 0, "next_us": 1}
    insert(database, deliveries, row)
    assert run(database)["deliveries"] == 1


def test_decisions_go_unless_they_stand_or_a_hand_off_refers_to_them(database):
    insert(database, leads, lead("L-1", decision_id=5), lead("L-2", decision_id=3))
    old, young = 31 * DAY_US, 29 * DAY_US
    rows = [(1, "L-1", old), (2, "L-1", old), (3, "L-2", old), (4, "L-3", old), (5, "L-1", young)]
    insert(database, decisions, *(decision(*row) for row in rows))
    insert(database, handoffs, handoff("L-1", 2, "lost"))
    assert run(database).get("decisions") is None
    assert run(database, keep_decisions_days=30)["decisions"] == 2
    assert column(database, decisions.c.decision_id) == [2, 3, 5]


def test_events_go_with_all_of_their_lead_when_nothing_came_for_the_whole_period(database):
    old, young = 31 * DAY_US, 29 * DAY_US
    insert(
        database, leads, lead("silent"), lead("active"), lead("at sales"), lead("into"),
        lead("twin", merged_into="into"), lead("silent into"),
        lead("silent twin", merged_into="silent into"),
    )  # fmt: skip
    insert(database, handoffs, handoff("at sales", 1, "visit"), handoff("silent", 1, "lost"))
    rows = [
        event("silent", old), event("silent", 2 * old), event("active", old),
        event("active", young), event("at sales", old), event("into", old), event("twin", young),
        event("silent into", old), event("silent twin", old), event("without a record", old),
        event("came late", old, young),
    ]  # fmt: skip
    insert(database, events, *rows)
    assert "events" not in run(database)
    assert run(database, keep_events_days=30)["events"] == 5
    kept = ["active", "active", "at sales", "came late", "into", "twin"]
    assert column(database, events.c.lead_id) == kept


@pytest.mark.parametrize("status", life.OPEN)
def test_events_of_a_lead_with_an_open_hand_off_stay(database, status):
    insert(database, leads, lead("L-1"))
    insert(database, handoffs, handoff("L-1", 1, status))
    insert(database, events, event("L-1", 31 * DAY_US))
    assert run(database, keep_events_days=30)["events"] == 0


@pytest.fixture
def shared(postgres_url):
    opened = Database.open(postgres_url)
    yield opened
    opened.close()


def run_while(shared, work):
    """Let it begin while a transaction that holds both leads does some work."""
    thread = threading.Thread(target=lambda: run(shared, keep_events_days=30))
    with shared.writing() as connection:
        hold(connection, ["into", "twin"])
        connection.execute(work)
        thread.start()
        until_one_waits(shared)
    thread.join(20)
    return column(shared, events.c.lead_id)


def test_what_comes_about_a_silent_lead_meanwhile_keeps_all_of_it(shared):
    insert(shared, leads, lead("into"))
    insert(shared, events, event("into", 31 * DAY_US))
    new = events.insert().values(event("into", 0))
    assert run_while(shared, new) == ["into", "into"]


def test_a_silent_lead_into_which_another_is_merged_meanwhile_keeps_its_events(shared):
    insert(shared, leads, lead("into"), lead("twin"))
    insert(shared, events, event("into", 31 * DAY_US), event("twin", 0))
    merged = leads.update().where(leads.c.lead_id == "twin")
    assert run_while(shared, merged.values(merged_into="into", merged_us=1)) == ["into", "twin"]


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_it_goes_on_until_all_are_gone(database, monkeypatch, at_once):
    monkeypatch.setattr(retention, "ROWS_AT_ONCE", at_once)
    monkeypatch.setattr(retention, "LEADS_AT_ONCE", at_once)
    insert(database, idempotency, *(answer(str(n), 100 * HOUR_US) for n in range(6)))
    insert(database, events, *(event(f"L-{n}", 31 * DAY_US) for n in range(6)))
    gone = run(database, keep_events_days=30)
    assert (gone["idempotency"], gone["events"]) == (6, 6)


def test_one_process_does_it_at_a_time(database):
    insert(database, idempotency, answer("old", 100 * HOUR_US))
    with database.writing() as connection:
        assert jobs.take(connection, "retention", NOW_US, NOW_US + jobs.LEASE_US)
    assert run(database) == {}
    assert run(database, NOW_US + HOUR_US)["idempotency"] == 1


def test_the_file_is_written_anew_once_a_day_in_the_days_after_an_erasure(database, monkeypatch):
    rebuilt: list[int] = []
    moments = [NOW_US]
    monkeypatch.setattr(Database, "rebuild", lambda _: rebuilt.append(moments[-1]))
    run(database)
    assert rebuilt == []
    insert(database, leads, lead("L-1"))
    with database.writing() as connection:
        erasure.erase(connection, "L-1", "k", NOW_US)
    for hour in range(24 * 10):
        moments.append(NOW_US + hour * HOUR_US)
        run(database, moments[-1])
    assert [(each - NOW_US) // DAY_US for each in rebuilt] == [0, 1, 2, 3, 4]
