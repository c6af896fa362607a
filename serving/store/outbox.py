"""What others are to be told: kept with the facts it follows from; how it is sent is not here."""

import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import sqlalchemy as sa

from features.moments import iso
from serving.store.dialect import insert
from serving.store.tables import deliveries, endpoints, messages

MessageType = Literal["lead.handoff", "lead.handoff.updated", "lead.outcome", "lead.erased"]
TYPES: tuple[str, ...] = get_args(MessageType)
ERASED = "lead.erased"
MOST_BYTES = 20_000
"""Of a payload: more is refused by many receivers."""
SECOND_US = 1_000_000
RETRY_SECONDS = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""From a failed attempt to the next: ten in about three days."""
JITTER = 0.1
"""The share by which a pause is longer at most, so that not all come back at once."""
LONGEST_PAUSE_SECONDS = 86_400
"""That a receiver may ask for."""
LEASE_US = 60 * SECOND_US
"""For which a delivery is one sender's; if it died, another takes it up after that."""
SUSPENDED = "endpoint disabled"


@dataclass(frozen=True)
class Delivery:
    """A message that is to be sent to one endpoint.

    Attributes
    ----------
    message_id, endpoint_id, type, payload, url : str
    secrets : str
        As kept.
    attempts : int
        That were made.
    locked_until_us : int
        Until when it is this sender's.
    """

    message_id: str
    endpoint_id: str
    type: str
    payload: str
    url: str
    secrets: str
    attempts: int
    locked_until_us: int


@dataclass(frozen=True)
class Result:
    """How an attempt ended.

    Attributes
    ----------
    delivered : bool
    said : str
        Status or fault, for a person.
    pause_seconds : float
        That the receiver asked for, 0 where it did not.
    """

    delivered: bool
    said: str
    pause_seconds: float = 0.0


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
    (message_id,) = put_all(connection, [(type, lead_id, data)], now_us)
    return message_id


def put_all(
    connection: sa.Connection, told: Sequence[tuple[str, str, Mapping[str, Any]]], now_us: int
) -> list[str]:
    """Keep messages, each of a type, about a lead, with data; return their ids; see `put`."""
    rows: list[dict[str, Any]] = [
        {
            "message_id": f"msg_{secrets.token_hex(16)}",
            "type": type,
            "lead_id": lead_id,
            "payload": _payload(type, data, now_us),
            "created_us": now_us,
        }
        for type, lead_id, data in told
    ]
    if not rows:
        return []
    connection.execute(_MESSAGES, rows)
    want = {type: wanting(connection, type) for type in {type for type, _, _ in told}}
    due = [
        {"message_id": row["message_id"], "endpoint_id": endpoint_id, **_anew(now_us)}
        for row in rows
        for endpoint_id in want[row["type"]]
    ]
    if due:
        connection.execute(_DELIVERIES, due)
    return [row["message_id"] for row in rows]


_MESSAGES, _DELIVERIES = sa.insert(messages), sa.insert(deliveries)


def waiting(connection: sa.Connection, now_us: int) -> list[str]:
    """Return the endpoints for which something is due."""
    query = sa.select(deliveries.c.endpoint_id).join(endpoints, _of_enabled()).distinct()
    return [*connection.execute(query.where(_is_due(now_us))).scalars()]


def claim(
    connection: sa.Connection, endpoint_id: str, now_us: int, most: int = 20
) -> list[Delivery]:
    """Take what is due for an endpoint, the oldest message first; nobody else gets it meanwhile.

    It is sent after this transaction, and settled or released in another one within `LEASE_US`.
    """
    query = (
        sa.select(
            *(deliveries.c[name] for name in ("message_id", "endpoint_id", "attempts")),
            *(messages.c.type, messages.c.payload, endpoints.c.url, endpoints.c.secrets),
        )
        .join(messages, messages.c.message_id == deliveries.c.message_id)
        .join(endpoints, _of_enabled())
        .where(deliveries.c.endpoint_id == endpoint_id, _is_due(now_us))
        .order_by(messages.c.seq)
        .limit(most)
        .with_for_update(of=deliveries, skip_locked=True)
    )
    rows = connection.execute(query).mappings().all()
    until_us = now_us + LEASE_US
    if rows:
        taken = deliveries.c.message_id.in_([row["message_id"] for row in rows])
        own = deliveries.c.endpoint_id == endpoint_id
        connection.execute(deliveries.update().where(own, taken).values(locked_until_us=until_us))
    return [Delivery(**row, locked_until_us=until_us) for row in rows]


def settle(
    connection: sa.Connection,
    delivery: Delivery,
    result: Result,
    now_us: int,
    uniform: Callable[[], float],
) -> int:
    """Note how an attempt ended, and when the next one is made.

    Nothing is noted of a delivery that is gone (an erasure), that was asked for anew meanwhile, or
    that is another sender's by now.

    Parameters
    ----------
    connection : sa.Connection
    delivery : Delivery
    result : Result
    now_us : int
    uniform : callable
        Randomness, in [0, 1).

    Returns
    -------
    int
        How many messages are gone by it; see `drop_ended`.
    """
    values: dict[str, Any] = {"attempts": delivery.attempts + 1, "last_status": result.said}
    if result.delivered:
        values |= {"delivered_us": now_us, "next_us": None}
    else:
        values["next_us"] = _next_us(delivery.attempts, result, now_us, uniform)
    connection.execute(_held(delivery).values(**values, locked_until_us=None))
    ended = values["next_us"] is None and delivery.type == ERASED
    return drop_ended(connection) if ended else 0


