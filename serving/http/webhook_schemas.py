"""What endpoints of webhooks look like, and what they are told."""

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field

from serving.http.handoff_schemas import Again, Kind, Status
from serving.http.schemas import Identifier, ReasonOut, Text, _Request
from serving.store.outbox import MessageType
from serving.webhooks import LONGEST_URL

TYPES = "Of messages; all of them where it is left out or empty."


class EndpointRequest(_Request):
    """Who is to be told of what happens to leads."""

    url: Annotated[Text, Field(min_length=1, max_length=LONGEST_URL)] = Field(
        description="https, without user name and fragment; not of a private network, unless the "
        "service's policy allows it.",
        examples=["https://crm.example/leadqual"],
    )
    types: Annotated[list[MessageType], Field(max_length=20)] = Field(
        default_factory=list, description=TYPES
    )


class ReplayRequest(_Request):
    """Who is to be told again."""

    endpoint_id: Identifier | None = Field(
        default=None, description="All endpoints that want its type, where left out."
    )


class EndpointOut(BaseModel):
    """Who is told."""

    endpoint_id: str
    url: str
    types: list[MessageType] = Field(description=TYPES)
    created_at: datetime
    enabled: bool
    disabled_at: datetime | None
    why_disabled: str | None


class EndpointsOut(BaseModel):
    """All endpoints, the oldest first."""

    items: list[EndpointOut]


class SecretOut(BaseModel):
    """The secret that signs what an endpoint is sent; it is shown this once."""

    endpoint_id: str
    secret: str = Field(description="whsec_…, as the libraries of Standard Webhooks take it.")


class DeletedOut(BaseModel):
    """An endpoint that is told nothing any more."""

    endpoint_id: str
    deleted: Literal[True]


class DeliveryOut(BaseModel):
    """A message on its way to one endpoint."""

    endpoint_id: str
    status: Literal["waiting", "delivered", "ended"] = Field(
        description="`ended`: it was tried ten times, or the endpoint was disabled."
    )
    attempts: int
    next_at: datetime | None
    delivered_at: datetime | None
    last_status: str | None = Field(description="How the last attempt ended.")


class MessageOut(BaseModel):
    """What is told, and to whom."""

    message_id: str
    type: MessageType
    lead_id: str
    created_at: datetime
    payload: dict[str, Any] = Field(description="As it is sent.")
    deliveries: list[DeliveryOut]


class MessagesOut(BaseModel):
    """A page of messages, newest first."""

    items: list[MessageOut]
    next: str | None


class ReplayOut(BaseModel):
    """Who is told again."""

    message_id: str
    endpoint_ids: list[str]


class HandoffData(BaseModel):
    """A hand-off as `GET /v1/handoffs` shows it."""

    handoff_id: str
    lead_id: str
    episode: int
    kind: Kind
    status: Status
    score: float | None = None
    decision_id: int
    reasons: list[ReasonOut] | None = None
    created_at: datetime
    proposed_at: datetime
    due_at: datetime
    version: int
    why: str | None = None
    reason: str | None = None
    closing_attempts: list[datetime] | None = None
    again_at: datetime | None = None
    again_on: Again | None = None
    allowed: list[str]
    left_out: list[str] | None = Field(
        default=None, description="Fields that would have made the message larger than 20 kB."
    )


class OutcomeData(BaseModel):
    """An outcome that was accepted."""

    lead_id: str
    closed_at: datetime
    outcome: Literal["won", "lost"]
    amount: float | None = None
    recorded_at: datetime | None = None


class ErasedData(BaseModel):
    """A lead that was erased here and is to be erased by whoever keeps a copy.

    The message itself is deleted as soon as nobody is left who is to be told.
    """

    lead_id: str
    erased_at: datetime
    proof_id: str


Type = TypeVar("Type", bound=str)
Data = TypeVar("Data", bound=BaseModel)


class Message(BaseModel, Generic[Type, Data]):
    """What is posted: signed as Standard Webhooks asks, at least once, always with one id."""

    type: Type
    timestamp: datetime = Field(description="When it happened.")
    data: Data


class HandoffMessage(Message[Literal["lead.handoff"], HandoffData]):
    """A lead is proposed to sales."""


class HandoffUpdatedMessage(Message[Literal["lead.handoff.updated"], HandoffData]):
    """A hand-off went on, or ended."""


class OutcomeMessage(Message[Literal["lead.outcome"], OutcomeData]):
    """A lead was won or lost."""


class ErasedMessage(Message[Literal["lead.erased"], ErasedData]):
    """A lead was erased."""
