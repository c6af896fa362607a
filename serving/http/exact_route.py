"""Routes that match the path as it was sent: a ``%2F`` belongs to its segment."""

import re
from typing import Any
from urllib.parse import unquote

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.routing import Match, Route
from starlette.types import Scope

WITHIN = "\udc2f"
"""A slash within a segment, while routes look at it: decoding never gives half a surrogate."""
_SLASH = re.compile("%2f", re.IGNORECASE)


class ExactRoute(APIRoute):
    """A route that tells ``/leads/a%2Fb``, of the lead ``a/b``, from ``/leads/a/b``.

    Servers decode a path before it is routed, and then both look alike.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Tell whether the path and the method are those of this route."""
        raw = scope.get("raw_path") or b""
        if b"%2f" not in raw.lower():
            return super().matches(scope)
        match, found = super().matches({**scope, "path": _decoded(raw)})
        if match is not Match.NONE:
            found["path_params"] = {
                name: _with_slashes(value) for name, value in found["path_params"].items()
            }
        return match, found


def allowed(request: Request) -> str:
    """Return the methods that the path of a request takes, as ``Allow`` names them."""
    every = (route for route in request.app.routes if isinstance(route, Route))
    there = [route for route in every if route.matches(request.scope)[0] is not Match.NONE]
    return ", ".join(sorted({method for route in there for method in route.methods or ()}))


def _decoded(raw: bytes) -> str:
    """Decode a path once, with `WITHIN` for each slash that was encoded.

    >>> len(_decoded(b"/v1/leads/a%2Fb").split("/")), _decoded(b"/a%252Fb")
    (4, '/a%2Fb')
    """
    return WITHIN.join(unquote(part) for part in _SLASH.split(raw.decode("latin-1")))


def _with_slashes(value: Any) -> Any:
    return value.replace(WITHIN, "/") if isinstance(value, str) else value
