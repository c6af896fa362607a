"""Hand-offs as a CRM meets them: only through the routes."""

import pytest
import sqlalchemy as sa

from features.history import DAY_US
from features.moments import iso
from serving.store import tables
from serving.store.policy import Policy
from tests.scorers import EPOCH_US
from tests.states import crm

MINUTE_US = 60_000_000


@pytest.fixture
def service(database_url):
    with crm(database_url) as opened:
        lead(opened, "L-1")
        yield opened


def lead(service, lead_id, **more):
    body = {"lead_id": lead_id, "created_at": iso(EPOCH_US), "attributes": {}, **more}
    answer = service.post("/v1/leads", {"leads": [body]})
    assert answer.json()["results"][0]["status"] in {"stored", "updated"}, answer.text


def event(service, event_id, event_type="inquiry", lead_id="L-1"):
    body = {"event_id": event_id, "lead_id": lead_id, "event_type": event_type}
    body["occurred_at"] = iso(service.now_us)
    answer = service.post("/v1/events", {"events": [body]})
    assert answer.status_code == 200, answer.text
    return answer.json()["results"][0]["status"]


def outcome(service, said, lead_id="L-1"):
    body = {"lead_id": lead_id, "closed_at": iso(service.now_us), "outcome": said, "amount": 9.5}
    answer = service.post("/v1/outcomes", {"outcomes": [body]})
    assert answer.json()["results"][0]["status"] == "stored", answer.text


def items(service, **query):
    return service.get("/v1/handoffs", params=query).json()["items"]


