"""Something happens to a hand-off: the step, what it changes, and the message about it."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from serving.store import handoff_views, life, outbox, reentry
from serving.store.call import Call
from serving.store.reentry import Again
from serving.store.tables import handoffs, steps


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


def take(
    connection: sa.Connection,
    handoff: sa.Row[Any],
    deed: Deed,
    call: Call,
    *,
    head: str | None = None,
    by_service: bool = False,
    **values: Any,
) -> sa.Row[Any]:
    """Carry out an action and return the hand-off as it is then.

    Parameters
    ----------
    connection : sa.Connection
    handoff : row of the table `handoffs`
        Locked.
    deed : Deed
    call : Call
    head : str, optional
        The lead that its lead is now, if it was merged.
    by_service : bool
        Nobody asked for it.
    **values
        Other columns of `handoffs` that it changes.

    Raises
    ------
    NotAllowed
        It is not allowed in the state of the hand-off; nothing was written.
    """
    status = life.after(handoff.status, deed.action)
    version = handoff.version + 1
    again = Again()
    if status in life.ENDED:
        lead_id = head or handoff.lead_id
        again = reentry.condition(
            connection,
            lead_id,
            status,
            why=deed.why,
            at_us=deed.at_us,
            until_us=deed.until_us,
        )
    connection.execute(
        steps.insert().values(
            handoff_id=handoff.handoff_id,
            version=version,
            lead_id=handoff.lead_id,
            status=status,
            received_us=call.now_us,
            key_id=None if by_service else call.client.key_id,
            **vars(deed),
        )
    )
    own = sa.update(handoffs).where(handoffs.c.handoff_id == handoff.handoff_id)
    changed = own.values(
        status=status,
        version=version,
        why=deed.why,
        again_us=again.us,
        again_on=again.on,
        again_after=again.after,
        **values,
    )
    taken = connection.execute(changed.returning(*handoffs.c)).one()
    _tell(connection, taken, call, new=handoff.proposed_us is None)
    return taken


def _tell(connection: sa.Connection, handoff: sa.Row[Any], call: Call, *, new: bool) -> None:
    """Tell others of a hand-off; of one that still waits, or ended so, nobody has heard."""
    if handoff.proposed_us is None:
        return
    message = "lead.handoff" if new else "lead.handoff.updated"
    told = handoff_views.current(connection, handoff)
    outbox.put(connection, message, handoff.lead_id, told, call.now_us)
