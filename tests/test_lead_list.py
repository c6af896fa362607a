"""The list of leads: each as it is shown alone, and none left out or twice, whatever happens."""

from typing import get_args

import pytest

from features.history import DAY_US
from features.moments import iso
from serving.http.lead_routes import LeadState
from serving.store import standing
from tests.sales import add_event, add_lead, close, decide, merge
from tests.scorers import AS_OF_US, EPOCH_US, json_leads
from tests.states import crm, put, sqlite_steps

HOUR_US = DAY_US // 24
ITEM = {
    *("lead_id", "state", "created_at", "account_id"),
    *("score", "grade", "decision", "why", "as_of"),
}


@pytest.fixture
def service(database_url):
    with crm(database_url) as opened:
        yield opened


def page(service, **query):
    answer = service.get("/v1/leads", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def listed(service, **query):
    """Return the ids of all pages."""
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        given = page(service, **query, **cursor)
        found += [item["lead_id"] for item in given["items"]]
        if given["next"] is None:
            return found
        cursor = {"cursor": given["next"]}


def send(service, *lead_ids, **more):
    sent = [{"lead_id": each, "created_at": iso(EPOCH_US), **more} for each in lead_ids]
    answer = service.post("/v1/leads", {"leads": sent})
    assert {each["status"] for each in answer.json()["results"]} == {"stored"}


def act(service, lead_id, action, **body):
    (handoff,) = service.get("/v1/handoffs", params={"lead_id": lead_id}).json()["items"]
    path, version = f"/v1/handoffs/{handoff['handoff_id']}/{action}", handoff["version"]
    body = {"at": iso(service.now_us), **body}
    answer = service.post(path, body, headers={"if-match": str(version)})
    assert answer.status_code == 200, answer.text


def every_state(service):
    """Put one lead into each state, as far as it can be; its id is the state."""
    names = standing.STATES
    for name in names:
        add_lead(service, name)
    for name in names:
        if name != "raw":
            add_event(service, name, "inquiry" if name == "inquiry" else "web_visit")
    worked = ["accepted", "contacted", "appointment", "visit", "closing"]
    steps = {"contacted": "contact", "recycled": "recycle", "disqualified": "disqualify"}
    ended = ["recycled", "disqualified", "rejected"]
    decide(service, "flagged", *worked, *ended)
    for name in [*worked, "recycled", "disqualified"]:
        act(service, name, "accept")
    act(service, "disqualified", "contact")
    because = {"reason": "no budget"}
    act(service, "rejected", "reject", **because)
    for name in [*worked[1:], "recycled", "disqualified"]:
        act(service, name, steps.get(name, name), **(because if name in steps else {}))
    close(service, "won", "won")
    close(service, "won", "lost", AS_OF_US - 1)
    close(service, "lost", "lost")
    put(service, {"lead_id": "suppressed", "created_at": iso(EPOCH_US)}, suppress='["customer"]')


def test_states_are_documented():
    assert get_args(LeadState) == standing.STATES


def test_every_state_is_listed_as_the_lead_is_shown(service):
    every_state(service)
    others = json_leads(2, 9)
    for lead in others:
        for number, event in enumerate(lead["events"]):
            event["event_id"] = f"{lead['lead_id']}-{number}"
    put(service, *others)
    # What was learned from a disqualified lead is that it was lost.
    wanted = {name: "lost" if name == "disqualified" else name for name in standing.STATES}
    items = page(service, limit=200)["items"]
    assert all({*item} == ITEM for item in items)
    assert {i["lead_id"]: i["state"] for i in items if i["lead_id"] in wanted} == wanted
    for item in items:
        alone = service.get(f"/v1/leads/{item['lead_id']}").json()
        assert alone["state"] == item["state"]
        assert item["as_of"] == alone["as_of"]
        for name in ("score", "grade", "decision", "why"):
            assert item[name] == (alone["current"] or {}).get(name), name
    for state in standing.STATES:
        found = [item["lead_id"] for item in items if item["state"] == state]
        assert listed(service, state=state, limit=1) == found, state
        assert found or state == "disqualified"
    for decision in ("hand_off", "nurture", "abstain", "suppressed"):
        found = [item["lead_id"] for item in items if item["decision"] == decision]
        assert listed(service, decision=decision, limit=2) == found


def test_newest_records_come_first_and_those_received_at_once_by_id(service):
    send(service, "b", "é", "a", "z/1")
    service.now_us += HOUR_US
    send(service, "c", "d", account_id="A-1")
    everyone = listed(service)
    assert everyone[:2] == ["d", "c"]
    assert {*everyone[2:]} == {"a", "b", "z/1", "é"}
    assert page(service)["items"][0]["account_id"] == "A-1"
    assert page(service)["items"][0]["created_at"] == iso(EPOCH_US)
    for limit in (1, 2, 3, 6, 7):
        assert listed(service, limit=limit) == everyone
    assert page(service, limit=6)["next"] is None


def test_pages_hold_while_leads_change(service):
    names = [f"L-{number}" for number in range(7)]
    for name in names:
        send(service, name)
        service.now_us += HOUR_US
    first = page(service, limit=3)
    assert [item["lead_id"] for item in first["items"]] == names[:3:-1]
    send(service, "new")
    changed = [{"lead_id": each, "created_at": iso(EPOCH_US)} for each in names]
    service.post("/v1/leads", {"leads": [each | {"suppress": ["customer"]} for each in changed]})
    assert service.send("DELETE", "/v1/leads/L-4").status_code == 200  # the cursor's own
    rest = page(service, cursor=first["next"], limit=200)["items"]
    assert [item["lead_id"] for item in rest] == names[3::-1]
    assert {item["state"] for item in rest} == {"suppressed"}


def test_what_was_updated_since_a_moment(service):
    send(service, "a", "b", "c", "d")
    service.now_us += HOUR_US
    since = iso(service.now_us)
    assert listed(service, updated_since=since) == []
    assert len(listed(service, updated_since=iso(AS_OF_US))) == 4
    body = {"event_type": "web_visit", "occurred_at": iso(EPOCH_US + DAY_US)}
    service.post("/v1/events", {"events": [{"event_id": "E", "lead_id": "b", **body}]})
    assert listed(service, updated_since=since) == ["b"]
    decide(service, "c")
    act(service, "c", "accept")
    service.now_us += HOUR_US
    assert {*listed(service, updated_since=since)} == {"b", "c"}
    assert listed(service, updated_since=since, state="accepted") == ["c"]
    act(service, "c", "contact")
    assert listed(service, updated_since=iso(service.now_us)) == ["c"]


def test_of_merged_leads_the_one_that_goes_on_is_listed_with_all_that_is_known(service):
    for name in ("a", "b", "c"):
        add_lead(service, name)
        add_lead(service, f"{name}-too")
    add_event(service, "a-too")
    decide(service, "b-too")
    close(service, "won", "c-too")
    merge(service, "a-too", "a")
    merge(service, "b-too", "b")
    merge(service, "c-too", "c")
    items = page(service)["items"]
    assert [(item["lead_id"], item["state"]) for item in items] == [
        ("c", "won"),
        ("b", "flagged"),
        ("a", "nurtured"),
    ]
    assert [service.get(f"/v1/leads/{i['lead_id']}-too").json()["state"] for i in items] == [
        item["state"] for item in items
    ]
    act(service, "b", "accept")
    assert listed(service, updated_since=iso(service.now_us)) == ["b"]


def test_an_empty_list_and_leads_that_were_never_scored(service):
    assert page(service) == {"items": [], "next": None}
    add_lead(service, "a")
    (item,) = page(service)["items"]
    assert item == {
        "lead_id": "a", "state": "raw", "created_at": iso(EPOCH_US), "account_id": None,
        "score": None, "grade": None, "decision": None, "why": None, "as_of": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "query",
    [
        *("state=hot", "decision=maybe", "limit=0", "limit=201", "updated_since=yesterday"),
        *("cursor=%FF", "cursor=eA", "cursor=8J-Y", "cursor=MSAA", "cursor=" + "A" * 2_001),
    ],
)
def test_a_bad_filter_is_a_problem(service, query):
    answer = service.get(f"/v1/leads?{query}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_reading_is_enough(service):
    assert service.get("/v1/leads", token=service.key("reader", ["read"])).status_code == 200
    assert service.get("/v1/leads", token=service.key("writer", ["write"])).status_code == 403


@pytest.mark.parametrize("state", ["raw", "inquiry", "nurtured", "flagged", "won"])
def test_a_state_that_hardly_any_lead_is_in_is_found_by_index_whatever_sqlite_counted(
    sqlite_url, state
):
    steps = {}
    with crm(sqlite_url) as service:
        for at, leads in enumerate((100, 1_000)):
            send(service, *(f"{at}/{n}" for n in range(leads)))
            for start in range(0, leads, 500):
                some = [
                    {"event_id": f"{at}/{n}", "lead_id": f"{at}/{n}", "event_type": "web_visit"}
                    | {"occurred_at": iso(EPOCH_US)}
                    for n in range(start, min(start + 500, leads))
                ]
                service.post("/v1/events", {"events": some})
            with service.database.writing() as connection:
                connection.exec_driver_sql("ANALYZE")
            wanted = standing.Wanted(state=state)
            with service.database.reading() as connection:
                steps[leads] = sqlite_steps(
                    connection, lambda c=connection, w=wanted: standing.page(c, w, None, 50)
                )
    assert steps[1_000] < 30 * steps[100]


def test_the_plus_of_a_zone_may_stand_in_a_url_as_it_is(service):
    send(service, "L-1")
    for path in ("/v1/leads?updated_since=", "/v1/handoffs?since="):
        moments = ("2020-01-01T09:00:00+09:00", "2020-01-01T09:00:00%2B09:00", "2020-01-01T00:00Z")
        found = [service.get(path + each).json() for each in moments]
        assert found[0] == found[1] == found[2]
        assert "items" in found[0]


def test_a_filter_that_a_list_has_not_is_refused(service):
    for path in ("/v1/leads?status=won", "/v1/handoffs?state=won", "/v1/leads/L-1/history?page=2"):
        answer = service.get(path)
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert error["code"] == "unknown"
        assert "it has" in error["detail"]
