"""What clients send about leads: each fact once, whatever arrives how often and in what order."""

import json
import threading

import pytest
import sqlalchemy as sa

from features.history import DAY_US
from features.moments import iso
from serving.store import audit, tables
from serving.store.tables import changes, decisions, events, leads, outcomes, tombstones
from tests.scorers import AS_OF_US, EPOCH_US, json_leads
from tests.states import crm, put

HOUR_US = DAY_US // 24


@pytest.fixture
def service(database_url):
    with crm(database_url) as opened:
        yield opened


def lead(lead_id="L-1", **more):
    return {"lead_id": lead_id, "created_at": iso(EPOCH_US), **more}


def event(event_id="E-1", lead_id="L-1", day=3, **more):
    at = iso(EPOCH_US + day * DAY_US)
    return {
        "event_id": event_id,
        "lead_id": lead_id,
        "event_type": "inquiry",
        "occurred_at": at,
    } | more


def outcome(lead_id="L-1", day=20, **more):
    return {"lead_id": lead_id, "closed_at": iso(EPOCH_US + day * DAY_US), "outcome": "won"} | more


def sent(service, what, *items, **options):
    answer = service.post(f"/v1/{what}", {what: list(items)}, **options)
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def statuses(results):
    return [result["status"] for result in results]


def shown(service, lead_id="L-1"):
    return service.get(f"/v1/leads/{lead_id}").json()


def count(service, table):
    return service.rows(sa.select(sa.func.count()).select_from(table))[0][0]


def test_a_lead_and_its_events_make_a_score_in_the_same_request(service):
    assert sent(service, "leads", lead()) == [{"id": "L-1", "status": "stored"}]
    first = shown(service)
    assert sent(service, "events", event()) == [{"id": "E-1", "status": "stored"}]
    after = shown(service)
    assert (first["events"], after["events"], after["fresh"]) == (0, 1, True)
    assert after["current"]["score"] > first["current"]["score"]
    causes = service.rows(sa.select(decisions.c.cause).order_by(decisions.c.decision_id))
    assert [row.cause for row in causes] == ["lead", "event"]


def test_what_was_sent_scores_as_the_stateless_api_says(service):
    wanted = json_leads(3, 60)
    for one in wanted:
        one["events"] = [e for e in one["events"] if not e.get("recorded_at")]
    sent(service, "leads", *({k: v for k, v in one.items() if k != "events"} for one in wanted))
    numbered = [
        {**e, "lead_id": one["lead_id"], "event_id": f"{one['lead_id']}/{n}"}
        for one in wanted
        for n, e in enumerate(one["events"])
    ]
    for start in range(0, len(numbered), 1_000):
        found = sent(service, "events", *numbered[start : start + 1_000])
        assert set(statuses(found)) == {"stored"}
    body = {"leads": wanted, "as_of": iso(AS_OF_US)}
    for result in service.post("/v1/score", body).json()["results"]:
        current = shown(service, result["lead_id"])["current"]
        assert current["score"] == result["score"]
        assert current["decision"] == result["decision"]


def test_an_event_is_stored_once_wherever_it_comes_again(service):
    twice = sent(service, "events", event(), event(), event("E-2"))
    assert statuses(twice) == ["stored", "duplicate", "stored"]
    assert statuses(sent(service, "events", event("E-3"), event())) == ["stored", "duplicate"]
    assert count(service, events) == 3


@pytest.mark.parametrize(
    "other",
    [
        {"day": 4},
        {"lead_id": "L-2"},
        {"event_type": "web_visit"},
        {"channel": "web"},
        {"value": 2},
        {"recorded_at": iso(EPOCH_US + 5 * DAY_US)},
    ],
)
def test_the_same_id_with_other_content_is_a_conflict(service, other):
    sent(service, "events", event(value=1))
    for batch in ([event(**{"value": 1} | other)], [event("E-9"), event("E-9", **other)]):
        result = sent(service, "events", *batch)[-1]
        assert (result["status"], result["code"]) == ("rejected", "conflict")
        assert "/event_id" in result["detail"]
    kept = service.rows(sa.select(events.c.value).where(events.c.event_id == "E-1"))
    assert [row.value for row in kept] == [1.0]


