"""Who may ask for what: a key with the scope that a route wants; how keys are kept is not here."""

import base64
from collections.abc import Callable

import anyio.to_thread
from starlette.requests import Request

from serving.http import problems
from serving.http.problems import Problem
from serving.store import keys
from serving.store.database import Database
from serving.store.keys import Client

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="leadqual", Basic realm="leadqual"'}


class Gate:
    """Lets requests through by their key.

    Parameters
    ----------
    database : Database
    now_us : callable
        The clock, microseconds since the epoch.
    """

    def __init__(self, database: Database, now_us: Callable[[], int]) -> None:
        self._database = database
        self._now_us = now_us

    async def admit(self, request: Request, scope: str) -> Client:
        """Return who asks.

        Raises
        ------
        Problem
            401 without a key that lives, 403 with one that lacks the scope.
        """
        token = _token(request.headers.get("authorization", ""))
        client = await anyio.to_thread.run_sync(self._find, token) if token else None
        if client is None:
            detail = "send a key that lives: Authorization: Bearer lk_…"
            raise problems.of(401, "unauthorized", detail, CHALLENGE)
        request.scope["key_id"] = client.key_id
        if scope not in client.scopes:
            raise _lacks(scope)
        return client

    def _find(self, token: str) -> Client | None:
        with self._database.reading() as connection:
            return keys.find(connection, token, self._now_us())


def _lacks(scope: str) -> Problem:
    return problems.of(403, "forbidden", f"this key lacks the scope {scope}: use one that has it")


def _token(header: str) -> str:
    """Return the key of an Authorization header: the token, or the user name of Basic."""
    scheme, _, given = header.partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[0]
    except ValueError:  # no base64, or no UTF-8 in it
        return ""
