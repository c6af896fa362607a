"""Pages of a list: an opaque cursor to the next one."""

import base64
import re
from typing import Annotated

from pydantic import BeforeValidator, Field

from serving.http import problems
from serving.http.problems import Fault
from serving.http.schemas import Moment

MOST, USUAL = 200, 50

_SPACE_FOR_PLUS = re.compile(r"(.{10}[Tt ].*\d) (\d\d:?\d\d)")


def _with_plus(value: object) -> object:
    """Give a time the plus of its zone back, of which a URL that holds it as it is makes a space.

    >>> _with_plus("2026-08-01T09:00:00 09:00")
    '2026-08-01T09:00:00+09:00'
    """
    return _SPACE_FOR_PLUS.sub(r"\1+\2", value) if isinstance(value, str) else value


MomentIn = Annotated[Moment, BeforeValidator(_with_plus)]
"""A time in a query."""
Limit = Annotated[int, Field(ge=1, le=MOST, description="Items of a page.")]
_AFTER = "`next` of the page before; left out for the first one."
Cursor = Annotated[str | None, Field(max_length=64, description=_AFTER)]
NamedCursor = Annotated[str | None, Field(max_length=2_000, description=_AFTER)]
"""Of a list whose cursors hold an id."""


def cursor(number: int, name: str | None = None) -> str:
    """Return the cursor after an item: its number, and its name where others have that number.

    >>> place(cursor(12345)), named_place(cursor(12345, "a b"))
    (12345, (12345, 'a b'))
    """
    text = str(number) if name is None else f"{number} {name}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def place(given: str | None) -> int | None:
    """Return the number that a cursor holds.

    Raises
    ------
    Problem
        422 for one that was not given out here.
    """
    return None if given is None else _number(_text(given))


def named_place(given: str | None) -> tuple[int, str] | None:
    """Return the number and the name that a cursor holds; else as `place`."""
    if given is None:
        return None
    number, _, name = _text(given).partition(" ")
    return _number(number), name


def _text(given: str) -> str:
    try:
        text = base64.b64decode(given + "=" * (-len(given) % 4), b"-_", validate=True).decode()
    except ValueError:
        raise _bad() from None
    if "\0" in text:  # PostgreSQL knows no such text
        raise _bad()
    return text


def _number(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 19:
        return int(text)
    raise _bad()


def _bad() -> problems.Problem:
    detail = "must be `next` of the page before"
    return problems.contradiction([Fault("#/cursor", detail, "bad_cursor")])
