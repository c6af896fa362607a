"""How a lead stands, and every decision about it."""

import json
import math
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import FastAPI, Query, Request, Response
from pydantic import BaseModel, Field
from pydantic_core import to_json

from features.moments import iso
from serving.http import problems
from serving.http.documented import READ_STATUSES, answered
from serving.http.pages import (
    USUAL,
    Cursor,
    Limit,
    MomentIn,
    NamedCursor,
    cursor,
    named_place,
    place,
)
from serving.http.reads import read
from serving.http.remarks import unknown
from serving.http.schemas import ReasonOut
from serving.http.state import State
from serving.served_model import ServedModel
from serving.store.items import Value
from serving.store.received import meant, members, names_of
from serving.store.standing import Listed, Place, Standing, Wanted, history, page, standing

Decision = Literal["hand_off", "nurture", "abstain", "suppressed"]
LeadState = Literal[
    "raw",
    "inquiry",
    "nurtured",
    "flagged",
    "accepted",
    "contacted",
    "appointment",
    "visit",
    "closing",
    "won",
    "lost",
    "recycled",
    "disqualified",
    "rejected",
    "suppressed",
]
Since = Annotated[
    MomentIn | None,
    Query(description="Of which something was accepted, scored or done then or later."),
]


class DecidedOut(BaseModel):
    """A score and what was decided by it."""

    score: float | None = Field(description="Probability of a win within the horizon, 0 to 1.")
    percentile: float | None
    grade: Literal["A", "B", "C", "D"] | None
    decision: Decision = Field(description="By the rule, whatever sales has done since.")
    why: str
    reasons: list[ReasonOut]


class CurrentOut(DecidedOut):
    """What the model says about the lead by all that was accepted until `as_of`."""

    lead_id: str
    warnings: list[dict[str, str]] = Field(
        description="What the model does not know, as of `/v1/score`; `stale`: something was "
        "accepted since, while no model was loaded."
    )


class LeadHandoffOut(BaseModel):
    """The newest hand-off of a lead."""

    handoff_id: str
    episode: int
    kind: str
    status: str
    proposed_at: datetime | None
    due_at: datetime | None
    version: int


class LeadOutcomeOut(BaseModel):
    """How a lead was closed."""

    outcome: Literal["won", "lost"]
    closed_at: datetime
    amount: float | None


class LeadOut(BaseModel):
    """A lead as it stands."""

    lead_id: str
    state: LeadState
    created_at: datetime
    account_id: str | None
    attributes: dict[str, str | float | bool] = Field(
        description="What holds now, but for what was emptied: a number, true or false where the "
        "model knows it as one, else text."
    )
    events: int
    suppress: list[str]
    outcome: LeadOutcomeOut | None = Field(description="The newest.")
    current: CurrentOut | None = Field(description="null until it is scored for the first time.")
    as_of: datetime | None
    fresh: bool = Field(description="Whether `current` knows all that was accepted about it.")
    decision_id: int | None
    handoff: LeadHandoffOut | None


class LeadItemOut(BaseModel):
    """A lead in a list: as `LeadOut` has it, in short."""

    lead_id: str
    state: LeadState
    created_at: datetime
    account_id: str | None
    score: float | None = Field(description="null until it is scored for the first time.")
    grade: Literal["A", "B", "C", "D"] | None
    decision: Decision | None
    why: str | None
    as_of: datetime | None


class LeadsOut(BaseModel):
    """A page of leads, newest record first."""

    items: list[LeadItemOut]
    next: str | None


class ModelUsedOut(BaseModel):
    """Which model decided, and by which rule."""

    name: str
    version: str
    digest: str
    horizon_days: int
    rule: dict[str, Any]


class DecisionOut(DecidedOut):
    """A decision with all that it takes to make it again."""

    decision_id: int
    lead_id: str
    as_of: datetime
    cause: str
    features_digest: str
    threshold: float | None
    margin: float
    model: ModelUsedOut


class HistoryOut(BaseModel):
    """A page of decisions, newest first."""

    items: list[DecisionOut]
    next: str | None


def add_lead_routes(app: FastAPI, state: State) -> None:
    """Add ``GET /v1/leads``, ``GET /v1/leads/{lead_id}`` and its history."""

    @app.get("/v1/leads", tags=["leads"], responses=answered(LeadsOut, *READ_STATUSES))
    async def leads(  # noqa: PLR0917
        request: Request,
        state_: Annotated[LeadState | None, Query(alias="state")] = None,
        decision: Decision | None = None,
        updated_since: Since = None,
        cursor: NamedCursor = None,
        limit: Limit = USUAL,
    ) -> Response:
        """Return leads by when their record was received, newest first.

        That order never changes: every lead that is there all the while comes on one page, whatever
        happens to leads meanwhile. Of those that were merged only the one that goes on is listed.
        """
        wanted = Wanted(state_, decision, updated_since)
        after = named_place(cursor)
        return await read(state, request, partial(_page, wanted=wanted, after=after, limit=limit))

    @app.get(
        "/v1/leads/{lead_id}", tags=["leads"], responses=answered(LeadOut, 404, *READ_STATUSES)
    )
    async def lead(lead_id: str, request: Request) -> Response:
        """Return how a lead stands; of one that was merged, the one it is now."""
        model = state.slot.model
        return await read(state, request, partial(_lead, lead_id=lead_id, model=model))

    @app.get(
        "/v1/leads/{lead_id}/history",
        tags=["leads"],
        responses=answered(HistoryOut, 404, *READ_STATUSES),
    )
    async def decided(
        lead_id: str,
        request: Request,
        cursor: Cursor = None,
        limit: Limit = USUAL,
    ) -> Response:
        """Return every decision about a lead, and about those merged into it, newest first."""
        return await read(
            state,
            request,
            partial(_history, lead_id=lead_id, before=place(cursor), limit=limit),
        )


