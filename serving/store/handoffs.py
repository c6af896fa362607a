"""Which leads are proposed to sales, and which proposals end by themselves."""

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from serving.store import capacity, closed, life, reentry, tables
from serving.store.call import Call
from serving.store.dialect import insert
from serving.store.handoff import OF_LEADS, Handoff
from serving.store.policy import HOUR_US
from serving.store.steps import Deed, Move, take
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
    inquired : bool
        Whether there is an inbound inquiry that was not acted upon yet.
    """

    row: sa.Row[Any]
    decision_id: int
    decision: str
    why: str
    score: float | None
    reasons: list[dict[str, Any]]
    suppress: list[str]
    inquired: bool

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
    newest, moves = _newest(connection, [lead.row.lead_id for lead in leads], call)
    touched = [lead for lead in leads if lead.wanted or lead.row.lead_id in newest]
    if not touched:
        return
    outcomes = closed.newest(connection, [lead.row.lead_id for lead in touched])
    coming, waiting = [], []
    for lead in touched:
        last, outcome = newest.get(lead.row.lead_id), outcomes.get(lead.row.lead_id)
        if last is None or last.status not in life.OPEN:
            if _comes(connection, lead, last, outcome, call.now_us):
                coming.append(lead)
        elif move := _ended(connection, lead, last, outcome, call):
            moves.append(move)
        elif last.status == life.WAITING:
            waiting.append((last, lead))
    made = _made(connection, coming, call)
    moves += [_inquired(handoff, call) for handoff in made if handoff.kind == INBOUND]
    _judge_anew(connection, waiting)
    take(connection, moves, call, by_service=True)
    _place(connection, [handoff for handoff in made if handoff.kind == FLAGGED], call)


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


def _place(connection: sa.Connection, made: Sequence[Handoff], call: Call) -> None:
    """Propose the best of those that wait, these among them, as long as there are places."""
    if not made:
        return
    free = capacity.places(connection, call.model, call.now_us)
    placed = made if free is None else _best(connection, free)
    _propose(connection, placed, call)
    placed_ids = {handoff.handoff_id for handoff in placed}
    wait = Deed("wait", call.now_us, why=OVER_CAPACITY)
    waits = [Move(handoff, wait) for handoff in made if handoff.handoff_id not in placed_ids]
    take(connection, waits, call, by_service=True)


def _best(connection: sa.Connection, most: int) -> list[Handoff]:
    """Return those with the best scores that wait; another transaction's are left to it."""
    best = sa.select(handoffs).where(handoffs.c.status == life.WAITING)
    best = best.order_by(handoffs.c.score.desc(), handoffs.c.lead_id).limit(most)
    rows = connection.execute(best.with_for_update(skip_locked=True))
    return [Handoff.of(row) for row in rows]


def _propose(connection: sa.Connection, waiting: Sequence[Handoff], call: Call) -> None:
    deed = Deed("propose", call.now_us)
    due_us = _due_us(call, call.policy.sla_hours)
    clock = {"proposed_us": call.now_us, "due_us": due_us}
    moves = [Move(handoff, deed, changes=clock) for handoff in waiting]
    take(connection, moves, call, by_service=True)


def _newest(
    connection: sa.Connection, lead_ids: Sequence[str], call: Call
) -> tuple[dict[str, Handoff], list[Move]]:
    """Return the hand-off of each lead, and of those merged into it, that counts, and lock it.

    An open one counts before others; of several, the one that has come furthest. The others that
    sales has not taken up are to expire: these moves are returned, too.
    """
    found: dict[str, Handoff] = {}
    rows = connection.execute(_OWN, {"lead_ids": lead_ids}).all()
    merged = Deed("expire", call.now_us, why=reentry.MERGED)
    moves = []
    for row in sorted(rows, key=lambda row: _PLACES.get(row.status, -1)):
        other = found.get(row.head)
        if other is not None and other.status in life.UNTAKEN:
            moves.append(Move(other, merged, row.head))
        found[row.head] = Handoff.of(row)
    return found, moves


