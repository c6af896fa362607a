"""Endpoints of webhooks and the messages to them, for whoever runs the service."""

import json
from functools import partial
from typing import Any, NoReturn

import sqlalchemy as sa
from fastapi import FastAPI, Header, Request, Response
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from features.moments import iso
from serving import webhooks
from serving.http import problems
from serving.http.documented import READ_STATUSES, WRITE_STATUSES, answered, json_body
from serving.http.pages import USUAL, Cursor, Limit, cursor, place
from serving.http.problems import Fault
from serving.http.reads import read
from serving.http.state import State
from serving.http.webhook_schemas import (
    DeletedOut,
    EndpointOut,
    EndpointRequest,
    EndpointsOut,
    ErasedMessage,
    HandoffMessage,
    HandoffUpdatedMessage,
    MessagesOut,
    OutcomeMessage,
    ReplayOut,
    ReplayRequest,
    SecretOut,
)
from serving.http.writes import Written, nothing, write
from serving.store import endpoints, outbox
from serving.store.call import Call
from serving.store.endpoints import Endpoint, TooMany

ADMIN = "admin"
BODIES: tuple[type[BaseModel], ...] = (EndpointRequest, ReplayRequest)
TOLD: dict[str, type[BaseModel]] = {
    "lead.handoff": HandoffMessage,
    "lead.handoff.updated": HandoffUpdatedMessage,
    "lead.outcome": OutcomeMessage,
    outbox.ERASED: ErasedMessage,
}
TAGS: list[Any] = ["webhooks"]


def add_webhook_routes(app: FastAPI, state: State) -> None:
    """Add the routes under ``/v1/webhooks``, and the description of what is sent."""

    @app.post(
        "/v1/webhooks",
        tags=TAGS,
        openapi_extra=json_body(EndpointRequest),
        responses=answered(SecretOut, 409, *WRITE_STATUSES),
    )
    async def add(request: Request) -> Response:
        """Add an endpoint; the answer shows its secret, this once."""
        return await write(state, request, _wanted, _add, ADMIN)

    @app.get("/v1/webhooks", tags=TAGS, responses=answered(EndpointsOut, *READ_STATUSES))
    async def listed(request: Request) -> Response:
        """Return all endpoints."""
        return await read(state, request, _list, ADMIN)

    @app.delete(
        "/v1/webhooks/{endpoint_id}",
        tags=TAGS,
        responses=answered(DeletedOut, 404, *WRITE_STATUSES),
    )
    async def delete(endpoint_id: str, request: Request) -> Response:
        """Remove an endpoint, with what waits for it."""
        return await write(state, request, nothing, partial(_delete, endpoint_id), ADMIN)

    @app.post(
        "/v1/webhooks/{endpoint_id}/rotate",
        tags=TAGS,
        responses=answered(SecretOut, 404, *WRITE_STATUSES),
    )
    async def rotate(endpoint_id: str, request: Request) -> Response:
        """Return a new secret; the one before signs along for 24 hours, or until the next one."""
        return await write(state, request, nothing, partial(_rotate, endpoint_id), ADMIN)

    @app.post(
        "/v1/webhooks/{endpoint_id}/enable",
        tags=TAGS,
        responses=answered(EndpointOut, 404, *WRITE_STATUSES),
    )
    async def enable(endpoint_id: str, request: Request) -> Response:
        """Tell an endpoint again; what came up while it was disabled is told by a replay only."""
        return await write(state, request, nothing, partial(_enable, endpoint_id), ADMIN)

    for type, message in TOLD.items():
        _describe(app, type, message)


def add_message_routes(app: FastAPI, state: State) -> None:
    """Add the routes under ``/v1/messages``."""

    @app.get("/v1/messages", tags=TAGS, responses=answered(MessagesOut, *READ_STATUSES))
    async def listed(request: Request, cursor: Cursor = None, limit: Limit = USUAL) -> Response:
        """Return what is and was told, newest first, until its retention period is over."""
        work = partial(_messages, before=place(cursor), limit=limit)
        return await read(state, request, work, ADMIN)

    @app.post(
        "/v1/messages/{message_id}/replay",
        tags=TAGS,
        openapi_extra=json_body(ReplayRequest, required=False),
        responses=answered(ReplayOut, 404, 409, *WRITE_STATUSES),
    )
    async def replay(message_id: str, request: Request) -> Response:
        """Send a message again, with the same id and payload."""
        return await write(state, request, _again, partial(_replay, message_id), ADMIN)


def _describe(app: FastAPI, type: str, message: type[BaseModel]) -> None:
    """Describe in the OpenAPI document what is posted to endpoints."""

    def told(
        body: message,  # type: ignore[valid-type]
        webhook_id: str = Header(description="The message's id; the same in every attempt."),
        webhook_timestamp: int = Header(description="Of the attempt, seconds since the epoch."),
        webhook_signature: str = Header(description="v1,… by each secret that signs."),
    ) -> None:
        pass

    app.webhooks.post(
        type,
        name=type,
        description=message.__doc__,
        tags=TAGS,
        responses={
            200: {"description": "Any 2xx: it is not sent again."},
            410: {"description": "The endpoint is disabled."},
            "default": {"description": "It is sent again later; Retry-After is heeded."},
        },
    )(told)


