"""What must be refused, on every route and wherever a client may write text."""

import asyncio
import io
import json
import logging
import logging.config
import re

import httpx
import pytest
import sqlalchemy as sa
from fastapi.routing import APIRoute

from serving import logs
from serving.http import answers, schemas
from serving.http.documented import scope_of
from serving.store import audit, keys, tables
from serving.store.database import DatabaseError
from tests.scorers import json_leads
from tests.states import crm, put

OPEN = {"/livez", "/readyz", "/metrics"}
HOSTILE = [
    "' OR '1'='1",
    "'; DROP TABLE leads; --",
    '"quoted"',
    "../../etc/passwd",
    "..%2f..%2f",
    "a\r\nX-Injected: yes",
    'line\n{"level": "ERROR"}',
    "\u2028\u2029\x85\x1b[31m",
    "{0.__class__}%s%n$(id)`id`",
    "見込み客🙂é",
    "x" * 256,
    " ",
    "\ufeff",
    "\x01\x7f",
]
"""Ids that must be kept as they are, or refused: never run, never cut."""


def routes(app):
    found = [
        (method, route.path)
        for route in app.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    ]
    return sorted(found)


@pytest.fixture
def service(database_url):
    with crm(database_url) as opened:
        yield opened


@pytest.fixture
def embedded(sqlite_url):
    with crm(sqlite_url) as opened:
        yield opened


def every_route(embedded):
    """Return (method, URL, scope) of each route that asks for a key."""
    return [
        (method, re.sub(r"\{[^}]*\}", "1", path), scope_of(method, path))
        for method, path in routes(embedded.app)
        if path not in OPEN
    ]


# --- keys ---


def test_every_route_asks_for_a_key_and_its_scope(embedded):
    wrong = "lk_0123456789ab_" + "x" * 43
    expired = embedded.key("expired")
    with embedded.database.writing() as connection:
        keys.revoke(connection, expired.split("_")[1], embedded.now_us)
    lacking = {
        scope: embedded.key(f"all but {scope}", [s for s in keys.SCOPES if s != scope])
        for scope in keys.SCOPES
    }
    only = {scope: embedded.key(f"only {scope}", [scope]) for scope in keys.SCOPES}
    found = every_route(embedded)
    assert len(found) >= 5
    for method, url, scope in found:
        where = f"{method} {url}: say its scope in documented.SCOPES where it is not {scope}"
        for token in (wrong, expired, "lk_"):
            assert embedded.send(method, url, token=token).status_code == 401, where
        without = embedded.send(method, url, headers={"authorization": ""})
        assert without.status_code == 401, where
        refused = embedded.send(method, url, token=lacking[scope])
        assert refused.status_code == 403, where
        assert scope in refused.json()["detail"]
        assert embedded.send(method, url, token=only[scope]).status_code not in {401, 403}, where


def test_the_document_says_which_routes_ask_for_a_key(embedded):
    document = embedded.get("/openapi.json").json()
    assert {*document["components"]["securitySchemes"]} == {"bearer", "basic"}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert ("security" in operation) == path.startswith("/v1/")
            if "security" in operation:
                scope = scope_of(method, path)
                assert operation["security"] == [{"bearer": [scope]}, {"basic": [scope]}]
                assert f"`{scope}`" in operation["description"]
                assert {"401", "403", "429", "503"} <= {*operation["responses"]}


def test_what_needs_no_key_is_not_under_v1(embedded):
    assert {path for _, path in routes(embedded.app) if not path.startswith("/v1/")} == OPEN
    for path in OPEN:
        assert embedded.send("GET", path, headers={"authorization": ""}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/V1/model", "//v1/model", "/v1/../v1/audit", "/v1/audit/", "/v1"]
)
def test_no_other_spelling_of_a_path_gets_around_it(embedded, path):
    assert embedded.send("GET", path, headers={"authorization": ""}).status_code in {401, 404}


