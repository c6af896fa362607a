"""Messages of Segment's and RudderStack's libraries, as they send them."""

import pytest
import sqlalchemy as sa

from features.history import DAY_US
from features.moments import iso
from serving.store.tables import changes, events, leads
from tests.scorers import AS_OF_US, EPOCH_US
from tests.states import crm

SECOND_US = 1_000_000


@pytest.fixture
def service(database_url):
    with crm(database_url) as opened:
        yield opened


def track(message_id="m-1", user="L-1", day=3, **more):
    at = iso(EPOCH_US + day * DAY_US)
    return {
        "type": "track",
        "messageId": message_id,
        "userId": user,
        "event": "inquiry",
        "timestamp": at,
    } | more


def identify(message_id="m-i", user="L-1", **traits):
    at = iso(EPOCH_US + DAY_US)
    return {
        "type": "identify",
        "messageId": message_id,
        "userId": user,
        "timestamp": at,
        "traits": {"createdAt": iso(EPOCH_US)} | traits,
    }


def batch(service, *messages, **more):
    answer = service.post("/v1/batch", {"batch": list(messages), **more})
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def shown(service, lead_id="L-1"):
    return service.get(f"/v1/leads/{lead_id}").json()


def stored(service, *columns):
    return service.rows(sa.select(*(events.c[name] for name in columns)).order_by(events.c.seq))


def test_a_tracked_event_is_stored_with_what_the_library_adds(service):
    message = track(
        properties={"value": 3, "channel": "form", "page": {"path": "/"}},
        context={"library": {"name": "analytics.js"}, "channel": "web"},
        integrations={},
        anonymousId="a-1",
        channel="browser",
    )
    answer = service.post("/v1/track", message)
    assert answer.json() == {"results": [{"id": "m-1", "status": "stored"}]}
    names = ("source", "event_id", "lead_id", "event_type", "value", "channel", "occurred_us")
    assert stored(service, *names) == [
        ("crm", "m-1", "L-1", "inquiry", 3.0, "form", EPOCH_US + 3 * DAY_US)
    ]
    assert service.post("/v1/track", message).json()["results"][0]["status"] == "duplicate"


def test_the_same_event_by_both_ways_is_one(service):
    batch(service, track())
    same = {
        "event_id": "m-1",
        "lead_id": "L-1",
        "event_type": "inquiry",
        "occurred_at": iso(EPOCH_US + 3 * DAY_US),
    }
    answer = service.post("/v1/events", {"events": [same]})
    assert answer.json()["results"][0]["status"] == "duplicate"


def test_a_batch_of_all_kinds_is_joined_and_scored(service):
    results = batch(
        service,
        track(),
        {"type": "page", "messageId": "m-2", "userId": "L-1", "timestamp": iso(EPOCH_US)},
        identify(employees=120, active=True, email="a@example.org", company={"name": "A"}),
        {"type": "group", "messageId": "m-4", "userId": "L-1", "groupId": "A-1"},
        {"type": "screen", "messageId": "m-5", "userId": "L-1", "timestamp": iso(EPOCH_US)},
        {"type": "delete", "messageId": "m-6", "userId": "L-1"},
        {"type": "track", "messageId": "m-7", "event": "x"},
        7,
    )
    assert [each["status"] for each in results] == [
        *("stored", "stored", "stored", "updated", "stored", "rejected", "rejected", "rejected"),
    ]
    assert [each["id"] for each in results] == [
        *("m-1", "m-2", "m-i", "m-4", "m-5", "m-6", "m-7", None)
    ]
    assert [each.get("code") for each in results[5:]] == ["not_one_of", "missing", "wrong_type"]
    assert "#/batch/6/userId" in results[6]["detail"]
    assert [row[0] for row in stored(service, "event_type")] == ["inquiry", "web_visit", "screen"]
    assert service.rows(sa.select(leads.c.created_us, leads.c.account_id)) == [(EPOCH_US, "A-1")]
    kept = service.rows(sa.select(changes.c.attribute, changes.c.value))
    assert dict(tuple(row) for row in kept) == {"employees": "120", "active": "true"}
    assert (shown(service)["events"], shown(service)["fresh"]) == (3, True)


def test_a_lead_without_createdat_begins_with_its_first_message(service):
    message = identify()
    del message["traits"]["createdAt"]
    assert batch(service, message)[0]["status"] == "stored"
    later = message | {"timestamp": iso(EPOCH_US + 9 * DAY_US), "traits": {"employees": 5}}
    assert batch(service, later)[0]["status"] == "updated"
    assert service.rows(sa.select(leads.c.created_us)) == [(EPOCH_US + DAY_US,)]


