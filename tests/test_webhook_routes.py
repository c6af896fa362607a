import json

import pytest
from standardwebhooks import Webhook

from serving.courier import Courier
from serving.store import outbox
from serving.store.policy import Policy
from serving.webhooks import Sender
from tests.receivers import receiver
from tests.states import crm

DAY_US = 86_400_000_000


@pytest.fixture
def service(database_url):
    with crm(database_url, policy=Policy(private_webhooks=True)) as opened:
        yield opened


def put(service, type="lead.handoff", lead_id="L-1"):
    with service.database.writing() as connection:
        return outbox.put(connection, type, lead_id, {"lead_id": lead_id}, service.now_us)


def deliver(service):
    courier = Courier(service.database, Sender(private=True), lambda: service.now_us, lambda: 0.0)
    courier.begin()
    courier.wait()


def add(service, url, **more):
    made = service.post("/v1/webhooks", {"url": url, **more})
    assert made.status_code == 200, made.text
    return made.json()


def signed_by(headers, body):
    """Give the timestamp that was signed, if this is the secret: the library wants today's."""
    stamp, wanted = headers["webhook-timestamp"], headers["webhook-signature"]

    def by(secret):
        from datetime import UTC, datetime

        at = datetime.fromtimestamp(int(stamp), UTC)
        return Webhook(secret).sign(headers["webhook-id"], at, body) in wanted.split(" ")

    return by


def test_an_endpoint_is_added_told_and_deleted(service):
    with receiver() as told:
        made = add(service, told.url, types=["lead.handoff"])
        assert made["secret"].startswith("whsec_")
        message_id = put(service)
        put(service, "lead.outcome")
        deliver(service)
        assert told.ids == [message_id]
        assert signed_by(*told.got[0])(made["secret"])
        [item] = service.get("/v1/webhooks").json()["items"]
        assert item == {
            "endpoint_id": made["endpoint_id"], "url": told.url, "types": ["lead.handoff"],
            "created_at": item["created_at"], "enabled": True, "disabled_at": None,
            "why_disabled": None,
        }  # fmt: skip
        gone = service.send("DELETE", f"/v1/webhooks/{made['endpoint_id']}")
        assert gone.json() == {"endpoint_id": made["endpoint_id"], "deleted": True}
        put(service)
        deliver(service)
        assert told.ids == [message_id]
    assert service.get("/v1/webhooks").json() == {"items": []}


def test_the_old_secret_signs_along_for_a_day(service):
    with receiver() as told:
        made = add(service, told.url)
        first, path = made["secret"], f"/v1/webhooks/{made['endpoint_id']}/rotate"
        second = service.post(path, None).json()["secret"]
        signs = []
        for _ in range(2):
            put(service)
            deliver(service)
            by = signed_by(*told.got[-1])
            signs.append((by(first), by(second)))
            service.now_us += DAY_US
    assert signs == [(True, True), (False, True)]


def test_the_next_rotation_ends_the_one_before(service):
    with receiver() as told:
        made = add(service, told.url)
        path = f"/v1/webhooks/{made['endpoint_id']}/rotate"
        secrets = [made["secret"], *(service.post(path, None).json()["secret"] for _ in "ab")]
        put(service)
        deliver(service)
    by = signed_by(*told.got[0])
    assert [by(secret) for secret in secrets] == [False, True, True]


def test_a_disabled_endpoint_says_why_and_is_enabled_again(service):
    with receiver(status=410) as told:
        made = add(service, told.url)
        put(service)
        deliver(service)
        [item] = service.get("/v1/webhooks").json()["items"]
        assert (item["enabled"], item["why_disabled"]) == (False, "answered 410 Gone")
        named = {"endpoint_id": made["endpoint_id"]}
        [message] = service.get("/v1/messages").json()["items"]
        path = f"/v1/messages/{message['message_id']}/replay"
        assert service.post(path, named).status_code == 409
        assert service.post(path, {}).json()["endpoint_ids"] == []
        told.status = 200
        enabled = service.post(f"/v1/webhooks/{made['endpoint_id']}/enable", None)
        assert enabled.json()["enabled"] is True
        deliver(service)
    assert len(told.got) == 2


