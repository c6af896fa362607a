"""Tables that read as facts: ages in days before one fixed moment, `AS_OF`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.history import DAY_US, from_arrow, from_rows
from features.matrix import FeatureSpec, Leads, leads_from_arrow, matrix
from tests.reference import Event

AS_OF = datetime(2026, 9, 1, 12, tzinfo=UTC)
"""A Tuesday, noon."""
AS_OF_US = int(AS_OF.timestamp()) * 1_000_000
TIME = pa.timestamp("us", "UTC")


def at(age_days: float, *, plus_us: int = 0) -> int:
    """Give the moment `age_days` before `AS_OF`, and so many microseconds later."""
    return AS_OF_US - round(age_days * DAY_US) + plus_us


def clock(text: str) -> int:
    """Give a moment (UTC) such as ``"2026-08-31 09:00"`` in microseconds."""
    return int(datetime.fromisoformat(f"{text}+00:00").timestamp()) * 1_000_000


def event(
    age_days: float,
    event_type: str = "web_visit",
    channel: str | None = None,
    value: float | None = None,
    *,
    known_age_days: float | None = None,
) -> Event:
    """Make an event by its age; it was known when it happened, unless said otherwise."""
    known = age_days if known_age_days is None else known_age_days
    return Event(at(age_days), at(known), event_type, channel, value)


def make_events(facts: Mapping[str, Sequence[float | Event]]) -> pa.Table:
    """Make an events table, as the readers give it, of ages in days (web visits) or of events.

    >>> make_events({"lead-1": [3, event(10, "inquiry")]})["event_type"].to_pylist()
    ['web_visit', 'inquiry']
    """
    ids = [lead for lead, events in facts.items() for _ in events]
    flat = [
        fact if isinstance(fact, Event) else event(fact)
        for events in facts.values()
        for fact in events
    ]
    text = pa.dictionary(pa.int32(), pa.string())
    return pa.table(
        {
            "lead_id": pa.array(ids, pa.string()),
            "occurred_at": pa.array([one.occurred_us for one in flat], TIME),
            "event_type": pa.array([one.event_type for one in flat], pa.string()).cast(text),
            "channel": pa.array([one.channel for one in flat], pa.string()).cast(text),
            "value": pa.array([one.value for one in flat], pa.float64()),
            "recorded_at": pa.array([one.known_us for one in flat], TIME),
        }
    )


def make_leads(ages_days: Mapping[str, float], **attributes: Sequence[object]) -> pa.Table:
    """Make a leads table of ages in days at `AS_OF`, with attribute columns.

    >>> make_leads({"lead-1": 20, "lead-2": 5}, employees=[10, None]).column_names
    ['lead_id', 'created_at', 'employees']
    """
    return pa.table(
        {
            "lead_id": pa.array(list(ages_days), pa.string()),
            "created_at": pa.array([at(age) for age in ages_days.values()], TIME),
            **{name: pa.array(list(values)) for name, values in attributes.items()},
        }
    )


def make_batch(leads: pa.Table, events: pa.Table) -> Leads:
    """Bring a leads table and its events together; events of unknown leads are left out."""
    found = pc.fill_null(pc.index_in(events["lead_id"], leads["lead_id"].combine_chunks()), -1)
    return leads_from_arrow(leads, from_arrow(events, found.to_numpy(), len(leads)))


def make_lead(events: Sequence[Event], created_us: int = AS_OF_US) -> Leads:
    """Make a single lead without attributes, as a request brings it."""
    zero = np.zeros(1, np.int64)
    return Leads(np.array([created_us]), {}, from_rows([events]), zero)


def features_of(
    spec: FeatureSpec,
    events: Sequence[Event],
    *,
    created_us: int = AS_OF_US,
    as_of_us: int = AS_OF_US,
) -> dict[str, float]:
    """Compute the features of a single lead at one moment, by name."""
    row = np.zeros(1, np.int64)
    computed = matrix(spec, make_lead(events, created_us), row, np.array([as_of_us]))
    return dict(zip(spec.names, map(float, computed[0]), strict=True))
