"""What clients send about leads: records, events, outcomes, and which of them are one."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel
from pydantic_core import to_json

from serving.http import item_bodies
from serving.http.direct_route import DirectRoute
from serving.http.documented import WRITE_STATUSES, answered, json_body
from serving.http.item_bodies import Items, envelope
from serving.http.item_schemas import (
    EventItem,
    EventList,
    EventsRequest,
    ItemsAnswer,
    LeadItem,
    LeadList,
    LeadsRequest,
    MergeAnswer,
    MergeRequest,
    OutcomeItem,
    OutcomeList,
    OutcomesRequest,
)
from serving.http.problems import Fault, Problem
from serving.http.state import State
from serving.http.writes import Written, write
from serving.store.call import Call
from serving.store.intake import Sent, Taken, take
from serving.store.items import Event, Lead, Link, Outcome, Result

INTAKE_BODIES: tuple[type[BaseModel], ...] = (
    LeadsRequest,
    EventsRequest,
    OutcomesRequest,
    MergeRequest,
)
NOT_FOUND = ("unknown_lead", "erased")


def add_intake_routes(app: FastAPI, state: State) -> None:
    """Add ``POST /v1/leads``, ``/v1/events``, ``/v1/outcomes``, ``/v1/leads/{lead_id}/merge``."""

    async def leads(request: Request) -> Response:
        """Store records of leads, with the history of what they say; score those with news."""
        return await write(state, request, _read_leads, _take_leads)

    async def events(request: Request) -> Response:
        """Store events, each once by its source and id; score their leads."""
        return await write(state, request, _read_events, _take_events)

    async def outcomes(request: Request) -> Response:
        """Store how leads were closed."""
        return await write(state, request, _read_outcomes, _take_outcomes)

    for path, endpoint, body in (
        ("/v1/events", events, EventsRequest),
        ("/v1/leads", leads, LeadsRequest),
        ("/v1/outcomes", outcomes, OutcomesRequest),
    ):
        state.meters.taken(path, ())  # counted from 0 on
        app.router.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            tags=["in"],
            openapi_extra=json_body(body),
            responses=answered(ItemsAnswer, *WRITE_STATUSES),
            route_class_override=DirectRoute,
        )

    @app.post(
        "/v1/leads/{lead_id}/merge",
        tags=["in"],
        openapi_extra=json_body(MergeRequest),
        responses=answered(MergeAnswer, 404, 409, *WRITE_STATUSES),
    )
    async def merge(lead_id: str, request: Request) -> Response:
        """Let a lead go on as another: what is known of both is one history from now on."""
        return await write(state, request, _read_merge, partial(_merge, lead_id=lead_id))


def _read_leads(body: bytes) -> Items[LeadItem]:
    return item_bodies.read("leads", envelope(body, LeadList).leads, LeadItem, "lead_id")


def _read_events(body: bytes) -> Items[EventItem]:
    return item_bodies.read("events", envelope(body, EventList).events, EventItem, "event_id")


def _read_outcomes(body: bytes) -> Items[OutcomeItem]:
    return item_bodies.read(
        "outcomes", envelope(body, OutcomeList).outcomes, OutcomeItem, "lead_id"
    )


def _take_leads(connection: sa.Connection, items: Items[LeadItem], call: Call) -> Written:
    sent = [
        Lead(
            item.lead_id,
            item.created_at,
            item.attributes,
            item.account_id,
            item.suppress,
            item.changed_at,
        )
        for item in items.taken
    ]
    taken = take(connection, Sent(leads=sent), call)
    return written(items, taken.leads, taken)


def _take_events(connection: sa.Connection, items: Items[EventItem], call: Call) -> Written:
    sent = [
        Event(
            item.source or call.client.name,
            item.event_id,
            item.lead_id,
            item.event_type,
            item.occurred_at,
            item.occurred_at,
            item.channel or None,
            item.value,
            item.recorded_at,
        )
        for item in items.taken
    ]
    taken = take(connection, Sent(events=sent), call)
    return written(items, taken.events, taken)


def _take_outcomes(connection: sa.Connection, items: Items[OutcomeItem], call: Call) -> Written:
    sent = [
        Outcome(item.lead_id, item.closed_at, item.outcome, item.amount, item.recorded_at)
        for item in items.taken
    ]
    taken = take(connection, Sent(outcomes=sent), call)
    return written(items, taken.outcomes, taken)


def written(items: Items[Any], taken_items: Sequence[Result], taken: Taken) -> Written:
    """Return what a request with items is answered; not kept where it names an erased lead."""
    results = items.results(taken_items)
    again = not taken.gone
    return Written(items.answer(results), taken.lead_ids, items.ids, results, again=again)


def _read_merge(body: bytes) -> MergeRequest:
    return envelope(body, MergeRequest)


def _merge(connection: sa.Connection, wanted: MergeRequest, call: Call, lead_id: str) -> Written:
    link = Link(lead_id, wanted.into, call.now_us)
    taken = take(connection, Sent(links=[link]), call)
    (result,) = taken.links
    if result.status == "rejected":
        raise _refused(result)
    survivor = taken.survivors[lead_id]
    return Written(to_json({"lead_id": lead_id, "merged_into": survivor}), taken.lead_ids)


def _refused(result: Result) -> Problem:
    status = 404 if result.code in NOT_FOUND else 409
    into = result.field == "into"
    where = "#/into" if into else "#"
    detail = f"{'`into`' if into else 'the lead of the path'} {result.detail}"
    return Problem(status, detail, [Fault(where, detail, str(result.code))])
