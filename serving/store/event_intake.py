"""Events as they are received, each once; what follows from them is not here."""

from collections.abc import Sequence, Set
from typing import Any

import sqlalchemy as sa

from serving.store import items, once
from serving.store.items import Event, Result
from serving.store.tables import events

SAID = ("lead_id", "event_type", "channel", "value")


def store(
    connection: sa.Connection, sent: Sequence[Event], gone: Set[str], now_us: int
) -> list[Result]:
    """Store events that are not there yet, also of leads without a record; see `once.store`.

    Parameters
    ----------
    connection : sa.Connection
    sent : sequence of Event
    gone : set of str
        Leads that were erased.
    now_us : int
        The moment of receipt.
    """
    refused = [_refusal(event, gone, now_us) for event in sent]
    results = once.store(connection, KIND, sent, refused, now_us)
    return [
        items.clamped("stored", "occurred_at")
        if result is items.STORED and event.occurred_us > now_us
        else result
        for event, result in zip(sent, results, strict=True)
    ]


def _refusal(event: Event, gone: Set[str], now_us: int) -> Result | None:
    if event.lead_id in gone:
        return items.erased()
    return items.ahead("occurred_at", event.occurred_us, now_us)


def _row(event: Event, now_us: int) -> dict[str, Any]:
    occurred_us = min(event.occurred_us, now_us)
    return {
        "source": event.source,
        "event_id": event.event_id,
        "lead_id": event.lead_id,
        "event_type": event.event_type,
        "channel": event.channel,
        "value": event.value,
        "occurred_us": occurred_us,
        "said_us": None if event.said_us == occurred_us else event.said_us,
        "recorded_us": items.known_by(event.recorded_us, now_us),
        "received_us": now_us,
        "verified": event.verified,
    }


def _same(event: Event, row: once.Row) -> bool:
    said_us = row["occurred_us"] if row["said_us"] is None else row["said_us"]
    recorded_us = items.known_by(event.recorded_us, row["received_us"])
    return (
        said_us == event.said_us
        and recorded_us == row["recorded_us"]
        and all(getattr(event, name) == row[name] for name in SAID)
    )


KIND = once.Kind(
    events,
    ("source", "event_id"),
    _row,
    _same,
    items.rejected(
        items.CONFLICT, "event_id", "was sent before by this source, with other content"
    ),
)
