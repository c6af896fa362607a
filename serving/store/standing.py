"""How leads stand now, and how they were judged before, for those who read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from serving.store import life
from serving.store.received import INQUIRY, members, suppressions
from serving.store.tables import decisions, events, handoffs, leads, models, outcomes


@dataclass(frozen=True)
class Standing:
    """A lead now.

    Attributes
    ----------
    row : row of the table `leads`
    suppress : list of str
        Why it is never flagged.
    state : str
        As DOMAIN's life of a lead has it: raw, inquiry, nurtured, flagged, accepted, …
    events : int
        How many were received.
    decision : row of the table `decisions`, or None
        None where it was never scored.
    handoff : row of the table `handoffs`, or None
        The open one, else the newest, of it and of those merged into it.
    """

    row: sa.Row[Any]
    suppress: list[str]
    state: str
    events: int
    decision: sa.Row[Any] | None
    handoff: sa.Row[Any] | None

    @property
    def fresh(self) -> bool:
        """Whether the decision knows all that was accepted about the lead."""
        return self.row.scored_us is not None and self.row.scored_us >= self.row.changed_us


def standing(connection: sa.Connection, lead_id: str) -> Standing | None:
    """Return how a lead stands, of a merged one the one it is now; None for an unknown one."""
    row = _record(connection, lead_id)
    if row is not None and row.merged_into is not None:
        row = _record(connection, row.merged_into)
    if row is None:
        return None
    ids = [*members(connection, [row.lead_id])]
    seen = sa.select(sa.func.count(), sa.func.count().filter(events.c.event_type == INQUIRY)).where(
        events.c.lead_id.in_(ids)
    )
    count, inquiries = connection.execute(seen).one()
    (suppress,) = suppressions(connection, [row])
    counts = sa.case((handoffs.c.status.in_(life.OPEN), 0), else_=1)
    newest = sa.select(handoffs).where(handoffs.c.lead_id.in_(ids))
    newest = newest.order_by(counts, handoffs.c.seq.desc()).limit(1)
    handoff = connection.execute(newest).one_or_none()
    last = sa.select(outcomes.c.outcome).where(outcomes.c.lead_id.in_(ids))
    closed = connection.execute(last.order_by(outcomes.c.closed_us.desc()).limit(1)).scalar()
    decision = sa.select(decisions).where(decisions.c.decision_id == row.decision_id)
    return Standing(
        row,
        suppress,
        _state(suppress, count, inquiries, handoff, closed),
        count,
        connection.execute(decision).one_or_none(),
        handoff,
    )


def history(
    connection: sa.Connection, lead_ids: Sequence[str], before: int | None, limit: int
) -> list[sa.Row[Any]]:
    """Return decisions about leads with the rule of their model, newest first.

    Parameters
    ----------
    connection : sa.Connection
    lead_ids : sequence of str
    before : int or None
        Only those with a smaller number.
    limit : int
    """
    model = (
        (models.c.digest == decisions.c.model_digest)
        & (models.c.name == decisions.c.model_name)
        & (models.c.version == decisions.c.model_version)
    )
    query = (
        sa.select(decisions, models.c.rule, models.c.horizon_days)
        .join(models, model)
        .where(decisions.c.lead_id.in_(lead_ids))
    )
    if before is not None:
        query = query.where(decisions.c.decision_id < before)
    newest = query.order_by(decisions.c.decision_id.desc()).limit(limit)
    return [*connection.execute(newest).all()]


def _record(connection: sa.Connection, lead_id: str) -> sa.Row[Any] | None:
    return connection.execute(sa.select(leads).where(leads.c.lead_id == lead_id)).one_or_none()


def _state(
    suppress: Sequence[str],
    count: int,
    inquiries: int,
    handoff: sa.Row[Any] | None,
    closed: str | None,
) -> str:
    if handoff is not None and handoff.status in (life.PROPOSED, *life.WORKED):
        return "flagged" if handoff.status == life.PROPOSED else str(handoff.status)
    if suppress:
        return "suppressed"
    if closed is not None:
        return closed
    if handoff is not None and handoff.status in {"recycled", "disqualified", "rejected"}:
        return str(handoff.status)
    if not count:
        return "raw"
    return "inquiry" if count == inquiries else "nurtured"
