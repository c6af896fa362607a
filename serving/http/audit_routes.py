"""Who wrote what and when, for those who must be able to say so."""

from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, Field
from pydantic_core import to_json

from features.moments import iso
from serving.http.documented import READ_STATUSES, answered
from serving.http.pages import USUAL, Cursor, Limit, cursor, place
from serving.http.reads import read
from serving.http.state import State
from serving.store import audit


class NoteOut(BaseModel):
    """A write, about one lead or about none."""

    audit_id: int
    at: datetime
    key_id: str | None = Field(description="null where a command wrote, not a request.")
    client: str
    action: str = Field(description="As `POST /v1/events`, or the command.")
    lead_hash: str | None = Field(description="Stands for the lead; it outlives an erasure.")
    items: int = Field(description="Of the whole write.")
    request_id: str


class AuditOut(BaseModel):
    """A page of writes, newest first."""

    items: list[NoteOut]
    next: str | None


def add_audit_routes(app: FastAPI, state: State) -> None:
    """Add ``GET /v1/audit``."""

    @app.get("/v1/audit", tags=["operations"], responses=answered(AuditOut, *READ_STATUSES))
    async def notes(request: Request, cursor: Cursor = None, limit: Limit = USUAL) -> Response:
        """Return every write, newest first."""
        work = partial(_page, before=place(cursor), limit=limit)
        return await read(state, request, work, scope="admin")


def _page(connection: sa.Connection, before: int | None, limit: int) -> bytes:
    found = audit.notes(connection, before, limit + 1)
    items = [_note(row) for row in found[:limit]]
    more = len(found) > limit
    return to_json({"items": items, "next": cursor(items[-1]["audit_id"]) if more else None})


def _note(row: sa.Row[Any]) -> dict[str, Any]:
    names = ("audit_id", "key_id", "client", "action", "lead_hash", "items", "request_id")
    return {name: getattr(row, name) for name in names} | {"at": iso(row.at_us)}