def release(connection: sa.Connection, untried: Iterable[Delivery]) -> None:
    """Give back what was claimed and not sent."""
    for delivery in untried:
        connection.execute(_held(delivery).values(locked_until_us=None))


def suspend(connection: sa.Connection, endpoint_id: str) -> None:
    """End what waits for an endpoint, until `resume`."""
    waits = (deliveries.c.endpoint_id == endpoint_id) & deliveries.c.next_us.is_not(None)
    ended = {"next_us": None, "locked_until_us": None, "last_status": SUSPENDED}
    connection.execute(deliveries.update().where(waits).values(**ended))
    drop_ended(connection)


def resume(connection: sa.Connection, endpoint_id: str, now_us: int) -> None:
    """Let what waited when an endpoint was suspended be due."""
    own = deliveries.c.endpoint_id == endpoint_id
    waited = own & deliveries.c.delivered_us.is_(None) & (deliveries.c.last_status == SUSPENDED)
    connection.execute(deliveries.update().where(waited).values(_anew(now_us)))


def page(connection: sa.Connection, before: int | None, limit: int) -> list[sa.Row[Any]]:
    """Return messages, the newest first: at most `limit`, those before a `seq`."""
    query = sa.select(messages).order_by(messages.c.seq.desc()).limit(limit)
    if before is not None:
        query = query.where(messages.c.seq < before)
    return [*connection.execute(query).all()]


def deliveries_of(
    connection: sa.Connection, message_ids: Sequence[str]
) -> dict[str, list[sa.Row[Any]]]:
    """Return the deliveries of messages, by message."""
    found: dict[str, list[sa.Row[Any]]] = {message_id: [] for message_id in message_ids}
    query = sa.select(deliveries).where(deliveries.c.message_id.in_(message_ids))
    for row in connection.execute(query.order_by(deliveries.c.endpoint_id)):
        found[row.message_id].append(row)
    return found


def type_of(connection: sa.Connection, message_id: str) -> str | None:
    """Return the type of a message; None where there is none of this id."""
    query = sa.select(messages.c.type).where(messages.c.message_id == message_id)
    return connection.execute(query).scalar()


def replay(
    connection: sa.Connection, message_id: str, endpoint_ids: Sequence[str], now_us: int
) -> None:
    """Send a message again to endpoints, with its id and payload."""
    for endpoint_id in endpoint_ids:
        row = {"message_id": message_id, "endpoint_id": endpoint_id, **_anew(now_us)}
        made = insert(connection, deliveries).values(row)
        same = ["message_id", "endpoint_id"]
        connection.execute(made.on_conflict_do_update(index_elements=same, set_=_anew(now_us)))


def wanting(connection: sa.Connection, type: str) -> list[str]:
    """Return the enabled endpoints that want a type of message."""
    enabled = sa.select(endpoints.c.endpoint_id, endpoints.c.types).where(
        endpoints.c.disabled_us.is_(None)
    )
    rows = connection.execute(enabled.order_by(endpoints.c.endpoint_id))
    return [row.endpoint_id for row in rows if type in (json.loads(row.types) or TYPES)]


def drop_ended(connection: sa.Connection) -> int:
    """Remove the messages about erasures that nobody is to be told any more; return how many.

    They hold the ids of leads that are gone.
    """
    told = deliveries.c.message_id == messages.c.message_id
    waits = sa.exists().where(told, deliveries.c.next_us.is_not(None))
    ended = sa.select(messages.c.message_id).where(messages.c.type == ERASED, ~waits)
    return drop(connection, connection.execute(ended).scalars().all())


def drop(connection: sa.Connection, message_ids: Sequence[str]) -> int:
    """Remove messages and their deliveries; return how many messages."""
    for table in (deliveries, messages):
        connection.execute(table.delete().where(table.c.message_id.in_(message_ids)))
    return len(message_ids)


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


def _anew(now_us: int) -> dict[str, Any]:
    return {
        "attempts": 0,
        "next_us": now_us,
        "locked_until_us": None,
        "delivered_us": None,
        "last_status": None,
    }


def _of_enabled() -> sa.ColumnElement[bool]:
    same = endpoints.c.endpoint_id == deliveries.c.endpoint_id
    return same & endpoints.c.disabled_us.is_(None)


def _is_due(now_us: int) -> sa.ColumnElement[bool]:
    """Tell what may be tried, also by a clock that was set back: nothing waits for its return."""
    held, waits = deliveries.c.locked_until_us, deliveries.c.next_us
    free = held.is_(None) | (held <= now_us) | (held > now_us + LEASE_US)
    return waits.is_not(None) & ((waits <= now_us) | (deliveries.c.attempts == 0)) & free


def _held(delivery: Delivery) -> sa.Update:
    return deliveries.update().where(
        deliveries.c.message_id == delivery.message_id,
        deliveries.c.endpoint_id == delivery.endpoint_id,
        deliveries.c.locked_until_us == delivery.locked_until_us,
    )


def _next_us(
    attempts: int, result: Result, now_us: int, uniform: Callable[[], float]
) -> int | None:
    if attempts >= len(RETRY_SECONDS):
        return None
    planned = RETRY_SECONDS[attempts] * (1 + JITTER * uniform())
    pause = max(planned, min(result.pause_seconds, LONGEST_PAUSE_SECONDS))
    return now_us + round(pause * SECOND_US)