def _ended(
    connection: sa.Connection,
    lead: Considered,
    handoff: Handoff,
    outcome: sa.Row[Any] | None,
    call: Call,
) -> Move | None:
    """Return what a decision, or an outcome, does to an open hand-off, if anything."""
    head, now_us = lead.row.lead_id, call.now_us
    deed = closed.end(connection, head, handoff, outcome)
    if deed is None and handoff.status in life.UNTAKEN:
        if lead.suppress:
            reason = foremost(lead.suppress)
            deed = Deed("expire", now_us, why=reentry.SUPPRESSED, reason=reason)
        elif handoff.kind == FLAGGED and lead.inquired:
            return _inquired(handoff, call)
        elif handoff.kind == FLAGGED and lead.decision != HAND_OFF:
            deed = Deed("expire", now_us, why=reentry.COOLED)
    return None if deed is None else Move(handoff, deed, head)


def _comes(
    connection: sa.Connection,
    lead: Considered,
    last: Handoff | None,
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


def _made(connection: sa.Connection, leads: Sequence[Considered], call: Call) -> list[Handoff]:
    """Make the hand-offs of the leads' next episodes, where they are not there already."""
    if not leads:
        return []
    new = [
        Handoff(
            handoff_id=f"ho_{secrets.token_hex(12)}",
            lead_id=lead.row.lead_id,
            episode=lead.row.episode + 1,
            kind=INBOUND if lead.inquired else FLAGGED,
            status=life.WAITING,
            created_us=call.now_us,
            version=0,
            **_judged(lead),
        )
        for lead in leads
    ]
    once = insert(connection, handoffs).on_conflict_do_nothing(
        index_elements=["lead_id", "episode"]
    )
    kept = connection.execute(once.returning(handoffs.c.handoff_id), [vars(each) for each in new])
    kept_ids = {*kept.scalars()}
    made = [handoff for handoff in new if handoff.handoff_id in kept_ids]
    if made:
        episodes = [{"own_id": each.lead_id, "new_episode": each.episode} for each in made]
        connection.execute(_EPISODES, episodes)
    return made


def _judge_anew(connection: sa.Connection, waiting: Iterable[tuple[Handoff, Considered]]) -> None:
    """Give those that wait the score and reasons that they have now."""
    rows = [
        {"own_id": handoff.handoff_id} | {f"new_{name}": value for name, value in now.items()}
        for handoff, now in ((handoff, _judged(lead)) for handoff, lead in waiting)
    ]
    if rows:
        connection.execute(_JUDGED, rows)


def _judged(lead: Considered) -> dict[str, Any]:
    return {
        "decision_id": lead.decision_id,
        "score": lead.score,
        "reasons": json.dumps(lead.reasons, ensure_ascii=False),
    }


def _inquired(handoff: Handoff, call: Call) -> Move:
    """Let a lead that inquired through: now, and by the clock of inquiries."""
    due_us = _due_us(call, call.policy.inbound_sla_hours)
    clock: Mapping[str, Any] = {
        "kind": INBOUND,
        "proposed_us": handoff.proposed_us or call.now_us,
        "due_us": min(handoff.due_us or due_us, due_us),
    }
    return Move(handoff, Deed("inquire", call.now_us), changes=clock)


def _due_us(call: Call, hours: float) -> int:
    return call.now_us + round(hours * HOUR_US)


_PLACES = {status: place for place, status in enumerate(life.OPEN)}
_IDS: sa.BindParameter[Any] = sa.bindparam("lead_ids", expanding=True)
_OWN = (
    OF_LEADS.where(tables.leads.c.lead_id.in_(_IDS) | tables.leads.c.merged_into.in_(_IDS))
    .where(handoffs.c.why.is_distinct_from(reentry.MERGED))
    .order_by(handoffs.c.seq)
    .with_for_update(of=handoffs)
)
_EPISODES = (
    sa.update(tables.leads)
    .where(tables.leads.c.lead_id == sa.bindparam("own_id"))
    .values(episode=sa.bindparam("new_episode"))
)
_JUDGED = (
    sa.update(handoffs)
    .where(handoffs.c.handoff_id == sa.bindparam("own_id"))
    .values({name: sa.bindparam(f"new_{name}") for name in ("decision_id", "score", "reasons")})
)