def act(service, item, action, **body):
    path = f"/v1/handoffs/{item['handoff_id']}/{action}"
    headers = {"if-match": str(item["version"])}
    answer = service.post(path, {"at": iso(service.now_us), **body}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def told(service):
    return [row[0] for row in service.rows(sa.select(tables.messages.c.type))]


def test_an_inquiry_is_worked_at_once_and_once(service):
    assert event(service, "E-1") == "stored"
    assert event(service, "E-1") == "duplicate"
    (item,) = items(service)
    assert (item["kind"], item["status"], item["lead_id"]) == ("inbound", "proposed", "L-1")
    current = service.get("/v1/leads/L-1").json()
    assert current["handoff"]["handoff_id"] == item["handoff_id"]
    assert current["decision_id"] == item["decision_id"]
    assert item["score"] == current["current"]["score"]
    assert told(service) == ["lead.handoff"]


def inquiry(service, event_id):
    body = {"event_id": event_id, "lead_id": "L-1", "event_type": "inquiry"}
    return {"events": [body | {"occurred_at": iso(service.now_us)}]}


def test_the_same_inquiry_from_many_sides_is_one_hand_off(service):
    answers = service.send_at_once(8, "POST", "/v1/events", json=inquiry(service, "E-1"))
    found = sorted(answer.json()["results"][0]["status"] for answer in answers)
    assert found == ["duplicate"] * 7 + ["stored"]
    assert len(items(service)) == 1
    assert told(service) == ["lead.handoff"]


def test_different_events_of_a_lead_at_once_are_one_hand_off(service):
    def body(number):
        return inquiry(service, f"E-{number}")

    answers = service.send_at_once(8, "POST", "/v1/events", json=body)
    assert {answer.json()["results"][0]["status"] for answer in answers} == {"stored"}
    assert [item["version"] for item in items(service)] == [1]


def test_an_old_inquiry_does_not_reopen_what_was_rejected(service):
    event(service, "E-1")
    rejected = act(service, items(service)[0], "reject", reason="procedural: not ours")
    assert rejected["again_on"] == "engagement"
    service.now_us += MINUTE_US
    lead(service, "L-1", attributes={"industry": "finance"})
    assert [item["status"] for item in items(service)] == ["rejected"]
    event(service, "E-2")
    assert [item["status"] for item in items(service)] == ["proposed", "rejected"]


def test_an_outcome_that_is_sent_ends_what_sales_works(service):
    event(service, "E-1")
    act(service, act(service, items(service)[0], "accept"), "contact")
    service.now_us += DAY_US
    outcome(service, "won")
    (item,) = items(service)
    assert (item["status"], item["again_on"], item["version"]) == ("won", "never", 4)
    assert service.get("/v1/leads/L-1").json()["state"] == "won"
    updated = ["lead.handoff.updated"] * 2
    assert told(service) == ["lead.handoff", *updated, "lead.outcome", "lead.handoff.updated"]
    event(service, "E-2")
    assert len(items(service)) == 1


def test_a_lead_that_becomes_a_customer_is_withdrawn(service):
    event(service, "E-1")
    service.now_us += MINUTE_US
    lead(service, "L-1", suppress=["customer"])
    (item,) = items(service)
    assert (item["status"], item["why"], item["reason"]) == ("expired", "suppressed", "customer")
    event(service, "E-2")
    assert len(items(service)) == 1


def test_of_two_leads_that_are_one_sales_keeps_one_hand_off(service):
    lead(service, "L-2")
    event(service, "E-1")
    event(service, "E-2", lead_id="L-2")
    assert [item["status"] for item in items(service)] == ["proposed", "proposed"]
    service.now_us += MINUTE_US
    assert service.post("/v1/leads/L-1/merge", {"into": "L-2"}).status_code == 200
    assert {item["lead_id"]: (item["status"], item["why"]) for item in items(service)} == {
        "L-1": ("expired", "merged"),
        "L-2": ("proposed", None),
    }


def test_an_erased_lead_leaves_no_hand_off(service):
    event(service, "E-1")
    (item,) = items(service)
    assert service.send("DELETE", "/v1/leads/L-1").status_code == 200
    assert items(service) == []
    path = f"/v1/handoffs/{item['handoff_id']}/accept"
    answer = service.post(path, {"at": iso(service.now_us)}, headers={"if-match": "1"})
    assert answer.status_code == 404
    assert service.rows(sa.select(tables.steps)) == []


def test_an_old_inquiry_is_history_and_goes_to_nobody_at_once(database_url):
    with crm(database_url, policy=Policy(inbound_days=5)) as service:
        lead(service, "L-1")
        now_us = service.now_us
        body = {"event_id": "E-1", "lead_id": "L-1", "event_type": "inquiry"}
        body["occurred_at"] = iso(now_us - 6 * DAY_US)
        service.post("/v1/events", {"events": [body]})
        assert "inbound" not in [item["kind"] for item in items(service)]
        body |= {"event_id": "E-2", "occurred_at": iso(now_us - 4 * DAY_US)}
        service.post("/v1/events", {"events": [body]})
        assert [item["kind"] for item in items(service)] == ["inbound"]


def test_the_amount_of_a_win_may_come_later(service):
    event(service, "E-1")
    (item,) = items(service)
    won = act(service, act(service, item, "accept"), "won")
    assert won["status"] == "won"
    body = {"lead_id": "L-1", "closed_at": iso(service.now_us), "outcome": "won", "amount": 9.5}
    sent = [service.post("/v1/outcomes", {"outcomes": [body]}) for _ in range(2)]
    assert [each.json()["results"][0]["status"] for each in sent] == ["updated", "duplicate"]
    other = service.post("/v1/outcomes", {"outcomes": [body | {"amount": 7}]}).json()["results"][0]
    assert (other["status"], other["code"]) == ("rejected", "conflict")
    assert service.rows(sa.select(tables.outcomes.c.amount)) == [(9.5,)]


def merge(service, lead_id, into):
    answer = service.post(f"/v1/leads/{lead_id}/merge", {"into": into})
    assert answer.status_code == 200, answer.text


def test_an_inquiry_that_was_answered_is_not_news_after_a_merge(service):
    event(service, "E-1")
    (item,) = items(service)
    act(service, item, "reject", reason="definitional: a student")
    lead(service, "L-2")
    merge(service, "L-1", "L-2")
    assert [each["status"] for each in items(service)] == ["rejected"]


def test_an_inquiry_of_a_lead_that_is_merged_is_handed_off_though_it_is_the_older_event(service):
    service.slot.model, model = None, service.slot.model
    event(service, "E-1")
    service.slot.model = model
    lead(service, "L-2")
    service.now_us += MINUTE_US
    event(service, "E-2", "web_visit", "L-2")
    merge(service, "L-1", "L-2")
    assert [each["kind"] for each in items(service)] == ["inbound"]


def test_a_merged_lead_is_shown_and_suppressed_with_the_one_it_is_now(service):
    event(service, "E-1")
    lead(service, "L-2")
    accepted = act(service, items(service)[0], "accept")
    merge(service, "L-1", "L-2")
    shown = service.get("/v1/leads/L-2").json()
    assert shown["state"] == "accepted"
    assert shown["handoff"]["handoff_id"] == accepted["handoff_id"]
    assert [each["handoff_id"] for each in items(service, lead_id="L-2")] == [
        accepted["handoff_id"]
    ]
    lead(service, "L-1", suppress=["customer"])
    service.now_us += MINUTE_US
    lead(service, "L-2", suppress=["partner"])
    assert set(service.get("/v1/leads/L-2").json()["suppress"]) == {"customer", "partner"}
    assert service.get("/v1/leads/L-2").json()["current"]["decision"] == "suppressed"
