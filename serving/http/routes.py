"""The endpoints of scoring: parse, one call, answer."""

from collections.abc import Callable
from functools import partial

import anyio
import anyio.to_thread
from fastapi import FastAPI, Request, Response

from serving.http import answers, problems
from serving.http.direct_route import DirectRoute, JsonBytes, read_body
from serving.http.documented import KEYED_STATUSES, answered, json_body
from serving.http.gate import Gate
from serving.http.meters import Meters
from serving.http.requests import parse
from serving.http.schemas import ModelAnswer, ScoreAnswer, ScoreRequest
from serving.http.writes import check_media_type
from serving.served_model import ModelSlot, ServedModel

INLINE_BYTES = 64_000
INLINE_LEADS = 8
"""Up to these, and without reasons, a request takes about a millisecond: it is answered at once."""
MOST_WAITING = 32


def add_score_routes(
    app: FastAPI,
    slot: ModelSlot,
    meters: Meters,
    now_us: Callable[[], int],
    *,
    threads: int,
    gate: Gate | None = None,
) -> None:
    """Add ``POST /v1/score`` and ``GET /v1/model``.

    Parameters
    ----------
    app : FastAPI
    slot : ModelSlot
    meters : Meters
    now_us : callable
        The clock, microseconds since the epoch: as_of where a request gives none.
    threads : int
        Requests with many leads or with reasons that are worked on at a time.
    gate : Gate, optional
        Asks for keys.
    """
    keyed = KEYED_STATUSES if gate is not None else ()
    pool = anyio.CapacityLimiter(threads)

    async def score(request: Request) -> Response:
        """Score 1 to 1,000 leads: one result each, in the same order."""
        if gate is not None:
            await gate.admit(request, "score")
        model = loaded(slot)
        check_media_type(request)
        body = await read_body(request)
        now = now_us()
        if len(body) <= INLINE_BYTES:
            wanted = parse(body)
            if len(wanted.leads) <= INLINE_LEADS and not wanted.reasons:
                return JsonBytes(answers.score(model, wanted, now, meters))
            work = partial(answers.score, model, wanted, now, meters)
        else:
            work = partial(_parse_and_score, model, body, now, meters)
        if pool.statistics().tasks_waiting >= MOST_WAITING:
            raise problems.busy("too many large requests are waiting")
        return JsonBytes(await anyio.to_thread.run_sync(work, limiter=pool))

    app.router.add_api_route(
        "/v1/score",
        score,
        methods=["POST"],
        tags=["score"],
        openapi_extra=json_body(ScoreRequest),
        responses=answered(ScoreAnswer, *keyed, 400, 413, 415, 422, 503),
        route_class_override=DirectRoute,
    )
    app.router.routes.insert(0, app.router.routes.pop())  # where it is found first

    @app.get("/v1/model", tags=["score"], responses=answered(ModelAnswer, *keyed, 503))
    async def model(request: Request) -> Response:
        """Return the card of the model, its hand-off rule and its figures."""
        if gate is not None:
            await gate.admit(request, "score")
        return JsonBytes(answers.describe(loaded(slot).scorer))


def _parse_and_score(model: ServedModel, body: bytes, now_us: int, meters: Meters) -> bytes:
    return answers.score(model, parse(body), now_us, meters)


def loaded(slot: ModelSlot) -> ServedModel:
    """Return the model, or raise the 503 that says why there is none."""
    if slot.model is None:
        raise problems.of(503, "no_model", slot.why_empty, {"Retry-After": problems.RETRY_SECONDS})
    return slot.model
