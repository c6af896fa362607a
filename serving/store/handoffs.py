"""Which leads are proposed to sales, and which proposals end by themselves."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from serving.store import capacity, closed, life, reentry, tables
from serving.store.call import Call
from serving.store.dialect import insert
from serving.store.policy import HOUR_US
from serving.store.steps import Deed, take
from serving.store.tables import handoffs
from serving.suppression import foremost
from training.scorer import DECISIONS

FLAGGED, INBOUND = "flagged", "inbound"
KINDS = (FLAGGED, INBOUND)
OVER_CAPACITY = "over_capacity"
HAND_OFF = DECISIONS[0]


@dataclass(frozen=True)
class Considered:
    """A lead with the decision that stands for it.

    Attributes
    ----------
    row : row of the table `leads`
    decision_id : int
    decision, why : str
    score : float or None
    reasons : list of dict
    suppress : list of str
    inquired, event_came : bool
        Whether an inbound inquiry, or any event, was received since the decision before.
    """

    row: sa.Row[Any]
    decision_id: int
    decision: str
    why: str
    score: float | None
    reasons: list[dict[str, Any]]
    suppress: list[str]
    inquired: bool
    event_came: bool

    @property
    def wanted(self) -> bool:
        """Whether sales is to have it, as far as this decision knows."""
        return not self.suppress and (self.inquired or self.decision == HAND_OFF)


def consider(connection: sa.Connection, leads: Sequence[Considered], call: Call) -> None:
    """Propose leads to sales where their decisions say so, and end proposals that no longer hold.

    Suppression comes first. An inbound inquiry goes straight through, whatever the score. A lead
    that sales works already is left alone; one whose last hand-off ended comes back when it may.

    Parameters
    ----------
    connection : sa.Connection
        Of a transaction that has locked the leads' rows.
    leads : sequence of Considered
    call : Call
    """
    newest = _newest(connection, [lead.row.lead_id for lead in leads], call)
    touched = [lead for lead in leads if lead.wanted or lead.row.lead_id in newest]
    outcomes = closed.newest(connection, [lead.row.lead_id for lead in touched])
    waiting = []
    for lead in touched:
        last, outcome = newest.get(lead.row.lead_id), outcomes.get(lead.row.lead_id)
        if last is not None and last.status in life.OPEN:
            _hold(connection, lead, last, outcome, call)
        elif _comes(connection, lead, last, outcome, call.now_us):
            made = _made(connection, lead, call)
            if made is not None and not lead.inquired:
                waiting.append(made)
            elif made is not None:
                _inquire(connection, made, call)
    if waiting:
        _place(connection, waiting, call)


def fill(connection: sa.Connection, call: Call, most: int) -> int:
    """Propose at most so many of those that wait, where there are places for them this week.

    Returns
    -------
    int
        How many were proposed.
    """
    free = capacity.places(connection, call.model, call.now_us)
    best = _best(connection, most if free is None else min(free, most))
    _propose(connection, best, call)
    return len(best)


def _place(connection: sa.Connection, made: Sequence[sa.Row[Any]], call: Call) -> None:
    """Propose the best of those that wait, these among them, as long as there are places."""
    free = capacity.places(connection, call.model, call.now_us)
    placed = made if free is None else _best(connection, free)
    _propose(connection, placed, call)
    placed_ids = {row.handoff_id for row in placed}
    wait = Deed("wait", call.now_us, why=OVER_CAPACITY)
    for row in made:
        if row.handoff_id not in placed_ids:
            take(connection, row, wait, call, by_service=True)


def _best(connection: sa.Connection, most: int) -> Sequence[sa.Row[Any]]:
    """Return those with the best scores that wait; another transaction's are left to it."""
    best = sa.select(handoffs).where(handoffs.c.status == life.WAITING)
    best = best.order_by(handoffs.c.score.desc(), handoffs.c.lead_id).limit(most)
    return connection.execute(best.with_for_update(skip_locked=True)).all()


def _propose(connection: sa.Connection, rows: Sequence[sa.Row[Any]], call: Call) -> None:
    deed = Deed("propose", call.now_us)
    clock: dict[str, Any] = {
        "proposed_us": call.now_us,
        "due_us": _due_us(call, call.policy.sla_hours),
    }
    for row in rows:
        take(connection, row, deed, call, by_service=True, **clock)


