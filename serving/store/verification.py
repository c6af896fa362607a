"""Events that a machine made in a lead's name: scanners that click every link, proxies that open.

What is marked stays, and counts as a type of its own. A lone open or click is never marked: nothing
tells it from a person's, and a model that learned from exported files knows it under its name.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

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


class Span(NamedTuple):
    """A while in the history of a lead, with both of its ends."""

    lead_id: str
    from_us: int
    to_us: int


SPANS_AT_ONCE = 50
"""That a statement asks for, or one."""

_NAMES = ("seq", "lead_id", "event_type", "occurred_us", "said_us", "verified")


@cache
def _within(spans: int) -> sa.Select[Any]:
    """Return the query for the mail events of leads within spans of time."""
    within = [
        sa.and_(
            events.c.lead_id == sa.bindparam(f"lead_{at}"),
            events.c.occurred_us.between(sa.bindparam(f"from_{at}"), sa.bindparam(f"to_{at}")),
        )
        for at in range(spans)
    ]
    names = (events.c[name] for name in _NAMES)
    return sa.select(*names).where(sa.or_(*within), events.c.event_type.in_(MAIL))


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
    marks: list[dict[str, int]] = []
    for rows in _near(connection, _spans(stored, received_us)).values():
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


def _spans(stored: Iterable[Event], received_us: int) -> list[Span]:
    """Return the times near mail events, by lead; none touches another."""
    found: list[Span] = []
    moments = {(e.lead_id, min(e.occurred_us, received_us)) for e in stored if e.event_type in MAIL}
    for lead_id, moment_us in sorted(moments):
        span = Span(lead_id, moment_us - REACH_US, moment_us + REACH_US)
        if found and found[-1].lead_id == lead_id and found[-1].to_us >= span.from_us:
            span = Span(lead_id, found.pop().from_us, span.to_us)
        found.append(span)
    return found


def _near(connection: sa.Connection, spans: Sequence[Span]) -> dict[str, list[sa.Row[Any]]]:
    """Return by lead, in order of time, the mail events within spans."""
    found: dict[str, list[sa.Row[Any]]] = defaultdict(list)
    for start in range(0, len(spans), SPANS_AT_ONCE):
        some = spans[start : start + SPANS_AT_ONCE]
        if len(some) > 1:
            some = [*some, *[some[-1]] * (SPANS_AT_ONCE - len(some))]  # few statements are prepared
        wanted = {
            f"{name}_{at}": value
            for at, span in enumerate(some)
            for name, value in zip(("lead", "from", "to"), span, strict=True)
        }
        for row in connection.execute(_within(len(some)), wanted):
            found[row.lead_id].append(row)
    return {lead_id: sorted(rows, key=_us) for lead_id, rows in found.items()}
