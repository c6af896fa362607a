"""Keys of the clients of the service: made, found, ended; of a secret only its hash is kept."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from features.findings import UsageError
from serving.store.tables import keys

SCOPES = ("score", "read", "write", "admin")
MOST_LIVE = 2
"""Of one client, so that a new key can be brought in before the old one ends."""
PREFIX = "lk"
_NOBODYS_HASH = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class Client:
    """Who sends a request.

    Attributes
    ----------
    key_id : str
    name : str
    scopes : frozenset of str
    """

    key_id: str
    name: str
    scopes: frozenset[str]


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
        There is no such scope, or the client has two keys that live.
    """
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise UsageError(
            f"scopes are {', '.join(SCOPES)}; got {', '.join(unknown) or 'none'}: name some of them"
        )
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


def find(connection: sa.Connection, token: str, now_us: int) -> Client | None:
    """Return whose key this is; None where it is nobody's, has ended or was revoked."""
    _, _, rest = token.partition("_")
    key_id, _, secret = rest.partition("_")
    row = connection.execute(sa.select(keys).where(keys.c.key_id == key_id)).one_or_none()
    expected = _NOBODYS_HASH if row is None else row.secret_hash
    same = hmac.compare_digest(_hash(secret), expected)
    if row is None or not same or not token.startswith(f"{PREFIX}_"):
        return None
    if row.revoked_us is not None or (row.expires_us is not None and row.expires_us <= now_us):
        return None
    return Client(row.key_id, row.client, frozenset(row.scopes.split()))


def _live(connection: sa.Connection, client: str, now_us: int) -> Sequence[sa.Row[Any]]:
    lives = sa.or_(keys.c.expires_us.is_(None), keys.c.expires_us > now_us)
    own = (keys.c.client == client) & keys.c.revoked_us.is_(None) & lives
    return connection.execute(sa.select(keys).where(own).order_by(keys.c.created_us)).all()


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
