"""Ids in paths: a lead is asked for by its id, whatever stands in it."""

import asyncio
import http.client
import json
from urllib.parse import quote

import httpx
import pytest

from features.moments import iso
from tests.http_service import listening
from tests.scorers import EPOCH_US
from tests.states import crm, put

IDS = [
    "a/b",
    "a",
    "b",
    "a/history",
    "x/merge",
    "x",
    "a//b",
    "/",
    "a/",
    "ä b",
    "50%",
    "50%25",
    "a%2Fb",
    "a%252Fb",
    "a%00b",
    "..",
    ".",
    "../../leads",
    "a?b#c;d",
    "a+b",
    "{lead_id}",
    "見込み客/🙂",
]
"""One who mixed up two of them would answer for the wrong lead."""


def in_path(lead_id):
    """Encode all that is not a letter or a digit; clients resolve dots that stand there bare."""
    return quote(lead_id, safe="").replace(".", "%2E")


@pytest.fixture
def service(database_url):
    with crm(database_url) as opened:
        yield opened


@pytest.fixture(params=["no server", "httptools", "h11"])
def ask(request, sqlite_url):
    """Send a path as it stands; return the status and the JSON."""
    with crm(sqlite_url) as service:
        if request.param == "no server":
            yield lambda *sent: _in_process(service, *sent)
        else:
            with listening(service.app, request.param) as port:
                yield lambda *sent: _over_http(port, service.token, *sent)


def _in_process(service, method, path, body=None):
    content = {} if body is None else {"json": body}
    answer = service.send(method, path, **content)
    return answer.status_code, answer.json()


def _over_http(port, token, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    head = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        connection.request(method, path, None if body is None else json.dumps(body), head)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def leads(*lead_ids):
    created_at = iso(EPOCH_US)
    return {"leads": [{"lead_id": each, "created_at": created_at} for each in lead_ids]}


def test_every_route_of_a_lead_takes_every_id(ask):
    status, answer = ask("POST", "/v1/leads", leads("into", *IDS))
    assert (status, {each["status"] for each in answer["results"]}) == (200, {"stored"})
    for lead_id in IDS:
        path = f"/v1/leads/{in_path(lead_id)}"
        assert ask("GET", path)[1]["lead_id"] == lead_id
        status, page = ask("GET", f"{path}/history?limit=1")
        assert (status, [each["lead_id"] for each in page["items"]]) == (200, [lead_id])
    for lead_id in IDS[::2]:
        status, answer = ask("POST", f"/v1/leads/{in_path(lead_id)}/merge", {"into": "into"})
        assert (status, answer) == (200, {"lead_id": lead_id, "merged_into": "into"})
    for lead_id in IDS[1::2]:
        assert ask("DELETE", f"/v1/leads/{in_path(lead_id)}")[0] == 200
        assert ask("GET", f"/v1/leads/{in_path(lead_id)}")[0] == 404
    for lead_id in IDS[::2]:  # nobody else was erased
        assert ask("GET", f"/v1/leads/{in_path(lead_id)}")[1]["lead_id"] == "into"


def test_a_slash_that_is_not_encoded_parts_segments(ask):
    ask("POST", "/v1/leads", leads("a/b", "a", "a/history"))
    for method, path in (
        ("GET", "/v1/leads/a/b"),
        ("GET", "/v1/leads/a/b/history"),
        ("DELETE", "/v1/leads/a/b"),
        ("POST", "/v1/leads/a/b/merge"),
        ("GET", "/v1/leads%2Fa"),
        ("GET", "/v1%2Fleads/a"),
        ("GET", "/v1/leads/a%252Fhistory"),
    ):
        assert ask(method, path, {} if method == "POST" else None)[0] == 404, path
    assert ask("GET", "/v1/leads/a/history")[1]["items"][0]["lead_id"] == "a"
    for escape in ("%2F", "%2f"):
        assert ask("GET", f"/v1/leads/a{escape}history")[1]["lead_id"] == "a/history"


def test_other_ids_in_paths_may_hold_a_slash_too(ask):
    for path in (
        "/v1/handoffs/a%2Fb",
        "/v1/webhooks/a%2Fb/enable",
        "/v1/messages/a%2Fb/replay",
        "/v1/export/a%2Fleads.csv",
    ):
        method = "POST" if path.endswith(("enable", "replay")) else "GET"
        assert ask(method, path)[0] == 404, path


def test_a_server_that_tells_no_raw_path_is_served_by_the_decoded_one(service):
    put(service, {"lead_id": "ä b", "created_at": iso(EPOCH_US)})

    async def without(scope, receive, send):
        del scope["raw_path"]
        await service.app(scope, receive, send)

    async def sent():
        transport = httpx.ASGITransport(without)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            head = {"authorization": f"Bearer {service.token}"}
            return await client.get("/v1/leads/%C3%A4%20b", headers=head)

    assert asyncio.run(sent()).json()["lead_id"] == "ä b"


def test_an_idempotency_key_tells_paths_apart(service):
    put(service, *({"lead_id": each, "created_at": iso(EPOCH_US)} for each in ("a?b", "a?c", "d")))
    head = {"idempotency-key": "k"}
    assert service.post("/v1/leads/a%3Fb/merge", {"into": "d"}, headers=head).status_code == 200
    answer = service.post("/v1/leads/a%3Fc/merge", {"into": "d"}, headers=head)
    assert answer.json()["errors"][0]["code"] == "idempotency_key_reused"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/v1/leads/a", "DELETE, GET"),
        ("POST", "/v1/leads/a%2Fmerge", "DELETE, GET"),
        ("PUT", "/v1/leads/a/merge", "POST"),
        ("DELETE", "/v1/webhooks", "GET, POST"),
        ("POST", "/v1/handoffs", "GET"),
        ("GET", "/v1/handoffs/1/accept", "POST"),
        ("GET", "/v1/score", "POST"),
        ("POST", "/openapi.json", "GET, HEAD"),
    ],
)
def test_another_method_is_told_which_there_are(service, method, path, allowed):
    answer = service.send(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