def test_ids_are_of_their_source_which_is_the_client_if_not_said(service):
    assert statuses(sent(service, "events", event(), event(source="crm"))) == [
        "stored",
        "duplicate",
    ]
    other = sent(service, "events", event(day=9), token=service.key("web"))
    assert statuses(other) == ["stored"]
    assert statuses(sent(service, "events", event(day=9, source="web"))) == ["duplicate"]


def test_eight_senders_of_the_same_events_at_once_store_each_once(service):
    sent(service, "leads", *(lead(f"L-{n}") for n in range(20)))
    batches = [
        [event(f"E-{n}", f"L-{n % 20}") for n in range(start, start + 100)]
        for start in range(0, 400, 100)
    ]
    found = []

    def send():
        for batch in batches:
            found.extend(sent(service, "events", *batch))

    _at_once([send] * 8)
    assert len(found) == 8 * 400
    assert statuses(found).count("stored") == 400 == count(service, events)
    assert statuses(found).count("duplicate") == 7 * 400
    assert sum(shown(service, f"L-{n}")["events"] for n in range(20)) == 400


def test_a_lead_and_its_event_sent_at_once_are_joined(service):
    sent(service, "leads", lead())

    def of(n):
        return [
            lambda: sent(service, "leads", lead(f"L-{n}")),
            lambda: sent(service, "events", event(f"E-{n}", f"L-{n}")),
        ]

    _at_once([send for n in range(6) for send in of(n)])
    for n in range(6):
        assert shown(service, f"L-{n}")["events"] == 1
        last = service.rows(
            sa.select(sa.func.max(decisions.c.last_seq)).where(decisions.c.lead_id == f"L-{n}")
        )
        assert last[0][0] > 0, "the score knows the event"


def test_a_key_of_idempotency_gives_the_same_answer_again(service):
    headers = {"idempotency-key": "k-1"}
    first = service.post("/v1/events", {"events": [event()]}, headers=headers)
    again = service.post("/v1/events", {"events": [event()]}, headers=headers)
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    other = service.post("/v1/events", {"events": [event("E-2")]}, headers=headers)
    assert (other.status_code, other.json()["errors"][0]["code"]) == (
        422,
        "idempotency_key_reused",
    )


def test_eight_at_once_with_one_key_of_idempotency_are_done_once(service):
    sent(service, "leads", lead())
    answers = []

    def send():
        given = {"idempotency-key": "k-1"}
        answers.append(service.post("/v1/events", {"events": [event()]}, headers=given))

    _at_once([send] * 8)
    assert [each.json()["results"][0]["status"] for each in answers] == ["stored"] * 8
    assert sum("idempotency-replayed" in each.headers for each in answers) == 7
    assert count(service, events) == 1


def test_events_before_their_lead_are_kept_and_joined(service):
    assert statuses(sent(service, "events", event(), event("E-2", day=9))) == ["stored"] * 2
    assert service.get("/v1/leads/L-1").status_code == 404
    sent(service, "leads", lead())
    assert shown(service)["events"] == 2


def test_late_and_early_events_score_as_if_they_had_come_in_order(service):
    days = [20, 3, 11, 7]
    sent(service, "leads", lead("L-1"), lead("L-2"))
    for day in days:
        sent(service, "events", event(f"late-{day}", "L-1", day))
    sent(service, "events", *(event(f"in-{day}", "L-2", day) for day in sorted(days)))
    assert shown(service, "L-1")["current"]["score"] == shown(service, "L-2")["current"]["score"]


def test_an_event_ahead_of_the_clock_is_clamped_and_said_so(service):
    ahead = event(occurred_at=iso(AS_OF_US + 2 * HOUR_US))
    sent(service, "leads", lead())
    (result,) = sent(service, "events", ahead)
    assert (result["status"], result["code"]) == ("stored", "clamped")
    assert "#/events/0/occurred_at" in result["detail"]
    row = service.rows(sa.select(events.c.occurred_us, events.c.said_us))[0]
    assert row == (AS_OF_US, AS_OF_US + 2 * HOUR_US)
    service.now_us += 3 * HOUR_US
    assert statuses(sent(service, "events", ahead)) == ["duplicate"]
    other = event(occurred_at=iso(AS_OF_US + HOUR_US))
    assert sent(service, "events", other)[0]["code"] == "conflict"


