"""Who wrote what and when; a lead appears as a hash only."""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from serving.store.keys import Client
from serving.store.tables import audit, facts

SALT = "salt"
_NOTED = sa.insert(audit)
_SALT = sa.select(facts.c.value).where(facts.c.name == SALT)


def note(
    connection: sa.Connection,
    client: Client | str,
    action: str,
    lead_ids: Sequence[str],
    *,
    now_us: int,
    request_id: str = "",
) -> None:
    """Note a write: one row a lead, or one without where it was about none.

    `client` is a name where no key was asked for.
    """
    hashes = []
    if lead_ids:
        salt = salt_of(connection)
        hashes = [hashed(lead_id, salt) for lead_id in sorted(set(lead_ids))]
    row = {
        "at_us": now_us,
        "key_id": client.key_id if isinstance(client, Client) else None,
        "client": client.name if isinstance(client, Client) else client,
        "action": action,
        "items": len(lead_ids),
        "request_id": request_id,
    }
    rows = [row | {"lead_hash": each} for each in hashes] or [row]
    connection.execute(_NOTED, rows)


def notes(connection: sa.Connection, before: int | None, limit: int) -> Sequence[sa.Row[Any]]:
    """Return rows of the audit, newest first: those before one, at most so many."""
    newest = sa.select(audit).order_by(audit.c.audit_id.desc()).limit(limit)
    if before is not None:
        newest = newest.where(audit.c.audit_id < before)
    return connection.execute(newest).all()


def salt_of(connection: sa.Connection) -> bytes:
    """Return the salt of this database's hashes; it never changes, and is asked for once."""
    if SALT not in connection.info:
        connection.info[SALT] = bytes.fromhex(connection.execute(_SALT).scalar_one())
    salt: bytes = connection.info[SALT]
    return salt


def hashed(lead_id: str, salt: bytes) -> str:
    """Return the hash that stands for a lead where its id must not."""
    return hmac.new(salt, lead_id.encode(), hashlib.sha256).hexdigest()
