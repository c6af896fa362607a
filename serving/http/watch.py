"""Around every request: its id, its time, and a 500 that gives nothing away when there is a bug."""

import asyncio
import logging
import re
import secrets
from time import perf_counter

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http import problems
from serving.http.meters import Meters
from serving.logs import REQUEST_ID

METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
GONE = 499
"""What is counted for a client that left before its request was read."""

ASKED_BY_MACHINES = frozenset({"/livez", "/readyz", "/metrics"})
"""Every few seconds; they are logged at the level debug."""

ID_HEADER = b"x-request-id"
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")

logger = logging.getLogger(__name__)
access = logging.getLogger("serving.access")


class Watch:
    """Measure requests by route, and answer for exceptions that nobody expected.

    A request's id is the sender's ``X-Request-Id`` where it is 1 to 64 letters, digits, dots, lines
    and underscores, else one of our own. It stands in ``scope["request_id"]``, in the answer and in
    the log.
    """

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        self._app = app
        self._meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and look at what is sent."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = perf_counter(), 0
        request_id = _id_of(scope)
        scope["request_id"] = request_id.decode()
        told = REQUEST_ID.set(scope["request_id"])

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (ID_HEADER, request_id)]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            status = GONE
        except asyncio.CancelledError:
            if status:
                raise
            detail = "the service stops, and this took too long: send it again"
            cut = problems.of(503, "stopping", detail, {"Retry-After": problems.RETRY_SECONDS})
            await cut.response()(scope, receive, watched)
        except Exception:
            logger.exception("a request failed")
            if status:
                raise
            detail = "the service failed on this request; it was logged"
            await problems.of(500, "internal", detail).response()(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if scope["method"] in METHODS else "other"
            seconds = perf_counter() - started
            self._meters.answered(method, route, status, seconds)
            _note(scope, method, route, status, seconds)
            REQUEST_ID.reset(told)


def _note(scope: Scope, method: str, route: str, status: int, seconds: float) -> None:
    """Log a request: its route as declared, for the path and the query may tell of leads."""
    level = logging.DEBUG if route in ASKED_BY_MACHINES else logging.INFO
    if access.isEnabledFor(level):
        told = {
            "method": method,
            "route": route,
            "status": status,
            "ms": round(seconds * 1e3, 3),
            "key_id": scope.get("key_id"),
        }
        access.log(level, "request", extra=told)


def _id_of(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == ID_HEADER and _ID.fullmatch(value):
            return bytes(value)
    return secrets.token_hex(8).encode()
