"""Hand-offs as they are shown and told: in lists, alone, in messages and in answers."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from features.moments import iso
from serving.store import life
from serving.store.handoff import Handoff
from serving.store.received import members
from serving.store.tables import handoffs, steps

Steps = Sequence[sa.Row[Any]]


@dataclass(frozen=True)
class Wanted:
    """Which hand-offs; None for all.

    Attributes
    ----------
    status, kind, lead_id : str or None
    since_us : int or None
        That came to be at that moment or later.
    """

    status: str | None = None
    kind: str | None = None
    lead_id: str | None = None
    since_us: int | None = None


def page(
    connection: sa.Connection, wanted: Wanted, before: int | None, limit: int
) -> tuple[list[dict[str, Any]], int | None]:
    """Return hand-offs, newest first, and the number of the last if there are more.

    Parameters
    ----------
    connection : sa.Connection
    wanted : Wanted
    before : int or None
        Only those with a smaller number.
    limit : int
    """
    query = sa.select(handoffs)
    for name in ("status", "kind"):
        if (value := getattr(wanted, name)) is not None:
            query = query.where(handoffs.c[name] == value)
    if wanted.lead_id is not None:  # and of those merged into it
        query = query.where(handoffs.c.lead_id.in_([*members(connection, [wanted.lead_id])]))
    if wanted.since_us is not None:
        query = query.where(handoffs.c.created_us >= wanted.since_us)
    if before is not None:
        query = query.where(handoffs.c.seq < before)
    found = connection.execute(query.order_by(handoffs.c.seq.desc()).limit(limit + 1)).all()
    rows = found[:limit]
    of = steps_of(connection, [row.handoff_id for row in rows])
    more = rows[-1].seq if len(found) > limit else None
    return [shown(Handoff.of(row), of[row.handoff_id]) for row in rows], more


def one(connection: sa.Connection, handoff_id: str) -> dict[str, Any] | None:
    """Return a hand-off with its steps; None for an unknown one."""
    query = sa.select(handoffs).where(handoffs.c.handoff_id == handoff_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    own = steps_of(connection, [handoff_id])[handoff_id]
    return shown(Handoff.of(row), own) | {"steps": [_step(step) for step in own]}


def current(connection: sa.Connection, handoff: Handoff) -> dict[str, Any]:
    """Return a hand-off as it is now."""
    return shown(handoff, steps_of(connection, [handoff.handoff_id])[handoff.handoff_id])


def shown(handoff: Handoff, own: Steps) -> dict[str, Any]:
    """Return a hand-off as JSON, as it was after the last of the steps that are given.

    Parameters
    ----------
    handoff : Handoff
        As it is now.
    own : sequence of rows of the table `steps`
        The first of them, in order.
    """
    last = own[-1]
    ended = handoff if last.version == handoff.version else None
    names = ("handoff_id", "lead_id", "episode", "kind", "score", "decision_id")
    return {name: getattr(handoff, name) for name in names} | {
        "status": last.status,
        "reasons": json.loads(handoff.reasons),
        "created_at": iso(handoff.created_us),
        "proposed_at": _iso(handoff.proposed_us),
        "due_at": _iso(handoff.due_us),
        "version": last.version,
        "why": last.why,
        "reason": last.reason,
        "closing_attempts": [iso(step.at_us) for step in own if step.action == "closing"],
        "again_at": None if ended is None else _iso(ended.again_us),
        "again_on": None if ended is None else ended.again_on,
        "allowed": life.allowed(last.status),
    }


def steps_of(connection: sa.Connection, handoff_ids: Iterable[str]) -> dict[str, Steps]:
    """Return the steps of each hand-off, in order."""
    found: dict[str, list[sa.Row[Any]]] = {handoff_id: [] for handoff_id in handoff_ids}
    for step in connection.execute(_STEPS, {"handoff_ids": [*found]}):
        found[step.handoff_id].append(step)
    return {**found}


def _step(step: sa.Row[Any]) -> dict[str, Any]:
    names = ("version", "action", "status", "why", "reason", "key_id")
    return {name: getattr(step, name) for name in names} | {
        "at": iso(step.at_us),
        "received_at": iso(step.received_us),
        "until": _iso(step.until_us),
    }


def _iso(moment_us: int | None) -> str | None:
    return None if moment_us is None else iso(moment_us)


_STEPS = (
    sa.select(steps)
    .where(steps.c.handoff_id.in_(sa.bindparam("handoff_ids", expanding=True)))
    .order_by(steps.c.version)
)
