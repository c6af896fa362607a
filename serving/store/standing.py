"""How leads stand now, and how they were judged before, for those who read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from serving.store import life
from serving.store.held import listed
from serving.store.received import INQUIRY, members, suppressions
from serving.store.tables import (
    changes,
    decisions,
    events,
    handoffs,
    leads,
    models,
    outcomes,
    steps,
)

EARLY, FLAGGED = ("raw", "inquiry", "nurtured"), "flagged"
CLOSED, SUPPRESSED = ("won", "lost"), "suppressed"
RESTING = ("recycled", "disqualified", "rejected")
"""Ends of a hand-off that a lead shows until something else is."""
STATES = (*EARLY, FLAGGED, *life.WORKED, *CLOSED, *RESTING, SUPPRESSED)
"""What leads are in, as DOMAIN's life of a lead has it."""

_GOES_ON = sa.func.coalesce(leads.c.merged_into, "") == ""
# `IS NULL` SQLite looks up in an index, and sorts all that it finds for every page.
_MEMBER = leads.alias("member")
_HEAD = sa.func.coalesce(_MEMBER.c.merged_into, _MEMBER.c.lead_id)
_STANDS = decisions.c.decision_id == leads.c.decision_id
_OF_LEAD = sa.or_(_MEMBER.c.lead_id == leads.c.lead_id, _MEMBER.c.merged_into == leads.c.lead_id)
_HAS_REASONS = _MEMBER.c.suppress != listed(())
_NEWEST = (outcomes.c.closed_us.desc(), outcomes.c.received_us.desc(), outcomes.c.lead_id)
_FOREMOST = (sa.case((handoffs.c.status.in_(life.OPEN), 0), else_=1), handoffs.c.seq.desc())
"""The open hand-off of a lead, else the newest."""


@dataclass(frozen=True)
class Wanted:
    """Which leads; None for all.

    Attributes
    ----------
    state, decision : str or None
    updated_since_us : int or None
        Of which something was accepted, decided or done at that moment or later.
    """

    state: str | None = None
    decision: str | None = None
    updated_since_us: int | None = None


class Place(NamedTuple):
    """Where a lead stands in the list of all: when its record was received, and its id."""

    received_us: int
    lead_id: str


