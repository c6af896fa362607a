"""What was received about leads, in the form that the scorer takes; nothing is scored here."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from features.attributes import Attribute
from features.catalogue import UNVERIFIED
from features.history import History, from_columns
from features.matrix import Leads
from serving.store.tables import changes, decisions, events, leads, merges

INQUIRY = "inquiry"
ALL = 2**63 - 1
EXACT = 2.0**53
"""Up to it a float holds every whole number."""
ROWS_AT_ONCE = 2_000
YES_NO = {"true": True, "false": False}

Value = str | float | bool | None


@dataclass(frozen=True)
class Until:
    """A moment, and what had been received by it.

    Attributes
    ----------
    us : int
    seq, change_id, merge_id : int or None
        The last event, change and merger; None for all.
    """

    us: int
    seq: int | None = None
    change_id: int | None = None
    merge_id: int | None = None


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
    last_seq, last_change_id, last_merge_id : list of int [n]
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
    last_merge_id: list[int]
    last_inquiry_seq: list[int]
    suppress: list[list[str]]


class _Events(NamedTuple):
    """Events in columns, those of each lead together in the order of time."""

    lead_id: Sequence[str]
    seq: Sequence[int]
    occurred_us: Sequence[int]
    recorded_us: Sequence[int | None]
    received_us: Sequence[int]
    event_type: Sequence[str]
    channel: Sequence[str | None]
    value: Sequence[float | None]
    verified: Sequence[bool]

    @property
    def known_us(self) -> Sequence[int]:
        """When they became known, as those say who sent them."""
        if not any(self.recorded_us):
            return self.occurred_us
        pairs = zip(self.occurred_us, self.recorded_us, strict=True)
        return [max(occurred, recorded or 0) for occurred, recorded in pairs]


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
_LAST_MERGE = sa.select(sa.func.max(merges.c.merge_id)).where(merges.c.lead_id == leads.c.lead_id)
_MERGED: sa.Select[Any] = sa.select(
    leads.c.lead_id,
    leads.c.merged_into,
    leads.c.suppress,
    sa.func.coalesce(_LAST_MERGE.scalar_subquery(), 0).label("merge_id"),
).where(leads.c.merged_into.in_(_IDS))
_MERGED_BY_THEN: sa.Select[Any] = (
    sa.select(merges.c.lead_id, merges.c.merged_into, leads.c.suppress, merges.c.merge_id)
    .join(leads, leads.c.lead_id == merges.c.lead_id)
    .where(merges.c.merged_into.in_(_IDS), merges.c.merge_id <= sa.bindparam("merge_id"))
)
_VERIFIED = sa.or_(events.c.verified, events.c.unverified_seq > sa.bindparam("seq"))
# Until a later event showed otherwise.
_EVENTS: sa.Select[Any] = (
    sa.select(
        *(
            _VERIFIED.label(name) if name == "verified" else events.c[name]
            for name in _Events._fields
        )
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


def members(connection: sa.Connection, lead_ids: Sequence[str]) -> dict[str, str]:
    """Give the lead that each id stands for: the ids themselves, and those merged into them."""
    found = {lead_id: lead_id for lead_id in lead_ids}
    return found | {row.lead_id: row.merged_into for row in _merged(connection, lead_ids)}


def suppressions(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[list[str]]:
    """Return why leads are never flagged, by their records and by those merged into them."""
    return _suppressed(rows, _merged(connection, [row.lead_id for row in rows]))


def _suppressed(rows: Sequence[sa.Row[Any]], merged: Sequence[sa.Row[Any]]) -> list[list[str]]:
    found = {row.lead_id: dict.fromkeys(json.loads(row.suppress)) for row in rows}
    for row in merged:
        found[row.merged_into].update(dict.fromkeys(json.loads(row.suppress)))
    return [[*found[row.lead_id]] for row in rows]


def _merged(
    connection: sa.Connection, lead_ids: Sequence[str], until_id: int | None = None
) -> Sequence[sa.Row[Any]]:
    """Return who was merged into leads, by then into those that were nobody else themselves."""
    wanted: dict[str, Any] = {"lead_ids": [*lead_ids]}
    if until_id is None:
        return connection.execute(_MERGED, wanted).all()
    return connection.execute(_MERGED_BY_THEN, wanted | {"merge_id": until_id}).all()


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
    merged = _merged(connection, [row.lead_id for row in rows], until.merge_id)
    place_of = {row.lead_id: at for at, row in enumerate(rows)}
    place_of |= {row.lead_id: place_of[row.merged_into] for row in merged}
    last_merge_id = [0] * len(rows)
    for row in merged:
        at = place_of[row.lead_id]
        last_merge_id[at] = max(last_merge_id[at], row.merge_id)
    said = _events(connection, place_of, ALL if until.seq is None else until.seq)
    place = np.array([place_of[lead_id] for lead_id in said.lead_id], np.int64)
    lengths = np.bincount(place, minlength=len(rows)).tolist()
    columns, last_change_id = _attributes(connection, place_of, len(rows), attributes, until)
    created_us = np.array([row.created_us for row in rows], np.int64)
    return Received(
        rows,
        Leads(created_us, columns, _history(said, lengths), np.arange(len(rows))),
        lengths,
        max(map(min, said.known_us, said.received_us), default=0),
        _last(said.seq, place, len(rows)),
        last_change_id,
        last_merge_id,
        _last(_inquiries(said, inquiries_since_us), place, len(rows)),
        _suppressed(rows, merged),
    )


def _events(connection: sa.Connection, place_of: Mapping[str, int], seq: int) -> _Events:
    """Read events by columns: what is done row by row takes most of the time of a long history."""
    columns: list[list[Any]] = [[] for _ in _Events._fields]
    found = connection.execute(_EVENTS, {"lead_ids": [*place_of], "seq": seq})
    for rows in found.partitions(ROWS_AT_ONCE):
        for column, more in zip(columns, zip(*rows, strict=True), strict=True):
            column.extend(more)
    if len(place_of) > 1:
        place = [place_of[lead_id] for lead_id in columns[0]]
        order = sorted(range(len(place)), key=place.__getitem__)
        columns = [[column[at] for at in order] for column in columns]
    return _Events(*columns)


def _last(numbers: Sequence[int], place: npt.NDArray[np.int64], rows: int) -> list[int]:
    """Return the highest number at each place, 0 where there is none."""
    found = np.zeros(rows, np.int64)
    np.maximum.at(found, place, np.array(numbers, np.int64))
    last: list[int] = found.tolist()
    return last


def _inquiries(said: _Events, since_us: int) -> list[int]:
    """Return the `seq` of inquiries since a moment, 0 for other events."""
    told = zip(said.event_type, said.occurred_us, said.seq, strict=True)
    return [seq if kind == INQUIRY and at >= since_us else 0 for kind, at, seq in told]


def _history(said: _Events, lengths: Sequence[int]) -> History:
    kinds = zip(said.event_type, said.verified, strict=True)
    return from_columns(
        lengths,
        said.occurred_us,
        said.known_us,
        [kind if verified else kind + UNVERIFIED for kind, verified in kinds],
        said.channel,
        said.value,
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
    return int(number) if abs(number) < EXACT and number.is_integer() else number
