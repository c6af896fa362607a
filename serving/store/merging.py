"""Leads that turn out to be one: which of them goes on, and what it takes over.

Events, changes and outcomes keep the id that they were received with; readers follow the merge.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from serving.store import items
from serving.store.held import Record, listed, reasons_in, row_of
from serving.store.items import DUPLICATE, STORED, Link, Result
from serving.store.tables import leads, merges
from training.scorer import OBJECTED

UNKNOWN = items.rejected("unknown_lead", "lead_id", "is a lead without a record: send it first")


def store(
    connection: sa.Connection,
    links: Sequence[Link],
    held: Mapping[str, Record],
    gone: Set[str],
    now_us: int,
) -> tuple[list[Result], dict[str, Record]]:
    """Let leads go on as others.

    Parameters
    ----------
    connection : sa.Connection
    links : sequence of Link
    held : mapping of lead_id to Record
        Those that are known.
    gone : set of str
        Leads that were erased.
    now_us : int

    Returns
    -------
    results : list of Result
        One a link, in the same order; codes are ``erased``, ``unknown_lead``, ``itself`` and
        ``merged_already``.
    records : dict of lead_id to Record
        `held` as it is now.
    """
    records, results = dict(held), []
    for link in links:
        result = _refusal(link, records, gone)
        if result is None:
            records |= _merged(connection, link, records, now_us)
            result = STORED
        results.append(result)
    return results, records


def agree(connection: sa.Connection, survivors: Iterable[str]) -> None:
    """Let an objection hold for every id of a lead: none of them is learned from again.

    Other suppressions stay where they were said, and may be withdrawn there: see
    `received.suppressions`.

    Parameters
    ----------
    connection : sa.Connection
    survivors : iterable of str
        The leads as they are now.
    """
    for lead_id in survivors:
        one = (leads.c.lead_id == lead_id) | (leads.c.merged_into == lead_id)
        query = sa.select(leads.c.lead_id, leads.c.suppress).where(one)
        said = {row.lead_id: reasons_in(row.suppress) for row in connection.execute(query)}
        if any(OBJECTED in reasons for reasons in said.values()):
            _object(connection, {each: said[each] for each in said if OBJECTED not in said[each]})


def _refusal(link: Link, records: Mapping[str, Record], gone: Set[str]) -> Result | None:
    if link.lead_id in gone or link.into in gone:
        return items.erased("lead_id" if link.lead_id in gone else "into")
    if link.lead_id not in records and not link.anonymous:
        return UNKNOWN
    if link.into not in records:
        return replace(UNKNOWN, field="into")
    return _standing(link, records.get(link.lead_id), records[link.into].survivor)


def _standing(link: Link, before: Record | None, survivor: str) -> Result | None:
    """Return what a link is by what went before; None where it is news."""
    if before is not None and before.merged_into == survivor and link.lead_id != link.into:
        return DUPLICATE
    if link.lead_id in {link.into, survivor}:
        return items.rejected("itself", "into", "is the same lead")
    if before is None or before.merged_into is None:
        return None
    if link.first_counts:
        return DUPLICATE
    return items.rejected("merged_already", "lead_id", "was merged into another lead before")


def _merged(
    connection: sa.Connection, link: Link, records: Mapping[str, Record], now_us: int
) -> dict[str, Record]:
    into = records[records[link.into].survivor]
    merged = records.get(link.lead_id)
    if merged is None:
        merged = Record(link.lead_id, min(link.known_us, now_us), now_us)
        connection.execute(sa.insert(leads), [row_of(merged, now_us)])
    going: dict[str, Any] = {"merged_into": into.lead_id, "merged_us": now_us}
    group = (leads.c.lead_id == merged.lead_id) | (leads.c.merged_into == merged.lead_id)
    rows = sa.select(leads.c.lead_id, *map(sa.literal, going.values())).where(group)
    connection.execute(sa.insert(merges).from_select(["lead_id", *going], rows))
    connection.execute(sa.update(leads).where(group).values(**going))
    if into.account_id is None and merged.account_id is not None:
        into = replace(into, account_id=merged.account_id)
        same = leads.c.lead_id == into.lead_id
        connection.execute(sa.update(leads).where(same).values(account_id=into.account_id))
    _acted_upon(connection, into.lead_id, merged.lead_id)
    return {into.lead_id: into, merged.lead_id: replace(merged, **going)} | {
        lead_id: replace(record, **going)
        for lead_id, record in records.items()
        if record.merged_into == merged.lead_id
    }


def _acted_upon(connection: sa.Connection, lead_id: str, merged_id: str) -> None:
    """Let the inquiries that were acted upon for a merged lead be so for the one it is now."""
    own = sa.select(leads.c.inquiry_seq).where(leads.c.lead_id == merged_id).scalar_subquery()
    more = sa.update(leads).where(leads.c.lead_id == lead_id, leads.c.inquiry_seq < own)
    connection.execute(more.values(inquiry_seq=own))


def _object(connection: sa.Connection, said: Mapping[str, Sequence[str]]) -> None:
    """Add the objection to what was said of leads."""
    for lead_id, reasons in said.items():
        own = sa.update(leads).where(leads.c.lead_id == lead_id)
        connection.execute(own.values(suppress=listed([*reasons, OBJECTED])))
