import json
from dataclasses import replace
from typing import get_args

import pytest
import sqlalchemy as sa

from features.history import DAY_US
from features.moments import iso
from serving.http.handoff_schemas import BODIES, Kind, Status
from serving.http.webhook_schemas import HandoffMessage, HandoffUpdatedMessage
from serving.served_model import ServedModel
from serving.store import handoffs as proposals
from serving.store import life, tables
from tests.sales import add_event, add_lead, decide, handoffs, steps
from tests.scorers import AS_OF_US
from tests.states import crm, put, served_model

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
REASON = {"reason": "because"}
UNTIL = {"until": iso(AS_OF_US + 30 * DAY_US)}
NEEDS = {"reject": REASON, "recycle": REASON, "disqualify": REASON, "override": REASON | UNTIL}


@pytest.fixture
def service(database_url):
    with crm(database_url) as opened:
        add_lead(opened)
        decide(opened, "L-1")
        yield opened


def newest(service):
    return service.get("/v1/handoffs").json()["items"][0]


def send(service, action, version, *, handoff_id=None, **body):
    path = f"/v1/handoffs/{handoff_id or handoffs(service)[-1].handoff_id}/{action}"
    headers = {} if version is None else {"if-match": str(version)}
    given = {"at": iso(service.now_us), **NEEDS.get(action, {}), **body}
    return service.post(path, given, headers=headers)


def walk(service, *actions):
    """Do one thing after the other, a minute apart, and return the last answer."""
    for action in actions:
        service.now_us += MINUTE_US
        answer = send(service, action, handoffs(service)[-1].version)
        assert answer.status_code == 200, answer.text
    return answer.json()


def outcomes(service):
    query = sa.text("SELECT lead_id, outcome FROM training_outcomes ORDER BY closed_at")
    return [*map(tuple, service.rows(query))]


def test_a_hand_off_is_shown(service):
    found = newest(service)
    assert found == {
        "handoff_id": handoffs(service)[0].handoff_id,
        "lead_id": "L-1",
        "episode": 1,
        "kind": "flagged",
        "status": "proposed",
        "score": 0.9,
        "decision_id": 1,
        "reasons": [],
        "created_at": iso(AS_OF_US),
        "proposed_at": iso(AS_OF_US),
        "due_at": iso(AS_OF_US + DAY_US),
        "version": 1,
        "why": None,
        "reason": None,
        "closing_attempts": [],
        "again_at": None,
        "again_on": None,
        "allowed": ["accept", "reject", "override"],
    }
    alone = service.get(f"/v1/handoffs/{found['handoff_id']}")
    assert alone.headers["etag"] == '"1"'
    step = {"version": 1, "action": "propose", "status": "proposed", "key_id": None}
    step |= {"at": iso(AS_OF_US), "received_at": iso(AS_OF_US)}
    step |= {"until": None, "why": None, "reason": None}
    assert alone.json() == found | {"steps": [step]}


def test_what_is_documented_is_what_there_is():
    assert get_args(Status) == (*life.STATES,)
    assert get_args(Kind) == proposals.KINDS
    assert {*BODIES} < {*life.ACTIONS}


def test_lists_are_filtered_and_paged_newest_first(service):
    for number in range(2, 6):
        add_lead(service, f"L-{number}")
        service.now_us += MINUTE_US
        decide(service, f"L-{number}", inquired=number == 4)
    send(service, "accept", 1)
    listed: list[str] = []
    cursor = None
    while cursor is not None or not listed:
        query = {"limit": 2} | ({} if cursor is None else {"cursor": cursor})
        page = service.get("/v1/handoffs", params=query).json()
        assert len(page["items"]) <= 2
        listed += [item["lead_id"] for item in page["items"]]
        cursor = page["next"]
    assert listed == ["L-5", "L-4", "L-3", "L-2", "L-1"]

    def leads(**query):
        items = service.get("/v1/handoffs", params=query).json()["items"]
        return [item["lead_id"] for item in items]

    assert leads(status="accepted") == ["L-5"]
    assert leads(status="proposed", limit=1) == ["L-4"]
    assert leads(kind="inbound") == ["L-4"]
    assert leads(lead_id="L-2") == ["L-2"]
    assert leads(since=iso(AS_OF_US + 3 * MINUTE_US)) == ["L-5", "L-4"]
    assert leads(status="won") == []


