"""How routes that take and give bytes say in the OpenAPI document what those bytes are."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serving.http.problems import PROBLEM_JSON
from serving.http.schemas import ProblemOut

REF = "#/components/schemas/{model}"
KEYED_STATUSES = (401, 403, 429)
WRITE_STATUSES = (400, *KEYED_STATUSES, 413, 415, 422, 503)
READ_STATUSES = (*KEYED_STATUSES, 422, 503)

IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key with the same request has its answer given again, for two days "
    "by default; with another request it is a 422.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
REPLAYED = {
    "Idempotency-Replayed": {
        "description": "`true` where the answer is that of an earlier request with this key.",
        "schema": {"type": "string", "enum": ["true"]},
    }
}

SCOPES = {
    "score": ("/v1/score", "/v1/model"),
    "admin": ("/v1/audit", "/v1/export", "/v1/messages", "/v1/webhooks"),
}
"""What routes that begin so ask for; all others ``read`` for GET, and ``write``."""


def json_body(body: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """Return what a route's ``openapi_extra`` says of its body."""
    content = {"application/json": {"schema": {"$ref": REF.format(model=body.__name__)}}}
    return {"requestBody": {"required": required, "content": content}}


def answered(answer: type[BaseModel], *statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return a route's ``responses``: a 200, and problems with some statuses."""
    problem = {PROBLEM_JSON: {"schema": {"$ref": REF.format(model="ProblemOut")}}}
    found: dict[int | str, dict[str, Any]] = {200: {"model": answer, "description": "OK"}}
    for status in statuses:
        found[status] = {"description": HTTPStatus(status).phrase, "content": problem}
    return found


def header(name: str, description: str, **schema: Any) -> dict[str, Any]:
    """Return what a route's ``openapi_extra`` says of a header that it must be sent."""
    given = {"name": name, "in": "header", "required": True, "description": description}
    return {"parameters": [given | {"schema": {"type": "string"} | schema}]}


def scope_of(method: str, path: str) -> str:
    """Return the scope that a route under ``/v1`` asks for; a test holds the routes to it.

    >>> scope_of("GET", "/v1/leads/{lead_id}"), scope_of("POST", "/v1/webhooks")
    ('read', 'admin')
    """
    for scope, starts in SCOPES.items():
        if path.startswith(starts):
            return scope
    return "read" if method.upper() == "GET" else "write"


def ask_for_keys(document: dict[str, Any]) -> None:
    """Say in an OpenAPI document, in place, which key each route under ``/v1`` asks for.

    And which take an ``Idempotency-Key``: all that write by POST.
    """
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "A key: `lk_…`."},
        "basic": {"type": "http", "scheme": "basic", "description": "A key as the user name."},
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items() if path.startswith("/v1/") else ():
            scope = scope_of(method, path)
            operation["security"] = [{"bearer": [scope]}, {"basic": [scope]}]
            said = operation.get("description", "")
            operation["description"] = f"{said}\n\nAsks for the scope `{scope}`.".strip()
            if method == "post" and scope != "score":
                operation.setdefault("parameters", []).append(IDEMPOTENCY_KEY)
                operation["responses"]["200"].setdefault("headers", {}).update(REPLAYED)


def schemas(bodies: Iterable[type[BaseModel]]) -> dict[str, Any]:
    """Return the schemas of the bodies and of a problem, by name."""
    models: list[tuple[type[BaseModel], Literal["validation", "serialization"]]]
    models = [*((body, "validation") for body in bodies), (ProblemOut, "serialization")]
    _, found = models_json_schema(models, ref_template=REF)
    return dict(found["$defs"])
