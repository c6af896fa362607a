from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa

from features.history import DAY_US
from features.moments import iso
from serving.store import freshness
from serving.store.policy import Policy
from serving.store.rescoring import Rescoring
from serving.store.tables import decisions, leads
from tests.scorers import AS_OF_US, EPOCH_US, json_leads, small_leads, small_scorer
from tests.states import crm, put, served_model
from training.scorer import WHYS


@pytest.fixture
def service(database_url):
    with crm(database_url) as opened:
        yield opened


def lead(lead_id="L-1", *events, **more):
    return {"lead_id": lead_id, "created_at": iso(EPOCH_US), "events": list(events), **more}


def event(day, event_type="inquiry", **more):
    return {"event_type": event_type, "occurred_at": iso(EPOCH_US + day * DAY_US), **more}


def shown(service, lead_id="L-1"):
    answer = service.get(f"/v1/leads/{lead_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_lead_scores_as_the_stateless_api_says(service):
    sent = json_leads(3, 40)
    for one in sent:  # what becomes known after the moment is not received before it
        one["events"] = [e for e in one["events"] if not e.get("recorded_at")]
    put(service, *sent)
    body = {"leads": sent, "as_of": iso(AS_OF_US), "reasons": True}
    wanted = service.post("/v1/score", body).json()["results"]
    for one, result in zip(sent, wanted, strict=True):
        current = shown(service, one["lead_id"])["current"]
        for name in ("lead_id", "score", "percentile", "grade", "decision", "why", "reasons"):
            assert current[name] == result[name], name


def test_a_lead_is_shown_with_what_was_received(service):
    put(service, lead("L-1", event(1), event(2, "web_visit")))
    found = shown(service)
    assert (found["events"], found["state"], found["fresh"]) == (2, "flagged", True)
    assert found["as_of"] == iso(AS_OF_US)
    assert (found["handoff"]["status"], found["handoff"]["kind"]) == ("proposed", "inbound")


def test_an_unknown_lead_is_a_404(service):
    answer = service.get("/v1/leads/nobody")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (404, "unknown_lead")


def test_every_decision_is_kept_newest_first_and_paged(service):
    put(service, lead())
    for day in range(1, 6):
        service.now_us += DAY_US
        put(service, lead("L-1", event(day)))
    pages, cursor = [], ""
    while cursor is not None:
        page = service.get(
            f"/v1/leads/L-1/history?limit=2&cursor={cursor}"
            if cursor
            else "/v1/leads/L-1/history?limit=2"
        ).json()
        pages.append(page["items"])
        cursor = page["next"]
    assert [len(page) for page in pages] == [2, 2, 2]
    moments = [item["as_of"] for page in pages for item in page]
    assert moments == [iso(AS_OF_US + day * DAY_US) for day in (5, 4, 3, 2, 1, 0)]
    item = pages[0][0]
    model = served_model().scorer
    assert item["model"]["digest"] == model.digest
    assert item["model"]["rule"]["threshold"] == item["threshold"] == model.rule.threshold
    assert item["score"] == shown(service)["current"]["score"]


@pytest.mark.parametrize("query", ["cursor=%FF", "cursor=x", "limit=0", "limit=201", "limit=a"])
def test_a_bad_page_is_a_problem(service, query):
    put(service, lead())
    answer = service.get(f"/v1/leads/L-1/history?{query}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_unverified_events_count_apart(service):
    seen = [event(day, "web_visit", channel="web") for day in range(1, 9)]
    put(service, lead("L-1", *seen), lead("L-2", *({**e, "verified": False} for e in seen)))
    renamed = [{**e, "event_type": "web_visit_unverified"} for e in seen]
    body = {"leads": [lead("L-2", *renamed)], "as_of": iso(AS_OF_US)}
    expected = service.post("/v1/score", body).json()["results"][0]["score"]
    assert shown(service, "L-2")["current"]["score"] == expected
    assert shown(service, "L-1")["current"]["score"] != expected


def test_a_lead_that_objected_is_never_scored_again_and_it_is_said(service):
    put(service, lead("L-1", event(1)))
    service.now_us += 1
    put(service, lead("L-1", event(2)), suppress='["customer", "objected"]')
    current = shown(service)["current"]
    assert current["score"] is None
    assert (current["decision"], current["why"]) == ("suppressed", "objected")


def test_without_a_model_a_score_is_stale_and_says_so(service):
    put(service, lead("L-1", event(1)))
    model, service.slot.model = service.slot.model, None
    service.now_us += DAY_US
    put(service, lead("L-1", event(20)))
    found = shown(service)
    assert not found["fresh"]
    assert found["current"]["warnings"][0]["code"] == "stale"
    service.slot.model = model
    assert Rescoring(service.database, service.slot, service.policy).run(service.now_us) == 1
    assert shown(service)["fresh"]


def test_a_lead_that_was_never_scored_has_no_current(service):
    service.slot.model = None
    put(service, lead("L-1", event(1)))
    assert shown(service)["current"] is None


def test_open_leads_are_scored_again_every_night_and_closed_ones_are_not(service):
    put(service, *(lead(f"L-{n}", event(n + 1)) for n in range(5)))
    put(service, lead("L-9", event(3)), suppress='["objected"]')
    rescoring = Rescoring(service.database, service.slot, Policy(rescore_hour=2))
    rescoring.run(service.now_us)
    before = {n: shown(service, f"L-{n}")["current"]["score"] for n in range(5)}
    assert rescoring.run(service.now_us) == 0
    service.now_us += DAY_US
    assert rescoring.run(service.now_us) == 5
    after = {n: shown(service, f"L-{n}") for n in range(5)}
    assert all(after[n]["as_of"] == iso(service.now_us) for n in after)
    assert any(after[n]["current"]["score"] != before[n] for n in after)
    assert rescoring.run(service.now_us) == 0


def test_another_model_scores_all_open_leads_again(service):
    put(service, *(lead(f"L-{n}", event(n + 1)) for n in range(3)))
    rescoring = Rescoring(service.database, service.slot, service.policy)
    rescoring.run(service.now_us)
    service.slot.model = served_model(6)
    assert rescoring.run(service.now_us) == 3
    digest = service.rows(sa.select(decisions.c.model_digest).where(decisions.c.cause == "model"))
    assert {row[0] for row in digest} == {service.slot.model.scorer.digest}


def test_a_flagged_lead_stays_flagged_within_the_margin_and_falls_below_it():
    scorer = small_scorer(5)
    X = np.zeros((3, len(scorer.spec.names)), np.float32)
    score = scorer.probability(X)
    gap = np.log(score[0] / (1 - score[0]))
    threshold = 1 / (1 + np.exp(-(gap + 0.05)))  # just above the score
    ruled = replace(scorer, rule=replace(scorer.rule, threshold=float(threshold)))
    few, moments = small_leads(1, 3), np.full(3, AS_OF_US)
    flagged = np.array([True, False, True])
    found = ruled.judge(X, few, moments, flagged=flagged, margin=0.1)
    assert found.decision.tolist() == [0, 1, 0]
    assert found.whys[found.why[0]] == "kept_within_margin"
    assert ruled.judge(X, few, moments, flagged=flagged, margin=0.01).decision.tolist() == [1, 1, 1]
    assert "kept_within_margin" in WHYS


def test_a_failing_refresh_leaves_nothing_of_its_transaction(service, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(freshness, "_keep", broken)
    with pytest.raises(ZeroDivisionError):
        put(service, lead("L-1", event(1)))
    assert service.rows(sa.select(leads)) == []


def test_a_clock_that_is_behind_leaves_nothing_out(service):
    put(service, lead("L-1", event(1)))
    early = shown(service)
    service.now_us += DAY_US
    put(service, lead("L-1", event(30.5, "seminar_attended"), event(30.6)))
    late = shown(service)
    assert late["current"]["score"] != early["current"]["score"]
    service.now_us -= 2 * DAY_US
    put(service, lead("L-1", attributes={}))
    again = shown(service)
    assert again["fresh"]
    assert again["as_of"] == late["as_of"]
    assert again["current"]["score"] == late["current"]["score"]


def test_a_clock_that_is_behind_does_not_make_a_stale_score_fresh(service):
    put(service, lead("L-1", event(1)))
    service.slot.model, model = None, service.slot.model
    service.now_us -= DAY_US
    put(service, lead("L-1", event(2)))
    assert not shown(service)["fresh"]
    service.slot.model = model
    Rescoring(service.database, service.slot, service.policy).run(service.now_us)
    assert shown(service)["fresh"]


def test_a_pass_with_a_model_that_was_swapped_ends(service):
    put(service, *(lead(f"L-{n}", event(1)) for n in range(120)))
    old = service.slot.model

    def swapped(_seconds):
        service.slot.model = old

    service.slot.model = served_model(6)
    rescoring = Rescoring(service.database, service.slot, service.policy, pause=swapped)
    assert rescoring.run(service.now_us) == 50
    assert {row[0] for row in service.rows(sa.select(decisions.c.model_digest).distinct())} == {
        old.scorer.digest,
        served_model(6).scorer.digest,
    }


def test_what_the_model_does_not_know_is_a_warning_as_in_the_stateless_api(service):
    sent = lead(
        "L-1",
        event(1, "carried pigeons", channel="pigeon"),
        event(2, channel="web"),
        attributes={"shoe_size": 43, "employees": 12},
    )
    put(service, sent)
    body = {"leads": [sent], "as_of": iso(AS_OF_US)}
    wanted = service.post("/v1/score", body).json()["results"][0]["warnings"]
    assert len(wanted) == 3
    assert shown(service)["current"]["warnings"] == wanted


def test_a_lead_is_shown_with_what_its_record_says_now(service):
    first = {
        "industry": "finance",
        "employees": 12,
        "shoe_size": 43,
        "note": "0120",
        "city": "Oita",
    }
    changed = {"employees": 120.5, "city": None}
    sent = {"lead_id": "L-1", "created_at": iso(EPOCH_US), "account_id": "A-1"}
    for attributes in (first, changed, {"vip": True}):
        answer = service.post("/v1/leads", {"leads": [sent | {"attributes": attributes}]})
        assert answer.json()["results"][0]["status"] in {"stored", "updated"}
        service.now_us += DAY_US
    found = shown(service)
    assert (found["created_at"], found["account_id"]) == (iso(EPOCH_US), "A-1")
    assert found["attributes"] == {
        "industry": "finance",
        "employees": 120.5,
        "shoe_size": "43",  # the model does not know it
        "note": "0120",
        "vip": "true",
    }
    assert (found["suppress"], found["outcome"]) == ([], None)
    service.slot.model = None
    assert shown(service)["attributes"]["employees"] == "120.5"


@pytest.mark.parametrize("text", ["nan", "Infinity", "1e999", "a dozen"])
def test_what_is_no_number_in_json_is_shown_as_it_was_sent(service, text):
    put(service, lead("L-1", attributes={"employees": text}))
    assert shown(service)["attributes"] == {"employees": text}


def test_a_lead_is_shown_with_its_newest_outcome(service):
    put(service, lead("L-1"), lead("L-2"))
    closed = {"lead_id": "L-1", "closed_at": iso(EPOCH_US + DAY_US), "outcome": "lost"}
    won = {"lead_id": "L-2", "closed_at": iso(EPOCH_US + 2 * DAY_US), "outcome": "won"}
    service.post("/v1/outcomes", {"outcomes": [won | {"amount": 7}, closed]})
    wanted = {"outcome": "lost", "closed_at": closed["closed_at"], "amount": None}
    assert shown(service)["outcome"] == wanted
    service.post("/v1/leads/L-2/merge", {"into": "L-1"})
    found = shown(service)
    assert found["outcome"] == {"outcome": "won", "closed_at": won["closed_at"], "amount": 7}
    assert found["state"] == "won"


def test_what_was_said_of_a_merged_lead_holds_for_the_one_it_is(service):
    put(service, lead("L-1", attributes={"industry": "finance"}))
    put(service, lead("L-2", attributes={"employees": 12}))
    service.post("/v1/leads/L-2/merge", {"into": "L-1"})
    for lead_id in ("L-1", "L-2"):
        assert shown(service, lead_id)["attributes"] == {"employees": 12, "industry": "finance"}