@pytest.mark.parametrize(
    "query", ["status=hot", "limit=0", "limit=201", "cursor=%FF", "since=x", "lead_id=%00"]
)
def test_a_bad_filter_is_a_problem(service, query):
    answer = service.get(f"/v1/handoffs?{query}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("handoff_id", ["nobody", "ho_" + "0" * 24, "'; DROP TABLE leads"])
def test_an_unknown_hand_off_is_a_404(service, handoff_id):
    assert service.get(f"/v1/handoffs/{handoff_id}").status_code == 404
    answer = send(service, "accept", 1, handoff_id=handoff_id)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (404, "unknown_handoff")


def test_a_hand_off_is_followed_from_its_proposal_to_the_win(service):
    won = walk(service, "accept", "contact", "appointment", "visit", "closing", "closing", "won")
    assert (won["status"], won["version"], won["allowed"]) == ("won", 8, [])
    attempts = [iso(AS_OF_US + minutes * MINUTE_US) for minutes in (5, 6)]
    assert won["closing_attempts"] == attempts
    assert newest(service) == won
    assert steps(service) == [
        ("propose", "proposed"),
        ("accept", "accepted"),
        ("contact", "contacted"),
        ("appointment", "appointment"),
        ("visit", "visit"),
        ("closing", "closing"),
        ("closing", "closing"),
        ("won", "won"),
    ]
    assert outcomes(service) == [("L-1", "won")]
    kept = service.rows(sa.select(tables.outcomes))[0]
    assert (kept.closed_us, kept.received_us) == (service.now_us, service.now_us)
    view = "SELECT event_type FROM training_events ORDER BY occurred_at"
    assert [row[0] for row in service.rows(sa.text(view))] == [
        "handoff_accepted",
        "call",
        "appointment",
        "visit",
        "closing_attempt",
        "closing_attempt",
    ]


@pytest.mark.parametrize(
    ("actions", "learned"),
    [
        (["reject"], []),
        (["override"], []),
        (["accept", "recycle"], []),
        (["accept", "lost"], [("L-1", "lost")]),
        (["accept", "contact", "disqualify"], [("L-1", "lost")]),
        (["accept", "won"], [("L-1", "won")]),
    ],
)
def test_what_is_learned_from_an_end(service, actions, learned):
    walk(service, *actions)
    assert outcomes(service) == learned


def test_an_expired_one_teaches_nothing(service):
    decide(service, "L-1", decision="nurture")
    assert newest(service)["status"] == "expired"
    assert outcomes(service) == []


def test_what_is_not_allowed_names_what_is(service):
    answer = send(service, "won", 1)
    assert answer.status_code == 409
    problem = answer.json()
    assert problem["allowed"] == ["accept", "reject", "override"]
    assert problem["errors"][0]["code"] == "not_allowed"
    assert "accept, reject, override" in problem["detail"]
    assert steps(service) == [("propose", "proposed")]
    assert outcomes(service) == []
    walk(service, "accept")
    assert send(service, "disqualify", 2).json()["allowed"] == life.allowed("accepted")


@pytest.mark.parametrize("given", ["1", '"1"', 'W/"1"', " 1 "])
def test_a_version_may_be_an_etag_or_a_number(service, given):
    answer = send(service, "accept", given)
    assert answer.status_code == 200
    assert answer.headers["etag"] == '"2"'


@pytest.mark.parametrize(
    ("given", "status", "code"),
    [
        (None, 428, "no_version"),
        ("x", 400, "bad_version"),
        ("*", 400, "bad_version"),
        ("1, 2", 400, "bad_version"),
        ("0", 412, "stale_version"),
        ("2", 412, "stale_version"),
        ("999999999", 412, "stale_version"),
    ],
)
def test_another_version_changes_nothing(service, given, status, code):
    answer = send(service, "accept", given)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (status, code)
    assert steps(service) == [("propose", "proposed")]


def test_the_same_sent_again_is_answered_as_it_was(service):
    first = send(service, "accept", 1, reason="mine")
    assert send(service, "accept", 1, reason="mine").json() == first.json()
    service.now_us += MINUTE_US
    at = {"at": iso(AS_OF_US), "reason": "mine"}
    send(service, "contact", 2)
    send(service, "closing", 3)
    again = send(service, "accept", 1, **at)
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["etag"] == '"2"'
    assert [action for action, _ in steps(service)] == ["propose", "accept", "contact", "closing"]
    assert send(service, "accept", 1, at=iso(AS_OF_US), reason="theirs").status_code == 412
    assert send(service, "reject", 1, **at).status_code == 412


def test_an_end_sent_again_is_answered_as_it_was(service):
    walk(service, "accept")
    first = send(service, "won", 2)
    assert first.json()["again_on"] == "never"
    again = send(service, "won", 2)
    assert (again.status_code, again.json()) == (200, first.json())
    assert outcomes(service) == [("L-1", "won")]


def test_the_same_sent_by_many_at_once_is_one_step(service):
    path = f"/v1/handoffs/{handoffs(service)[0].handoff_id}/accept"
    body, headers = {"at": iso(AS_OF_US)}, {"if-match": "1"}
    answers = service.send_at_once(8, "POST", path, json=body, headers=headers)
    assert [answer.status_code for answer in answers] == [200] * 8
    assert len({answer.content for answer in answers}) == 1
    assert steps(service) == [("propose", "proposed"), ("accept", "accepted")]


def test_of_several_that_say_something_else_at_once_one_is_first(service):
    path = f"/v1/handoffs/{handoffs(service)[0].handoff_id}/accept"
    headers = {"if-match": "1"}

    def body(number):
        return {"at": iso(AS_OF_US), "reason": f"number {number}"}

    answers = service.send_at_once(8, "POST", path, json=body, headers=headers)
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
    assert steps(service) == [("propose", "proposed"), ("accept", "accepted")]


def test_an_idempotency_key_is_honoured(service):
    handoff_id = handoffs(service)[0].handoff_id
    headers = {"if-match": "1", "idempotency-key": "k-1"}
    path, body = f"/v1/handoffs/{handoff_id}/accept", {"at": iso(AS_OF_US)}
    first = service.post(path, body, headers=headers)
    again = service.post(path, body, headers=headers)
    assert again.headers["idempotency-replayed"] == "true"
    assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])


