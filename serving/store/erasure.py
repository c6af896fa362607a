"""Leads that are erased: all that is known of them goes, and a tombstone keeps them out."""

import json
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from features.moments import iso
from serving.store import outbox, tombstones
from serving.store.audit import hashed, salt_of
from serving.store.database import Database
from serving.store.held import hold
from serving.store.received import members
from serving.store.tables import (
    changes,
    decisions,
    deliveries,
    events,
    handoffs,
    idempotency,
    leads,
    merges,
    messages,
    outcomes,
    steps,
)
from serving.store.tombstones import LOCK, Tombstone

OF_LEADS = (leads, handoffs, merges, changes, events, outcomes, decisions, steps, messages)
"""The tables that name a lead in their column `lead_id`: first those whose rows are locked by
whoever writes to the others, so that what they wrote is seen."""
AT_ONCE = 1_000
STATEMENT = (
    "All rows about this lead, and about the leads merged into it, were deleted in one transaction "
    "with this record. Its hash keeps it from being taken in, scored or learned from again."
)


def erase(
    connection: sa.Connection, lead_id: str, key_id: str, now_us: int, file: Path | None = None
) -> str | None:
    """Erase a lead with those merged into it, or the one it was merged into with all of those.

    Endpoints are told by ``lead.erased``, one message an id, deleted when all were told.

    Parameters
    ----------
    connection : sa.Connection
    lead_id : str
    key_id : str
        Of who asked for it.
    now_us : int
    file : Path, optional
        Of tombstones: they are on disk in it before this returns.

    Returns
    -------
    str or None
        The proof as JSON, the same whenever it is asked for; None where nothing is known of this
        lead.

    Raises
    ------
    DatabaseError
        The file cannot be written; the transaction must not be kept.
    """
    _alone(connection)
    if proof := tombstones.proof_of(connection, lead_id):
        return proof
    ids = _group(connection, lead_id)
    hold(connection, ids)
    rows = _delete(connection, ids)
    if not any(rows.values()):
        return None
    asked = {"erased_at": iso(now_us), "rows": rows, "key_id": key_id, "statement": STATEMENT}
    proof, new = _proven(lead_id, ids, salt_of(connection), asked, now_us)
    tombstones.keep(connection, new)
    if file is not None:
        tombstones.write(file, new)
    _tell(connection, ids, json.loads(proof)["proof_id"], now_us)
    return proof


def apply(database: Database, file: Path, now_us: int) -> int:
    """Erase what a restored backup knows again, and complete the file; return how many leads.

    Raises
    ------
    DatabaseError
    """

    def work(connection: sa.Connection) -> int:
        _alone(connection)
        here, said = tombstones.all_of(connection), tombstones.read(file)
        missing = [said[each] for each in said.keys() - here.keys()]
        again = _with_hash(connection, {each.lead_hash for each in missing})
        tombstones.keep(connection, missing)
        tombstones.write(file, [here[each] for each in here.keys() - said.keys()])
        hold(connection, again)
        for start in range(0, len(again), AT_ONCE):
            _delete(connection, again[start : start + AT_ONCE])
        salt = salt_of(connection)
        for lead_id in again:
            proof = json.loads(said[hashed(lead_id, salt)].proof)
            _tell(connection, [lead_id], proof["proof_id"], now_us)
        return len(again)

    again = database.write(work)
    if again:
        database.scrub()
    return again


def _alone(connection: sa.Connection) -> None:
    """Wait for those who take in leads; see `tombstones.erased`."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))


def _group(connection: sa.Connection, lead_id: str) -> list[str]:
    into = sa.select(leads.c.merged_into).where(leads.c.lead_id == lead_id)
    root = connection.execute(into).scalar() or lead_id
    return sorted({lead_id, *members(connection, [root])})


def _delete(connection: sa.Connection, ids: Sequence[str]) -> dict[str, int]:
    """Delete all rows about leads that are held; return how many of each table."""
    rows = {}
    held = sa.select(leads.c.lead_id).where(leads.c.lead_id.in_(ids)).order_by(leads.c.lead_id)
    connection.execute(held.with_for_update()).all()
    for table in OF_LEADS:
        own = table.c.lead_id.in_(ids)
        if table is messages:
            sent = deliveries.c.message_id.in_(sa.select(messages.c.message_id).where(own))
            rows["deliveries"] = connection.execute(deliveries.delete().where(sent)).rowcount
        rows[table.name] = connection.execute(table.delete().where(own)).rowcount
    rows["idempotency"] = sum(_forget(connection, each) for each in ids)
    return rows


def _forget(connection: sa.Connection, lead_id: str) -> int:
    """Delete the answers that name a lead; return how many."""
    row = idempotency.c
    wanted = row.lead_ids.contains(json.dumps(lead_id), autoescape=True)
    found = connection.execute(sa.select(row.client, row.key, row.lead_ids).where(wanted)).all()
    naming = [each for each in found if lead_id in json.loads(each.lead_ids)]
    for each in naming:
        one = (row.client == each.client) & (row.key == each.key)
        connection.execute(idempotency.delete().where(one))
    return len(naming)


def _proven(
    lead_id: str, ids: Sequence[str], salt: bytes, asked: dict[str, Any], now_us: int
) -> tuple[str, list[Tombstone]]:
    hashes = sorted(hashed(each, salt) for each in ids)
    of = {"lead_hash": hashed(lead_id, salt), "lead_hashes": hashes}
    proof = json.dumps({"proof_id": f"erasure_{secrets.token_hex(12)}", **of, **asked})
    return proof, [Tombstone(each, now_us, proof) for each in hashes]


def _tell(connection: sa.Connection, ids: Iterable[str], proof_id: str, now_us: int) -> None:
    for lead_id in ids:
        said = {"lead_id": lead_id, "erased_at": iso(now_us), "proof_id": proof_id}
        outbox.put(connection, outbox.ERASED, lead_id, said, now_us)
    outbox.drop_ended(connection)


def _with_hash(connection: sa.Connection, wanted: set[str]) -> list[str]:
    """Return the leads that any table names and whose hash is one of those wanted."""
    if not wanted:
        return []
    salt = salt_of(connection)
    named = sa.union(*(sa.select(table.c.lead_id) for table in OF_LEADS))
    found = connection.execute(named, execution_options={"yield_per": 10_000}).scalars()
    return [lead_id for lead_id in found if hashed(lead_id, salt) in wanted]
