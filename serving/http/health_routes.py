"""The endpoints for whoever runs the service: does it live, can it work, what has it done."""

from typing import Any

from fastapi import FastAPI, Response
from pydantic_core import to_json

from features.moments import iso
from serving.http import problems
from serving.http.direct_route import JsonBytes
from serving.http.documented import answered
from serving.http.meters import Meters
from serving.http.routes import loaded
from serving.http.schemas import Readiness, Status
from serving.served_model import ModelSlot
from serving.store.pulse import Pulse


def add_health_routes(
    app: FastAPI, slot: ModelSlot, meters: Meters, pulse: Pulse | None = None
) -> None:
    """Add ``GET /livez``, ``/readyz`` and ``/metrics``.

    Parameters
    ----------
    app : FastAPI
    slot : ModelSlot
    meters : Meters
    pulse : Pulse, optional
        Of the database, where there is one.
    """

    @app.get("/livez", tags=["operations"], responses=answered(Status))
    async def livez() -> Response:
        """Answer while the process lives."""
        return JsonBytes(b'{"status":"alive"}')

    @app.get("/readyz", tags=["operations"], responses=answered(Readiness, 503))
    async def readyz() -> Response:
        """Answer 200 while a model is loaded and the database answers, else 503 and why."""
        if pulse is not None and not pulse.up:
            raise problems.no_database()
        return JsonBytes(to_json(_readiness(slot)))

    @app.get(
        "/metrics",
        tags=["operations"],
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        """Return what the service counts about itself, for Prometheus."""
        return Response(meters.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _readiness(slot: ModelSlot) -> dict[str, Any]:
    scorer = loaded(slot).scorer
    found = {"status": "ready", "model": f"{scorer.name}/{scorer.version}"}
    if supply := slot.supply:
        if supply.missed_since_us is not None:
            found["registry"] = f"{supply.trouble} since {iso(supply.missed_since_us)}"
        if supply.refused is not None:
            found["refused"] = f"version {supply.refused} cannot be used: the log says why"
    return found
