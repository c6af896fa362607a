"""What clients tell about leads, item by item, and what becomes of each; how is not here.

A time later than its receipt cannot be: the sender's clock is ahead. It is taken as the moment of
receipt, which its result says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from serving.store.policy import DAY_US

Value: TypeAlias = str | float | bool | None
Status = Literal["stored", "updated", "duplicate", "rejected"]

CONFLICT = "conflict"
"""The code of an item that was sent before with other content."""
NOT_SAID = 0
"""What an event without a time says of it."""


@dataclass(frozen=True, slots=True)
class Lead:
    """What a lead's record says.

    Attributes
    ----------
    lead_id : str
    created_us : int or None
        None keeps what is known.
    attributes : mapping of name to value; None empties one
    account_id : str or None
        None keeps what is known.
    suppress : sequence of str or None
        None keeps what is known.
    changed_us : int or None
        Since when the attributes hold; None for the creation of a new lead, and for now.
    assumed : bool
        `created_us` is what is taken for a lead without a record; one that is known may differ.
    """

    lead_id: str
    created_us: int | None
    attributes: Mapping[str, Value] = field(default_factory=dict)
    account_id: str | None = None
    suppress: Sequence[str] | None = None
    changed_us: int | None = None
    assumed: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a lead did, or that was done to it.

    Attributes
    ----------
    source, event_id : str
        Together they are one event.
    lead_id, event_type : str
    occurred_us : int
    said_us : int
        The same as the sender's clock had it, `NOT_SAID` where it told no time: by this an event
        that comes again is recognised.
    channel : str or None
    value : float or None
    recorded_us : int or None
    verified : bool
        The sender does not say that a machine did it.
    """

    source: str
    event_id: str
    lead_id: str
    event_type: str
    occurred_us: int
    said_us: int
    channel: str | None = None
    value: float | None = None
    recorded_us: int | None = None
    verified: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a lead was closed."""

    lead_id: str
    closed_us: int
    outcome: str
    amount: float | None = None
    recorded_us: int | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """Two ids of one lead.

    Attributes
    ----------
    lead_id : str
        That goes on as `into`.
    into : str
    known_us : int
        When it became known.
    anonymous : bool
        `lead_id` may be without a record: it gets one that says what it is now.
    first_counts : bool
        Where `lead_id` goes on as another one already, that stays without a complaint.
    """

    lead_id: str
    into: str
    known_us: int
    anonymous: bool = False
    first_counts: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an item.

    Attributes
    ----------
    status : str
    code, detail : str or None
        Why it was rejected, or what was done to it on the way; for programs and for persons.
    field : str or None
        Of the item that `detail` is about, empty for the whole; None where it says so itself.
    """

    status: Status
    code: str | None = None
    field: str | None = ""
    detail: str | None = None


STORED, UPDATED, DUPLICATE = Result("stored"), Result("updated"), Result("duplicate")
NEW = ("stored", "updated")
"""Statuses of items that said something new."""


def rejected(code: str, field: str, detail: str) -> Result:
    """Return that an item was not taken, and why."""
    return Result("rejected", code, field, detail)


def erased(field: str = "lead_id") -> Result:
    """Return that a lead was erased, and nothing about it is taken."""
    return rejected("erased", field, "is of a lead that was erased: nothing about it is kept")


def ahead(field: str, moment_us: int, now_us: int, most_us: int = DAY_US) -> Result | None:
    """Return that an item is rejected for a time too far ahead; None where it is not.

    >>> ahead("occurred_at", 10, 9), ahead("created_at", 10, 8, most_us=1).code
    (None, 'in_future')
    """
    if moment_us <= now_us + most_us:
        return None
    return rejected("in_future", field, "lies in the future: check the sender's clock")


def clamped(status: Status, field: str) -> Result:
    """Return that an item was taken, with the moment of receipt for a time ahead of it."""
    return Result(status, "clamped", field, "was ahead of the clock: taken as the time of receipt")


def known_by(recorded_us: int | None, received_us: int) -> int | None:
    """Return when something became known; None where that says no more than its receipt.

    >>> known_by(5, 9), known_by(12, 9), known_by(None, 9)
    (5, None, None)
    """
    return None if recorded_us is None or recorded_us > received_us else recorded_us
