"""From the messages of Segment's and RudderStack's libraries to what is stored about leads."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from serving.http.item_schemas import AttributeName, Channel
from serving.http.schemas import AttributeValue, Identifier, Moment, Number
from serving.http.segment_schemas import Message
from serving.store.items import NOT_SAID, Event, Lead, Link, Result, rejected

PAGE, SCREEN = "web_visit", "screen"
PERSONAL = frozenset(
    ("address", "avatar", "email", "firstName", "lastName", "name", "phone", "username")
)
"""Traits by which a person can be found: they are not kept, a score needs none of them."""
CREATED = "createdAt"
MACHINES = re.compile(r"(?<!cu)bot\b|crawler|headless|preview|scanner|spider", re.IGNORECASE)
"""In the user agents of programs that visit, open and click by themselves; Cubot makes phones."""
PREFETCH = "Mozilla/5.0"
"""All that Apple's mail privacy protection says of itself, which opens whatever is delivered."""

FIELDS = {
    "lead_id": "userId",
    "event_id": "messageId",
    "occurred_at": "timestamp",
    "created_at": "timestamp",
    "into": "userId",
}
"""What a message calls what we store."""

_moment: TypeAdapter[int] = TypeAdapter(Moment)
_number: TypeAdapter[float] = TypeAdapter(Number)
_channel: TypeAdapter[str] = TypeAdapter(Channel)
_name: TypeAdapter[str] = TypeAdapter(AttributeName)
_value: TypeAdapter[Any] = TypeAdapter(AttributeValue)
_id: TypeAdapter[str] = TypeAdapter(Identifier)


@dataclass(frozen=True)
class Facts:
    """What one message says: an event, a lead's record, a link of two ids, or some of them."""

    event: Event | None = None
    lead: Lead | None = None
    link: Link | None = None


@dataclass(frozen=True)
class Receipt:
    """What is known of a request beside its messages.

    Attributes
    ----------
    source : str
        Of its events.
    now_us : int
    sent_us : int or None
        When it was sent, by the sender's clock.
    """

    source: str
    now_us: int
    sent_us: int | None = None


def facts(message: Message, receipt: Receipt) -> Facts | Result:
    """Return what a message says, or why it is rejected."""
    lead_id = message.userId or message.anonymousId
    if lead_id is None:
        return rejected("missing", "userId", "is required, or anonymousId")
    read = READERS.get(message.type)
    if read is None:
        return rejected("not_one_of", "type", f"must be one of {', '.join(READERS)}")
    return read(message, lead_id, receipt)


def _merged(message: Message, _: str, receipt: Receipt) -> Facts | Result:
    if message.previousId is None or message.userId is None:
        missing = "userId" if message.userId is None else "previousId"
        return rejected("missing", missing, "is required")
    known_us, _said = _moments(message, receipt)
    return Facts(link=Link(message.previousId, message.userId, known_us, anonymous=True))


def _grouped(message: Message, lead_id: str, receipt: Receipt) -> Facts | Result:
    if message.groupId is None:
        return rejected("missing", "groupId", "is required")
    created_us, _ = _moments(message, receipt)
    return Facts(lead=Lead(lead_id, created_us, account_id=message.groupId, assumed=True))


def _event(message: Message, lead_id: str, receipt: Receipt) -> Facts | Result:
    name = {"page": PAGE, "screen": SCREEN}.get(message.type, message.event)
    if name is None:
        return rejected("missing", "event", "is required")
    occurred_us, said_us = _moments(message, receipt)
    event_id = message.messageId
    if event_id is None:
        if said_us == NOT_SAID:
            return rejected("missing", "messageId", "is required, or timestamp")
        event_id = _digest(message)
    properties, context = message.properties or {}, message.context or {}
    channels = (properties.get("channel"), context.get("channel"), message.channel)
    event = Event(
        receipt.source,
        event_id,
        lead_id,
        name,
        occurred_us,
        said_us,
        next((found for found in channels if _is(_channel, found) and found), None),
        _found(_number, properties.get("value")),
        verified=not _is_machine(context.get("userAgent")),
    )
    return Facts(event)


def _identified(message: Message, lead_id: str, receipt: Receipt) -> Facts | Result:
    traits = message.traits or {}
    occurred_us, _ = _moments(message, receipt)
    created_us = occurred_us
    if CREATED in traits:
        try:
            created_us = _moment.validate_python(traits[CREATED])
        except ValidationError:
            where, what = "traits", "has a createdAt that is no RFC 3339 time with a zone"
            return rejected("not_a_time", where, what)
    account_id = _found(_id, (message.context or {}).get("groupId"))
    lead = Lead(lead_id, created_us, _attributes(traits), account_id, assumed=True)
    link = None
    if message.anonymousId is not None and message.anonymousId != lead_id:
        link = Link(message.anonymousId, lead_id, occurred_us, anonymous=True, first_counts=True)
    return Facts(lead=lead, link=link)


def _attributes(traits: Mapping[str, Any]) -> dict[str, Any]:
    left_out = PERSONAL | {CREATED}
    return {
        name: value
        for name, value in traits.items()
        if name not in left_out and _is(_name, name) and _is(_value, value)
    }


def _moments(message: Message, receipt: Receipt) -> tuple[int, int]:
    """Return when it happened, and when the sender's clock says so.

    As Segment has it: a message that was passed on holds both `originalTimestamp`, of the sender's
    clock, and `timestamp`, which is right. Else `sentAt` tells how far that clock is off.
    """
    said_us = message.originalTimestamp or message.timestamp
    if said_us is None:
        return receipt.now_us, NOT_SAID
    if message.originalTimestamp is not None and message.timestamp is not None:
        return message.timestamp, said_us
    sent_us = message.sentAt or receipt.sent_us
    if sent_us is None:
        return said_us, said_us
    right_us = receipt.now_us - (sent_us - said_us)
    return (right_us if right_us >= 0 else said_us), said_us


def _digest(message: Message) -> str:
    said = message.model_dump(exclude={"sentAt", "context"})
    return hashlib.sha256(to_json(said)).hexdigest()


def _is_machine(user_agent: object) -> bool:
    if not isinstance(user_agent, str):
        return False
    return user_agent == PREFETCH or MACHINES.search(user_agent) is not None


def _is(schema: TypeAdapter[Any], value: object) -> bool:
    try:
        schema.validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


def _found(schema: TypeAdapter[Any], value: object) -> Any:
    return value if _is(schema, value) else None


READERS: dict[str, Callable[[Message, str, Receipt], Facts | Result]] = {
    "track": _event,
    "page": _event,
    "screen": _event,
    "identify": _identified,
    "group": _grouped,
    "alias": _merged,
}
