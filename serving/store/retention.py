"""What has been kept for as long as the policy says goes; some rows at a time, so nobody waits."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa

from serving.store import jobs, life, outbox
from serving.store.database import Database
from serving.store.held import hold
from serving.store.policy import DAY_US, HOUR_US, Policy
from serving.store.received import members
from serving.store.tables import (
    audit,
    decisions,
    deliveries,
    endpoints,
    events,
    handoffs,
    idempotency,
    leads,
    messages,
    tombstones,
)

JOB = "retention"
REBUILD = "rebuild"
REBUILDS_US = 4 * DAY_US
"""How long after an erasure the file is written anew every day: messages about it end by then."""
ROWS_AT_ONCE, LEADS_AT_ONCE = 2_000, 500
MOST_ROWS = 2**62


@dataclass(frozen=True)
class Retention:
    """Deletes what is kept no longer.

    Messages go when all their deliveries have ended; decisions unless they stand or a hand-off
    refers to them; events only with all the events of their lead (and of those merged with it),
    when nothing came about it for the whole period and no hand-off of it is open: a history of
    which a part is gone would give other scores than one that is short.

    Attributes
    ----------
    database : Database
    policy : Policy
    """

    database: Database
    policy: Policy

    def run(self, now_us: int) -> dict[str, int]:
        """Delete; return how many rows of each table. Another process may be at it: then none.

        Raises
        ------
        DatabaseError
            It goes on with the rest when it is run again.
        """
        days = self.policy.keep_events_days
        gone = {}
        with jobs.running(self.database, JOB, now_us) as lease:
            if not lease.holds():
                return {}
            for table, query in self._due(now_us):
                gone[table.name] = self._expired(lease, table, query)
            if days is not None:
                gone[events.name] = self._silent(lease, now_us - round(days * DAY_US))
            self._rebuild(now_us)
        return gone

    def _due(self, now_us: int) -> list[tuple[sa.Table, sa.Select[Any]]]:
        """Return tables, with the keys of the rows that go."""
        policy, hour_us = self.policy, now_us - round(self.policy.keep_answers_hours * HOUR_US)
        known = sa.select(endpoints.c.endpoint_id)
        keys = sa.select(deliveries.c.message_id, deliveries.c.endpoint_id)
        found: list[tuple[sa.Table, sa.Select[Any]]] = [
            (deliveries, keys.where(deliveries.c.endpoint_id.not_in(known))),
            (idempotency, _older(idempotency, "created_us", hour_us)),
        ]
        for table, column, days in (
            (messages, "created_us", policy.keep_messages_days),
            (audit, "at_us", policy.keep_audit_days),
            (decisions, "decided_us", policy.keep_decisions_days),
        ):
            if days is not None:
                older = _older(table, column, now_us - round(days * DAY_US))
                found.append((table, older.where(*_dispensable(table))))
        return found

    def _expired(self, lease: jobs.Lease, table: sa.Table, keys: sa.Select[Any]) -> int:
        def some(connection: sa.Connection) -> int:
            rows = connection.execute(keys.limit(ROWS_AT_ONCE)).all()
            _delete(connection, table, rows)
            return len(rows)

        total, gone = 0, ROWS_AT_ONCE
        while gone == ROWS_AT_ONCE and lease.holds():
            gone = self.database.write(some)
            total += gone
        return total

    def _silent(self, lease: jobs.Lease, before_us: int) -> int:
        """Delete the events of leads about which nothing came since a moment."""

        def some(connection: sa.Connection) -> tuple[list[str], int]:
            ids = _with_events(connection, after)
            return ids, _forget(connection, ids, before_us)

        total, after, more = 0, "", True
        while more and lease.holds():
            ids, gone = self.database.write(some)
            total, after, more = total + gone, ids[-1] if ids else "", len(ids) == LEADS_AT_ONCE
        return total

    def _rebuild(self, now_us: int) -> None:
        """Write SQLite's file anew, once a day in the days after an erasure."""
        with self.database.reading() as connection:
            last = connection.execute(sa.select(sa.func.max(tombstones.c.erased_us))).scalar()
            ran_us = jobs.ran_us(connection, REBUILD) or 0
        if last is None or ran_us >= min(last + REBUILDS_US, now_us - DAY_US + 1):
            self.database.scrub()
            return
        self.database.rebuild()
        self.database.write(partial(jobs.note, name=REBUILD, now_us=now_us))


