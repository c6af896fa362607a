"""What was received about leads, in the form that the scorer takes; nothing is scored here."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from features.attributes import Attribute
from features.catalogue import UNVERIFIED
from features.history import History, from_columns
from features.matrix import Leads
from serving.store.tables import changes, decisions, events, leads

INQUIRY = "inquiry"
ALL = 2**63 - 1
YES_NO = {"true": True, "false": False}

Value = str | float | bool | None


@dataclass(frozen=True)
class Until:
    """A moment, and what had been received by it.

    Attributes
    ----------
    us : int
    seq, change_id : int or None
        The last event and change; None for all.
    """

    us: int
    seq: int | None = None
    change_id: int | None = None


@dataclass(frozen=True)
class Received:
    """n leads with all that was received about them and about those merged into them.

    Attributes
    ----------
    rows : sequence of rows of the table `leads` [n]
    leads : Leads
    events : list of int [n]
        How many were received.
    newest_us : int
        When the newest of these events became known; 0 where there is none.
    last_seq, last_change_id : list of int [n]
        0 where nothing was.
    last_inquiry_seq : list of int [n]
        Of the inbound inquiry that was received last, 0 where there is none.
    suppress : list of list of str [n]
        Why each lead is never flagged, by its own record and by those merged into it.
    """

    rows: Sequence[sa.Row[Any]]
    leads: Leads
    events: list[int]
    newest_us: int
    last_seq: list[int]
    last_change_id: list[int]
    last_inquiry_seq: list[int]
    suppress: list[list[str]]


def locked(connection: sa.Connection, lead_ids: Iterable[str]) -> list[sa.Row[Any]]:
    """Return the rows of leads, of those they were merged into, in order; nobody else writes them.

    Leads without a record are left out. Of the decision that stands, a row also has what was
    decided (`was`), the last event it knew (`was_seq`) and the digest of its model (`was_model`);
    null where there is none.
    """
    rows = _locked(connection, sorted({*lead_ids}))
    into = {row.merged_into for row in rows if row.merged_into is not None}
    if into:
        wanted = sorted({row.lead_id for row in rows if row.merged_into is None} | into)
        rows = _locked(connection, wanted)
    return [*rows]


def _locked(connection: sa.Connection, lead_ids: Sequence[str]) -> Sequence[sa.Row[Any]]:
    """Lock rows, then read them: who waited for a lock sees the row anew, but not what it joins."""
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK, {"lead_ids": lead_ids})
    return connection.execute(_LOCKED, {"lead_ids": lead_ids}).all()


_IDS: sa.BindParameter[Any] = sa.bindparam("lead_ids", expanding=True)
_LOCKED = (
    sa.select(
        leads,
        decisions.c.decision.label("was"),
        decisions.c.last_seq.label("was_seq"),
        decisions.c.model_digest.label("was_model"),
    )
    .outerjoin(decisions, decisions.c.decision_id == leads.c.decision_id)
    .where(leads.c.lead_id.in_(_IDS))
    .order_by(leads.c.lead_id)
)
_LOCK = (
    sa.select(leads.c.lead_id)
    .where(leads.c.lead_id.in_(_IDS))
    .order_by(leads.c.lead_id)
    .with_for_update()
)
_MERGED = sa.select(
    leads.c.lead_id, leads.c.merged_into, leads.c.merged_us, leads.c.suppress
).where(leads.c.merged_into.in_(_IDS))
_VERIFIED = sa.or_(events.c.verified, events.c.unverified_seq > sa.bindparam("seq"))
# Until a later event showed otherwise.
_EVENTS: sa.Select[Any] = (
    sa.select(
        *(
            events.c[name]
            for name in (
                *("lead_id", "seq", "occurred_us", "recorded_us", "received_us"),
                *("event_type", "channel", "value"),
            )
        ),
        _VERIFIED.label("verified"),
    )
    .where(events.c.lead_id.in_(_IDS), events.c.seq <= sa.bindparam("seq"))
    .order_by(events.c.occurred_us, events.c.seq)
)
_CHANGES = (
    sa.select(changes)
    .where(changes.c.lead_id.in_(_IDS), changes.c.change_id <= sa.bindparam("change_id"))
    .order_by(changes.c.changed_us, changes.c.change_id)
)
# Statements are built once: that takes as long as SQLite takes to carry them out.


def members(
    connection: sa.Connection, lead_ids: Sequence[str], merged_until_us: int | None = None
) -> dict[str, str]:
    """Give the lead that each id stands for: the ids themselves, and those merged into them."""
    found = {lead_id: lead_id for lead_id in lead_ids}
    merged = _merged(connection, lead_ids, merged_until_us)
    return found | {row.lead_id: row.merged_into for row in merged}


def suppressions(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[list[str]]:
    """Return why leads are never flagged, by their records and by those merged into them."""
    return _suppressed(rows, _merged(connection, [row.lead_id for row in rows]))


def _suppressed(rows: Sequence[sa.Row[Any]], merged: Sequence[sa.Row[Any]]) -> list[list[str]]:
    found = {row.lead_id: dict.fromkeys(json.loads(row.suppress)) for row in rows}
    for row in merged:
        found[row.merged_into].update(dict.fromkeys(json.loads(row.suppress)))
    return [[*found[row.lead_id]] for row in rows]


def _merged(
    connection: sa.Connection, lead_ids: Sequence[str], until_us: int | None = None
) -> list[sa.Row[Any]]:
    rows: Sequence[Any] = connection.execute(_MERGED, {"lead_ids": [*lead_ids]}).all()
    return [row for row in rows if until_us is None or row.merged_us <= until_us]


class Names(NamedTuple):
    """What was said about leads, by name."""

    attributes: set[str]
    types: set[str]
    channels: set[str]


def names_of(connection: sa.Connection, lead_ids: Sequence[str]) -> Names:
    """Return which attributes, event types and channels were received about leads."""
    type_ = sa.case(
        (events.c.verified, events.c.event_type), else_=events.c.event_type + UNVERIFIED
    )
    of_leads = events.c.lead_id.in_(lead_ids)
    attributes = sa.select(changes.c.attribute).where(changes.c.lead_id.in_(lead_ids))
    queries = (
        attributes,
        sa.select(type_).where(of_leads),
        sa.select(events.c.channel).where(of_leads, events.c.channel.is_not(None)),
    )
    return Names(*({*connection.execute(query.distinct()).scalars()} for query in queries))


def received(
    connection: sa.Connection,
    rows: Sequence[sa.Row[Any]],
    attributes: Mapping[str, Attribute],
    until: Until,
    inquiries_since_us: int = 0,
) -> Received:
    """Read what was received about leads.

    Parameters
    ----------
    connection : sa.Connection
    rows : sequence of rows of the table `leads`
    attributes : mapping of name to Attribute
        Those that are wanted; what was kept as text is a number or true and false again.
    until : Until
        Attributes are as they were said to be at its moment; later events are not left out: the
        features do that.
    inquiries_since_us : int
        Older inquiries are no news.
    """
    merged_until_us = None if until.seq is None else until.us
    merged_until_us = None if until.seq is None else until.us
    merged = _merged(connection, [row.lead_id for row in rows], merged_until_us)
    place_of = {row.lead_id: at for at, row in enumerate(rows)}
    place_of |= {row.lead_id: place_of[row.merged_into] for row in merged}
    found: list[list[sa.Row[Any]]] = [[] for _ in rows]
    wanted = {"lead_ids": [*place_of], "seq": ALL if until.seq is None else until.seq}
    for event in connection.execute(_EVENTS, wanted):
        found[place_of[event.lead_id]].append(event)
    columns, last_change_id = _attributes(connection, place_of, len(rows), attributes, until)
    created_us = np.array([row.created_us for row in rows], np.int64)
    return Received(
        rows,
        Leads(created_us, columns, _history(found), np.arange(len(rows))),
        [len(own) for own in found],
        max((_known_us(event) for own in found for event in own), default=0),
        [max((event.seq for event in own), default=0) for own in found],
        last_change_id,
        [_last_inquiry(own, inquiries_since_us) for own in found],
        _suppressed(rows, merged),
    )


def _known_us(event: sa.Row[Any]) -> int:
    """Tell when an event became known, by the clock of whoever received it at the latest."""
    return min(max(event.occurred_us, event.recorded_us or 0), event.received_us)


def _last_inquiry(events_of_lead: Sequence[sa.Row[Any]], since_us: int) -> int:
    inquiries = (e for e in events_of_lead if e.event_type == INQUIRY and e.occurred_us >= since_us)
    return max((event.seq for event in inquiries), default=0)


def _history(of_leads: Sequence[Sequence[sa.Row[Any]]]) -> History:
    rows = [event for own in of_leads for event in own]
    occurred = [event.occurred_us for event in rows]
    late = any(event.recorded_us for event in rows)
    return from_columns(
        [len(own) for own in of_leads],
        occurred,
        [max(e.occurred_us, e.recorded_us or 0) for e in rows] if late else occurred,
        [e.event_type if e.verified else e.event_type + UNVERIFIED for e in rows],
        [event.channel for event in rows],
        [event.value for event in rows],
    )


def _attributes(
    connection: sa.Connection,
    place_of: Mapping[str, int],
    rows: int,
    attributes: Mapping[str, Attribute],
    until: Until,
) -> tuple[dict[str, list[Value]], list[int]]:
    """Give what attributes said at a moment, and the last change of each lead received by then."""
    last_id = ALL if until.change_id is None else until.change_id
    columns: dict[str, list[Value]] = {}
    last = [0] * rows
    for change in connection.execute(_CHANGES, {"lead_ids": [*place_of], "change_id": last_id}):
        at = place_of[change.lead_id]
        last[at] = max(last[at], change.change_id)
        if change.changed_us <= until.us and change.attribute in attributes:
            value = meant(change.value, attributes[change.attribute].kind)
            columns.setdefault(change.attribute, [None] * rows)[at] = value
    return columns, last


def meant(text: str | None, kind: str) -> Value:
    """Give what a text of an attribute means, where it means anything.

    >>> meant("120", "number"), meant("true", "boolean"), meant("120", "category")
    (120, True, '120')
    """
    if text is None or kind == "category":
        return text
    if kind == "boolean":
        return YES_NO.get(text.strip().lower(), text)
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() else number
