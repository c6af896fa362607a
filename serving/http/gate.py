"""Who may ask for what, and how often, by their key; how keys are kept is not here."""

import base64
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request

from serving.http import problems
from serving.http.lane import Lane
from serving.http.problems import Problem
from serving.http.rate_limits import RateLimit, site
from serving.store import keys
from serving.store.database import Database, DatabaseError
from serving.store.keys import Client

logger = logging.getLogger(__name__)

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="leadqual", Basic realm="leadqual"'}
SECOND_US = 1_000_000
ASKED_AGAIN_US = 5 * SECOND_US
"""After so long the database is asked about a key again: by then a revoked one has ended."""
TRUSTED_US = 60 * SECOND_US
"""So long a key that was found is let through while the database cannot be asked."""
MOST_KNOWN = 10_000
LOOKUPS, LOOKUP_SECONDS = 4, 10
"""At a time, in threads of their own; and how long one may take."""
BURST_SECONDS = 10
"""Over which a client's requests are counted."""
MOST_FAILURES, FAILURES_SECONDS = 300, 60
"""Of one address with keys that are none, until its unknown keys aren't looked up for a while."""
NOTED_EVERY_SECONDS = 60.0


@dataclass
class _Known:
    """Whose key it is, when the database last said so, and when it was last asked."""

    client: Client
    found_us: int
    asked_us: int


class Gate:
    """Lets requests through by their key.

    A key that was found is remembered for `ASKED_AGAIN_US`, by a hash of what was sent; a wrong one
    never is. While the database cannot be asked it goes on for `TRUSTED_US`.

    Parameters
    ----------
    database : Database
    now_us : callable
        The clock, microseconds since the epoch.
    per_second : int
        Requests that a key may send, on average over `BURST_SECONDS`; 0 for any number.
    """

    def __init__(
        self,
        database: Database,
        now_us: Callable[[], int],
        per_second: int = 0,
    ) -> None:
        self._database = database
        self._now_us = now_us
        self._known: dict[bytes, _Known] = {}
        self._used: dict[str, int] = {}
        self._lookups = Lane(database, LOOKUPS, LOOKUP_SECONDS)
        self._failures = RateLimit("failed-keys", MOST_FAILURES, FAILURES_SECONDS)
        self._requests = (
            RateLimit("requests", per_second * BURST_SECONDS, BURST_SECONDS) if per_second else None
        )

    async def admit(self, request: Request, scope: str) -> Client:
        """Return who asks.

        Raises
        ------
        Problem
            401 without a key that lives, 403 with one that lacks the scope, 429 for one request too
            many, and 404 or 422 where the URL holds what no text here may.
        DatabaseError
            It must be asked, and cannot be.
        """
        _refuse_nul(request)
        now_us = self._now_us()
        given = _authorization(request)
        known = self._known.get(hashlib.sha256(given).digest())
        if known is None or not _fresh(known, now_us):
            client = await self._look_up(given, known, now_us, request)
        else:
            client = known.client
        request.scope["key_id"] = client.key_id
        if self._requests is not None:
            self._requests.take(client.key_id)
        self._used[client.key_id] = now_us
        if scope not in client.scopes:
            raise _lacks(scope)
        return client

    def tend(self) -> None:
        """Note which keys were used, and warn while there is none."""
        used, self._used = self._used, {}
        try:
            if used:
                with self._database.writing() as connection:
                    keys.used(connection, dict(list(used.items())))
        except DatabaseError:
            self._used = used | self._used
            raise
        with self._database.reading() as connection:
            if keys.any_lives(connection, self._now_us()):
                return
        logger.warning(
            "there is no key yet, so every request is refused: make one with "
            "`leadqual keys create NAME --scopes score,read,write`"
        )

    async def _look_up(
        self, given: bytes, known: _Known | None, now_us: int, request: Request
    ) -> Client:
        token = _token(given)
        if keys.id_of(token) is None:
            raise _unauthorized()
        peer = site(request.client.host if request.client else "")
        if known is None:
            self._failures.check(peer)
        elif _trusted(known, now_us):
            known.asked_us = now_us  # others go on with it meanwhile
        try:
            client = await self._lookups.run(partial(self._find, token, now_us))
        except DatabaseError:
            if known is None or not _trusted(known, now_us):
                raise
            return known.client
        digest = hashlib.sha256(given).digest()
        self._known.pop(digest, None)
        if client is None:
            self._failures.take(peer)
            raise _unauthorized()
        if len(self._known) >= MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[digest] = _Known(client, now_us, now_us)
        return client

    def _find(self, token: str, now_us: int) -> Client | None:
        with self._database.reading() as connection:
            return keys.find(connection, token, now_us)


def _fresh(known: _Known, now_us: int) -> bool:
    """Tell whether nobody need be asked; a clock that was put back proves nothing."""
    return 0 <= now_us - known.asked_us < ASKED_AGAIN_US and _trusted(known, now_us)


def _trusted(known: _Known, now_us: int) -> bool:
    return 0 <= now_us - known.found_us < TRUSTED_US and known.client.lives(now_us)


def _unauthorized() -> Problem:
    detail = "send a key that lives: Authorization: Bearer lk_…"
    return problems.of(401, "unauthorized", detail, CHALLENGE)


def _lacks(scope: str) -> Problem:
    return problems.of(403, "forbidden", f"this key lacks the scope {scope}: use one that has it")


def _refuse_nul(request: Request) -> None:
    """Refuse the one character that PostgreSQL keeps in no text."""
    if "\0" in request.scope["path"]:
        raise problems.of(404, "not_found", "Not Found")
    if b"%00" in request.scope["query_string"]:
        raise problems.of(422, "invalid", "a parameter of the URL holds the character U+0000")


def _authorization(request: Request) -> bytes:
    for name, value in request.scope["headers"]:
        if name == b"authorization":
            return bytes(value)
    raise _unauthorized()


def _token(header: bytes) -> str:
    """Return the key of an Authorization header: the token, or the user name of Basic."""
    scheme, _, given = header.decode("latin-1").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[0]
    except ValueError:  # no base64, or no UTF-8 in it
        return ""
