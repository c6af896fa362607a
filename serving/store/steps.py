"""Something happens to hand-offs: the steps, what they change, and the messages about them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from serving.store import handoff_views, life, outbox, reentry
from serving.store.call import Call
from serving.store.handoff import Handoff
from serving.store.reentry import Again
from serving.store.tables import handoffs, steps

NEW, UPDATED = "lead.handoff", "lead.handoff.updated"
"""Messages."""


@dataclass(frozen=True)
class Deed:
    """What was done, as whoever did it says.

    Attributes
    ----------
    action : str
        A key of `life.EVERY`.
    at_us : int
    until_us : int or None
        When the lead may come back, where it ends the hand-off.
    why : str or None
        A word for programs.
    reason : str or None
        For people.
    """

    action: str
    at_us: int
    until_us: int | None = None
    why: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Move:
    """Something that is to happen to a hand-off.

    Attributes
    ----------
    handoff : Handoff
        As it is; locked.
    deed : Deed
    head : str or None
        The lead that its lead is now, where that matters: for the end.
    changes : mapping
        Other fields of the hand-off that it changes.
    """

    handoff: Handoff
    deed: Deed
    head: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)


def take(
    connection: sa.Connection, moves: Sequence[Move], call: Call, *, by_service: bool = False
) -> list[Handoff]:
    """Carry out actions on different hand-offs, and return each as it is then.

    Parameters
    ----------
    connection : sa.Connection
    moves : sequence of Move
    call : Call
    by_service : bool
        Nobody asked for them.

    Raises
    ------
    NotAllowed
        One is not allowed in the state of its hand-off; nothing was written.
    """
    if not moves:
        return []
    taken = [_moved(connection, move) for move in moves]
    key_id = None if by_service else call.client.key_id
    told = [
        {
            "handoff_id": handoff.handoff_id,
            "version": handoff.version,
            "lead_id": handoff.lead_id,
            "status": handoff.status,
            "received_us": call.now_us,
            "key_id": key_id,
            **vars(move.deed),
        }
        for move, handoff in zip(moves, taken, strict=True)
    ]
    connection.execute(_STEPS, told)
    connection.execute(_HANDOFFS, [_changed(handoff) for handoff in taken])
    _tell(connection, moves, taken, call)
    return taken


def _moved(connection: sa.Connection, move: Move) -> Handoff:
    handoff, deed = move.handoff, move.deed
    status, again = life.after(handoff.status, deed.action), Again()
    if status in life.ENDED:
        again = reentry.condition(
            connection,
            move.head or handoff.lead_id,
            status,
            why=deed.why,
            at_us=deed.at_us,
            until_us=deed.until_us,
        )
    return replace(
        handoff,
        status=status,
        version=handoff.version + 1,
        why=deed.why,
        again_us=again.us,
        again_on=again.on,
        again_after=again.after,
        **move.changes,
    )


def _tell(
    connection: sa.Connection, moves: Sequence[Move], taken: Sequence[Handoff], call: Call
) -> None:
    """Tell others of hand-offs; of one that still waits, or ended so, nobody has heard."""
    of = handoff_views.steps_of(connection, [handoff.handoff_id for handoff in taken])
    told = []
    for move, handoff in zip(moves, taken, strict=True):
        if handoff.proposed_us is not None:
            message = NEW if move.handoff.proposed_us is None else UPDATED
            shown = handoff_views.shown(handoff, of[handoff.handoff_id])
            told.append((message, handoff.lead_id, shown))
    outbox.put_all(connection, told, call.now_us)


CHANGED = (
    "kind",
    "status",
    "proposed_us",
    "due_us",
    "version",
    "why",
    "again_us",
    "again_on",
    "again_after",
)
"""What a step may change of a hand-off."""


def _changed(handoff: Handoff) -> dict[str, Any]:
    own = {f"new_{name}": getattr(handoff, name) for name in CHANGED}
    return own | {"own_id": handoff.handoff_id}


_STEPS = sa.insert(steps)
_HANDOFFS = (
    sa.update(handoffs)
    .where(handoffs.c.handoff_id == sa.bindparam("own_id"))
    .values({name: sa.bindparam(f"new_{name}") for name in CHANGED})
)
