"""What whoever runs the service has decided about leads, hand-offs and how long things are kept."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

Hours = Annotated[float, Interval(gt=0, le=24 * 366)]
Days = Annotated[float, Interval(gt=0, le=36_600)]

HOUR_US, DAY_US = 3_600_000_000, 86_400_000_000


@dataclass(frozen=True)
class Policy:
    """Clocks and periods; a period of None is for ever.

    Settings are held to the bounds that stand with the types.

    Attributes
    ----------
    sla_hours : float
        Within which sales takes up a hand-off.
    inbound_sla_hours : float
        Within which sales takes up an inbound inquiry.
    inbound_days : float
        How old an inbound inquiry may be when it is received: older ones are history, which goes
        to nobody at once.
    skew_seconds : float
        How far a sender's clock may be ahead: what was done later is clamped to the moment of
        receipt, and a lead that was created or closed later is refused.
    margin : float or None
        Log-odds that a flagged lead must fall below the threshold before it is no longer flagged;
        None: as much as the model's own scores move from week to week without news, else 0.1.
    language : str
        Of the reasons that are stored and sent.
    rescore_hour : int
        UTC, at which all open leads are scored again, 0 to 23.
    keep_events_days : float or None
        After which events are deleted.
    keep_decisions_days : float or None
        After which decisions are deleted, but for the newest of a lead.
    keep_messages_days : float or None
        After which messages of the outbox are deleted.
    keep_audit_days : float or None
        After which notes of the audit are deleted.
    keep_answers_hours : float
        After which answers to requests with an ``Idempotency-Key`` are deleted.
    private_webhooks : bool
        Webhooks may go to private addresses.
    """

    sla_hours: Hours = 24.0
    inbound_sla_hours: Hours = 1.0
    inbound_days: Days = 30.0
    skew_seconds: Annotated[float, Interval(ge=0, le=86_400)] = 300.0
    margin: Annotated[float, Interval(ge=0, le=100)] | None = None
    language: Literal["en", "ja"] = "en"
    rescore_hour: Annotated[int, Interval(ge=0, le=23)] = 2
    keep_events_days: Days | None = None
    keep_decisions_days: Days | None = None
    keep_messages_days: Days | None = 30.0
    keep_audit_days: Days | None = 365.0
    keep_answers_hours: Hours = 48.0
    private_webhooks: bool = False

    @property
    def inbound_us(self) -> int:
        """`inbound_days` in microseconds."""
        return round(self.inbound_days * DAY_US)

    @property
    def skew_us(self) -> int:
        """`skew_seconds` in microseconds."""
        return round(self.skew_seconds * 1_000_000)
