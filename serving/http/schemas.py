"""What requests must look like, and what answers do; nothing is computed here."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from features.moments import to_us

MOST_LEADS = 1_000
MOST_EVENTS = 20_000
LARGEST_BODY = 10_000_000
"""Bytes."""
LARGEST_NUMBER = 1e15
LATEST_YEAR = 2199

NO_NUL = r"^[^\x00]*$"
"""What a text must match: PostgreSQL cannot keep the character U+0000."""

_END_US = to_us(datetime(LATEST_YEAR + 1, 1, 1, tzinfo=UTC))
_SHORTEST_TIME = len("2026-08-01T09:00Z")


def _micros(value: object) -> int:
    """Read an RFC 3339 time as microseconds since the epoch (UTC)."""
    if type(value) is not str or len(value) < _SHORTEST_TIME - 1 or value[10] not in "Tt ":
        raise PydanticCustomError("not_a_time", "not a time")
    try:
        moment = datetime.fromisoformat(value[:-1] + "Z" if value[-1] == "z" else value)
    except ValueError:
        raise PydanticCustomError("not_a_time", "not a time") from None
    if moment.tzinfo is None:
        raise PydanticCustomError("no_time_zone", "no time zone")
    micros = to_us(moment)
    if not 0 <= micros < _END_US:
        raise PydanticCustomError("time_out_of_range", "out of range")
    return micros


def _attribute_value(value: object) -> str | float | bool | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if "\0" in value:
            raise PydanticCustomError("string_pattern_mismatch", "NUL", {"pattern": NO_NUL})
        return value
    if not isinstance(value, (int, float)):
        raise PydanticCustomError("not_a_value", "not a value")
    if isinstance(value, float) and not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
        kind = "number_out_of_range" if abs(value) < float("inf") else "finite_number"
        raise PydanticCustomError(kind, "out of range")
    if not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
        raise PydanticCustomError("number_out_of_range", "out of range")
    return value


_TIME_SCHEMA = {
    "type": "string",
    "format": "date-time",
    "description": "RFC 3339 with a time zone, from 1970 to 2199.",
    "examples": ["2026-08-01T09:00:00+09:00"],
}
_VALUE_SCHEMA = {
    "anyOf": [
        {"type": "boolean"},
        {"type": "number", "minimum": -LARGEST_NUMBER, "maximum": LARGEST_NUMBER},
        {"type": "string", "pattern": NO_NUL},
        {"type": "null"},
    ]
}

Moment = Annotated[int, PlainValidator(_micros), WithJsonSchema(_TIME_SCHEMA)]
"""A time in a request; as a value, microseconds since the epoch (UTC)."""

AttributeValue = Annotated[
    str | float | bool | None, PlainValidator(_attribute_value), WithJsonSchema(_VALUE_SCHEMA)
]
Text = Annotated[str, Field(pattern=NO_NUL)]
"""What all texts that a request may hold are made of: use it, or what is made of it, for each."""
Identifier = Annotated[Text, Field(min_length=1, max_length=256)]
Name = Annotated[Text, Field(min_length=1, max_length=200)]
Number = Annotated[float, Field(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER, allow_inf_nan=False)]


class _Request(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class EventIn(_Request):
    """Something the lead did, or that was done to it."""

    event_type: Name
    occurred_at: Moment
    channel: Annotated[Text, Field(max_length=200)] | None = None
    value: Number | None = None
    recorded_at: Moment | None = Field(
        default=None, description="When it became known, if later; it is not seen before that."
    )
    event_id: Identifier | None = Field(default=None, description="Accepted, and not used here.")
    source: Identifier | None = Field(default=None, description="Accepted, and not used here.")


class LeadIn(_Request):
    """A lead with what its record says and its engagement history, in any order."""

    lead_id: Identifier
    created_at: Moment
    attributes: dict[Name, AttributeValue] = Field(
        default_factory=dict, description="Those the model does not know are named in a warning."
    )
    events: Annotated[list[EventIn], Field(max_length=MOST_EVENTS)] = Field(default_factory=list)
    suppress: Annotated[list[Name], Field(max_length=20)] = Field(
        default_factory=list, description="Why this lead is never flagged: customer, objected, …"
    )
    account_id: Identifier | None = Field(default=None, description="Accepted, and not used here.")


class ScoreRequest(_Request):
    """One to 1,000 leads to score at one moment."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "as_of": "2026-09-01T00:00:00Z",
                    "reasons": True,
                    "language": "ja",
                    "leads": [
                        {
                            "lead_id": "L-1",
                            "created_at": "2026-08-01T09:00:00+09:00",
                            "attributes": {"industry": "manufacturing", "employees": 120},
                            "events": [
                                {
                                    "event_type": "seminar_attended",
                                    "occurred_at": "2026-08-12T05:00:00Z",
                                    "channel": "event",
                                    "value": 1,
                                }
                            ],
                        }
                    ],
                }
            ]
        }
    )

    leads: Annotated[list[LeadIn], Field(min_length=1, max_length=MOST_LEADS)] = Field(
        description="Their ids differ; 20,000 events in all."
    )
    as_of: Moment | None = Field(
        default=None, description="The moment of judging; the server's clock where left out."
    )
    reasons: bool = False
    language: Annotated[Text, Field(max_length=35)] = Field(
        default="en", description="Of the reasons: en or ja; another one falls back to en."
    )


class WarningOut(BaseModel):
    """Something about a lead that the caller should know; the score stands."""

    code: Literal[
        "unknown_attribute",
        "unknown_event_type",
        "unknown_channel",
        "attribute_kind",
        "events_after_as_of",
        "events_before_created_at",
    ]
    detail: str


class ReasonOut(BaseModel):
    """A concept that moves the score, with evidence."""

    concept: str
    direction: Literal["up", "down"]
    strength: Literal["weak", "medium", "strong"]
    text: str
    evidence: list[dict[str, Any]]


class ResultOut(BaseModel):
    """What the model says about one lead."""

    lead_id: str
    score: float | None = Field(description="Probability of a win within the horizon, 0 to 1.")
    percentile: float | None
    grade: Literal["A", "B", "C", "D"] | None
    decision: Literal["hand_off", "nurture", "abstain", "suppressed"]
    why: str
    reasons: list[ReasonOut]
    warnings: list[WarningOut]


class ModelOut(BaseModel):
    """Which model answered."""

    name: str
    version: str
    digest: str
    horizon_days: int
    trained_until: str


class ScoreAnswer(BaseModel):
    """One result a lead, in the order of the request."""

    as_of: datetime
    model: ModelOut
    results: list[ResultOut]


class ModelAnswer(ModelOut):
    """The card of the model, its hand-off rule and its figures."""

    recipe: str
    rule: dict[str, Any]
    metrics: dict[str, Any]
    config: dict[str, Any]
    data: dict[str, Any]
    versions: dict[str, str]
    features: list[str]


class Status(BaseModel):
    """That the service lives."""

    status: str


class Readiness(BaseModel):
    """That the service can do its work, and what is not as it should be."""

    status: str
    model: str = Field(description="Name and version of the one that serves.")
    registry: str | None = Field(default=None, description="Since when it cannot be used.")
    refused: str | None = Field(default=None, description="A newer version that cannot be used.")


class ProblemError(BaseModel):
    """One thing that is wrong, and where."""

    pointer: str = Field(description="A JSON pointer into the request, as a URI fragment.")
    detail: str
    code: str


class ProblemOut(BaseModel):
    """An error as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ProblemError]
    allowed: list[str] | None = Field(
        default=None, description="Of a hand-off: what is allowed in the state that it is in."
    )
