"""From the bytes of a request to leads as the scorer takes them; what is answered is not here."""

from collections.abc import Sequence

import numpy as np
from pydantic import ValidationError

from features.attributes import Attribute
from features.history import History, from_columns
from features.matrix import Leads
from serving.http import problems
from serving.http.problems import Fault
from serving.http.schemas import MOST_EVENTS, LeadIn, ScoreRequest


def parse(body: bytes) -> ScoreRequest:
    """Read the body of ``POST /v1/score``.

    Raises
    ------
    Problem
        400 when it is no JSON, 422 when it is not as the schema asks; names up to 50 places.
    """
    try:
        request = ScoreRequest.model_validate_json(body)
    except ValidationError as error:
        raise problems.invalid(error) from None
    if len(request.leads) > 1:
        _check_ids(request.leads)
        _check_events(request.leads)
    return request


def to_leads(leads: Sequence[LeadIn], attributes: Sequence[Attribute]) -> Leads:
    """Bring leads into the form that the scorer takes, without a table."""
    given = set().union(*(lead.attributes for lead in leads))
    return Leads(
        np.array([lead.created_at for lead in leads], np.int64),
        {
            attribute.name: [lead.attributes.get(attribute.name) for lead in leads]
            for attribute in attributes
            if attribute.name in given
        },
        _history(leads),
        np.arange(len(leads)),
    )


def _history(leads: Sequence[LeadIn]) -> History:
    events = [event for lead in leads for event in lead.events]
    occurred = [event.occurred_at for event in events]
    known = occurred
    if any(event.recorded_at for event in events):
        known = [max(event.occurred_at, event.recorded_at or 0) for event in events]
    return from_columns(
        [len(lead.events) for lead in leads],
        occurred,
        known,
        [event.event_type for event in events],
        [event.channel for event in events],
        [event.value for event in events],
    )


def _check_ids(leads: Sequence[LeadIn]) -> None:
    first: dict[str, int] = {}
    faults = []
    for place, lead in enumerate(leads):
        if first.setdefault(lead.lead_id, place) != place:
            detail = f"is the id of lead {first[lead.lead_id]} of this request too"
            where = problems.pointer(["leads", place, "lead_id"])
            faults.append(Fault(where, detail, "duplicate_lead_id"))
    if faults:
        raise problems.contradiction(faults[: problems.MOST_ERRORS], len(faults))


def _check_events(leads: Sequence[LeadIn]) -> None:
    events = sum(len(lead.events) for lead in leads)
    if events > MOST_EVENTS:
        detail = f"must have at most {MOST_EVENTS} events in all, got {events}"
        raise problems.contradiction([Fault("#/leads", detail, "too_many_events")])
