"""A limit on the bytes of a body, answered as a problem; other limits are the schemas'."""

from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http import problems
from serving.http.problems import Problem


class BodyLimit:
    """Refuse a body that is declared, or turns out, to be larger than it may be.

    Parameters
    ----------
    app : ASGIApp
    most : int
        Bytes.
    by_path : mapping of str to int, optional
        Paths whose bodies may have another number of bytes.
    """

    def __init__(self, app: ASGIApp, most: int, by_path: Mapping[str, int] | None = None) -> None:
        self._app = app
        self._most = most
        self._by_path = dict(by_path or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 413."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = self._by_path.get(scope["path"], self._most)
        declared = _declared(scope)
        if declared is None:
            await self._app(scope, _counted(receive, most), send)
        elif declared <= most:
            await self._app(scope, receive, send)
        else:
            await _too_large(most).response()(scope, receive, send)


def _counted(receive: Receive, most: int) -> Receive:
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            raise _too_large(most)
        return message

    return counted


def _too_large(most: int) -> Problem:
    detail = f"the body is larger than {most:,} bytes: send less at a time"
    return problems.of(413, "too_large", detail)


def _declared(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else None
    return None
