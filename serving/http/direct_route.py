"""Bytes in, bytes out: a route that FastAPI documents and finds, and then leaves alone."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.http.exact_route import ExactRoute

JSON_TYPE = (b"content-type", b"application/json")

Endpoint = Callable[[Request], Awaitable[Response]]


class DirectRoute(ExactRoute):
    """A route whose endpoint takes the request and returns the response.

    FastAPI's own solves dependencies and opens two exit stacks for every request, which takes a
    fifth as long as scoring a lead.
    """

    def __init__(self, path: str, endpoint: Endpoint, **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self.app = _direct(endpoint)


class JsonBytes(Response):
    """A 200 whose JSON is ready."""

    def __init__(self, body: bytes) -> None:
        self.status_code = 200
        self.background = None
        self.body = body
        self.raw_headers = [(b"content-length", b"%d" % len(body)), JSON_TYPE]


async def read_body(request: Request) -> bytes:
    """Return the body; as ``Request.body``, in a third of the time where it comes in one piece."""
    message = await request.receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        return message.get("body", b"")
    parts = []
    while message["type"] == "http.request":
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
        message = await request.receive()
    raise ClientDisconnect


def _direct(endpoint: Endpoint) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response = await endpoint(Request(scope, receive))
        await response(scope, receive, send)

    return app
