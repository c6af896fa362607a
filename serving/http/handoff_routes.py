"""Hand-offs: which there are, and what people do with them."""

import re
from functools import partial
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import FastAPI, Query, Request, Response
from pydantic import ValidationError
from pydantic_core import from_json, to_json

from serving.http import problems
from serving.http.documented import READ_STATUSES, WRITE_STATUSES, answered, header, json_body
from serving.http.handoff_schemas import (
    BODIES,
    HandoffOut,
    HandoffsOut,
    HandoffWithStepsOut,
    Kind,
    Status,
    StepIn,
)
from serving.http.pages import USUAL, Cursor, Limit, MomentIn, cursor, place
from serving.http.problems import Fault, Problem
from serving.http.reads import read
from serving.http.state import State
from serving.http.writes import Written, write
from serving.store import handoff_views, life, transitions
from serving.store.call import Call
from serving.store.handoff_views import Wanted
from serving.store.life import NotAllowed
from serving.store.transitions import Contradiction, Impossible, Said, Stale, Unknown

ETAG = re.compile(r'(?:W/)?"(\d{1,9})"|(\d{1,9})')
TAGGED = {"ETag": {"description": "Its version.", "schema": {"type": "string"}}}
MOVE_STATUSES = (404, 409, 412, 428, *WRITE_STATUSES)

LeadId = Annotated[str | None, Query(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]
Since = Annotated[MomentIn | None, Query(description="That came to be at that moment or later.")]
IF_MATCH = header(
    "If-Match",
    "The `version` you know, or the ETag of an answer.",
    pattern='^((W/)?"[0-9]{1,9}"|[0-9]{1,9})$',
    examples=['"3"'],
)


def add_handoff_routes(app: FastAPI, state: State) -> None:
    """Add ``GET /v1/handoffs``, ``GET /v1/handoffs/{id}`` and a POST for every action."""

    @app.get("/v1/handoffs", tags=["handoffs"], responses=answered(HandoffsOut, *READ_STATUSES))
    async def handoffs(  # noqa: PLR0917
        request: Request,
        status: Status | None = None,
        kind: Kind | None = None,
        lead_id: LeadId = None,
        since: Since = None,
        cursor: Cursor = None,
        limit: Limit = USUAL,
    ) -> Response:
        """Return hand-offs, newest first."""
        wanted = Wanted(status, kind, lead_id, since)
        return await read(state, request, partial(_page, wanted, place(cursor), limit))

    @app.get(
        "/v1/handoffs/{handoff_id}",
        tags=["handoffs"],
        responses=_tagged(answered(HandoffWithStepsOut, 404, *READ_STATUSES)),
    )
    async def handoff(handoff_id: str, request: Request) -> Response:
        """Return a hand-off with all that happened to it."""
        return _with_tag(await read(state, request, partial(_one, handoff_id)))

    for action in life.ACTIONS:
        _add_action(app, state, action)


def _add_action(app: FastAPI, state: State, action: str) -> None:
    body = BODIES.get(action, StepIn)

    @app.post(
        f"/v1/handoffs/{{handoff_id}}/{action}",
        name=action,
        description=f"{life.ACTIONS[action].says.capitalize()}.",
        tags=["handoffs"],
        openapi_extra=json_body(body) | IF_MATCH,
        responses=_tagged(answered(HandoffOut, *MOVE_STATUSES)),
    )
    async def move(handoff_id: str, request: Request) -> Response:
        parse = partial(_parse, body, action, request.headers.get("if-match"))
        return _with_tag(await write(state, request, parse, partial(_moved, handoff_id)))


def _page(wanted: Wanted, before: int | None, limit: int, connection: sa.Connection) -> bytes:
    items, last = handoff_views.page(connection, wanted, before, limit)
    return to_json({"items": items, "next": None if last is None else cursor(last)})


def _one(handoff_id: str, connection: sa.Connection) -> bytes:
    found = handoff_views.one(connection, _known(handoff_id))
    if found is None:
        raise _unknown()
    return to_json(found)


def _parse(model: type[StepIn], action: str, if_match: str | None, body: bytes) -> tuple[int, Said]:
    version = _version(if_match)
    try:
        given = model.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise problems.invalid(error) from None
    kind = getattr(given, "kind", None)
    return version, Said(action, given.at, given.until, given.reason, kind)


def _version(if_match: str | None) -> int:
    if if_match is None:
        detail = "say which version you know: send its ETag as If-Match"
        raise problems.of(428, "no_version", detail)
    found = ETAG.fullmatch(if_match.strip())
    if found is None:
        detail = 'If-Match must be the version of the hand-off, such as "3"'
        raise problems.of(400, "bad_version", detail)
    return int(found[1] or found[2])


def _moved(
    handoff_id: str, connection: sa.Connection, wanted: tuple[int, Said], call: Call
) -> Written:
    version, said = wanted
    try:
        moved, lead_id = transitions.move(connection, _known(handoff_id), version, said, call)
    except Unknown:
        raise _unknown() from None
    except Stale as stale:
        raise problems.of(412, "stale_version", str(stale)) from None
    except Impossible as refused:
        fault = Fault(f"#/{refused.name}", str(refused), "out_of_range")
        raise problems.contradiction([fault]) from None
    except NotAllowed as refused:
        raise Problem(
            409,
            str(refused),
            [Fault("#", str(refused), "not_allowed")],
            more={"allowed": refused.allowed},
        ) from None
    except Contradiction:
        detail = "another outcome of this lead was sent for that moment: close it at another one"
        raise problems.of(409, "outcome_conflict", detail) from None
    return Written(to_json(moved), [lead_id])


def _known(handoff_id: str) -> str:
    """Return an id that a database can be asked for."""
    if not re.fullmatch(r"ho_[0-9a-f]{24}", handoff_id):
        raise _unknown()
    return handoff_id


def _unknown() -> Problem:
    return problems.of(404, "unknown_handoff", "there is no such hand-off: see GET /v1/handoffs")


def _with_tag(answer: Response) -> Response:
    version = from_json(bytes(answer.body))["version"]
    answer.raw_headers.append((b"etag", b'"%d"' % version))
    return answer


def _tagged(responses: dict[int | str, dict[str, Any]]) -> dict[int | str, dict[str, Any]]:
    responses[200]["headers"] = TAGGED
    return responses