def test_the_clock_of_the_sender_is_set_right_by_when_it_sent(service):
    hour_us = DAY_US // 24
    happened, sent = iso(AS_OF_US + hour_us), iso(AS_OF_US + hour_us + 20 * SECOND_US)
    (result,) = batch(service, track(timestamp=happened), sentAt=sent)
    assert result == {"id": "m-1", "status": "stored"}
    assert stored(service, "occurred_us") == [(AS_OF_US - 20 * SECOND_US,)]
    service.now_us += hour_us
    again = iso(AS_OF_US + 2 * hour_us + 1)
    assert batch(service, track(timestamp=happened), sentAt=again)[0]["status"] == "duplicate"


def test_a_clock_that_cannot_be_set_right_is_taken_as_it_is(service):
    batch(service, track(), sentAt="2199-12-31T00:00:00Z")
    assert stored(service, "occurred_us") == [(EPOCH_US + 3 * DAY_US,)]


def test_a_message_that_was_passed_on_says_when_it_happened_itself(service):
    wrong = iso(AS_OF_US + DAY_US // 2)
    message = track(originalTimestamp=wrong, sentAt=wrong)
    assert batch(service, message)[0] == {"id": "m-1", "status": "stored"}
    assert stored(service, "occurred_us") == [(EPOCH_US + 3 * DAY_US,)]


def test_an_event_without_a_time_happened_when_it_came(service):
    message = track()
    del message["timestamp"]
    assert batch(service, message)[0]["status"] == "stored"
    service.now_us += SECOND_US
    assert batch(service, message)[0]["status"] == "duplicate"
    assert stored(service, "occurred_us") == [(AS_OF_US,)]


def test_an_event_without_an_id_is_known_by_its_content(service):
    message = track()
    del message["messageId"]
    other = message | {"event": "web_visit"}
    found = batch(service, message, message, other)
    assert [each["status"] for each in found] == ["stored", "duplicate", "stored"]
    del message["timestamp"]
    assert batch(service, message)[0]["code"] == "missing"


def test_a_visitor_who_turns_out_to_be_a_lead_brings_what_was_seen(service):
    anonymous = track("m-0", day=2) | {"anonymousId": "a-1"}
    del anonymous["userId"]
    assert batch(service, anonymous)[0]["status"] == "stored"
    assert service.get("/v1/leads/a-1").status_code == 404
    assert batch(service, identify() | {"anonymousId": "a-1"})[0]["status"] == "stored"
    assert shown(service)["events"] == 1
    batch(service, anonymous | {"messageId": "m-9"})
    assert shown(service)["events"] == 2
    shared = identify("m-8", "L-2") | {"anonymousId": "a-1"}
    assert batch(service, shared)[0]["status"] == "stored"
    assert (shown(service, "a-1")["lead_id"], shown(service, "L-2")["events"]) == ("L-1", 0)


def test_an_alias_merges(service):
    batch(service, identify(), identify("m-2", "L-2"), track(user="L-2"))
    alias = {"type": "alias", "messageId": "m-3", "previousId": "L-2", "userId": "L-1"}
    assert [batch(service, alias)[0]["status"] for _ in range(2)] == ["stored", "duplicate"]
    assert shown(service, "L-2")["lead_id"] == "L-1"
    unknown = alias | {"userId": "L-9"}
    (result,) = batch(service, unknown)
    assert (result["status"], result["code"]) == ("rejected", "unknown_lead")
    assert "#/batch/0/userId" in result["detail"]


@pytest.mark.parametrize(
    ("agent", "verified"),
    [
        ("Mozilla/5.0", False),
        ("Mozilla/5.0 (compatible; Googlebot/2.1)", False),
        ("Mozilla/5.0 (X11) HeadlessChrome/120", False),
        ("Mozilla/5.0 (Linux; Android 9; CUBOT X18) Chrome/120", True),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/120", True),
        (None, True),
    ],
)
def test_events_of_programs_are_unverified(service, agent, verified):
    batch(service, track(context={"userAgent": agent}))
    assert stored(service, "verified") == [(verified,)]


def test_messages_and_bodies_that_are_too_large_are_refused(service):
    large = track(properties={"text": "x" * 32_000})
    results = batch(service, large, track("m-2"))
    assert [each["status"] for each in results] == ["rejected", "stored"]
    assert results[0]["code"] == "too_large"
    assert service.post("/v1/track", large).status_code == 413
    many = [track(f"m-{n}", properties={"text": "x" * 30_000}) for n in range(17)]
    assert service.post("/v1/batch", {"batch": many}).status_code == 413


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/track", b"{", 400),
        ("/v1/track", b"[]", 422),
        ("/v1/batch", b"{}", 422),
        ("/v1/batch", b'{"batch": []}', 422),
        ("/v1/batch", b'{"batch": [1], "sentAt": "now"}', 422),
    ],
)
def test_bodies_without_messages_are_problems(service, path, body, status):
    headers = {"content-type": "application/json"}
    assert service.send("POST", path, content=body, headers=headers).status_code == status


def test_only_events_are_tracked(service):
    (result,) = service.post("/v1/track", identify()).json()["results"]
    assert (result["status"], result["code"]) == ("rejected", "not_one_of")