def _page(
    connection: sa.Connection, wanted: Wanted, after: tuple[int, str] | None, limit: int
) -> bytes:
    found = page(connection, wanted, None if after is None else Place(*after), limit + 1)
    shown = found[:limit]
    more = len(found) > limit
    last = cursor(shown[-1].row.received_us, shown[-1].row.lead_id) if more else None
    return to_json({"items": [_item(each) for each in shown], "next": last})


def _item(listed: Listed) -> dict[str, Any]:
    row, decision = listed.row, listed.decision
    decided = {n: getattr(decision, n, None) for n in ("score", "grade", "decision", "why")}
    return {
        "lead_id": row.lead_id,
        "state": listed.state,
        "created_at": iso(row.created_us),
        "account_id": row.account_id,
        **decided,
        "as_of": None if decision is None else iso(decision.as_of_us),
    }


def _lead(connection: sa.Connection, lead_id: str, model: ServedModel | None) -> bytes:
    found = _known(connection, lead_id)
    strange = [] if model is None else _strange(connection, found.row.lead_id, model)
    decision = found.decision
    return to_json(
        {
            "lead_id": found.row.lead_id,
            "state": found.state,
            "created_at": iso(found.row.created_us),
            "account_id": found.row.account_id,
            "attributes": _attributes(found.attributes, model),
            "events": found.events,
            "suppress": found.suppress,
            "outcome": None if found.outcome is None else _outcome(found.outcome),
            "current": None if decision is None else _current(found, strange),
            "as_of": None if decision is None else iso(decision.as_of_us),
            "fresh": found.fresh,
            "decision_id": None if decision is None else decision.decision_id,
            "handoff": None if found.handoff is None else _handoff(found.handoff),
        }
    )


def _attributes(said: Mapping[str, str], model: ServedModel | None) -> dict[str, Value]:
    known = {} if model is None else model.attributes
    return {
        name: _shown(text, known[name].kind) if name in known else text
        for name, text in said.items()
    }


def _shown(text: str, kind: str) -> Value:
    """Return what a text means, where JSON can say it: it knows no infinity."""
    value = meant(text, kind)
    return text if isinstance(value, float) and not math.isfinite(value) else value


def _outcome(row: Any) -> dict[str, Any]:
    return {"outcome": row.outcome, "closed_at": iso(row.closed_us), "amount": row.amount}


def _current(found: Standing, strange: list[dict[str, str]]) -> dict[str, Any]:
    warnings = [*strange]
    if not found.fresh:
        detail = "something was accepted since: the lead will be scored when a model is loaded"
        warnings.append({"code": "stale", "detail": detail})
    return {"lead_id": found.row.lead_id, **_decided(found.decision), "warnings": warnings}


def _strange(connection: sa.Connection, lead_id: str, model: ServedModel) -> list[dict[str, str]]:
    """Name what was received of a lead and the model does not know, as ``/v1/score`` does."""
    said = names_of(connection, [*members(connection, [lead_id])])
    return [
        *unknown("attribute", said.attributes - model.attributes.keys(), "ignored"),
        *unknown("event_type", said.types - model.types, "counted as other activity"),
        *unknown("channel", said.channels - model.channels, "counted as another channel"),
    ]


def _decided(row: Any) -> dict[str, Any]:
    names = ("score", "percentile", "grade", "decision", "why")
    return {name: getattr(row, name) for name in names} | {"reasons": json.loads(row.reasons)}


def _handoff(row: Any) -> dict[str, Any]:
    names = ("handoff_id", "episode", "kind", "status", "version")
    return {name: getattr(row, name) for name in names} | {
        "proposed_at": None if row.proposed_us is None else iso(row.proposed_us),
        "due_at": None if row.due_us is None else iso(row.due_us),
    }


def _history(connection: sa.Connection, lead_id: str, before: int | None, limit: int) -> bytes:
    row = _known(connection, lead_id).row
    found = history(connection, [*members(connection, [row.lead_id])], before, limit + 1)
    items = [_decision(each) for each in found[:limit]]
    more = len(found) > limit
    return to_json({"items": items, "next": cursor(items[-1]["decision_id"]) if more else None})


def _decision(row: Any) -> dict[str, Any]:
    return {
        "decision_id": row.decision_id,
        "lead_id": row.lead_id,
        "as_of": iso(row.as_of_us),
        "cause": row.cause,
        **_decided(row),
        "features_digest": row.features_digest,
        "threshold": row.threshold,
        "margin": row.margin,
        "model": {
            "name": row.model_name,
            "version": row.model_version,
            "digest": row.model_digest,
            "horizon_days": row.horizon_days,
            "rule": json.loads(row.rule),
        },
    }


def _known(connection: sa.Connection, lead_id: str) -> Standing:
    found = standing(connection, lead_id)
    if found is None:
        detail = "there is no record of this lead: send it to POST /v1/leads"
        raise problems.of(404, "unknown_lead", detail)
    return found