def _newest(
    connection: sa.Connection, lead_ids: Sequence[str], call: Call
) -> dict[str, sa.Row[Any]]:
    """Return the hand-off of each lead, and of those merged into it, that counts, and lock it.

    An open one counts before others; of several, the one that has come furthest, and the others
    that sales has not taken up expire.
    """
    found: dict[str, sa.Row[Any]] = {}
    rows = connection.execute(_OWN, {"lead_ids": lead_ids}).all()
    merged = Deed("expire", call.now_us, why=reentry.MERGED)
    for row in sorted(rows, key=lambda row: _PLACES.get(row.status, -1)):
        other = found.get(row.head)
        if other is not None and other.status in life.UNTAKEN:
            take(connection, other, merged, call, head=row.head, by_service=True)
        found[row.head] = row
    return found


def _hold(
    connection: sa.Connection,
    lead: Considered,
    row: sa.Row[Any],
    outcome: sa.Row[Any] | None,
    call: Call,
) -> None:
    """Act on a decision about a lead that has an open hand-off."""
    head, untaken = lead.row.lead_id, row.status in life.UNTAKEN
    deed = closed.end(connection, head, row, outcome)
    if deed is None and untaken and lead.suppress:
        reason = foremost(lead.suppress)
        deed = Deed("expire", call.now_us, why=reentry.SUPPRESSED, reason=reason)
    if deed is None and untaken and row.kind == FLAGGED:
        if lead.inquired:
            _inquire(connection, row, call)
        elif lead.decision != HAND_OFF:
            deed = Deed("expire", call.now_us, why=reentry.COOLED)
        elif row.status == life.WAITING:
            own = sa.update(handoffs).where(handoffs.c.handoff_id == row.handoff_id)
            connection.execute(own.values(**_judged(lead)))
    if deed is not None:
        take(connection, row, deed, call, head=head, by_service=True)


def _comes(
    connection: sa.Connection,
    lead: Considered,
    last: sa.Row[Any] | None,
    outcome: sa.Row[Any] | None,
    now_us: int,
) -> bool:
    """Tell whether a lead without an open hand-off is to have one."""
    lead_id = lead.row.lead_id
    if not lead.wanted or closed.bars(connection, lead_id, last, outcome):
        return False
    if last is None:
        return True
    if lead.inquired:
        return last.again_on != reentry.NEVER
    return reentry.met(connection, lead_id, last, now_us)


def _made(connection: sa.Connection, lead: Considered, call: Call) -> sa.Row[Any] | None:
    """Make the hand-off of the lead's next episode; None where it is there already."""
    lead_id, episode = lead.row.lead_id, lead.row.episode + 1
    new = insert(connection, handoffs).values(
        handoff_id=f"ho_{secrets.token_hex(12)}",
        lead_id=lead_id,
        episode=episode,
        kind=INBOUND if lead.inquired else FLAGGED,
        status=life.WAITING,
        created_us=call.now_us,
        version=0,
        **_judged(lead),
    )
    once = new.on_conflict_do_nothing(index_elements=["lead_id", "episode"])
    made = connection.execute(once.returning(*handoffs.c)).one_or_none()
    if made is not None:
        own = sa.update(tables.leads).where(tables.leads.c.lead_id == lead_id)
        connection.execute(own.values(episode=episode))
    return made


def _judged(lead: Considered) -> dict[str, Any]:
    return {
        "decision_id": lead.decision_id,
        "score": lead.score,
        "reasons": json.dumps(lead.reasons, ensure_ascii=False),
    }


def _inquire(connection: sa.Connection, row: sa.Row[Any], call: Call) -> None:
    """Let a lead that inquired through: now, and by the clock of inquiries."""
    due_us = _due_us(call, call.policy.inbound_sla_hours)
    clock: dict[str, Any] = {
        "kind": INBOUND,
        "proposed_us": row.proposed_us or call.now_us,
        "due_us": min(row.due_us or due_us, due_us),
    }
    deed = Deed("inquire", call.now_us)
    take(connection, row, deed, call, by_service=True, **clock)


def _due_us(call: Call, hours: float) -> int:
    return call.now_us + round(hours * HOUR_US)


_PLACES = {status: place for place, status in enumerate(life.OPEN)}
_IDS: sa.BindParameter[Any] = sa.bindparam("lead_ids", expanding=True)
_LEAD, _INTO = tables.leads.c.lead_id, tables.leads.c.merged_into
_OWN = (
    sa.select(handoffs, sa.func.coalesce(_INTO, _LEAD).label("head"))
    .join(tables.leads, handoffs.c.lead_id == _LEAD)
    .where(_LEAD.in_(_IDS) | _INTO.in_(_IDS))
    .where(handoffs.c.why.is_distinct_from(reentry.MERGED))
    .order_by(handoffs.c.seq)
    .with_for_update(of=handoffs)
)