@pytest.fixture
def log():
    """What is logged at the level that tells most; the client of these tests is kept quiet."""
    root, client = logging.getLogger(), logging.getLogger("httpx")
    before = root.handlers[:], root.level, client.level
    logging.config.dictConfig(logs.config("debug"))
    written = io.StringIO()
    root.handlers[:] = [logging.StreamHandler(written)]
    root.handlers[0].setFormatter(logs.JsonLines())
    client.setLevel("WARNING")
    yield written.getvalue
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    client.setLevel(before[2])


def test_no_key_and_no_lead_is_ever_logged(service, log, monkeypatch):
    """Of requests that succeed, are refused, and fail for want of a database or by a bug."""
    unknown = "lk_0123456789ab_" + "S" * 43
    tokens = [service.token, unknown, service.key("reader", ["read"])]
    body = json.dumps({"leads": json_leads(1, 1)}).encode()

    def send_all():
        for token in tokens:
            for sent in (body, b"{", b"\xff" * 9):
                service.send("POST", "/v1/score", token=token, content=sent)
            service.get("/v1/leads/L-0", token=token)
            service.get(f"/v1/leads/{token}", token=token, params={"cursor": token})

    def fail(error):
        def failing(*_given):
            raise error(f"{tokens} L-0")

        return failing

    put(service, json_leads(1, 1)[0])
    send_all()
    service.app.state.gate.tend()
    for error in (DatabaseError, ZeroDivisionError):
        with monkeypatch.context() as broken:
            broken.setattr(type(service.database), "reading", fail(error))
            broken.setattr(answers, "score", fail(error))
            send_all()
    written = log()
    for said in ("the database cannot be used", "a request failed"):
        assert said in written
    for token in tokens:
        assert token.split("_", 2)[2] not in written
    assert "L-0" not in written
    for line in written.splitlines():
        json.loads(line)


# --- texts that mean something elsewhere ---


def percent(text):
    return "".join(f"%{byte:02X}" for byte in text.encode())


@pytest.mark.parametrize("url", ["/v1/leads/a%00b", "/v1/leads/%00", "/v1/leads/%00/history"])
def test_no_path_holds_the_character_that_postgresql_cannot_keep(service, url):
    assert service.get(url).status_code == 404


def test_no_parameter_holds_it(service):
    for url in ("/v1/audit?cursor=%00", "/v1/leads/a/history?cursor=%00", "/v1/audit?x=%00"):
        refused = service.get(url)
        assert refused.status_code == 422
        assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("cursor", ["'", "MTs", "LTE", "é", "Nw==", "%FF", "9" * 64])
def test_a_cursor_is_one_that_was_given_out(service, cursor):
    assert service.get(f"/v1/audit?cursor={cursor}").status_code in {200, 422}


def send_everywhere(service, text):
    """Send a text wherever the routes that write take one; return what was answered."""
    at = "2026-01-30T00:00:00Z"
    lead = {"lead_id": text, "created_at": at, "attributes": {"industry": text, text[:200]: 1}}
    event = {"event_id": text, "lead_id": text, "event_type": text[:200], "occurred_at": at}
    told = {"userId": text, "messageId": text, "event": text[:200], "timestamp": at}
    rest = {"properties": {text: text, "value": text}, "context": {"groupId": text, text: [text]}}
    identify = {"type": "identify", "userId": text, "messageId": f"{text[:200]}-2", "traits": lead}
    bodies = {
        "/v1/leads": {"leads": [lead | {"account_id": text, "suppress": [text[:200]]}]},
        "/v1/events": {"events": [event | {"channel": text[:200], "source": text}]},
        "/v1/outcomes": {"outcomes": [{"lead_id": text, "closed_at": at, "outcome": "lost"}]},
        "/v1/track": {"type": "track"} | told | rest,
        "/v1/batch": {"batch": [{"type": "track"} | told | rest, identify, {"type": text}]},
        "/v1/webhooks": {"url": text},
        "/v1/score": {"leads": [lead]},
    }
    found = {path: service.post(path, body) for path, body in bodies.items()}
    for action in ("accept", "override"):
        path = f"/v1/handoffs/{percent(text)}/{action}"
        found[path] = service.post(path, {"at": at, "reason": text}, headers={"if-match": "1"})
    path = f"/v1/leads/{percent(text)}/merge"
    found[path] = service.post(path, {"lead_id": text, "into": text})
    for tail in ("", "/history"):
        found[f"read{tail}"] = service.get(f"/v1/leads/{percent(text)}{tail}")
    return found