@pytest.mark.parametrize(("ahead_us", "status"), [(DAY_US, "stored"), (DAY_US + 1, "rejected")])
def test_an_event_of_another_day_is_refused(service, ahead_us, status):
    (result,) = sent(service, "events", event(occurred_at=iso(AS_OF_US + ahead_us)))
    assert result["status"] == status
    assert result["code"] == ("clamped" if status == "stored" else "in_future")


def test_a_record_of_an_event_ahead_of_the_clock_hides_it_from_no_score(service):
    sent(service, "leads", lead())
    before = shown(service)["current"]["score"]
    ahead = event(recorded_at=iso(AS_OF_US + HOUR_US))
    sent(service, "events", ahead)
    assert shown(service)["current"]["score"] > before
    assert statuses(sent(service, "events", ahead)) == ["duplicate"]


BAD = [
    ({"event_id": "E-0"}, "missing", "#/events/1/lead_id is required"),
    (event(occurred_at="2026-01-05T10:00:00"), "no_time_zone", "#/events/1/occurred_at must"),
    (event(value="3"), "wrong_type", "#/events/1/value must be a number"),
    (event(value=1e300), "out_of_range", "#/events/1/value"),
    (event(colour="red"), "unknown_field", "#/events/1/colour"),
    (event(event_id=""), "too_short", "#/events/1/event_id"),
    (event(lead_id="L\x00"), "not_allowed_text", "#/events/1/lead_id"),
    (event(event_type="a\x00"), "not_allowed_text", "#/events/1/event_type"),
    ("E-1", "wrong_type", "#/events/1 must be an object"),
    (None, "wrong_type", "#/events/1 must be an object"),
]


