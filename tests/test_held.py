"""On PostgreSQL whoever writes about a lead waits for who holds it, before any row is locked."""

import threading

import pytest
import sqlalchemy as sa

from features.moments import iso
from serving.store import tombstones
from serving.store.held import hold
from serving.store.overdue import Overdue
from serving.store.policy import DAY_US, Policy
from serving.store.rescoring import Rescoring
from serving.store.retention import Retention
from serving.store.tables import handoffs, leads
from tests.postgres import until_one_waits
from tests.scorers import EPOCH_US
from tests.states import crm


@pytest.fixture
def service(postgres_url):
    with crm(postgres_url) as opened:
        lead = {"lead_id": "L-1", "created_at": iso(EPOCH_US), "attributes": {}}
        opened.post("/v1/leads", {"leads": [lead]})
        tell(opened, "E-1")
        yield opened


def tell(service, event_id="E-2"):
    return tell_of(service, "L-1", event_id)


def tell_of(service, lead_id, event_id="E-3"):
    body = {"event_id": event_id, "lead_id": lead_id, "event_type": "inquiry"}
    body["occurred_at"] = iso(service.now_us)
    return service.post("/v1/events", {"events": [body]}).json()["results"]


def close(service):
    body = {"lead_id": "L-1", "closed_at": iso(service.now_us), "outcome": "lost"}
    return service.post("/v1/outcomes", {"outcomes": [body]}).json()["results"]


def accept(service, **headers):
    ((own_id, version),) = service.rows(sa.select(handoffs.c.handoff_id, handoffs.c.version))
    head = {"if-match": str(version)} | headers
    body = {"at": iso(service.now_us)}
    return service.post(f"/v1/handoffs/{own_id}/accept", body, headers=head).json()["status"]


def erase(service):
    return service.send("DELETE", "/v1/leads/L-1").json()["rows"]["leads"]


def expire(service):
    return Overdue(service.database, service.slot, Policy()).run(service.now_us + 9 * DAY_US)


def score_again(service):
    later_us = service.now_us + 2 * DAY_US
    return Rescoring(service.database, service.slot, Policy()).run(later_us)


def forget(service):
    policy = Policy(keep_events_days=30)
    return Retention(service.database, policy).run(service.now_us + 99 * DAY_US)["events"]


def test_an_answer_is_kept_without_waiting_for_who_erases(service):
    """Who erases waits for the lead that is held: else both would wait in a circle."""
    with service.database.writing() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(tombstones.LOCK)))
        assert accept(service, **{"idempotency-key": "K-1"}) == "accepted"


def test_a_survivor_of_meanwhile_is_held_too(service):
    """Else two write about one lead, and number what they received as nobody can read it."""
    lead = {"lead_id": "L-2", "created_at": iso(EPOCH_US), "attributes": {}}
    service.post("/v1/leads", {"leads": [lead]})
    found, told, held, goes = [], [], threading.Event(), threading.Event()

    def hold_it():
        with service.database.writing() as connection:
            found.append(hold(connection, ["L-1"]))
            held.set()
            goes.wait(20)

    one = threading.Thread(target=hold_it)
    other = threading.Thread(target=lambda: told.append(tell_of(service, "L-2")))
    with service.database.writing() as connection:
        hold(connection, ["L-1", "L-2"])
        one.start()
        until_one_waits(service.database)
        merged = leads.update().where(leads.c.lead_id == "L-1")
        connection.execute(merged.values(merged_into="L-2", merged_us=service.now_us))
    assert held.wait(20)
    other.start()
    until_one_waits(service.database)
    assert found[0].keys() == {"L-1", "L-2"}
    assert not told
    goes.set()
    one.join(20)
    other.join(20)
    assert told == [[{"id": "E-3", "status": "stored"}]]


@pytest.mark.parametrize(
    ("work", "done"),
    [
        (tell, [{"id": "E-2", "status": "stored"}]),
        (close, [{"id": "L-1", "status": "stored"}]),
        (accept, "accepted"),
        (erase, 1),
        (expire, 1),
        (score_again, 1),
        (forget, 0),  # the hand-off is open
    ],
)
def test_it_waits_before_it_locks_a_row(service, work, done):
    given = []
    thread = threading.Thread(target=lambda: given.append(work(service)))
    with service.database.writing() as connection:
        hold(connection, ["L-1"])
        thread.start()
        until_one_waits(service.database)
        for table in (leads, handoffs):
            row = connection.execute(sa.select(table).with_for_update(nowait=True)).one()
            assert row.lead_id == "L-1"
        assert not given
    thread.join(20)
    assert given == [done]
