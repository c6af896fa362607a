"""On PostgreSQL whoever writes about a lead waits for who holds it, before any row is locked."""

import threading

import pytest
import sqlalchemy as sa

from features.moments import iso
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
    body = {"event_id": event_id, "lead_id": "L-1", "event_type": "inquiry"}
    body["occurred_at"] = iso(service.now_us)
    return service.post("/v1/events", {"events": [body]}).json()["results"]


def close(service):
    body = {"lead_id": "L-1", "closed_at": iso(service.now_us), "outcome": "lost"}
    return service.post("/v1/outcomes", {"outcomes": [body]}).json()["results"]


def accept(service):
    ((own_id, version),) = service.rows(sa.select(handoffs.c.handoff_id, handoffs.c.version))
    head = {"if-match": str(version)}
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
