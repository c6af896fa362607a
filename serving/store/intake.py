"""What clients send about leads, taken in as one: stored, joined, judged and scored anew."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from serving.store import (
    event_intake,
    lead_intake,
    merging,
    outcome_intake,
    tombstones,
    verification,
)
from serving.store.call import Call
from serving.store.freshness import refresh
from serving.store.held import hold
from serving.store.items import NEW, STORED, Event, Lead, Link, Outcome, Result
from training.scorer import OBJECTED


@dataclass(frozen=True)
class Sent:
    """What a request says about leads."""

    leads: Sequence[Lead] = ()
    events: Sequence[Event] = ()
    outcomes: Sequence[Outcome] = ()
    links: Sequence[Link] = ()

    @property
    def facts(self) -> tuple[Lead | Event | Outcome | Link, ...]:
        """All of them."""
        return (*self.leads, *self.events, *self.outcomes, *self.links)

    @property
    def lead_ids(self) -> set[str]:
        """All leads that it is about."""
        return {fact.lead_id for fact in self.facts} | {link.into for link in self.links}

    @property
    def cause(self) -> str:
        """Why the leads are scored anew."""
        if self.events:
            return "event"
        if self.outcomes:
            return "outcome"
        return "lead" if self.leads else "merge"


@dataclass(frozen=True)
class Taken:
    """What became of it: one result an item, in the same order.

    Attributes
    ----------
    leads, events, outcomes, links : list of Result
    lead_ids : list of str
        All that it was about, but for those that were erased.
    survivors : dict of lead_id to lead_id
        The lead that each one with a record is now.
    gone : set of str
        Leads that were erased.
    """

    leads: list[Result]
    events: list[Result]
    outcomes: list[Result]
    links: list[Result]
    lead_ids: list[str]
    survivors: dict[str, str]
    gone: set[str]


def take(connection: sa.Connection, sent: Sent, call: Call) -> Taken:
    """Take in what a request says; leads that it says something new about are scored.

    What is received about a lead without a record is kept, and counts once it has one.
    """
    lead_ids = sent.lead_ids
    gone = tombstones.erased(connection, lead_ids)  # before rows are locked, as an erasure does
    held = hold(connection, lead_ids)
    events = event_intake.store(connection, sent.events, gone, call.now_us)
    fresh = [e for e, result in zip(sent.events, events, strict=True) if result.status in NEW]
    verification.mark(connection, fresh, call.now_us)
    outcomes = outcome_intake.store(connection, sent.outcomes, gone, call)
    leads, records = lead_intake.store(connection, sent.leads, held, gone, call)
    objected = [
        lead_id
        for lead_id, before in held.items()
        if OBJECTED in records[lead_id].suppress and OBJECTED not in before.suppress
    ]
    links, records = merging.store(connection, sent.links, records, gone, call.now_us)
    merged = [link.into for link, result in zip(sent.links, links, strict=True) if result is STORED]
    merging.agree(connection, {records[each].survivor for each in (*objected, *merged)})
    results = (*leads, *events, *outcomes, *links)
    told = zip(sent.facts, results, strict=True)
    touched = {fact.lead_id for fact, result in told if result.status in NEW}
    survivors = {lead_id: record.survivor for lead_id, record in records.items()}
    again = {survivors[lead_id] for lead_id in touched & survivors.keys()}
    if again:
        refresh(connection, sorted(again), call, sent.cause)
    return Taken(leads, events, outcomes, links, sorted(lead_ids - gone), survivors, gone)
