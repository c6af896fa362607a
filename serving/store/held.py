"""Leads that a transaction writes about: their records, while nobody else writes about them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import sqlalchemy as sa

from serving.store.tables import leads

LOCKS = 0x6C64
"""Of PostgreSQL's advisory locks: those of leads."""
BUCKETS = 256
"""Leads share so many locks: a request with a thousand leads must not use up the server's."""

_NAMES = ("lead_id", "created_us", "received_us", "suppress", "account_id")
_RECORDS = sa.select(*(leads.c[name] for name in (*_NAMES, "merged_into", "merged_us"))).where(
    leads.c.lead_id.in_(sa.bindparam("lead_ids", expanding=True))
)
_LOCK = sa.text(
    "SELECT pg_advisory_xact_lock(:space, bucket)"
    " FROM unnest(CAST(:buckets AS integer[])) AS bucket"
)


@dataclass(frozen=True)
class Record:
    """A lead's row, as far as whoever writes about it needs it.

    Attributes
    ----------
    lead_id : str
    created_us, received_us : int
    suppress : tuple of str
    account_id : str or None
    merged_into : str or None
    merged_us : int or None
    """

    lead_id: str
    created_us: int
    received_us: int
    suppress: tuple[str, ...] = ()
    account_id: str | None = None
    merged_into: str | None = None
    merged_us: int | None = None

    @property
    def survivor(self) -> str:
        """The lead that it is now."""
        return self.merged_into or self.lead_id


def hold(connection: sa.Connection, lead_ids: Iterable[str]) -> dict[str, Record]:
    """Return the records of leads, and of those they were merged into, by id.

    Until the transaction ends no other one writes about these leads, also those without a record:
    what is received about a lead is numbered in the order in which it can be read.
    """
    ids = {*lead_ids}
    found = _records(connection, sorted(ids))
    if connection.dialect.name == "postgresql":
        held: set[str] = set()
        while wanted := (ids | {record.survivor for record in found.values()}) - held:
            _lock(connection, wanted)  # they may have been merged into others meanwhile
            held |= wanted
            found = _records(connection, sorted(ids))
    further = {record.survivor for record in found.values()} - found.keys()
    return found | _records(connection, sorted(further)) if further else found


def row_of(record: Record, now_us: int) -> dict[str, Any]:
    """Return the row of a new lead."""
    return {
        "lead_id": record.lead_id,
        "created_us": record.created_us,
        "received_us": record.received_us,
        "account_id": record.account_id,
        "suppress": listed(record.suppress),
        "merged_into": record.merged_into,
        "merged_us": record.merged_us,
        "episode": 0,
        "changed_us": now_us,
    }


def listed(suppress: Sequence[str]) -> str:
    """Return suppressions as the table keeps them."""
    return json.dumps(suppress, ensure_ascii=False)


def reasons_in(suppress: str) -> tuple[str, ...]:
    """Return suppressions out of what the table keeps.

    >>> reasons_in(listed(("customer",)))
    ('customer',)
    """
    return tuple(json.loads(suppress))


def _records(connection: sa.Connection, lead_ids: Sequence[str]) -> dict[str, Record]:
    rows = connection.execute(_RECORDS, {"lead_ids": lead_ids})
    return {
        row.lead_id: Record(
            row.lead_id,
            row.created_us,
            row.received_us,
            reasons_in(row.suppress),
            row.account_id,
            row.merged_into,
            row.merged_us,
        )
        for row in rows
    }


def _lock(connection: sa.Connection, lead_ids: Iterable[str]) -> None:
    """Take the locks of leads, in one order: two that wait for each other cannot be."""
    buckets = sorted({crc32(lead_id.encode()) % BUCKETS for lead_id in lead_ids})
    connection.execute(_LOCK, {"space": LOCKS, "buckets": buckets})