def test_a_hostile_text_is_kept_as_it_is_or_refused(service):
    for text in HOSTILE:
        answers = send_everywhere(service, text)
        statuses = {path: answer.status_code for path, answer in answers.items()}
        assert [path for path, status in statuses.items() if status >= 500] == [], text
        for path in ("/v1/leads", "/v1/events"):
            assert answers[path].json()["results"][0]["status"] == "stored", text
        assert answers["/v1/score"].json()["results"][0]["lead_id"] == text
        if "/" not in text:  # which ends a part of a path, written as it is or not
            assert answers["read"].json()["lead_id"] == text
        assert not any("x-injected" in answer.headers for answer in answers.values())
    leads = [lead_id for (lead_id,) in service.rows(sa.select(tables.leads.c.lead_id))]
    assert sorted(leads) == sorted(HOSTILE)
    events = service.rows(sa.select(tables.events.c.event_id, tables.events.c.lead_id))
    assert {(text, text) for text in HOSTILE} <= {*events}


def test_the_character_that_postgresql_cannot_keep_comes_in_nowhere(service):
    answers = send_everywhere(service, "a\0b")
    statuses = {path: answer.status_code for path, answer in answers.items()}
    assert [path for path, status in statuses.items() if status >= 500] == []
    for path in ("/v1/leads", "/v1/events"):
        refused = answers[path]
        assert refused.status_code == 422 or refused.json()["results"][0]["status"] == "rejected"
    assert service.rows(sa.select(sa.func.count()).select_from(tables.leads)) == [(0,)]
    assert service.rows(sa.select(sa.func.count()).select_from(tables.events)) == [(0,)]


