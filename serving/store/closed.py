"""Leads that are closed, as an outcome says that was sent by itself."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from serving.store import life, reentry
from serving.store.handoff import Handoff
from serving.store.reentry import WON
from serving.store.steps import Deed
from serving.store.tables import leads, outcomes, steps


def newest(connection: sa.Connection, lead_ids: Sequence[str]) -> dict[str, sa.Row[Any]]:
    """Return the newest outcome of each lead and of those merged into it, where there is one."""
    if not lead_ids:
        return {}
    return {row.head: row for row in connection.execute(_OUTCOMES, {"lead_ids": lead_ids})}


def end(
    connection: sa.Connection, lead_id: str, handoff: Handoff, outcome: sa.Row[Any] | None
) -> Deed | None:
    """Return how an outcome ends an open hand-off, if it was sent since that came to be.

    What sales works is won or lost by it, if it is not of an earlier time; what it has not taken
    up expires.
    """
    if outcome is None or outcome.received_us < handoff.created_us:
        return None
    if handoff.status in life.WORKED:
        earlier = outcome.closed_us < handoff.created_us
        return None if earlier else Deed(outcome.outcome, outcome.closed_us)
    if not _is_over(connection, lead_id, outcome):
        return None
    return Deed("expire", outcome.received_us, why=outcome.outcome)


def bars(
    connection: sa.Connection,
    lead_id: str,
    last: Handoff | None,
    outcome: sa.Row[Any] | None,
) -> bool:
    """Tell whether an outcome keeps a lead from being handed off, the last time having ended.

    One that the end of the last hand-off knew does not: that has a condition of its own.
    """
    if outcome is None:
        return False
    if last is not None:
        own = (steps.c.handoff_id == last.handoff_id) & (steps.c.version == last.version)
        ended_us = connection.execute(sa.select(steps.c.at_us).where(own)).scalar_one()
        if outcome.closed_us <= ended_us:
            return False
    return _is_over(connection, lead_id, outcome)


def _is_over(connection: sa.Connection, lead_id: str, outcome: sa.Row[Any]) -> bool:
    """Tell whether it was won, or lost and the lead has done nothing since."""
    won = outcome.outcome == WON
    return won or not reentry.engaged(connection, lead_id, since_us=outcome.closed_us)


_IDS: sa.BindParameter[Any] = sa.bindparam("lead_ids", expanding=True)
_OUTCOMES = (
    sa.select(outcomes, sa.func.coalesce(leads.c.merged_into, leads.c.lead_id).label("head"))
    .join(leads, leads.c.lead_id == outcomes.c.lead_id)
    .where(leads.c.lead_id.in_(_IDS) | leads.c.merged_into.in_(_IDS))
    .order_by(outcomes.c.closed_us)
)
