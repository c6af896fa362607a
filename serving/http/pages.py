"""Pages of a list: an opaque cursor to the next one."""

import base64
from typing import Annotated

from pydantic import Field

from serving.http import problems
from serving.http.problems import Fault

MOST, USUAL = 200, 50

Limit = Annotated[int, Field(ge=1, le=MOST, description="Items of a page.")]
Cursor = Annotated[
    str | None,
    Field(max_length=64, description="`next` of the page before; left out for the first one."),
]


def cursor(number: int) -> str:
    """Return the cursor after an item.

    >>> place(cursor(12345))
    12345
    """
    return base64.urlsafe_b64encode(str(number).encode()).decode().rstrip("=")


def place(given: str | None) -> int | None:
    """Return the number that a cursor holds.

    Raises
    ------
    Problem
        422 for one that was not given out here.
    """
    if given is None:
        return None
    try:
        text = base64.b64decode(given + "=" * (-len(given) % 4), b"-_", validate=True).decode()
        if text.isascii() and text.isdigit() and len(text) < 19:
            return int(text)
    except ValueError:
        pass
    detail = "must be `next` of the page before"
    raise problems.contradiction([Fault("#/cursor", detail, "bad_cursor")])
