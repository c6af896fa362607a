"""The messages that Segment's and RudderStack's libraries send; what they mean here is not here."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from serving.http.item_schemas import MOST_ITEMS, Channel
from serving.http.schemas import Identifier, Moment, Name, Text


class _Lenient(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, populate_by_name=True)


class Message(_Lenient):
    """One message; fields that are not listed are not looked at.

    `userId`, else `anonymousId`, is the `lead_id`; `messageId` is the `event_id`.
    """

    type: Text = Field(
        default="track",
        description="`track` and `screen` are events, `page` is a `web_visit`; `identify` is the "
        "lead's record, `group` its account, `alias` a merge.",
    )
    messageId: Identifier | None = None  # noqa: N815
    userId: Identifier | None = None  # noqa: N815
    anonymousId: Identifier | None = None  # noqa: N815
    previousId: Identifier | None = None  # noqa: N815
    groupId: Identifier | None = None  # noqa: N815
    event: Name | None = None
    timestamp: Moment | None = None
    originalTimestamp: Moment | None = None  # noqa: N815
    sentAt: Moment | None = None  # noqa: N815
    channel: Channel | None = None
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    context: dict[str, Any] | None = None


class TrackRequest(Message):
    """One event."""


class BatchRequest(_Lenient):
    """One to 1,000 messages: 500 kB in all, each at most 32 kB."""

    batch: Annotated[list[Message], Field(min_length=1, max_length=MOST_ITEMS)]
    sentAt: Moment | None = None  # noqa: N815


class MessageList(_Lenient):
    """The body of `BatchRequest`, its messages unread."""

    batch: Annotated[list[Any], Field(min_length=1, max_length=MOST_ITEMS)]
    sentAt: Moment | None = None  # noqa: N815
