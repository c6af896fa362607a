"""What whoever runs the service has decided about leads, hand-offs and how long things are kept."""

from dataclasses import dataclass

HOUR_US, DAY_US = 3_600_000_000, 86_400_000_000


@dataclass(frozen=True)
class Policy:
    """Clocks and periods; a period of None is for ever.

    Attributes
    ----------
    sla_hours, inbound_sla_hours : float
        Within which sales takes up a hand-off, and one of an inbound inquiry.
    skew_seconds : float
        How far a sender's clock may be ahead where a lead was created or closed: later is refused.
    margin : float or None
        Log-odds that a flagged lead must fall below the threshold before it is no longer flagged;
        None: as much as the model's own scores move from week to week without news, else 0.1.
    language : str
        Of the reasons that are stored and sent.
    rescore_hour : int
        UTC, at which all open leads are scored again, 0 to 23.
    keep_events_days, keep_decisions_days, keep_messages_days, keep_audit_days : float or None
    keep_answers_hours : float
        Of requests with an ``Idempotency-Key``.
    private_webhooks : bool
        Webhooks may go to private addresses.
    """

    sla_hours: float = 24.0
    inbound_sla_hours: float = 1.0
    skew_seconds: float = 300.0
    margin: float | None = None
    language: str = "en"
    rescore_hour: int = 2
    keep_events_days: float | None = None
    keep_decisions_days: float | None = None
    keep_messages_days: float | None = 30.0
    keep_audit_days: float | None = 365.0
    keep_answers_hours: float = 48.0
    private_webhooks: bool = False

    @property
    def skew_us(self) -> int:
        """`skew_seconds` in microseconds."""
        return round(self.skew_seconds * 1_000_000)