@pytest.mark.parametrize(("bad", "code", "said"), BAD)
def test_an_item_that_is_wrong_rejects_no_other(service, bad, code, said):
    results = sent(service, "events", event("E-a"), bad, event("E-b"))
    assert statuses(results) == ["stored", "rejected", "stored"]
    assert results[1]["code"] == code
    assert said in results[1]["detail"]
    assert count(service, events) == 2


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b'{"events": [{"event_id": "\xff"}]}', 400),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"events": []}', 422),
        (b'{"events": {}}', 422),
        (b'{"events": [1], "more": 1}', 422),
        (b'{"events": [' + b",".join([b"1"] * 1_001) + b"]}", 422),
    ],
)
def test_a_body_that_is_no_list_of_items_is_a_problem(service, body, status):
    headers = {"content-type": "application/json"}
    answer = service.send("POST", "/v1/events", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_lead_is_updated_by_what_differs_and_keeps_what_is_not_said(service):
    first = lead(attributes={"employees": 120, "industry": "finance"}, suppress=["partner"])
    assert statuses(sent(service, "leads", first)) == ["stored"]
    assert statuses(sent(service, "leads", first, lead())) == ["duplicate"] * 2
    service.now_us += HOUR_US
    later = lead(attributes={"employees": 130, "industry": "finance"}, account_id="A-1")
    assert statuses(sent(service, "leads", later, later)) == ["updated", "duplicate"]
    assert shown(service)["suppress"] == ["partner"]
    query = sa.select(changes.c.attribute, changes.c.value, changes.c.changed_us)
    assert service.rows(query.order_by(changes.c.change_id)) == [
        ("employees", "120", EPOCH_US),
        ("industry", "finance", EPOCH_US),
        ("employees", "130", AS_OF_US + HOUR_US),
    ]
    assert service.rows(sa.select(leads.c.account_id)) == [("A-1",)]
    assert statuses(sent(service, "leads", lead(suppress=[]))) == ["updated"]
    assert shown(service)["suppress"] == []


def test_attributes_are_kept_as_a_csv_file_has_them(service):
    given = {"a": True, "b": 120.0, "c": 0.1, "d": "x", "e": 7, "f": "", "g": None, "h": 1e15}
    sent(service, "leads", lead(attributes=given))
    rows = service.rows(sa.select(changes.c.attribute, changes.c.value))
    wanted = {"a": "true", "b": "120", "c": "0.1", "d": "x", "e": "7", "h": "1000000000000000"}
    assert dict(tuple(row) for row in rows) == wanted
    service.now_us += 1
    assert statuses(sent(service, "leads", lead(attributes={"d": None}))) == ["updated"]
    newest = sa.select(changes.c.value).order_by(changes.c.change_id.desc()).limit(1)
    assert service.rows(newest) == [(None,)]


def test_a_change_holds_since_it_is_said_to(service):
    at = [iso(EPOCH_US + day * DAY_US) for day in range(10)]
    sent(service, "leads", lead(attributes={"size": 1}))

    def change(day, size):
        return statuses(sent(service, "leads", lead(attributes={"size": size}, changed_at=at[day])))

    assert change(8, 3) == ["updated"]
    assert change(4, 2) == ["updated"]
    assert change(5, 2) == ["duplicate"]
    assert change(9, 3) == ["duplicate"]
    assert change(2, 1) == ["duplicate"]
    assert change(8, 4) == ["updated"]
    query = sa.select(changes.c.value, changes.c.changed_us).order_by(
        changes.c.changed_us, changes.c.change_id
    )
    days = [(value, (us - EPOCH_US) // DAY_US) for value, us in service.rows(query)]
    assert days == [("1", 0), ("2", 4), ("3", 8), ("4", 8)]


def test_when_a_lead_was_created_is_a_fact(service):
    sent(service, "leads", lead())
    other = {"lead_id": "L-1", "created_at": iso(EPOCH_US + 1), "attributes": {"size": 1}}
    (result,) = sent(service, "leads", other)
    assert (result["status"], result["code"]) == ("rejected", "conflict")
    assert "#/leads/0/created_at" in result["detail"]
    assert count(service, changes) == 0


def test_a_lead_with_a_record_need_not_say_when_it_was_created(service):
    new = {"lead_id": "L-1", "suppress": ["customer"]}
    changed = {"lead_id": "L-1", "created_at": None, "attributes": {"employees": 9}}
    results = sent(service, "leads", new, changed, lead(), changed, new)
    assert statuses(results) == ["rejected", "rejected", "stored", "updated", "updated"]
    for at, result in enumerate(results[:2]):
        assert result["code"] == "missing"
        assert f"#/leads/{at}/created_at is required: there is no record" in result["detail"]
    assert shown(service)["suppress"] == ["customer"]
    assert shown(service)["attributes"] == {"employees": 9}
    assert statuses(sent(service, "leads", new, {"lead_id": "L-1"})) == ["duplicate"] * 2
    assert shown(service)["created_at"] == iso(EPOCH_US)


def test_what_only_events_are_known_of_has_no_record(service):
    sent(service, "events", event())
    assert sent(service, "leads", {"lead_id": "L-1"})[0]["code"] == "missing"
    assert sent(service, "leads", lead())[0]["status"] == "stored"
    service.send("DELETE", "/v1/leads/L-1")
    assert sent(service, "leads", {"lead_id": "L-1"})[0]["code"] == "erased"


@pytest.mark.parametrize(
    ("seconds", "status", "code"), [(299, "stored", "clamped"), (301, "rejected", "in_future")]
)
def test_a_lead_is_not_created_in_the_future(service, seconds, status, code):
    new = {"lead_id": "L-1", "created_at": iso(AS_OF_US + seconds * 1_000_000)}
    (result,) = sent(service, "leads", new)
    assert (result["status"], result["code"]) == (status, code)
    service.now_us += HOUR_US
    again = sent(service, "leads", new)
    assert statuses(again) == ["duplicate" if status == "stored" else "stored"]


def test_an_objection_cannot_be_taken_back(service):
    sent(service, "leads", lead(suppress=["objected"]))
    sent(service, "leads", lead(suppress=["customer"]))
    assert set(shown(service)["suppress"]) == {"customer", "objected"}
    assert statuses(sent(service, "events", event())) == ["stored"]
    assert shown(service)["current"]["score"] is None
    assert shown(service)["current"]["why"] == "objected"


@pytest.mark.parametrize("name", ["lead_id", "created_at", "suppress"])
def test_fields_of_the_lead_are_no_attributes(service, name):
    (result,) = sent(service, "leads", lead(attributes={name: 1}))
    assert (result["status"], result["code"]) == ("rejected", "reserved_name")


def test_an_outcome_is_stored_once_and_another_one_is_a_conflict(service):
    sent(service, "leads", lead())
    assert sent(service, "outcomes", outcome(amount=5.5)) == [{"id": "L-1", "status": "stored"}]
    again = sent(service, "outcomes", outcome(amount=5.5), outcome(amount=5.5, day=21))
    assert statuses(again) == ["duplicate", "stored"]
    for other in ({"outcome": "lost"}, {"amount": 6}):
        (result,) = sent(service, "outcomes", outcome(**{"amount": 5.5} | other))
        assert (result["status"], result["code"]) == ("rejected", "conflict")
    assert count(service, outcomes) == 2
    assert shown(service)["state"] == "won"
    message = tables.messages.c
    query = sa.select(message.lead_id, message.payload).where(message.type == "lead.outcome")
    told = service.rows(query)
    assert [(row.lead_id, json.loads(row.payload)["data"]["amount"]) for row in told] == [
        ("L-1", 5.5),
        ("L-1", 5.5),
    ]


def test_outcomes_of_unknown_leads_are_kept_and_future_ones_refused(service):
    late = outcome(closed_at=iso(AS_OF_US + HOUR_US))
    results = sent(service, "outcomes", outcome("L-9"), late, outcome(outcome="open"))
    assert statuses(results) == ["stored", "rejected", "rejected"]
    assert [result.get("code") for result in results] == [None, "in_future", "not_one_of"]
    sent(service, "leads", lead("L-9"))
    assert shown(service, "L-9")["state"] == "won"


def test_nothing_is_kept_about_an_erased_lead(service):
    with service.database.writing() as connection:
        gone = audit.hashed("L-1", audit.salt_of(connection))
        row = {"lead_hash": gone, "erased_us": 1, "proof": "{}"}
        connection.execute(tombstones.insert().values(row))
    for what, one, other in (
        ("leads", lead(), lead("L-2")),
        ("events", event(), event(lead_id="L-2")),
        ("outcomes", outcome(), outcome("L-2")),
    ):
        results = sent(service, what, one, other)
        assert statuses(results) == ["rejected", "stored"]
        assert results[0]["code"] == "erased"
    assert service.get("/v1/leads/L-1").status_code == 404


def test_a_write_is_noted_with_whom_it_was_about(service):
    sent(service, "events", event(), event("E-2", "L-2"))
    rows = service.rows(sa.select(tables.audit.c.action, tables.audit.c.client))
    assert rows == [("POST /v1/events", "crm")] * 2


def test_a_key_that_may_not_write_is_refused(service):
    reader = service.key("reader", ["read", "score"])
    for what, item in (("leads", lead()), ("events", event()), ("outcomes", outcome())):
        assert service.post(f"/v1/{what}", {what: [item]}, token=reader).status_code == 403


def merge(service, lead_id, into):
    return service.post(f"/v1/leads/{lead_id}/merge", {"into": into})


def test_a_merged_lead_is_the_union_of_both(service):
    put(service, lead("whole", events=[event(f"W-{day}", day=day) for day in (3, 5, 7)]))
    wanted = shown(service, "whole")["current"]["score"]
    sent(service, "leads", lead("L-1"), lead("L-2"))
    sent(service, "events", event("E-1", "L-1", 3), event("E-2", "L-2", 5))
    answer = merge(service, "L-2", "L-1")
    assert answer.json() == {"lead_id": "L-2", "merged_into": "L-1"}
    sent(service, "events", event("E-3", "L-2", 7))
    for lead_id in ("L-1", "L-2"):
        found = shown(service, lead_id)
        assert (found["lead_id"], found["events"]) == ("L-1", 3)
        assert found["current"]["score"] == wanted
    again = merge(service, "L-2", "L-1")
    assert (again.status_code, again.json()) == (200, answer.json())


def test_chains_of_merges_end_at_the_last_lead(service):
    sent(service, "leads", *(lead(f"L-{n}") for n in range(4)))
    sent(service, "events", *(event(f"E-{n}", f"L-{n}") for n in range(4)))
    assert merge(service, "L-0", "L-1").status_code == 200
    assert merge(service, "L-1", "L-2").status_code == 200
    assert merge(service, "L-3", "L-0").json()["merged_into"] == "L-2"
    into = service.rows(sa.select(leads.c.merged_into).where(leads.c.merged_into.is_not(None)))
    assert {row.merged_into for row in into} == {"L-2"}
    assert shown(service, "L-3")["events"] == 4
    assert merge(service, "L-0", "L-1").json()["merged_into"] == "L-2"


@pytest.mark.parametrize(
    ("lead_id", "into", "status", "code"),
    [
        ("L-1", "L-1", 409, "itself"),
        ("L-2", "L-1", 409, "itself"),
        ("L-1", "L-3", 409, "merged_already"),
        ("L-9", "L-1", 404, "unknown_lead"),
        ("L-3", "L-9", 404, "unknown_lead"),
    ],
)
def test_merges_that_cannot_be(service, lead_id, into, status, code):
    sent(service, "leads", *(lead(f"L-{n}") for n in (1, 2, 3)))
    assert merge(service, "L-1", "L-2").status_code == 200
    answer = merge(service, lead_id, into)
    assert answer.status_code == status
    assert answer.json()["errors"][0]["code"] == code


def test_an_objection_of_either_lead_holds_for_both(service):
    sent(service, "leads", lead("L-1"), lead("L-2", suppress=["objected"]), lead("L-3"))
    merge(service, "L-2", "L-1")
    assert shown(service, "L-1")["current"]["why"] == "objected"
    merge(service, "L-3", "L-1")
    rows = service.rows(sa.select(leads.c.suppress))
    assert all("objected" in row.suppress for row in rows)


def suppressed(service, lead_id):
    return sorted(service.get(f"/v1/leads/{lead_id}").json()["suppress"])


def test_a_suppression_of_a_merged_lead_holds_for_both_until_it_is_withdrawn(service):
    sent(service, "leads", lead("L-0"), lead("L-1", suppress=["partner"]), lead("L-2"))
    sent(service, "leads", lead("L-0", suppress=["customer"]))
    merge(service, "L-0", "L-1")
    merge(service, "L-1", "L-2")
    assert suppressed(service, "L-2") == ["customer", "partner"]
    assert shown(service, "L-0")["current"]["decision"] == "suppressed"
    for lead_id, left in (("L-1", ["customer"]), ("L-0", [])):
        assert statuses(sent(service, "leads", lead(lead_id, suppress=[]))) == ["updated"]
        assert suppressed(service, "L-2") == left
    assert shown(service, "L-2")["current"]["decision"] != "suppressed"


def test_a_suppression_that_came_after_the_merger_is_withdrawn_again(service):
    sent(service, "leads", lead("L-1"), lead("L-2", suppress=["partner"]))
    merge(service, "L-1", "L-2")
    sent(service, "leads", lead("L-1", suppress=["customer"]))
    assert suppressed(service, "L-2") == ["customer", "partner"]
    sent(service, "leads", lead("L-2", suppress=[]))
    assert suppressed(service, "L-2") == ["customer"]
    sent(service, "leads", lead("L-1", suppress=[]))
    assert suppressed(service, "L-2") == []


def test_an_objection_of_one_of_a_chain_is_never_withdrawn_from_any(service):
    sent(service, "leads", *(lead(f"L-{n}") for n in range(4)))
    merge(service, "L-0", "L-1")
    sent(service, "leads", lead("L-0", suppress=["objected"]))
    merge(service, "L-1", "L-2")
    merge(service, "L-3", "L-2")
    for lead_id in ("L-0", "L-2"):
        sent(service, "leads", lead(lead_id, suppress=[]))
    rows = service.rows(sa.select(leads.c.suppress))
    assert [row.suppress for row in rows] == ['["objected"]'] * 4


def test_an_objection_of_a_merged_lead_comes_to_the_one_it_is(service):
    sent(service, "leads", lead("L-1"), lead("L-2"))
    merge(service, "L-2", "L-1")
    sent(service, "leads", lead("L-2", suppress=["objected"]))
    assert shown(service, "L-1")["current"]["why"] == "objected"


def _at_once(works):
    failed = []

    def run(work):
        try:
            work()
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_an_erasure_takes_answers_along_that_name_the_lead(service):
    sent(service, "leads", lead("L-7"))
    bad = {"lead_id": "L-7", "created_at": "yesterday"}
    head = {"idempotency-key": "K-1"}
    service.post("/v1/leads", {"leads": [bad, lead("L-8")]}, headers=head)
    assert b"L-7" in service.rows(sa.select(tables.idempotency.c.body))[0][0]
    assert service.send("DELETE", "/v1/leads/L-7").status_code == 200
    assert service.rows(sa.select(tables.idempotency)) == []
    for key, again in (("K-2", lead("L-7")), ("K-3", bad)):
        service.post("/v1/leads", {"leads": [again]}, headers={"idempotency-key": key})
    assert service.rows(sa.select(tables.idempotency)) == []
