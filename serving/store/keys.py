"""Keys of the clients of the service: made, found, ended; of a secret only its hash is kept."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from features.findings import UsageError
from serving.store.tables import ID, keys

SCOPES = ("score", "read", "write", "admin")
MOST_LIVE = 2
"""Of one client, so that a new key can be brought in before the old one ends."""
PREFIX = "lk"
_SHAPE = re.compile(rf"{PREFIX}_([0-9a-f]{{12}})_([A-Za-z0-9_-]{{43}})")
_NOBODYS_HASH = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class Client:
    """Who sends a request.

    Attributes
    ----------
    key_id : str
    name : str
    scopes : frozenset of str
    expires_us : int or None
    """

    key_id: str
    name: str
    scopes: frozenset[str]
    expires_us: int | None = None

    def lives(self, now_us: int) -> bool:
        """Tell whether the key has not come to its end yet."""
        return self.expires_us is None or now_us < self.expires_us


@dataclass(frozen=True)
class Key:
    """A key as it is listed.

    Attributes
    ----------
    key_id, client : str
    scopes : tuple of str
    state : "lives", "expired" or "revoked"
    created_us : int
    expires_us, revoked_us, last_used_us : int or None
        The last use is known to the minute.
    """

    key_id: str
    client: str
    scopes: tuple[str, ...]
    state: Literal["lives", "expired", "revoked"]
    created_us: int
    expires_us: int | None
    revoked_us: int | None
    last_used_us: int | None


def create(
    connection: sa.Connection,
    client: str,
    scopes: Sequence[str],
    now_us: int,
    expires_us: int | None = None,
) -> str:
    """Make a key and return it as ``lk_<id>_<secret>``; it cannot be shown again.

    Raises
    ------
    UsageError
        There is no such scope, the client's name is none, or it has two keys that live.
    """
    check(client, scopes)
    live = [row.key_id for row in _live(connection, client, now_us)]
    if len(live) >= MOST_LIVE:
        raise UsageError(
            f"{client} has {len(live)} keys that live ({', '.join(live)}): revoke one first"
        )
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    connection.execute(
        keys.insert().values(
            key_id=key_id,
            client=client,
            secret_hash=_hash(secret),
            scopes=" ".join(scope for scope in SCOPES if scope in scopes),
            created_us=now_us,
            expires_us=expires_us,
        )
    )
    return f"{PREFIX}_{key_id}_{secret}"


def check(client: str, scopes: Sequence[str]) -> None:
    """Raise the UsageError for a client's name that is none, or scopes that there are not."""
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise UsageError(
            f"scopes are {', '.join(SCOPES)}; got {', '.join(unknown) or 'none'}: name some of them"
        )
    if not (client.strip() and client.isprintable() and len(client) <= ID):
        raise UsageError(f"a client's name has 1 to {ID} printable characters: choose another")


def id_of(token: str) -> str | None:
    """Return the id in a key, which is no secret; None for what cannot be a key.

    >>> id_of("lk_0123456789ab_" + "s" * 43), id_of("lk_0_0")
    ('0123456789ab', None)
    """
    found = _SHAPE.fullmatch(token)
    return found[1] if found else None


def find(connection: sa.Connection, token: str, now_us: int) -> Client | None:
    """Return whose key this is; None where it is nobody's, has ended or was revoked."""
    found = _SHAPE.fullmatch(token)
    if found is None:
        return None
    row = connection.execute(sa.select(keys).where(keys.c.key_id == found[1])).one_or_none()
    expected = _NOBODYS_HASH if row is None else row.secret_hash
    same = hmac.compare_digest(_hash(found[2]), expected)
    if row is None or not same or row.revoked_us is not None:
        return None
    client = Client(row.key_id, row.client, frozenset(row.scopes.split()), row.expires_us)
    return client if client.lives(now_us) else None


def listed(connection: sa.Connection, now_us: int) -> list[Key]:
    """Return all keys, those that have ended too, in the order in which they were made."""
    rows = connection.execute(sa.select(keys).order_by(keys.c.created_us, keys.c.key_id))
    return [_key(row, now_us) for row in rows]


def any_lives(connection: sa.Connection, now_us: int) -> bool:
    """Tell whether anybody has a key."""
    return bool(connection.execute(sa.select(sa.exists().where(_lives(now_us)))).scalar_one())


def revoke(connection: sa.Connection, key_id: str, now_us: int) -> bool:
    """End a key; False where it was revoked before.

    Raises
    ------
    UsageError
        There is no such key.
    """
    own = keys.c.key_id == key_id
    row = connection.execute(sa.select(keys.c.revoked_us).where(own)).one_or_none()
    if row is None:
        raise UsageError(f"there is no key {key_id}: `leadqual keys list` shows them")
    if row.revoked_us is None:
        connection.execute(keys.update().where(own).values(revoked_us=now_us))
    return row.revoked_us is None


def used(connection: sa.Connection, last_us: Mapping[str, int]) -> None:
    """Note when keys were last used, by their ids; an earlier moment than is known changes nothing.

    The keys are taken in one order, so that processes which note at once wait for each other.
    """
    for key_id, moment in sorted(last_us.items()):
        earlier = keys.c.last_used_us.is_(None) | (keys.c.last_used_us < moment)
        noted = keys.update().where(keys.c.key_id == key_id, earlier)
        connection.execute(noted.values(last_used_us=moment))


def _key(row: sa.Row[Any], now_us: int) -> Key:
    state: Literal["lives", "expired", "revoked"] = "lives"
    if row.revoked_us is not None:
        state = "revoked"
    elif row.expires_us is not None and row.expires_us <= now_us:
        state = "expired"
    return Key(
        row.key_id,
        row.client,
        tuple(row.scopes.split()),
        state,
        row.created_us,
        row.expires_us,
        row.revoked_us,
        row.last_used_us,
    )


def _lives(now_us: int) -> sa.ColumnElement[bool]:
    return keys.c.revoked_us.is_(None) & (
        keys.c.expires_us.is_(None) | (keys.c.expires_us > now_us)
    )


def _live(connection: sa.Connection, client: str, now_us: int) -> Sequence[sa.Row[Any]]:
    own = (keys.c.client == client) & _lives(now_us)
    return connection.execute(sa.select(keys).where(own).order_by(keys.c.created_us)).all()


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