class Listed(NamedTuple):
    """A lead in a list.

    Attributes
    ----------
    row : row of the table `leads`
    state : str
    decision : row of the table `decisions`, or None
        None where it was never scored.
    """

    row: sa.Row[Any]
    state: str
    decision: sa.Row[Any] | None


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
    attributes : dict of name to str
        What holds now, as it is kept.
    outcome : row of the table `outcomes`, or None
        The newest, of it and of those merged into it.
    decision : row of the table `decisions`, or None
        None where it was never scored.
    handoff : row of the table `handoffs`, or None
        The open one, else the newest, of it and of those merged into it.
    """

    row: sa.Row[Any]
    suppress: list[str]
    state: str
    events: int
    attributes: dict[str, str]
    outcome: sa.Row[Any] | None
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
    seen = sa.select(sa.func.count()).where(events.c.lead_id.in_(ids))
    (suppress,) = suppressions(connection, [row])
    newest = sa.select(handoffs).where(handoffs.c.lead_id.in_(ids)).order_by(*_FOREMOST).limit(1)
    handoff = connection.execute(newest).one_or_none()
    closed = sa.select(outcomes).where(outcomes.c.lead_id.in_(ids)).order_by(*_NEWEST).limit(1)
    state = sa.select(shown_state).where(leads.c.lead_id == row.lead_id)
    decision = sa.select(decisions).where(decisions.c.decision_id == row.decision_id)
    return Standing(
        row,
        suppress,
        connection.execute(state).scalar_one(),
        connection.execute(seen).scalar_one(),
        _attributes(connection, ids),
        connection.execute(closed).one_or_none(),
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


def page(
    connection: sa.Connection, wanted: Wanted, after: Place | None, limit: int
) -> list[Listed]:
    """Return leads, newest record first.

    Parameters
    ----------
    connection : sa.Connection
    wanted : Wanted
    after : Place or None
        Only those that come after it.
    limit : int
    """
    query = sa.select(leads, shown_state.label("state")).where(_GOES_ON)
    if wanted.state is not None:
        query = query.where(_is_in(wanted.state))
    if wanted.decision is not None:
        stands = sa.select(decisions.c.decision).where(_STANDS).correlate(leads)
        query = query.where(stands.scalar_subquery() == wanted.decision)
    if wanted.updated_since_us is not None:
        since_us = wanted.updated_since_us
        moved = _heads(steps).where(steps.c.received_us >= since_us)
        query = query.where((leads.c.changed_us >= since_us) | leads.c.lead_id.in_(moved))
    order = (leads.c.received_us, leads.c.lead_id)
    if after is not None:
        query = query.where(sa.tuple_(*order) < sa.tuple_(*after))
    newest = query.order_by(*(column.desc() for column in order)).limit(limit)
    rows = connection.execute(newest).all()
    # Joined to the above, PostgreSQL reads all decisions for a page.
    ids = [row.decision_id for row in rows if row.decision_id is not None]
    own = sa.select(decisions).where(decisions.c.decision_id.in_(ids))
    found = {row.decision_id: row for row in connection.execute(own)}
    return [Listed(row, row.state, found.get(row.decision_id)) for row in rows]


def _attributes(connection: sa.Connection, lead_ids: Sequence[str]) -> dict[str, str]:
    """Return what was said last of each attribute: none holds from a time to come."""
    own = sa.select(changes.c.attribute, changes.c.value).where(changes.c.lead_id.in_(lead_ids))
    said = connection.execute(own.order_by(changes.c.changed_us, changes.c.change_id))
    found = {row.attribute: row.value for row in said}
    return {name: value for name, value in sorted(found.items()) if value is not None}


def _record(connection: sa.Connection, lead_id: str) -> sa.Row[Any] | None:
    return connection.execute(sa.select(leads).where(leads.c.lead_id == lead_id)).one_or_none()


def _heads(table: sa.Table) -> sa.Select[Any]:
    """Select the leads that those are now which rows of a table are about."""
    return sa.select(_HEAD).join_from(_MEMBER, table, table.c.lead_id == _MEMBER.c.lead_id)


def _of_lead(table: sa.Table, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Select rows of a table that are about a lead, or about those merged into it."""
    own = _MEMBER.join(table, table.c.lead_id == _MEMBER.c.lead_id)
    return sa.select(*columns).select_from(own).where(_OF_LEAD).correlate(leads)


def _has(table: sa.Table, *conditions: sa.ColumnElement[bool]) -> sa.Exists:
    return _of_lead(table, sa.literal(1)).where(*conditions).exists()


def _is_in(state: str) -> sa.ColumnElement[bool]:
    """Return whether a lead is in a state; what that needs is asked first, as that is quick."""
    if state in EARLY:
        return shown_state == state
    if state == SUPPRESSED:
        needed = sa.select(_HEAD).where(_HAS_REASONS)
    elif state in CLOSED:
        needed = _heads(outcomes).where(outcomes.c.outcome == state)
    else:
        status = life.PROPOSED if state == FLAGGED else state
        needed = _heads(handoffs).where(handoffs.c.status == status)
    return sa.case((leads.c.lead_id.in_(needed), shown_state)) == state


def _state() -> sa.Case[str]:
    """Return the state of a lead as an expression over the table `leads`."""
    status = _of_lead(handoffs, handoffs.c.status).order_by(*_FOREMOST).limit(1).scalar_subquery()
    closed = _of_lead(outcomes, outcomes.c.outcome).order_by(*_NEWEST).limit(1).scalar_subquery()
    reasons = sa.select(sa.literal(1)).where(_OF_LEAD, _HAS_REASONS).correlate(leads)
    raw, inquiry, nurtured = EARLY
    return sa.case(
        (status == life.PROPOSED, FLAGGED),
        (status.in_(life.WORKED), status),
        (reasons.exists(), SUPPRESSED),
        (closed.is_not(None), closed),
        (status.in_(RESTING), status),
        (~_has(events), raw),
        (~_has(events, events.c.event_type != INQUIRY), inquiry),
        else_=nurtured,
    )


shown_state = _state()
