"""When a lead whose hand-off ended may be handed off again; it is scored all the while."""

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from features.catalogue import SALES_TYPES
from serving.store.handoff import Handoff
from serving.store.policy import DAY_US
from serving.store.received import members
from serving.store.tables import changes, events

ENGAGEMENT, REPAIR, NEVER = "engagement", "repair", "never"
REJECTIONS = ("procedural", "clerical", "definitional")
RECYCLE_DAYS = {"no_response": 90, "timing": 180}
"""How long a recycled lead rests, by how the reason begins; else `USUAL_DAYS`."""
USUAL_DAYS = 90
TOO_LATE, COOLED, SUPPRESSED, MERGED = "sla", "cooled", "suppressed", "merged"
WON, LOST = "won", "lost"
EXPIRIES = {
    TOO_LATE: "sales did not take it in time",
    COOLED: "its score fell clearly below the threshold",
    SUPPRESSED: "the lead was suppressed; the reason says how",
    MERGED: "the lead turned out to be another one, which has a hand-off",
    WON: "an outcome was sent: the lead was won",
    LOST: "an outcome was sent: the lead was lost",
}
"""Why hand-offs expire."""

CONDITIONS = {
    "rejected": ENGAGEMENT,
    "won": NEVER,
    "lost": ENGAGEMENT,
    "disqualified": ENGAGEMENT,
    "expired": ENGAGEMENT,
}
BY_WHY: dict[tuple[str, str | None], str | None] = {
    ("rejected", "clerical"): REPAIR,
    ("expired", SUPPRESSED): None,
    ("expired", WON): NEVER,
}


@dataclass(frozen=True)
class Again:
    """What must be before a lead is handed off again.

    Attributes
    ----------
    us : int or None
        Not before that moment.
    on : str or None
        `ENGAGEMENT` or `REPAIR` must have come; `NEVER`.
    after : int or None
        The last event or change that does not count.
    """

    us: int | None = None
    on: str | None = None
    after: int | None = None


def begins(reason: str | None, known: Iterable[str]) -> str | None:
    """Return which of the known words a reason begins with.

    >>> begins("Clerical: no telephone number", REJECTIONS), begins("No response", RECYCLE_DAYS)
    ('clerical', 'no_response')
    >>> begins("why not", REJECTIONS)
    """
    said = (reason or "").strip().lower().replace("_", " ").replace("-", " ")
    return next((word for word in known if said.startswith(word.replace("_", " "))), None)


def condition(
    connection: sa.Connection,
    lead_id: str,
    status: str,
    *,
    why: str | None,
    at_us: int,
    until_us: int | None,
) -> Again:
    """Return under which condition a lead comes back after a hand-off ended in a state.

    A date that was given is the whole condition.
    """
    if until_us is not None:
        return Again(until_us)
    if status == "recycled":
        return Again(at_us + RECYCLE_DAYS.get(why or "", USUAL_DAYS) * DAY_US)
    on = BY_WHY.get((status, why), CONDITIONS.get(status))
    return Again(on=on, after=_last(connection, lead_id, on))


def met(connection: sa.Connection, lead_id: str, handoff: Handoff, now_us: int) -> bool:
    """Tell whether a lead may come back after its last hand-off, which has ended."""
    if handoff.again_us is not None and now_us < handoff.again_us:
        return False
    if handoff.again_on == ENGAGEMENT:
        return engaged(connection, lead_id, after_seq=handoff.again_after or 0)
    if handoff.again_on == REPAIR:
        later = changes.c.change_id > handoff.again_after
        return _exists(connection, _own(connection, lead_id, changes) & later)
    return handoff.again_on != NEVER


def engaged(
    connection: sa.Connection, lead_id: str, *, after_seq: int = 0, since_us: int = 0
) -> bool:
    """Tell whether the lead itself did something, received after an event and after a moment.

    That is what is verified, and none of the sales process.
    """
    did = events.c.verified & events.c.event_type.not_in(SALES_TYPES)
    later = (events.c.seq > after_seq) & (events.c.occurred_us > since_us)
    return _exists(connection, _own(connection, lead_id, events) & did & later)


def _last(connection: sa.Connection, lead_id: str, on: str | None) -> int | None:
    if on not in {ENGAGEMENT, REPAIR}:
        return None
    table, number = (events, events.c.seq) if on == ENGAGEMENT else (changes, changes.c.change_id)
    last = sa.select(sa.func.max(number)).where(_own(connection, lead_id, table))
    return connection.execute(last).scalar() or 0


def _own(connection: sa.Connection, lead_id: str, table: sa.Table) -> sa.ColumnElement[bool]:
    return table.c.lead_id.in_([*members(connection, [lead_id])])


def _exists(connection: sa.Connection, what: sa.ColumnElement[bool]) -> bool:
    return bool(connection.execute(sa.select(sa.exists().where(what))).scalar())
