"""What stays of leads that were erased: a hash that keeps them out, and the proof, also in a file.

The hash needs the salt of the database, which is in its backups too: a backup that is restored
knows the leads again by the file.
"""

import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from serving.store.audit import hashed, salt_of
from serving.store.database import DatabaseError
from serving.store.dialect import insert
from serving.store.tables import tombstones

logger = logging.getLogger(__name__)

LOCK = 0x65726173
"""Of PostgreSQL's advisory locks: held by whoever erases, shared by those who take in."""


_ANY = sa.select(sa.exists(sa.select(tombstones.c.lead_hash)))


@dataclass(frozen=True)
class Tombstone:
    """What stays of a lead.

    Attributes
    ----------
    lead_hash : str
    erased_us : int
    proof : str
        JSON, as it was answered.
    """

    lead_hash: str
    erased_us: int
    proof: str


def erased(connection: sa.Connection, lead_ids: Iterable[str]) -> set[str]:
    """Return those of some leads that were erased, and must not be taken in again.

    Until the transaction of `connection` ends, none of the others is erased.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock_shared(LOCK)))
    return among(connection, lead_ids)


def among(connection: sa.Connection, lead_ids: Iterable[str]) -> set[str]:
    """Return those of some leads that were erased until now; nobody waits for anybody."""
    if not connection.execute(_ANY).scalar_one():
        return set()
    salt = salt_of(connection)
    hashes = {hashed(lead_id, salt): lead_id for lead_id in {*lead_ids}}
    return {hashes[each] for each in known(connection, [*hashes])}


def known(connection: sa.Connection, hashes: Sequence[str]) -> set[str]:
    """Return those of some hashes that have a tombstone."""
    query = sa.select(tombstones.c.lead_hash).where(tombstones.c.lead_hash.in_(hashes))
    return {*connection.execute(query).scalars()}


def proof_of(connection: sa.Connection, lead_id: str) -> str | None:
    """Return the proof of a lead's erasure as JSON; None where it was not erased."""
    own = tombstones.c.lead_hash == hashed(lead_id, salt_of(connection))
    return connection.execute(sa.select(tombstones.c.proof).where(own)).scalar()


def keep(connection: sa.Connection, new: Sequence[Tombstone]) -> None:
    """Keep tombstones; of one that is there the older one stays."""
    if new:
        rows = [vars(each) for each in new]
        connection.execute(insert(connection, tombstones).on_conflict_do_nothing(), rows)


def all_of(connection: sa.Connection) -> dict[str, Tombstone]:
    """Return all tombstones, by hash."""
    return {row.lead_hash: Tombstone(*row) for row in connection.execute(sa.select(tombstones))}


def write(path: Path, new: Iterable[Tombstone]) -> None:
    """Add tombstones to a file, a line of JSON each; they are on disk when this returns.

    Raises
    ------
    DatabaseError
        The file cannot be written.
    """
    lines = [json.dumps(vars(each) | {"proof": json.loads(each.proof)}) + "\n" for each in new]
    if not lines:
        return
    try:
        with path.open("ab+") as file:
            torn = file.tell() and _last(path) != b"\n"
            file.write(("\n" * bool(torn) + "".join(lines)).encode())
            file.flush()
            os.fsync(file.fileno())
        _sync(path.absolute().parent)
    except OSError as error:
        raise DatabaseError(
            f"the tombstones cannot be written to {path} ({error.strerror}): check that its folder "
            "exists, may be written and has space left; nothing was erased"
        ) from error


def read(path: Path) -> Mapping[str, Tombstone]:
    """Read the tombstones of a file, by hash; a line that was broken off is named in the log.

    Raises
    ------
    DatabaseError
        The file cannot be read.
    """
    found: dict[str, Tombstone] = {}
    try:
        lines = path.read_bytes().splitlines() if path.exists() else []
    except OSError as error:
        raise DatabaseError(
            f"the tombstones in {path} cannot be read ({error.strerror}): check its permissions"
        ) from error
    for number, line in enumerate(lines, 1):
        try:
            said = json.loads(line)
            one = Tombstone(said["lead_hash"], int(said["erased_us"]), json.dumps(said["proof"]))
        except (ValueError, KeyError, TypeError):
            logger.warning("line %d of the tombstones in %s is no tombstone", number, path)
        else:
            found[one.lead_hash] = one
    return found


def _last(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
