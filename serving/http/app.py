"""The application, composed from what it is handed; the process around it is not here."""

import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from serving.chores import Chore, Chores
from serving.follower import Follower
from serving.http import (
    docs_routes,
    documented,
    gauges,
    health_routes,
    problems,
    routes,
    stateful,
)
from serving.http.body_limit import BodyLimit
from serving.http.exact_route import ExactRoute
from serving.http.gate import Gate
from serving.http.meters import Meters
from serving.http.schemas import LARGEST_BODY, ScoreRequest
from serving.http.state import State
from serving.http.watch import Watch
from serving.served_model import ModelSlot, ServedModel
from serving.store.database import Database, DatabaseError
from serving.store.policy import Policy
from serving.store.pulse import Pulse
from training.scorer import LeadScorer

logger = logging.getLogger(__name__)

API_VERSION = "1"
DESCRIPTION = "How likely is a lead to be won, and should sales have it now? Docs: the README."


def create_app(
    slot: ModelSlot,
    *,
    now_us: Callable[[], int],
    threads: int = 2,
    load: Callable[[], LeadScorer] | None = None,
    follower: Follower | None = None,
    database: Database | None = None,
    policy: Policy | None = None,
    rate_limit_per_second: int = 0,
    tombstones_file: Path | None = None,
) -> FastAPI:
    """Compose the application: the stateless one, or with a database the whole service.

    Parameters
    ----------
    slot : ModelSlot
        The model that is served; it may be filled later.
    now_us : callable
        The clock, microseconds since the epoch: as_of where a request gives none.
    threads : int
        Requests with many leads or with reasons that are worked on at a time.
    load : callable, optional
        Fills an empty slot at start-up, before the first request is taken: of several workers none
        answers without a model. If it fails, the slot stays empty and ``/readyz`` answers 503.
    follower : Follower, optional
        Keeps the slot's model at what the registry names; fills an empty one as `load` does.
    database : Database, optional
        With it every route under ``/v1`` asks for a key.
    policy : Policy, optional
    rate_limit_per_second : int
        Requests that a key may send on average; 0 for any number.
    tombstones_file : Path, optional
        Where erasures are noted for after a restore.
    """
    pulse = None if database is None else Pulse(database)
    chores: list[Chore] = []
    meters = Meters(
        [
            partial(gauges.of_model, slot),
            partial(gauges.of_database, pulse),
            partial(gauges.of_chores, chores),
        ]
    )
    gate = None if database is None else Gate(database, now_us, rate_limit_per_second)
    fill: Callable[[], None] | None = None
    if load is not None:
        fill = partial(_load, slot, meters, load)
    bodies: list[type[BaseModel]] = [ScoreRequest]
    if slot.model is not None:
        meters.serving(slot.model.scorer)
    if follower is not None:
        follower.on_swap = lambda model: meters.serving(model.scorer)
        fill = follower.start
        chores.append(follower.chore())
    if pulse is not None:
        chores += pulse.chores(now_us)
    app = FastAPI(
        title="leadqual",
        version=API_VERSION,
        description=DESCRIPTION,
        lifespan=partial(_lifespan, slot, fill, chores, now_us),
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    app.router.route_class = ExactRoute
    app.state.gate, app.state.pulse = gate, pulse
    routes.add_score_routes(app, slot, meters, now_us, threads=threads, gate=gate)
    health_routes.add_health_routes(app, slot, meters, pulse)
    docs_routes.add_docs_routes(app)
    if database is not None and gate is not None:
        state = State(database, gate, slot, meters, now_us, policy or Policy(), tombstones_file)
        chores += stateful.chores(state)
        bodies += stateful.BODIES
        stateful.add_routes(app, state)
    app.add_exception_handler(problems.Problem, problems.on_problem)
    app.add_exception_handler(RequestValidationError, problems.on_invalid_request)
    app.add_exception_handler(DatabaseError, problems.on_database_error)
    app.add_exception_handler(HTTPException, problems.on_http_exception)
    app.add_middleware(BodyLimit, most=LARGEST_BODY)
    app.add_middleware(Watch, meters=meters)
    app.openapi = partial(_document, app, bodies)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(
    slot: ModelSlot,
    fill: Callable[[], None] | None,
    chores: list[Chore],
    now_us: Callable[[], int],
    _app: FastAPI,
) -> AsyncIterator[None]:
    if slot.model is None and fill is not None:
        _filled(slot, fill)
    running = Chores(chores, now_us)
    running.start()
    try:
        yield
    finally:
        running.stop()


def _load(slot: ModelSlot, meters: Meters, load: Callable[[], LeadScorer]) -> None:
    slot.model = ServedModel.of(load())
    meters.serving(slot.model.scorer)


def _filled(slot: ModelSlot, fill: Callable[[], None]) -> None:
    try:
        fill()
    except Exception:
        logger.exception("the model could not be loaded")
        slot.why_empty = "the model could not be loaded: the log says why"


def _document(app: FastAPI, bodies: Iterable[type[BaseModel]]) -> dict[str, Any]:
    """Return the OpenAPI document, with the models that routes read and answer as bytes."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            webhooks=app.webhooks.routes,
        )
        found = documented.schemas(bodies)
        schema.setdefault("components", {}).setdefault("schemas", {}).update(found)
        if app.state.gate is not None:
            documented.ask_for_keys(schema)
        app.openapi_schema = schema
    return app.openapi_schema