def _wanted(body: bytes) -> EndpointRequest:
    try:
        return EndpointRequest.model_validate_json(body)
    except ValidationError as error:
        raise problems.invalid(error) from error


def _again(body: bytes) -> ReplayRequest:
    if not body:
        return ReplayRequest()
    try:
        return ReplayRequest.model_validate_json(body)
    except ValidationError as error:
        raise problems.invalid(error) from error


def _add(connection: sa.Connection, wanted: EndpointRequest, call: Call) -> Written:
    try:
        url = webhooks.checked(wanted.url, private=call.policy.private_webhooks)
        made, secret = endpoints.add(connection, url, wanted.types, call.now_us)
    except webhooks.UrlRefused as refused:
        fault = Fault("#/url", str(refused), "url_refused")
        raise problems.contradiction([fault]) from refused
    except TooMany as refused:
        raise problems.of(409, "too_many_endpoints", str(refused)) from refused
    return Written(to_json({"endpoint_id": made.endpoint_id, "secret": secret}))


def _list(connection: sa.Connection) -> bytes:
    return to_json({"items": [_endpoint(each) for each in endpoints.all_of(connection)]})


def _delete(endpoint_id: str, connection: sa.Connection, _body: None, _call: Call) -> Written:
    if not endpoints.delete(connection, endpoint_id):
        _unknown_endpoint()
    return Written(to_json({"endpoint_id": endpoint_id, "deleted": True}))


def _rotate(endpoint_id: str, connection: sa.Connection, _body: None, call: Call) -> Written:
    secret = endpoints.rotate(connection, endpoint_id, call.now_us)
    if secret is None:
        _unknown_endpoint()
    return Written(to_json({"endpoint_id": endpoint_id, "secret": secret}))


def _enable(endpoint_id: str, connection: sa.Connection, _body: None, call: Call) -> Written:
    found = endpoints.enable(connection, endpoint_id, call.now_us)
    if found is None:
        _unknown_endpoint()
    return Written(to_json(_endpoint(found)))


def _replay(
    message_id: str, connection: sa.Connection, wanted: ReplayRequest, call: Call
) -> Written:
    type = outbox.type_of(connection, message_id)
    if type is None:
        detail = "there is no such message, or its retention period is over"
        raise problems.of(404, "unknown_message", detail)
    told = outbox.wanting(connection, type)
    if wanted.endpoint_id is not None:
        found = endpoints.get(connection, wanted.endpoint_id)
        if found is None:
            _unknown_endpoint()
        if found.disabled_us is not None:
            raise problems.of(409, "endpoint_disabled", "this endpoint is disabled: enable it")
        told = [found.endpoint_id]
    outbox.replay(connection, message_id, told, call.now_us)
    return Written(to_json({"message_id": message_id, "endpoint_ids": told}))


def _messages(connection: sa.Connection, before: int | None, limit: int) -> bytes:
    found = outbox.page(connection, before, limit + 1)
    shown = found[:limit]
    told = outbox.deliveries_of(connection, [row.message_id for row in shown])
    items = [_message(row, told[row.message_id]) for row in shown]
    more = len(found) > limit
    return to_json({"items": items, "next": cursor(shown[-1].seq) if more else None})


def _message(row: Any, told: list[Any]) -> dict[str, Any]:
    names = ("message_id", "type", "lead_id")
    return {name: getattr(row, name) for name in names} | {
        "created_at": iso(row.created_us),
        "payload": json.loads(row.payload),
        "deliveries": [_delivery(each) for each in told],
    }


def _delivery(row: Any) -> dict[str, Any]:
    status = "waiting" if row.next_us is not None else "ended"
    return {
        "endpoint_id": row.endpoint_id,
        "status": status if row.delivered_us is None else "delivered",
        "attempts": row.attempts,
        "next_at": _at(row.next_us),
        "delivered_at": _at(row.delivered_us),
        "last_status": row.last_status,
    }


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "endpoint_id": endpoint.endpoint_id,
        "url": endpoint.url,
        "types": endpoint.types,
        "created_at": iso(endpoint.created_us),
        "enabled": endpoint.disabled_us is None,
        "disabled_at": _at(endpoint.disabled_us),
        "why_disabled": endpoint.why_disabled,
    }


def _at(moment_us: int | None) -> str | None:
    return None if moment_us is None else iso(moment_us)


def _unknown_endpoint() -> NoReturn:
    raise problems.of(404, "unknown_endpoint", "there is no such endpoint: GET /v1/webhooks")
