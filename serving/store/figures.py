"""What stands in the database, in figures for whoever runs it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from serving.store.tables import decisions, deliveries, events, handoffs, leads, messages

LAST_EVENTS = 1_000
"""Of which the lag is told."""


@dataclass(frozen=True)
class Figures:
    """Counts and ages at one moment; an age is never negative, whatever clocks say.

    Attributes
    ----------
    decisions : int
        Ever stored: the number of the newest.
    handoffs : mapping of status to int
    outbox : int
        Deliveries that are still to be made.
    outbox_age_seconds : float
        Of the oldest message among them.
    lag_seconds : mapping of share to float
        From what an event tells to its receipt, among the last `LAST_EVENTS`.
    last_event_age_seconds : float or None
        Since one was received; None without any.
    stale : int
        Leads of which something was accepted after they were scored.
    """

    decisions: int = 0
    handoffs: Mapping[str, int] = field(default_factory=dict)
    outbox: int = 0
    outbox_age_seconds: float = 0.0
    lag_seconds: Mapping[float, float] = field(default_factory=dict)
    last_event_age_seconds: float | None = None
    stale: int = 0


def read(connection: sa.Connection, now_us: int) -> Figures:
    """Count it."""
    depth, oldest_us = connection.execute(_waiting()).one()
    received = connection.execute(_last_events()).all()
    counted = sa.func.count().label("leads")
    by_status = sa.select(handoffs.c.status, counted).group_by(handoffs.c.status)
    return Figures(
        decisions=connection.execute(sa.select(sa.func.max(decisions.c.decision_id))).scalar() or 0,
        handoffs={row.status: row.leads for row in connection.execute(by_status)},
        outbox=depth,
        outbox_age_seconds=0.0 if oldest_us is None else _seconds(now_us - oldest_us),
        lag_seconds=_shares([_seconds(row.received_us - row.occurred_us) for row in received]),
        last_event_age_seconds=_seconds(now_us - received[0].received_us) if received else None,
        stale=int(connection.execute(_stale()).scalar_one()),
    )


def _waiting() -> sa.Select[Any, Any]:
    joined = deliveries.c.message_id == messages.c.message_id
    return (
        sa.select(sa.func.count(), sa.func.min(messages.c.created_us))
        .select_from(deliveries.join(messages, joined))
        .where(deliveries.c.next_us.is_not(None))
    )


def _last_events() -> sa.Select[Any]:
    columns = events.c.received_us, events.c.occurred_us
    return sa.select(*columns).order_by(events.c.seq.desc()).limit(LAST_EVENTS)


def _stale() -> sa.Select[Any]:
    behind = leads.c.scored_us.is_(None) | (leads.c.scored_us < leads.c.changed_us)
    return (
        sa.select(sa.func.count()).select_from(leads).where(behind, leads.c.merged_into.is_(None))
    )


def _seconds(micros: int) -> float:
    return max(0, micros) / 1e6


def _shares(values: list[float]) -> dict[float, float]:
    """Return the median, and what 95 of 100 values do not exceed.

    >>> _shares([3.0, 1.0, 2.0])
    {0.5: 2.0, 0.95: 3.0}
    """
    values = sorted(values)
    return {share: values[int(share * len(values))] for share in (0.5, 0.95) if values}