def test_a_key_of_idempotency_may_be_any_text_of_a_header(service):
    body = {"leads": [{"lead_id": "L-1", "created_at": "2026-01-01T00:00:00Z"}]}
    for key in ("' OR 1=1 --", "../x", "é", "x" * 255):
        header = {"idempotency-key": key.encode("latin-1")}
        answers = [service.post("/v1/leads", body, headers=header) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert "idempotency-replayed" in answers[1].headers
    for key in ("", "x" * 256):
        assert service.post("/v1/leads", body, headers={"idempotency-key": key}).status_code == 400


def texts(schema, definitions, seen=()):
    """Return every text that may be stored: where it stands in a schema, and the schema of it."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name not in seen:
            yield from texts(definitions[name], definitions, (*seen, name))
        return
    if schema.get("type") == "string":
        yield ".".join(seen), schema
    for part in ("properties", "$defs"):
        for name, each in schema.get(part, {}).items():
            yield from texts(each, definitions, (*seen, name))
    for part in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for each in schema.get(part, ()):
            yield from texts(each, definitions, seen)
    for part in ("items", "additionalProperties", "propertyNames"):
        if isinstance(schema.get(part), dict):
            yield from texts(schema[part], definitions, (*seen, part))


def test_every_text_of_every_body_says_what_it_may_hold(embedded):
    """Text in `schemas.Text`, a time, or one of some words: none can hold U+0000."""
    document = embedded.app.openapi()
    definitions = document["components"]["schemas"]
    bodies = [
        operation["requestBody"]["content"]["application/json"]["schema"]
        for path in document["paths"].values()
        for operation in path.values()
        if "requestBody" in operation
    ]
    found = [each for body in bodies for each in texts(body, definitions)]
    assert len(found) > 10
    bare = [where for where, text in found if not {"pattern", "format", "enum", "const"} & {*text}]
    assert bare == []
    assert {text["pattern"] for _, text in found if "pattern" in text} == {schemas.NO_NUL}


@pytest.mark.parametrize("field", ["lead_id", "attribute", "value", "event_type", "channel"])
def test_a_text_with_the_character_is_refused_and_named(embedded, field):
    lead = json_leads(1, 1)[0]
    lead["events"] = [{"event_type": "call", "occurred_at": "2026-01-01T00:00:00Z", "channel": "x"}]
    if field == "lead_id":
        lead["lead_id"] = "a\0"
    elif field == "attribute":
        lead["attributes"] = {"a\0": 1}
    elif field == "value":
        lead["attributes"] = {"industry": "a\0"}
    else:
        lead["events"][0][field] = "a\0"
    refused = embedded.post("/v1/score", {"leads": [lead]})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["code"] == "not_allowed_text"
    assert "\\u0000" not in refused.json()["errors"][0]["detail"]


# --- ids of requests ---


@pytest.mark.parametrize("given", ["a", "A-1_b.c", "x" * 64])
def test_a_request_keeps_the_id_that_it_came_with(embedded, given):
    assert (
        embedded.get("/v1/model", headers={"x-request-id": given}).headers["x-request-id"] == given
    )


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a;b", "<script>", "a\tb", 'a"b'])
def test_an_id_that_is_none_is_replaced(embedded, given):
    sent = [embedded.get("/v1/model", headers={"x-request-id": given}) for _ in range(2)]
    ids = {answer.headers["x-request-id"] for answer in sent}
    assert len(ids) == 2
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in ids)


def test_errors_have_an_id_that_the_log_has_too(embedded, log, monkeypatch):
    monkeypatch.setattr(answers, "describe", lambda _scorer: 1 / 0)
    failed = embedded.get("/v1/model", headers={"x-request-id": "of-mine"})
    lines = [json.loads(line) for line in log().splitlines()]
    assert failed.status_code == 500
    assert failed.headers["x-request-id"] == "of-mine"
    assert [line["request_id"] for line in lines if line["level"] == "ERROR"] == ["of-mine"]
    assert embedded.get("/nowhere").headers["x-request-id"]


# --- the audit ---


def note(service, *actions, leads=()):
    with service.database.writing() as connection:
        for action in actions:
            audit.note(connection, "test", action, leads, now_us=service.now_us, request_id="r")


def test_the_audit_is_read_newest_first_page_by_page(service):
    note(service, *(f"POST /{n}" for n in range(5)))
    note(service, "POST /v1/leads", leads=["L-1", "L-2", "L-1"])
    pages, after = [], ""
    while after is not None:
        page = service.get("/v1/audit", params={"limit": 3} | ({"cursor": after} if after else {}))
        assert page.status_code == 200
        pages.append([item["action"] for item in page.json()["items"]])
        after = page.json()["next"]
    assert pages == [
        ["POST /v1/leads", "POST /v1/leads", "POST /4"],
        ["POST /3", "POST /2", "POST /1"],
        ["POST /0"],
    ]


def test_the_audit_names_a_lead_by_a_hash_only(service):
    note(service, "POST /v1/leads", leads=["L-1", "L-2", "L-1"])
    answer = service.get("/v1/audit")
    first, second = answer.json()["items"]
    assert "L-1" not in answer.text
    assert first["items"] == second["items"] == 3
    assert len({first["lead_hash"], second["lead_hash"]}) == 2
    assert first["at"] == "2026-01-31T00:00:00Z"
    assert (first["client"], first["key_id"]) == ("test", None)


def test_the_path_of_a_write_stands_in_the_audit_without_its_ids(service):
    """Ids of leads stand in paths, and are longer than what an action may have."""
    for method, path in routes(service.app):
        if method != "GET" and "{lead_id}" in path:
            service.send(method, path.replace("{lead_id}", "L" * 256), json={})
    actions = {row.action for row in service.rows(sa.select(tables.audit.c.action))}
    assert not any("LL" in action for action in actions)


def test_requests_at_the_same_time_keep_their_ids_apart(embedded):
    async def together():
        transport = httpx.ASGITransport(embedded.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            given = {"authorization": f"Bearer {embedded.token}"}
            sent = [
                client.get("/v1/audit", headers=given | {"x-request-id": f"r-{n}"})
                for n in range(20)
            ]
            return [answer.headers["x-request-id"] for answer in await asyncio.gather(*sent)]

    assert asyncio.run(together()) == [f"r-{n}" for n in range(20)]