def _older(table: sa.Table, column: str, than_us: int) -> sa.Select[Any]:
    """Return the keys of older rows; those that are numbered are looked for from the first on."""
    keys, age = [*table.primary_key.columns], table.c[column]
    query = sa.select(*keys).where(age < than_us).order_by(keys[0] if len(keys) == 1 else age)
    if len(keys) > 1:
        return query
    later = sa.select(keys[0]).where(age >= than_us).order_by(keys[0]).limit(1)
    return query.where(keys[0] < sa.func.coalesce(later.scalar_subquery(), MOST_ROWS))


def _dispensable(table: sa.Table) -> list[sa.ColumnElement[bool]]:
    """Return what must hold of a row beside its age."""
    if table is messages:
        told = deliveries.c.message_id == messages.c.message_id
        return [~sa.exists().where(told, deliveries.c.next_us.is_not(None))]
    if table is decisions:
        stands = leads.c.decision_id == decisions.c.decision_id
        meant = handoffs.c.decision_id == decisions.c.decision_id
        own = leads.c.lead_id == decisions.c.lead_id, handoffs.c.lead_id == decisions.c.lead_id
        return [~sa.exists().where(own[0], stands), ~sa.exists().where(own[1], meant)]
    return []


def _delete(connection: sa.Connection, table: sa.Table, rows: Sequence[Any]) -> None:
    if table is messages:
        seqs = [row.seq for row in rows]
        query = sa.select(messages.c.message_id).where(messages.c.seq.in_(seqs))
        outbox.drop(connection, connection.execute(query).scalars().all())
    elif rows:
        key = sa.tuple_(*table.primary_key.columns)
        connection.execute(table.delete().where(key.in_([tuple(row) for row in rows])))


def _with_events(connection: sa.Connection, after: str) -> list[str]:
    query = sa.select(events.c.lead_id).where(events.c.lead_id > after).distinct()
    return [*connection.execute(query.order_by(events.c.lead_id).limit(LEADS_AT_ONCE)).scalars()]


def _forget(connection: sa.Connection, ids: Sequence[str], before_us: int) -> int:
    """Delete the events of those leads that are silent, with those merged with them."""
    group_of = _groups(connection, ids)
    all_ids = [*group_of]
    hold(connection, all_ids)  # else what comes meanwhile would go, too
    meanwhile = _groups(connection, ids).items() - group_of.items()  # these wait for the next run
    came = sa.or_(events.c.occurred_us >= before_us, events.c.received_us >= before_us)
    heard = sa.select(events.c.lead_id).where(events.c.lead_id.in_(all_ids), came)
    open_ = sa.select(handoffs.c.lead_id).where(
        handoffs.c.lead_id.in_(all_ids), handoffs.c.status.in_(life.OPEN)
    )
    kept = {group_of[each] for each in connection.execute(heard.union(open_)).scalars()}
    for lead_id, into in meanwhile:
        kept |= {group_of.get(lead_id, into), into}
    silent = [each for each, group in group_of.items() if group not in kept]
    return connection.execute(events.delete().where(events.c.lead_id.in_(silent))).rowcount


def _groups(connection: sa.Connection, ids: Sequence[str]) -> dict[str, str]:
    merged = sa.select(leads.c.merged_into).where(
        leads.c.lead_id.in_(ids), leads.c.merged_into.is_not(None)
    )
    return members(connection, [*{*ids, *connection.execute(merged).scalars()}])
