"""Events that a machine made in a lead's name: scanners that click every link, proxies that open.

What is marked stays, and counts as a type of its own. A lone open or click is never marked: nothing
tells it from a person's, and a model that learned from exported files knows it under its name.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from serving.store.items import Event
from serving.store.tables import events

OPEN, CLICK = "newsletter_open", "newsletter_click"
DELIVERIES = ("newsletter_sent", "newsletter_delivered")
"""What senders call the delivery of a newsletter, where they tell of it."""
MAIL = (OPEN, CLICK, *DELIVERIES)

SECOND_US = 1_000_000
BURST = 3
BURST_US = 30 * SECOND_US
"""So many clicks, or opens, of one lead within so long are a machine's: who reads takes longer."""
AT_ONCE_US = 10 * SECOND_US
"""What comes so soon after the delivery is a machine's."""
REACH_US = 2 * BURST_US
"""How far from an event others can be that it is judged by."""

_NEW, _OTHER = events.alias("new"), events.alias("other")
_NAMES = ("seq", "lead_id", "event_type", "occurred_us", "said_us", "verified")
_NEAR = (
    sa.select(*(_OTHER.c[name] for name in _NAMES))
    .distinct()
    .where(
        _NEW.c.lead_id.in_(sa.bindparam("lead_ids", expanding=True)),
        _NEW.c.received_us == sa.bindparam("received_us"),
        _NEW.c.event_type.in_(MAIL),
        _OTHER.c.lead_id == _NEW.c.lead_id,
        _OTHER.c.occurred_us.between(_NEW.c.occurred_us - REACH_US, _NEW.c.occurred_us + REACH_US),
        _OTHER.c.event_type.in_(MAIL),
    )
)


def machine_made(kinds: Sequence[str], occurred_us: Sequence[int]) -> list[bool]:
    """Tell which of a lead's mail events a machine made.

    Those are clicks, and opens, of which three or more come within 30 seconds; opens within 30
    seconds of such clicks; and whatever comes within 10 seconds of a delivery. More events never
    make fewer of them a machine's: it does not matter in which order they are received.

    Parameters
    ----------
    kinds : sequence of str [n]
        Of `MAIL`.
    occurred_us : sequence of int [n]
        Ascending.

    Examples
    --------
    >>> machine_made(["newsletter_open"] + ["newsletter_click"] * 3, [0, 2_000_000, 3_000_000, 9])
    [True, True, True, True]
    """
    at = {kind: [i for i, each in enumerate(kinds) if each == kind] for kind in (OPEN, CLICK)}
    clicks = _bursts(at[CLICK], occurred_us)
    burst_us = [occurred_us[i] for i in sorted(clicks)]
    delivered_us = [t for t, kind in zip(occurred_us, kinds, strict=True) if kind in DELIVERIES]
    marked = clicks | _bursts(at[OPEN], occurred_us)
    marked |= {i for i in at[OPEN] if _any(burst_us, occurred_us[i], BURST_US, BURST_US)}
    mail = (*at[OPEN], *at[CLICK])
    marked |= {i for i in mail if _any(delivered_us, occurred_us[i], AT_ONCE_US, 0)}
    return [i in marked for i in range(len(kinds))]


def mark(connection: sa.Connection, stored: Iterable[Event], received_us: int) -> None:
    """Mark what a machine made, of events that were just stored and of earlier ones near them.

    How far they lie apart is told by the clock of whoever sent them.
    """
    lead_ids = sorted({event.lead_id for event in stored if event.event_type in MAIL})
    if not lead_ids:
        return
    marks: list[dict[str, int]] = []
    for rows in _near(connection, lead_ids, received_us).values():
        made = machine_made([row.event_type for row in rows], [_us(row) for row in rows])
        newest = max(row.seq for row in rows)
        marks += [
            {"event": row.seq, "by": newest}
            for row, machine in zip(rows, made, strict=True)
            if machine and row.verified
        ]
    if marks:
        own = events.c.seq == sa.bindparam("event")
        values = {"verified": False, "unverified_seq": sa.bindparam("by")}
        connection.execute(sa.update(events).where(own).values(**values), marks)


def _bursts(places: Sequence[int], occurred_us: Sequence[int]) -> set[int]:
    found: set[int] = set()
    for first in range(len(places) - BURST + 1):
        burst = places[first : first + BURST]
        if occurred_us[burst[-1]] - occurred_us[burst[0]] <= BURST_US:
            found.update(burst)
    return found


def _any(sorted_us: Sequence[int], moment_us: int, before_us: int, after_us: int) -> bool:
    """Whether one of the moments lies near another."""
    low = bisect_left(sorted_us, moment_us - before_us)
    return bisect_right(sorted_us, moment_us + after_us) > low


def _us(row: sa.Row[Any]) -> int:
    return row.said_us or row.occurred_us


def _near(
    connection: sa.Connection, lead_ids: Sequence[str], received_us: int
) -> dict[str, list[sa.Row[Any]]]:
    """Return by lead, in order of time, the mail events by which those just received are judged."""
    found: dict[str, list[sa.Row[Any]]] = defaultdict(list)
    rows = connection.execute(_NEAR, {"lead_ids": lead_ids, "received_us": received_us})
    for row in sorted(rows, key=_us):
        found[row.lead_id].append(row)
    return found
