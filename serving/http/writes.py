"""A request that writes, in one transaction: what it says, what was answered, and who wrote."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import Response

from serving.http import problems
from serving.http.direct_route import JSON_TYPE, JsonBytes, read_body
from serving.http.state import State
from serving.store import audit, tombstones
from serving.store.call import Call
from serving.store.items import Result
from serving.store.tables import idempotency

KEY_HEADER, REPLAYED = "idempotency-key", (b"idempotency-replayed", b"true")
LONGEST_KEY = 255

Body = TypeVar("Body")


@dataclass(frozen=True)
class Written:
    """What a write answers, and about whom it was.

    Attributes
    ----------
    body : bytes
        JSON of the 200.
    lead_ids : sequence of str
    mentioned : sequence of str or None
        Ids that the answer holds: an erasure takes it along if they are a lead's.
    results : sequence of Result
        What became of its items, if it has any.
    again : bool
        The answer may be kept, and given again for its ``Idempotency-Key``.
    """

    body: bytes
    lead_ids: Sequence[str] = ()
    mentioned: Sequence[str | None] = ()
    results: Sequence[Result] = ()
    again: bool = True


async def write(
    state: State,
    request: Request,
    parse: Callable[[bytes], Body],
    work: Callable[[sa.Connection, Body, Call], Written],
    scope: str = "write",
) -> Response:
    """Answer a request that writes.

    Its rows, the decisions that follow from them, the messages, the answer to be given again and
    the line of the audit are one transaction: all on disk before it is answered, or none.

    Parameters
    ----------
    state : State
    request : Request
    parse : callable
        Reads the body; raises `Problem` where it is not as the schema asks.
    work : callable
        Writes what the body says and returns the answer; a `Problem` it raises undoes it.
    scope : str
        That the key must have.
    """
    client = await state.gate.admit(request, scope)
    check_media_type(request)
    body = await read_body(request)
    request_id = str(request.scope.get("request_id", ""))
    call = Call(client, request_id, state.now_us(), state.slot.model, state.policy)
    key = request.headers.get(KEY_HEADER) if request.method != "DELETE" else None
    if key is not None and not 0 < len(key) <= LONGEST_KEY:
        detail = f"Idempotency-Key must have 1 to {LONGEST_KEY} characters"
        raise problems.of(400, "bad_idempotency_key", detail)
    return await state.writers.run(partial(_written, state, request, body, parse, work, call, key))


def _written(  # noqa: PLR0917
    state: State,
    request: Request,
    body: bytes,
    parse: Callable[[bytes], Body],
    work: Callable[[sa.Connection, Body, Call], Written],
    call: Call,
    key: str | None,
) -> Response:
    wanted = parse(body)
    path = f"{request.method} {request.scope['path']}"
    route = request.scope["route"].path  # the path may name a lead
    fingerprint = hashlib.sha256(path.encode() + b"\n" + body).hexdigest()

    def done(connection: sa.Connection) -> tuple[Response, Sequence[Result]]:
        if key is not None and (seen := _seen(connection, call, key, fingerprint)):
            return seen, ()
        done = work(connection, wanted, call)
        if key is not None and done.again:
            _keep(connection, call, key, fingerprint, done)
        audit.note(
            connection,
            call.client,
            f"{request.method} {route}",
            done.lead_ids,
            now_us=call.now_us,
            request_id=call.request_id,
        )
        return JsonBytes(done.body), done.results

    answer, results = state.database.write(done)
    if results:
        state.meters.taken(route, results)
    return answer


def _seen(connection: sa.Connection, call: Call, key: str, fingerprint: str) -> Response | None:
    if connection.dialect.name == "postgresql":  # the same key at once: one after the other
        name = f"{call.client.name}\n{key}"
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(name))))
    own = (idempotency.c.client == call.client.name) & (idempotency.c.key == key)
    row = connection.execute(sa.select(idempotency).where(own)).one_or_none()
    if row is None:
        return None
    if row.fingerprint != fingerprint:
        detail = "this Idempotency-Key was sent with another request: use a new one"
        raise problems.of(422, "idempotency_key_reused", detail)
    answer = JsonBytes(row.body)
    answer.raw_headers.append(REPLAYED)
    return answer


def _keep(connection: sa.Connection, call: Call, key: str, fingerprint: str, done: Written) -> None:
    """Keep an answer, unless it names a lead that was erased."""
    named = {*done.lead_ids, *filter(None, done.mentioned)}
    if tombstones.among(connection, named):
        return
    connection.execute(
        idempotency.insert().values(
            client=call.client.name,
            key=key,
            fingerprint=fingerprint,
            status=200,
            body=done.body,
            lead_ids=json.dumps(sorted(named)),
            created_us=call.now_us,
        )
    )


def nothing(_body: bytes) -> None:
    """Read nothing of a body, where the path says it all."""


def check_media_type(request: Request) -> None:
    """Raise the 415 for a body that is not said to be JSON."""
    if JSON_TYPE in request.scope["headers"]:
        return
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    if media_type.lower() != "application/json" and not media_type.lower().endswith("+json"):
        detail = "the body must be JSON: send Content-Type: application/json"
        raise problems.of(415, "unsupported_media_type", detail)
