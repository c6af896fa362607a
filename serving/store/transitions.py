"""What people do with hand-offs: done once, however often sent; outcomes are written with it."""

from dataclasses import replace

import sqlalchemy as sa

from serving.store import handoff_views, outcome_intake
from serving.store.call import Call
from serving.store.freshness import refresh
from serving.store.handoff import Handoff
from serving.store.held import hold
from serving.store.items import Outcome
from serving.store.received import locked
from serving.store.reentry import RECYCLE_DAYS, REJECTIONS, begins
from serving.store.steps import Deed, Move, take
from serving.store.tables import handoffs

OUTCOMES = {"won": "won", "lost": "lost", "disqualified": "lost"}
"""What is learned from the states in which a hand-off ends; from the others nothing is."""
SECOND_US = 1_000_000


class Unknown(LookupError):
    """There is no such hand-off."""


class Stale(ValueError):
    """The hand-off has moved on since the version that was sent.

    Parameters
    ----------
    version : int
        It has now.
    """

    def __init__(self, version: int) -> None:
        self.version = version
        super().__init__(f"the hand-off has moved on, to version {version}: look at it again")


class Contradiction(ValueError):
    """An outcome of the lead at that moment says something else."""


def said(
    action: str,
    at_us: int,
    *,
    until_us: int | None = None,
    reason: str | None = None,
    kind: str | None = None,
) -> Deed:
    """Return what somebody says was done.

    A rejection's kind, and how long a recycled lead rests, may be the reason's first words.

    >>> said("recycle", 0, reason="Timing: budget in spring").why
    'timing'
    """
    words = {"reject": REJECTIONS, "recycle": RECYCLE_DAYS}.get(action, ())
    return Deed(action, at_us, until_us, kind or begins(reason, words), reason)


def move(
    connection: sa.Connection, handoff_id: str, version: int, deed: Deed, call: Call
) -> tuple[dict[str, object], str]:
    """Carry out what somebody did; sent again, it is answered as it was, and done once.

    Parameters
    ----------
    connection : sa.Connection
    handoff_id : str
    version : int
        That the sender knows.
    deed : Deed
        A time later than the clock, by more than the skew that is allowed, is now.
    call : Call

    Returns
    -------
    dict
        The hand-off as it is after it, as JSON.
    str
        Its lead.

    Raises
    ------
    Unknown
    Stale
    NotAllowed
    Contradiction
    """
    lead_id = connection.execute(
        sa.select(handoffs.c.lead_id).where(handoffs.c.handoff_id == handoff_id)
    ).scalar()
    if lead_id is None:
        raise Unknown
    hold(connection, [lead_id])
    heads = [row.lead_id for row in locked(connection, [lead_id])]
    own = sa.select(handoffs).where(handoffs.c.handoff_id == handoff_id)
    row = connection.execute(own.with_for_update()).one_or_none()
    if row is None or not heads:
        raise Unknown
    handoff = Handoff.of(row)
    if handoff.version != version:
        return _again(connection, handoff, version, deed, call), lead_id
    deed = _clamped(deed, call.now_us, call)
    (taken,) = take(connection, [Move(handoff, deed, heads[0])], call)
    if taken.status in OUTCOMES:
        _close(connection, heads[0], OUTCOMES[taken.status], deed.at_us, call)
    return handoff_views.current(connection, taken), lead_id


def _again(
    connection: sa.Connection, handoff: Handoff, version: int, deed: Deed, call: Call
) -> dict[str, object]:
    """Return the hand-off as it was after the same deed was done to the same version."""
    every = handoff_views.steps_of(connection, [handoff.handoff_id])[handoff.handoff_id]
    after = [step for step in every if step.version <= version + 1]
    done = after[-1]
    was = Deed(done.action, done.at_us, done.until_us, done.why, done.reason)
    if done.version != version + 1 or was != _clamped(deed, done.received_us, call):
        raise Stale(handoff.version)
    return handoff_views.shown(handoff, after)


def _clamped(deed: Deed, received_us: int, call: Call) -> Deed:
    latest_us = received_us + round(call.policy.skew_seconds * SECOND_US)
    return replace(deed, at_us=received_us) if deed.at_us > latest_us else deed


def _close(
    connection: sa.Connection, lead_id: str, outcome: str, closed_us: int, call: Call
) -> None:
    """Write an outcome, where it was not sent already."""
    sent = Outcome(lead_id, closed_us, outcome)
    (result,) = outcome_intake.store(connection, [sent], frozenset(), call)
    if result.status == "rejected":
        raise Contradiction
    refresh(connection, [lead_id], call, "outcome")
