"""What people do with hand-offs: done once, however often sent; outcomes are written with it."""

from dataclasses import dataclass, replace
from typing import Any

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


class Impossible(ValueError):
    """A moment cannot be.

    Parameters
    ----------
    name : str
        What it is a moment of: ``at`` or ``until``.
    detail : str
    """

    def __init__(self, name: str, detail: str) -> None:
        self.name = name
        super().__init__(detail)


@dataclass(frozen=True)
class Said:
    """What somebody says was done.

    A rejection's kind, and how long a recycled lead rests, may be the reason's first words.

    Attributes
    ----------
    action : str
    at_us : int or None
        None for the moment of receipt.
    until_us : int or None
    reason, kind : str or None

    Examples
    --------
    >>> Said("recycle", reason="Timing: budget in spring").deed(7, 0)
    Deed(action='recycle', at_us=7, until_us=None, why='timing', reason='Timing: budget in spring')
    """

    action: str
    at_us: int | None = None
    until_us: int | None = None
    reason: str | None = None
    kind: str | None = None

    def deed(self, received_us: int, skew_us: int) -> Deed:
        """Return what was done; a time later than its receipt, by more than the skew, is that."""
        words = {"reject": REJECTIONS, "recycle": RECYCLE_DAYS}.get(self.action, ())
        why = self.kind or begins(self.reason, words)
        latest_us = received_us + skew_us
        at_us = received_us if self.at_us is None or self.at_us > latest_us else self.at_us
        return Deed(self.action, at_us, self.until_us, why, self.reason)

    def is_what_was(self, done: sa.Row[Any], skew_us: int) -> bool:
        """Tell whether a step is this; one that says no moment is at any."""
        was = Deed(done.action, done.at_us, done.until_us, done.why, done.reason)
        same = self.deed(done.received_us, skew_us)
        return was == (replace(same, at_us=was.at_us) if self.at_us is None else same)


def move(
    connection: sa.Connection, handoff_id: str, version: int, said: Said, call: Call
) -> tuple[dict[str, object], str]:
    """Carry out what somebody did; sent again, it is answered as it was, and done once.

    Parameters
    ----------
    connection : sa.Connection
    handoff_id : str
    version : int
        That the sender knows.
    said : Said
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
    Impossible
        It was done before the hand-off was proposed, by more than the skew, or `until` has passed.
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
        return _again(connection, handoff, version, said, call), lead_id
    deed = said.deed(call.now_us, call.policy.skew_us)
    _check(deed, handoff, call.policy.skew_us)
    (taken,) = take(connection, [Move(handoff, deed, heads[0])], call)
    if taken.status in OUTCOMES:
        _close(connection, heads[0], OUTCOMES[taken.status], deed.at_us, call)
    return handoff_views.current(connection, taken), lead_id


def _check(deed: Deed, handoff: Handoff, skew_us: int) -> None:
    """Raise `Impossible` for a moment that is."""
    if deed.at_us + skew_us < (handoff.proposed_us or handoff.created_us):
        detail = "is before the hand-off was proposed: check the sender's clock, or leave it out"
        raise Impossible("at", detail)
    if deed.until_us is not None and deed.until_us <= deed.at_us:
        raise Impossible("until", "must be later than `at`")


def _again(
    connection: sa.Connection, handoff: Handoff, version: int, said: Said, call: Call
) -> dict[str, object]:
    """Return the hand-off as it was after the same was done to the same version."""
    every = handoff_views.steps_of(connection, [handoff.handoff_id])[handoff.handoff_id]
    after = [step for step in every if step.version <= version + 1]
    done = after[-1]
    if done.version != version + 1 or not said.is_what_was(done, call.policy.skew_us):
        raise Stale(handoff.version)
    return handoff_views.shown(handoff, after)


def _close(
    connection: sa.Connection, lead_id: str, outcome: str, closed_us: int, call: Call
) -> None:
    """Write an outcome, where it was not sent already."""
    sent = Outcome(lead_id, closed_us, outcome)
    (result,) = outcome_intake.store(connection, [sent], frozenset(), call)
    if result.status == "rejected":
        raise Contradiction
    refresh(connection, [lead_id], call, "outcome")
