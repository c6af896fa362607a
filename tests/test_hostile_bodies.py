"""Ten thousand bodies that somebody has tampered with: none is a fault of the service."""

import asyncio
import copy
import json
import random
from collections import Counter

import httpx
import pytest

from features.history import DAY_US
from features.moments import iso
from tests.scorers import AS_OF_US, EPOCH_US
from tests.states import Crm

EACH = 2_000
MOMENT = iso(AS_OF_US - DAY_US)
BODIES = {
    "/v1/score": {
        "as_of": MOMENT,
        "reasons": True,
        "leads": [
            {
                "lead_id": "L-1",
                "created_at": iso(EPOCH_US),
                "attributes": {"employees": 12, "industry": "finance"},
                "events": [{"event_type": "inquiry", "occurred_at": MOMENT, "value": 1.5}],
                "suppress": ["customer"],
            }
        ],
    },
    "/v1/leads": {
        "leads": [
            {
                "lead_id": "L-1",
                "created_at": iso(EPOCH_US),
                "attributes": {"employees": 12, "industry": None, "customer_of_partner": True},
                "account_id": "A-1",
                "suppress": ["customer"],
                "changed_at": MOMENT,
            }
        ]
    },
    "/v1/events": {
        "events": [
            {
                "event_id": "E-1",
                "lead_id": "L-1",
                "event_type": "newsletter_click",
                "occurred_at": MOMENT,
                "channel": "web",
                "value": 3,
                "source": "crm",
                "recorded_at": MOMENT,
            }
        ]
    },
    "/v1/outcomes": {
        "outcomes": [{"lead_id": "L-1", "closed_at": MOMENT, "outcome": "won", "amount": 9.5}]
    },
    "/v1/batch": {
        "batch": [
            {
                "type": "track",
                "messageId": "M-1",
                "userId": "L-1",
                "event": "form_submit",
                "timestamp": MOMENT,
                "sentAt": MOMENT,
                "properties": {"value": 2},
                "context": {"channel": "web"},
            },
            {"type": "identify", "userId": "L-2", "traits": {"employees": 3}, "timestamp": MOMENT},
            {"type": "alias", "userId": "L-2", "previousId": "L-3"},
            {"type": "group", "userId": "L-2", "groupId": "A-1"},
        ]
    },
}
ODD: tuple[object, ...] = (
    *(None, True, False, 0, -1, 1e308, -1e308, 2**63, 1e-320, 10**400),
    *("", " ", "\u0000", "\ud800", "☃" * 300, "'; DROP TABLE leads; --", "../../etc/passwd"),
    *("2026-13-01T00:00:00Z", "9999-12-31T23:59:59Z", "1969-12-31T23:59:59Z", "NaN", "\r\nX: y"),
    *([], {}, [[]], [None], {"a": {"b": [1]}}, [0] * 1_001, {"__proto__": 1}),
)


@pytest.fixture(scope="module")
def service(sqlite_template, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "leadqual.db").write_bytes(sqlite_template.read_bytes())
    opened = Crm(f"sqlite:///{folder / 'leadqual.db'}")
    yield opened
    opened.close()


@pytest.mark.parametrize("path", BODIES)
def test_no_body_makes_the_service_fail(service, path):
    rng = random.Random(path)
    bodies = [tampered(rng, BODIES[path]) for _ in range(EACH)]
    statuses = Counter(asyncio.run(answers(service, path, bodies)))
    assert sum(statuses.values()) == EACH
    assert set(statuses) <= {200, 400, 413, 415, 422}, statuses
    assert statuses[200] and statuses[422] and statuses[400], statuses


async def answers(service, path, bodies):
    transport = httpx.ASGITransport(service.app, raise_app_exceptions=False)
    head = {"authorization": f"Bearer {service.token}", "content-type": "application/json"}
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return [
            (await client.post(path, content=body, headers=head)).status_code for body in bodies
        ]


def tampered(rng, body):
    """Change some values, names or bytes of a body."""
    changed = json.loads(json.dumps(body))
    for _ in range(rng.choice((1, 1, 2, 5))):
        change(rng, changed)
    raw = json.dumps(changed).encode()
    if rng.random() < 0.2:
        at = rng.randrange(len(raw))
        raw = rng.choice(
            (raw[:at], raw[:at] + bytes([rng.randrange(256)]) + raw[at + 1 :], raw[at:], b"[" * at)
        )
    return raw


def change(rng, body):
    """Change one place in it."""
    node = body
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(node[key], (dict, list)) and rng.random() < 0.8:
            node = node[key]
            continue
        what = rng.randrange(4)
        if what == 0:
            del node[key]
        elif what == 1 and isinstance(node, dict):
            node[rng.choice(("", "x" * 300, "created_at ", "\u0000", str(key).upper()))] = (
                copy.deepcopy(node[key])
            )
        else:
            node[key] = copy.deepcopy(rng.choice(ODD))
        return
