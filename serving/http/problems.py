"""Errors as RFC 9457 wants them: what is wrong and where, never what stood there."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from serving.http.exact_route import allowed

logger = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"
RETRY_SECONDS = "5"
MOST_ERRORS = 50
"""Errors that one answer names; a request can hold thousands."""

DETAILS: dict[str, tuple[str, str]] = {
    "missing": ("missing", "is required"),
    "extra_forbidden": ("unknown_field", "is no field of this object"),
    "string_type": ("wrong_type", "must be text"),
    "bool_type": ("wrong_type", "must be true or false"),
    "int_parsing": ("wrong_type", "must be a whole number"),
    "float_type": ("wrong_type", "must be a number"),
    "list_type": ("wrong_type", "must be a list"),
    "dict_type": ("wrong_type", "must be an object"),
    "model_type": ("wrong_type", "must be an object"),
    "not_a_value": ("wrong_type", "must be text, a number, true, false or null"),
    "finite_number": ("not_finite", "must be a finite number"),
    "number_out_of_range": ("out_of_range", "must lie between -1e15 and 1e15"),
    "greater_than_equal": ("out_of_range", "must be at least {ge:g}"),
    "less_than_equal": ("out_of_range", "must be at most {le:g}"),
    "string_too_short": ("too_short", "must have at least {min_length} character"),
    "string_too_long": ("too_long", "must have at most {max_length} characters"),
    "string_pattern_mismatch": ("not_allowed_text", "must match the pattern {pattern}"),
    "too_short": ("too_few", "must have at least {min_length} item"),
    "too_long": ("too_many", "must have at most {max_length} items"),
    "not_a_time": ("not_a_time", "must be an RFC 3339 time such as 2026-08-01T09:00:00+09:00"),
    "no_time_zone": ("no_time_zone", "must say its time zone: end it with Z or +09:00"),
    "literal_error": ("not_one_of", "must be one of {expected}"),
    "reserved_name": ("reserved_name", "is a field of the lead, and no attribute"),
    "time_out_of_range": ("time_out_of_range", "must lie in the years 1970 to 2199"),
}
"""Code and text by pydantic's (and our own) type of error."""

TITLES = {404: "not_found", 405: "method_not_allowed", 406: "not_acceptable"}


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: where (a JSON pointer), what, and a code for programs."""

    pointer: str
    detail: str
    code: str


class Problem(Exception):
    """An answer that is an error: whoever sends the request can act on 4xx, whoever runs us on 5xx.

    Parameters
    ----------
    status : int
    detail : str
        For a person; holds nothing of the request but names of fields.
    faults : sequence of Fault
    headers : mapping, optional
    more : mapping, optional
        Further members, which `ProblemOut` documents.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        faults: Sequence[Fault],
        headers: Mapping[str, str] | None = None,
        *,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.faults = tuple(faults)
        self.headers = dict(headers or {})
        self.more = dict(more or {})

    def response(self) -> Response:
        """Return the answer to send."""
        content = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "errors": [asdict(fault) for fault in self.faults],
            **self.more,
        }
        return Response(
            json.dumps(content, ensure_ascii=False).encode(),
            self.status,
            self.headers,
            media_type=PROBLEM_JSON,
        )


def of(status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> Problem:
    """Return a problem with the request as a whole.

    >>> of(413, "too_large", "the body is too large").faults[0].pointer
    '#'
    """
    return Problem(status, detail, [Fault("#", detail, code)], headers)


def no_database() -> Problem:
    """Return the problem of a database that cannot be used now."""
    detail = "the service's database cannot be used now: send this again later"
    return of(503, "no_database", detail, {"Retry-After": RETRY_SECONDS})


def invalid_json() -> Problem:
    """Return the problem of a body that cannot be read as JSON."""
    return of(400, "invalid_json", "the body is not JSON (UTF-8), or is nested too deeply")


def invalid(error: ValidationError) -> Problem:
    """Return the problem of a body that breaks the schema: 400 when it is no JSON, else 422."""
    found = error.errors(include_url=False, include_context=True, include_input=False)
    if found[0]["type"] == "json_invalid":
        return invalid_json()
    return contradiction([_fault(item, item["loc"]) for item in found[:MOST_ERRORS]], len(found))


def faults(error: ValidationError, path: Sequence[int | str] = ()) -> list[Fault]:
    """Return what is wrong in a part of a body that stands at a path."""
    found = error.errors(include_url=False, include_context=True, include_input=False)
    return [_fault(item, (*path, *item["loc"])) for item in found]


def busy(what: str) -> Problem:
    """Return the 503 for one request too many of a kind."""
    detail = f"{what}: send this one again later"
    return of(503, "busy", detail, {"Retry-After": RETRY_SECONDS})


def contradiction(faults: Sequence[Fault], total: int | None = None) -> Problem:
    """Return the 422 for what is wrong in a well-formed body."""
    count = len(faults) if total is None else total
    more = f", the first {len(faults)} are listed" if count > len(faults) else ""
    detail = f"{count} value{'s are' if count > 1 else ' is'} not as the schema asks{more}"
    return Problem(422, detail, faults)


def pointer(where: Sequence[int | str]) -> str:
    """Return a JSON pointer as a URI fragment (RFC 6901).

    >>> pointer(["leads", 0, "attributes", "a/b"])
    '#/leads/0/attributes/a~1b'
    """
    parts = (str(part).replace("~", "~0").replace("/", "~1") for part in where)
    return "#" + "".join("/" + quote(part, safe="~!$&'()*+,;=:@") for part in parts)


async def on_problem(_request: Request, error: Exception) -> Response:
    """Answer a `Problem`."""
    assert isinstance(error, Problem)  # noqa: S101  # registered for it only
    return error.response()


async def on_database_error(_request: Request, error: Exception) -> Response:
    """Answer for a database that cannot be used: nothing was lost, and it may be back soon."""
    logger.error("the database cannot be used", exc_info=error)
    return no_database().response()


async def on_invalid_request(_request: Request, error: Exception) -> Response:
    """Answer for a path or a query that is not as its route asks."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  # registered for it only
    found = error.errors()
    faults = [_fault(item, item["loc"][1:]) for item in found[:MOST_ERRORS]]
    return contradiction(faults, len(found)).response()


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Answer what the router raises: no such path, no such method."""
    assert isinstance(error, HTTPException)  # noqa: S101  # registered for it only
    phrase = HTTPStatus(error.status_code).phrase
    code = TITLES.get(error.status_code, "refused")
    headers = {"Allow": allowed(request)} if error.status_code == 405 else error.headers
    return of(error.status_code, code, phrase, headers).response()


def _fault(item: Mapping[str, Any] | ErrorDetails, where: Sequence[int | str]) -> Fault:
    code, text = DETAILS.get(item["type"], ("invalid", "has a value that is not allowed here"))
    return Fault(pointer(where), text.format(**item.get("ctx", {})), code)
