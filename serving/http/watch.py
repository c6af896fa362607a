"""Around every request: its time is measured, and a bug becomes a 500 that gives nothing away."""

import logging
from time import perf_counter

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http import problems
from serving.http.meters import Meters

METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
GONE = 499
"""What is counted for a client that left before its request was read."""

logger = logging.getLogger(__name__)


class Watch:
    """Measure requests by route, and answer for exceptions that nobody expected."""

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        self._app = app
        self._meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and look at what is sent."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = perf_counter(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            status = GONE
        except Exception:
            logger.exception("a request failed")
            if status:
                raise
            detail = "the service failed on this request; it was logged"
            await problems.of(500, "internal", detail).response()(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._meters.answered(method, route, status, perf_counter() - started)
