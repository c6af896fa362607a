"""What others are to be told: kept with the facts it follows from; how it is sent is not here."""

import json
import secrets
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from features.moments import iso
from serving.store.tables import deliveries, endpoints, messages

MOST_BYTES = 20_000
"""Of a payload: more is refused by many receivers."""
ERASED = "lead.erased"
TYPES = ("lead.handoff", "lead.handoff.updated", "lead.outcome", ERASED)


def put(
    connection: sa.Connection, type: str, lead_id: str, data: Mapping[str, Any], now_us: int
) -> str:
    """Keep a message for every endpoint that wants its type, and return its id.

    It is sent once the transaction of `connection` is on disk, at least once, always with the same
    id and the same payload: ``{"type", "timestamp", "data"}``.

    Parameters
    ----------
    connection : sa.Connection
    type : str
        One of `TYPES`.
    lead_id : str
        Whom it is about: an erasure takes it along.
    data : mapping
        JSON; must hold the ids by which the receiver can ask for more. Where the payload would be
        larger than 20 kB, its largest values are left out and named in ``left_out``.
    now_us : int
    """
    message_id = f"msg_{secrets.token_hex(16)}"
    payload = _payload(type, data, now_us)
    row = {"message_id": message_id, "type": type, "lead_id": lead_id, "payload": payload}
    connection.execute(messages.insert().values(**row, created_us=now_us))
    told = [_due(message_id, each, now_us) for each in _wanting(connection, type)]
    if told:
        connection.execute(deliveries.insert(), told)
    return message_id


def _payload(type: str, data: Mapping[str, Any], now_us: int) -> str:
    kept, left_out = dict(data), list[str]()
    while True:
        said = {**kept, "left_out": left_out} if left_out else kept
        payload = _json({"type": type, "timestamp": iso(now_us), "data": said})
        if len(payload.encode()) < MOST_BYTES or not kept:
            return payload
        largest = max(kept, key=lambda name: len(_json(kept[name]).encode()))
        del kept[largest]
        left_out.append(largest)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _wanting(connection: sa.Connection, type: str) -> list[str]:
    enabled = sa.select(endpoints.c.endpoint_id, endpoints.c.types).where(
        endpoints.c.disabled_us.is_(None)
    )
    rows = connection.execute(enabled.order_by(endpoints.c.endpoint_id))
    return [row.endpoint_id for row in rows if type in (json.loads(row.types) or TYPES)]


def _due(message_id: str, endpoint_id: str, now_us: int) -> dict[str, Any]:
    return {"message_id": message_id, "endpoint_id": endpoint_id, "attempts": 0, "next_us": now_us}
