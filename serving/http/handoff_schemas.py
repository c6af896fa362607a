"""What is said to hand-offs, and how they are shown; nothing is done here."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from serving.http.schemas import Moment, ReasonOut, Text, _Request

Status = Literal[
    "waiting",
    "proposed",
    "accepted",
    "contacted",
    "appointment",
    "visit",
    "closing",
    "won",
    "lost",
    "disqualified",
    "recycled",
    "rejected",
    "expired",
    "overridden",
]
Kind = Literal["flagged", "inbound"]
Again = Literal["engagement", "repair", "never"]
Reason = Annotated[Text, Field(min_length=1, max_length=2_000, description="For people.")]
Until = Field(
    description="When the lead may be handed off again, where this ends the hand-off; after `at`."
)


class StepIn(_Request):
    """Something that was done."""

    at: Moment | None = Field(
        default=None,
        description="When it was done, not before the hand-off was proposed; left out, or to come, "
        "it is now.",
    )
    reason: Reason | None = None
    until: Annotated[Moment | None, Until] = None


class ReasonedIn(StepIn):
    """Something that was done for a reason."""

    reason: Reason


class RejectIn(ReasonedIn):
    """A rejection before contact."""

    kind: Literal["procedural", "clerical", "definitional"] | None = Field(
        default=None,
        description="Mis-routed; the record is wrong or incomplete; outside the agreed criteria. "
        "Where it is left out, `reason` may begin with it.",
    )


class OverrideIn(ReasonedIn):
    """A person takes a flag back."""

    until: Annotated[Moment, Until]


BODIES: dict[str, type[StepIn]] = {
    "reject": RejectIn,
    "recycle": ReasonedIn,
    "disqualify": ReasonedIn,
    "override": OverrideIn,
}
"""By action; the others take a `StepIn`."""


class HandoffOut(BaseModel):
    """A hand-off."""

    handoff_id: str
    lead_id: str
    episode: int = Field(description="Counts the hand-offs of the lead.")
    kind: Kind = Field(description="Flagged by the rule, or an inbound inquiry.")
    status: Status
    score: float | None
    decision_id: int
    reasons: list[ReasonOut]
    created_at: datetime
    proposed_at: datetime | None = Field(description="null while it waits for a place.")
    due_at: datetime | None = Field(description="Until when sales must have accepted it.")
    version: int = Field(description="What `If-Match` must say to do something to it.")
    why: str | None = Field(
        description="A word for it: procedural, clerical, definitional; sla, cooled, suppressed, "
        "merged, won, lost; no_response, timing; over_capacity."
    )
    reason: str | None
    closing_attempts: list[datetime]
    again_at: datetime | None = Field(description="Not handed off again before.")
    again_on: Again | None = Field(
        description="What must come first: the lead does something, its record is changed."
    )
    allowed: list[str] = Field(description="The actions that are allowed now.")


class StepOut(BaseModel):
    """What happened to a hand-off."""

    version: int
    action: str
    status: Status
    at: datetime
    received_at: datetime
    until: datetime | None
    why: str | None
    reason: str | None
    key_id: str | None = Field(description="Whose key; null where the service did it by itself.")


class HandoffWithStepsOut(HandoffOut):
    """A hand-off and all that happened to it."""

    steps: list[StepOut]


class HandoffsOut(BaseModel):
    """A page of hand-offs, newest first."""

    items: list[HandoffOut]
    next: str | None
