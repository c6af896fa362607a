"""What clients send about leads, item by item, and what they are answered; stored elsewhere."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from features.attributes import RESERVED
from serving.http.schemas import (
    AttributeValue,
    Identifier,
    Moment,
    Name,
    Number,
    Text,
    _Request,
)

MOST_ITEMS = 1_000
MOST_ATTRIBUTES = 1_000


def _unreserved(name: str) -> str:
    if name in RESERVED:
        raise PydanticCustomError("reserved_name", "reserved")
    return name


Channel = Annotated[Text, Field(max_length=200)]
AttributeName = Annotated[Name, AfterValidator(_unreserved)]
Suppress = Annotated[list[Name], Field(max_length=20)]


class LeadItem(_Request):
    """What a lead's record says: all of it, or what has changed."""

    lead_id: Identifier
    created_at: Moment | None = Field(
        default=None,
        description="Required of a lead without a record. A fact: another one than before is a "
        "conflict; null keeps what is known.",
    )
    attributes: Annotated[
        dict[AttributeName, AttributeValue], Field(max_length=MOST_ATTRIBUTES)
    ] = Field(default_factory=dict, description="Those that differ from before; null empties one.")
    account_id: Identifier | None = Field(default=None, description="null keeps what is known.")
    suppress: Suppress | None = Field(
        default=None,
        description="Why this lead is never flagged; replaces what is known, null keeps it. "
        "`objected` cannot be taken back.",
    )
    changed_at: Moment | None = Field(
        default=None,
        description="Since when the attributes hold; else since the lead's creation if it is new, "
        "and since now if it is known.",
    )


class EventItem(_Request):
    """Something that a lead did, or that was done to it; sent again, it is the same one."""

    event_id: Identifier
    lead_id: Identifier
    event_type: Name
    occurred_at: Moment
    channel: Channel | None = None
    value: Number | None = None
    source: Identifier | None = Field(
        default=None, description="Whose `event_id` it is; the client's name where left out."
    )
    recorded_at: Moment | None = Field(
        default=None, description="When it became known to the sender, if later."
    )


class OutcomeItem(_Request):
    """How a lead was closed."""

    lead_id: Identifier
    closed_at: Moment
    outcome: Literal["won", "lost"]
    amount: Number | None = None
    recorded_at: Moment | None = Field(
        default=None, description="When it became known to the sender, if later."
    )


class LeadsRequest(_Request):
    """One to 1,000 leads."""

    leads: Annotated[list[LeadItem], Field(min_length=1, max_length=MOST_ITEMS)]


class EventsRequest(_Request):
    """One to 1,000 events."""

    events: Annotated[list[EventItem], Field(min_length=1, max_length=MOST_ITEMS)]


class OutcomesRequest(_Request):
    """One to 1,000 outcomes."""

    outcomes: Annotated[list[OutcomeItem], Field(min_length=1, max_length=MOST_ITEMS)]


class MergeRequest(_Request):
    """The lead that goes on for both."""

    into: Identifier


class ItemOut(BaseModel):
    """What became of one item."""

    id: str | None = Field(description="`event_id`, else `lead_id`; null where it has none.")
    status: Literal["stored", "updated", "duplicate", "rejected"]
    detail: str | None = Field(
        default=None, description="Where (a JSON pointer) and what, for a person."
    )
    code: str | None = Field(
        default=None,
        description="Of a rejected one: `conflict`, `erased`, `in_future`, `missing`, "
        "`wrong_type`, …; of a stored one `clamped`: a time was ahead of the clock.",
    )


class ItemsAnswer(BaseModel):
    """One result an item, in the order of the request."""

    results: list[ItemOut]


class MergeAnswer(BaseModel):
    """Which lead a merged one is now."""

    lead_id: str
    merged_into: str


Items = Annotated[list[Any], Field(min_length=1, max_length=MOST_ITEMS)]
"""Before each is looked at."""


class LeadList(_Request):
    """The body of `LeadsRequest`, its items unread."""

    leads: Items


class EventList(_Request):
    """The body of `EventsRequest`, its items unread."""

    events: Items


class OutcomeList(_Request):
    """The body of `OutcomesRequest`, its items unread."""

    outcomes: Items
