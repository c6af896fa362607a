"""A limit on the bytes of a body, answered as a problem; other limits are the schemas'."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http import problems
from serving.http.problems import Problem


class BodyLimit:
    """Refuse a body that is declared, or turns out, to be larger than `most` bytes."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 413."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = _declared(scope)
        if declared is None:
            await self._app(scope, self._counted(receive), send)
        elif declared <= self._most:
            await self._app(scope, receive, send)
        else:
            await self._too_large().response()(scope, receive, send)

    def _counted(self, receive: Receive) -> Receive:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise self._too_large()
            return message

        return counted

    def _too_large(self) -> Problem:
        detail = f"the body is larger than {self._most:,} bytes: send fewer leads at a time"
        return problems.of(413, "too_large", detail)


def _declared(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else None
    return None
