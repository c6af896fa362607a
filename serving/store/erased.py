"""Which leads were erased: told by the hashes that are left of them."""

from collections.abc import Iterable

import sqlalchemy as sa

from serving.store.audit import hashed, salt_of
from serving.store.tables import tombstones


def among(connection: sa.Connection, lead_ids: Iterable[str]) -> frozenset[str]:
    """Return those of the leads that were erased."""
    salt = salt_of(connection)
    of_hash = {hashed(lead_id, salt): lead_id for lead_id in lead_ids}
    own = sa.select(tombstones.c.lead_hash).where(tombstones.c.lead_hash.in_([*of_hash]))
    return frozenset(of_hash[found] for found in connection.execute(own).scalars())
