"""Events and records as Segment's and RudderStack's libraries send them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_json

from serving.http import problems, segment
from serving.http.direct_route import DirectRoute
from serving.http.documented import WRITE_STATUSES, answered, json_body
from serving.http.intake_routes import written
from serving.http.item_bodies import Items, envelope, id_of, read_one
from serving.http.item_schemas import ItemsAnswer
from serving.http.segment import Facts, Receipt
from serving.http.segment_schemas import BatchRequest, Message, MessageList, TrackRequest
from serving.http.state import State
from serving.http.writes import Written, write
from serving.store.call import Call
from serving.store.intake import Sent, take
from serving.store.items import UPDATED, Result, rejected

SEGMENT_BODIES: tuple[type[BaseModel], ...] = (TrackRequest, BatchRequest)
LARGEST_MESSAGE, LARGEST_BATCH = 32_000, 500_000
"""Bytes, as Segment has it."""
IDS = ("messageId", "userId", "anonymousId")
TRACK = "track"

_object = TypeAdapter(dict[str, Any])


@dataclass(frozen=True)
class Batch:
    """Messages that were read, and when they were sent by the sender's clock."""

    messages: Items[Message]
    sent_us: int | None = None


def add_segment_routes(app: FastAPI, state: State) -> None:
    """Add ``POST /v1/track`` and ``POST /v1/batch``."""

    async def track(request: Request) -> Response:
        """Store one event as Segment's libraries send it."""
        return await write(state, request, _read_track, _take)

    async def batch(request: Request) -> Response:
        """Store events and records as Segment's libraries send them."""
        return await write(state, request, _read_batch, _take)

    for path, endpoint, body in (
        ("/v1/track", track, TrackRequest),
        ("/v1/batch", batch, BatchRequest),
    ):
        state.meters.taken(path, ())  # counted from 0 on
        app.router.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            tags=["segment"],
            openapi_extra=json_body(body),
            responses=answered(ItemsAnswer, *WRITE_STATUSES),
            route_class_override=DirectRoute,
        )


def _read_track(body: bytes) -> Batch:
    _check_size(body, LARGEST_MESSAGE)
    try:
        raw = _object.validate_json(body)
    except ValidationError as error:
        raise problems.invalid(error) from None
    message = _read(raw, [])
    if isinstance(message, Message) and message.type != TRACK:
        message = rejected("not_one_of", "type", "must be track: send others to /v1/batch")
    return Batch(Items("", [id_of(raw, *IDS)], [message], segment.FIELDS))


def _read_batch(body: bytes) -> Batch:
    _check_size(body, LARGEST_BATCH)
    found = envelope(body, MessageList)
    ids = [id_of(raw, *IDS) for raw in found.batch]
    read = [_read(raw, ["batch", at]) for at, raw in enumerate(found.batch)]
    return Batch(Items("batch", ids, read, segment.FIELDS), found.sentAt)


def _read(raw: object, path: Sequence[str | int]) -> Message | Result:
    if len(to_json(raw)) > LARGEST_MESSAGE:
        return rejected("too_large", "", f"must have at most {LARGEST_MESSAGE:,} bytes")
    return read_one(raw, Message, path)


def _check_size(body: bytes, most: int) -> None:
    if len(body) > most:
        detail = f"the body is larger than {most:,} bytes: send fewer messages at a time"
        raise problems.of(413, "too_large", detail)


def _take(connection: sa.Connection, batch: Batch, call: Call) -> Written:
    receipt = Receipt(call.client.name, call.now_us, batch.sent_us)
    said = [segment.facts(message, receipt) for message in batch.messages.taken]
    facts = [each for each in said if isinstance(each, Facts)]
    sent = Sent(
        leads=[each.lead for each in facts if each.lead],
        events=[each.event for each in facts if each.event],
        links=[each.link for each in facts if each.link],
    )
    taken = take(connection, sent, call)
    leads, events, links = iter(taken.leads), iter(taken.events), iter(taken.links)
    results = []
    for each in said:
        if isinstance(each, Result):
            results.append(each)
            continue
        if each.event:
            results.append(next(events))
            continue
        lead = next(leads) if each.lead else None
        results.append(_of_both(lead, next(links) if each.link else None))
    return written(batch.messages, results, taken)


def _of_both(lead: Result | None, link: Result | None) -> Result:
    """Return what became of a message that says something about a lead."""
    if lead is None:
        assert link is not None  # noqa: S101  # a message says something
        return replace(link, field="previousId") if link.field == "lead_id" else link
    if lead.status == "duplicate" and link is not None and link.status == "stored":
        return UPDATED
    return lead
