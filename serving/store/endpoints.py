"""Who is told of what happens to leads; what they are told, and how, is not here."""

import json
import secrets
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from serving.store import outbox
from serving.store.policy import HOUR_US
from serving.store.tables import deliveries, endpoints

MOST = 20
"""Each has a thread of its own while it is told something."""
SIGNS_ALONG_US = 24 * HOUR_US
"""How long a secret that was replaced goes on to sign, beside the new one."""
GONE = "answered 410 Gone"


class TooMany(RuntimeError):
    """There are as many endpoints as there may be."""


@dataclass(frozen=True)
class Endpoint:
    """Who is told.

    Attributes
    ----------
    endpoint_id, url : str
    types : tuple of str
        Of messages; empty for all.
    created_us : int
    disabled_us : int or None
    why_disabled : str or None
    """

    endpoint_id: str
    url: str
    types: tuple[str, ...]
    created_us: int
    disabled_us: int | None
    why_disabled: str | None


def add(
    connection: sa.Connection, url: str, types: Sequence[str], now_us: int
) -> tuple[Endpoint, str]:
    """Add an endpoint and return it with the secret that signs what it is sent.

    The secret is kept as it is: signing needs it.

    Raises
    ------
    TooMany
    """
    total = sa.select(sa.func.count()).select_from(endpoints)
    if connection.execute(total).scalar_one() >= MOST:
        raise TooMany(f"there are {MOST} endpoints, more there cannot be: delete one first")
    secret = _secret()
    endpoint_id = f"ep_{secrets.token_hex(12)}"
    row = {"endpoint_id": endpoint_id, "url": url, "types": json.dumps([*types])}
    kept = json.dumps([{"secret": secret, "until_us": None}])
    connection.execute(endpoints.insert().values(**row, secrets=kept, created_us=now_us))
    return Endpoint(endpoint_id, url, tuple(types), now_us, None, None), secret


def all_of(connection: sa.Connection) -> list[Endpoint]:
    """Return all endpoints, the oldest first."""
    rows = connection.execute(
        sa.select(endpoints).order_by(endpoints.c.created_us, endpoints.c.endpoint_id)
    )
    return [_endpoint(row) for row in rows]


def get(connection: sa.Connection, endpoint_id: str) -> Endpoint | None:
    """Return an endpoint; None where there is none of this id."""
    row = connection.execute(_one(endpoint_id)).one_or_none()
    return None if row is None else _endpoint(row)


def delete(connection: sa.Connection, endpoint_id: str) -> bool:
    """Remove an endpoint with what waits for it; tell whether there was one."""
    own = endpoints.c.endpoint_id == endpoint_id
    found = connection.execute(endpoints.delete().where(own)).rowcount
    connection.execute(deliveries.delete().where(deliveries.c.endpoint_id == endpoint_id))
    outbox.drop_ended(connection)
    return bool(found)


def rotate(connection: sa.Connection, endpoint_id: str, now_us: int) -> str | None:
    """Give an endpoint a new secret and return it; None where there is no such endpoint.

    The one before it signs along for a day, or until the next rotation if that comes earlier.
    """
    row = connection.execute(_one(endpoint_id).with_for_update()).one_or_none()
    if row is None:
        return None
    secret = _secret()
    before = json.loads(row.secrets)[0] | {"until_us": now_us + SIGNS_ALONG_US}
    kept = json.dumps([{"secret": secret, "until_us": None}, before])
    _set(connection, endpoint_id, secrets=kept)
    return secret


def signing(kept: str, now_us: int) -> list[str]:
    """Return the secrets that sign at a moment, the newest first."""
    found = json.loads(kept)
    return [
        each["secret"] for each in found if each["until_us"] is None or now_us < each["until_us"]
    ]


def disable(connection: sa.Connection, endpoint_id: str, why: str, now_us: int) -> None:
    """Tell an endpoint nothing any more; what waited for it can be taken up by `enable`."""
    _set(connection, endpoint_id, disabled_us=now_us, why_disabled=why)
    outbox.suspend(connection, endpoint_id)


def enable(connection: sa.Connection, endpoint_id: str, now_us: int) -> Endpoint | None:
    """Tell an endpoint again, first what waited when it was disabled; None where there is none.

    What came up while it was disabled is told by a replay only.
    """
    found = get(connection, endpoint_id)
    if found is None:
        return None
    _set(connection, endpoint_id, disabled_us=None, why_disabled=None)
    outbox.resume(connection, endpoint_id, now_us)
    return get(connection, endpoint_id)


def _one(endpoint_id: str) -> sa.Select[Any]:
    return sa.select(endpoints).where(endpoints.c.endpoint_id == endpoint_id)


def _set(connection: sa.Connection, endpoint_id: str, **values: Any) -> None:
    own = endpoints.c.endpoint_id == endpoint_id
    connection.execute(endpoints.update().where(own).values(**values))


def _endpoint(row: sa.Row[Any]) -> Endpoint:
    types = tuple(json.loads(row.types))
    return Endpoint(
        row.endpoint_id, row.url, types, row.created_us, row.disabled_us, row.why_disabled
    )


def _secret() -> str:
    return "whsec_" + b64encode(secrets.token_bytes(32)).decode()