def test_messages_are_listed_newest_first_in_pages(service):
    with receiver(status=500) as told:
        add(service, told.url)
        sent = [put(service, lead_id=f"L-{n}") for n in range(5)]
        deliver(service)
    seen, cursor = [], ""
    while cursor is not None:
        page = service.get(f"/v1/messages?limit=2&cursor={cursor}" if cursor else
                           "/v1/messages?limit=2").json()  # fmt: skip
        assert len(page["items"]) <= 2
        seen += page["items"]
        cursor = page["next"]
    assert [item["message_id"] for item in seen] == sent[::-1]
    assert seen[0]["payload"]["data"] == {"lead_id": "L-4"}
    [delivery] = seen[0]["deliveries"]
    assert (delivery["status"], delivery["attempts"], delivery["last_status"]) == (
        "waiting", 1, "HTTP 500",
    )  # fmt: skip


def test_a_message_is_sent_again_to_all_or_to_one(service):
    with receiver() as told, receiver() as other:
        add(service, told.url)
        named = add(service, other.url, types=["lead.outcome"])["endpoint_id"]
        message_id = put(service)
        deliver(service)
        path = f"/v1/messages/{message_id}/replay"
        assert service.send("POST", path).status_code == 200  # without a body: all that want it
        deliver(service)
        assert (told.ids, other.ids) == ([message_id] * 2, [])
        again = service.post(path, {"endpoint_id": named})
        assert again.json() == {"message_id": message_id, "endpoint_ids": [named]}
        deliver(service)
        assert (told.ids, other.ids) == ([message_id] * 2, [message_id])
    assert told.got[0][1] == told.got[1][1]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/v1/webhooks", {}, 422, "missing"),
        ("POST", "/v1/webhooks", {"url": "https://crm.example", "types": ["x"]}, 422, "not_one_of"),
        ("POST", "/v1/webhooks", {"url": "https://a:b@crm.example"}, 422, "url_refused"),
        ("DELETE", "/v1/webhooks/ep_0", None, 404, "unknown_endpoint"),
        ("POST", "/v1/webhooks/ep_0/rotate", None, 404, "unknown_endpoint"),
        ("POST", "/v1/webhooks/ep_0/enable", None, 404, "unknown_endpoint"),
        ("POST", "/v1/messages/msg_0/replay", None, 404, "unknown_message"),
        ("POST", "/v1/messages/msg_0/replay", {"x": 1}, 422, "unknown_field"),
        ("GET", "/v1/messages?cursor=~", None, 422, "bad_cursor"),
    ],
)
def test_what_is_refused(service, method, path, body, status, code):
    refused = service.send(method, path, json=body) if body else service.send(method, path)
    if method == "POST" and path == "/v1/webhooks" and not body:
        refused = service.send(method, path, json={})
    assert refused.status_code == status, refused.text
    assert refused.json()["errors"][0]["code"] == code


def test_private_addresses_need_a_policy_that_allows_them(database_url):
    with crm(database_url) as service, receiver() as told:
        refused = service.post("/v1/webhooks", {"url": told.url})
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["code"] == "url_refused"


def test_there_are_only_so_many_endpoints(service):
    for number in range(20):
        add(service, f"https://crm.example/{number}")
    assert service.post("/v1/webhooks", {"url": "https://crm.example/"}).status_code == 409


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/webhooks"), ("GET", "/v1/webhooks"), ("DELETE", "/v1/webhooks/x"),
        ("POST", "/v1/webhooks/x/rotate"), ("POST", "/v1/webhooks/x/enable"),
        ("GET", "/v1/messages"), ("POST", "/v1/messages/x/replay"),
    ],
)  # fmt: skip
def test_they_are_for_the_scope_admin(service, method, path):
    token = service.key("other", ["score", "read", "write"])
    assert service.send(method, path, token=token).status_code == 403


def test_the_document_describes_every_message(service):
    document = service.get("/openapi.json").json()
    assert set(document["webhooks"]) == set(outbox.TYPES)
    schemas = document["components"]["schemas"]
    for type, told in document["webhooks"].items():
        body = told["post"]["requestBody"]["content"]["application/json"]["schema"]
        message = schemas[body["$ref"].rpartition("/")[2]]
        assert message["properties"]["type"]["const"] == type
        names = [item["name"] for item in told["post"]["parameters"]]
        assert names == ["webhook-id", "webhook-timestamp", "webhook-signature"]
    assert json.dumps(document).count("whsec_") >= 1