def test_a_time_to_come_is_taken_as_now(service):
    later = iso(service.now_us + 301 * 1_000_000)
    first = send(service, "accept", 1, at=later)
    assert first.status_code == 200
    own = sa.select(tables.steps.c.at_us).where(tables.steps.c.version == 2)
    assert service.rows(own) == [(AS_OF_US,)]
    service.now_us += MINUTE_US
    assert send(service, "accept", 1, at=later).json() == first.json()
    soon = service.now_us + 299 * 1_000_000
    send(service, "contact", 2, at=iso(soon))
    own = sa.select(tables.steps.c.at_us).where(tables.steps.c.version == 3)
    assert service.rows(own) == [(soon,)]


@pytest.mark.parametrize(
    ("action", "body", "pointer"),
    [
        ("reject", {"reason": None}, "#/reason"),
        ("recycle", {"reason": None}, "#/reason"),
        ("disqualify", {"reason": ""}, "#/reason"),
        ("override", {"until": None}, "#/until"),
        ("override", {"reason": None}, "#/reason"),
        ("override", {"until": iso(AS_OF_US)}, "#/until"),
        ("reject", {"kind": "moody"}, "#/kind"),
        ("reject", {"reason": "\x00"}, "#/reason"),
        ("accept", {"kind": "clerical"}, "#/kind"),
        ("accept", {"at": "yesterday"}, "#/at"),
        ("accept", {"at": iso(AS_OF_US - 301 * SECOND_US)}, "#/at"),
        ("override", {"at": None, "until": iso(AS_OF_US)}, "#/until"),
    ],
)
def test_a_body_that_lacks_something_is_refused(service, action, body, pointer):
    answer = send(service, action, 1, **body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def test_empty_fields_may_be_sent(service):
    assert send(service, "accept", 1, at=None, reason=None, until=None).status_code == 200


def test_what_says_no_moment_was_done_when_it_was_received(service):
    path = f"/v1/handoffs/{handoffs(service)[0].handoff_id}/accept"
    service.now_us += MINUTE_US
    first = service.post(path, {}, headers={"if-match": "1"})
    assert first.status_code == 200
    own = sa.select(tables.steps.c.at_us).where(tables.steps.c.version == 2)
    assert service.rows(own) == [(service.now_us,)]
    done_at = iso(service.now_us)
    service.now_us += MINUTE_US
    for body in ({}, {"at": None}, {"at": done_at}):
        again = service.post(path, body, headers={"if-match": "1"})
        assert (again.status_code, again.json()) == (200, first.json())
    assert send(service, "accept", 1).status_code == 412  # at another moment
    assert steps(service) == [("propose", "proposed"), ("accept", "accepted")]


def test_what_is_sent_again_may_leave_out_its_moment_only(service):
    service.now_us += DAY_US // 2
    said = {"at": iso(AS_OF_US + MINUTE_US), "reason": "mine"}
    first = send(service, "accept", 1, **said)
    assert first.status_code == 200
    again = send(service, "accept", 1, **said | {"at": None})
    assert (again.status_code, again.json()) == (200, first.json())
    assert send(service, "accept", 1, at=None).status_code == 412
    assert send(service, "accept", 1, at=None, reason="theirs").status_code == 412
    assert send(service, "contact", 1, at=None, reason="mine").status_code == 412
    assert send(service, "accept", 1, at=None, reason="mine", **UNTIL).status_code == 412


def test_nothing_was_done_before_the_proposal_but_for_the_skew(service):
    service.now_us += 2 * DAY_US // 3
    for action, seconds in (("accept", 301), ("won", 10**6)):
        answer = send(service, action, 1, at=iso(AS_OF_US - seconds * SECOND_US))
        (fault,) = answer.json()["errors"]
        assert (answer.status_code, fault["code"]) == (422, "out_of_range")
        assert "before the hand-off was proposed" in fault["detail"]
    assert steps(service) == [("propose", "proposed")]
    assert send(service, "accept", 1, at=iso(AS_OF_US - 300 * SECOND_US)).status_code == 200
    answer = send(service, "won", 2, at=iso(AS_OF_US - 301 * SECOND_US))
    assert answer.status_code == 422
    assert outcomes(service) == []


@pytest.mark.parametrize(
    ("action", "body", "why", "again"),
    [
        ("reject", {"reason": "who knows"}, None, (None, "engagement")),
        ("reject", {"reason": "no", "kind": "procedural"}, "procedural", (None, "engagement")),
        ("reject", {"reason": "Definitional: small"}, "definitional", (None, "engagement")),
        ("reject", {"reason": "clerical, no phone"}, "clerical", (None, "repair")),
        ("reject", UNTIL, None, (UNTIL["until"], None)),
        ("override", {}, None, (UNTIL["until"], None)),
    ],
)
def test_a_proposal_that_ends_says_when_the_lead_comes_back(service, action, body, why, again):
    found = send(service, action, 1, **body).json()
    assert (found["why"], (found["again_at"], found["again_on"])) == (why, again)
    assert newest(service) == found


@pytest.mark.parametrize(
    ("action", "body", "why", "again"),
    [
        ("recycle", {"reason": "no response: called thrice"}, "no_response", (90, None)),
        ("recycle", {"reason": "timing"}, "timing", (180, None)),
        ("recycle", {"reason": "other"}, None, (90, None)),
        ("recycle", {"reason": "timing"} | UNTIL, "timing", (30, None)),
        ("lost", {}, None, (None, "engagement")),
        ("lost", UNTIL, None, (30, None)),
        ("won", {}, None, (None, "never")),
        ("won", UNTIL, None, (30, None)),
        ("disqualify", {}, None, (None, "engagement")),
    ],
)
def test_a_hand_off_that_ends_says_when_the_lead_comes_back(service, action, body, why, again):
    walk(service, "accept", "contact")
    service.now_us = AS_OF_US
    found = send(service, action, 3, **body).json()
    days, on = again
    moment = None if days is None else iso(AS_OF_US + days * DAY_US)
    assert (found["why"], found["again_at"], found["again_on"]) == (why, moment, on)


def test_a_date_lets_a_lead_come_back_that_was_won(service):
    walk(service, "accept")
    send(service, "won", 2, **UNTIL)
    decide(service, "L-1")
    assert newest(service)["status"] == "won"
    service.now_us = AS_OF_US + 30 * DAY_US
    decide(service, "L-1")
    assert newest(service)["status"] == "proposed"
    decide(service, "L-1")
    assert newest(service)["status"] == "proposed"


def test_a_rejected_lead_comes_back_with_new_engagement(service):
    add_event(service)
    walk(service, "reject")
    decide(service, "L-1")
    assert newest(service)["episode"] == 1
    add_event(service)
    decide(service, "L-1")
    assert (newest(service)["episode"], newest(service)["status"]) == (2, "proposed")


def test_an_override_ends_at_its_date_and_the_lead_is_scored_all_the_while(service):
    walk(service, "override")
    service.now_us = AS_OF_US + 30 * DAY_US - 1
    put(service, {"lead_id": "L-1", "created_at": iso(AS_OF_US - DAY_US), "events": []})
    assert service.get("/v1/leads/L-1").json()["current"]["score"] > 0
    decide(service, "L-1")
    assert newest(service)["status"] == "overridden"
    service.now_us += 1
    decide(service, "L-1")
    assert newest(service)["status"] == "proposed"


def test_an_outcome_that_was_sent_already_is_the_same_one(service):
    walk(service, "accept")
    row = {"lead_id": "L-1", "closed_us": service.now_us, "outcome": "won", "amount": 5.0}
    with service.database.writing() as connection:
        connection.execute(tables.outcomes.insert().values(**row, received_us=1))
    assert send(service, "won", 2).status_code == 200
    assert outcomes(service) == [("L-1", "won")]


def test_an_outcome_that_says_something_else_is_a_conflict(service):
    walk(service, "accept")
    row = {"lead_id": "L-1", "closed_us": service.now_us, "outcome": "lost", "received_us": 1}
    with service.database.writing() as connection:
        connection.execute(tables.outcomes.insert().values(row))
    answer = send(service, "won", 2)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (409, "outcome_conflict")
    assert newest(service)["status"] == "accepted"
    assert outcomes(service) == [("L-1", "lost")]


def test_every_change_is_in_the_audit(service):
    before = service.rows(sa.select(tables.audit))
    walk(service, "accept", "contact")
    send(service, "accept", 9)
    after = service.rows(sa.select(tables.audit))[len(before) :]
    assert [row.action.rpartition("/")[2] for row in after] == ["accept", "contact"]
    assert all(row.lead_hash for row in after)


def test_reading_and_doing_take_their_scopes(service):
    reader, writer = service.key("reader", ["read"]), service.key("writer", ["write"])
    path = f"/v1/handoffs/{handoffs(service)[0].handoff_id}"
    assert service.get(path, token=reader).status_code == 200
    assert service.get(path, token=writer).status_code == 403
    assert service.get("/v1/handoffs", token=writer).status_code == 403
    body, headers = {"at": iso(AS_OF_US)}, {"if-match": "1"}
    refused = service.post(f"{path}/accept", body, token=reader, headers=headers)
    assert refused.status_code == 403
    done = service.post(f"{path}/accept", body, token=writer, headers=headers)
    assert done.status_code == 200
    own = service.rows(sa.select(tables.steps.c.key_id).where(tables.steps.c.version == 2))
    assert own == [(writer.split("_")[1],)]


def test_a_lead_is_where_its_hand_off_is(service):
    assert service.get("/v1/leads/L-1").json()["handoff"]["status"] == "proposed"
    walk(service, "accept", "visit")
    found = service.get("/v1/leads/L-1").json()
    assert (found["state"], found["handoff"]["version"]) == ("visit", 3)


def messages(service):
    rows = service.rows(sa.select(tables.messages).order_by(tables.messages.c.seq))
    return [(row.type, json.loads(row.payload)["data"]) for row in rows]


def test_what_happens_is_told_as_it_is_shown(service):
    proposed = newest(service)
    accepted = walk(service, "accept")
    lost = walk(service, "lost")
    closed_at = iso(service.now_us)
    outcome = {"lead_id": "L-1", "closed_at": closed_at, "outcome": "lost"}
    assert messages(service) == [
        ("lead.handoff", proposed),
        ("lead.handoff.updated", accepted),
        ("lead.handoff.updated", lost),
        ("lead.outcome", outcome | {"amount": None, "recorded_at": None}),
    ]
    for type_, data in messages(service)[:3]:
        message = HandoffMessage if type_ == "lead.handoff" else HandoffUpdatedMessage
        whole = {"type": type_, "timestamp": closed_at, "data": data}
        assert message.model_validate_json(json.dumps(whole)).data.handoff_id == data["handoff_id"]


def test_what_is_refused_or_sent_again_is_not_told(service):
    send(service, "accept", 1)
    before = messages(service)
    send(service, "accept", 1)
    send(service, "accept", 2)
    send(service, "won", 1)
    assert messages(service) == before


def test_of_one_that_waits_nobody_is_told(service):
    scorer = served_model().scorer
    rule = replace(scorer.rule, kind="capacity", stated=True, capacity_per_week=1)
    service.slot.model = ServedModel.of(replace(scorer, rule=rule))
    add_lead(service, "L-2")
    decide(service, "L-2")
    assert newest(service)["status"] == "waiting"
    assert newest(service)["allowed"] == ["override"]
    walk(service, "override")
    assert [data["lead_id"] for _, data in messages(service)] == ["L-1"]


def test_a_transition_needs_no_body(service):
    item = newest(service)
    head = {"if-match": str(item["version"])}
    answer = service.send("POST", f"/v1/handoffs/{item['handoff_id']}/accept", headers=head)
    assert (answer.status_code, answer.json()["status"]) == (200, "accepted")
