"""Outcomes as they are received, each once; what follows from them is not here."""

from collections.abc import Sequence, Set
from typing import Any

import sqlalchemy as sa

from features.moments import iso
from serving.store import items, once, outbox
from serving.store.call import Call
from serving.store.items import Outcome, Result
from serving.store.tables import outcomes

MESSAGE = "lead.outcome"


def store(
    connection: sa.Connection, sent: Sequence[Outcome], gone: Set[str], call: Call
) -> list[Result]:
    """Store outcomes that are not there yet, and tell others; see `once.store`.

    They are kept also of leads without a record. One that is there without an amount, as sales said
    of a hand-off, is completed by one that has it.
    """
    refused = [_refusal(outcome, gone, call) for outcome in sent]
    results = once.store(connection, KIND, sent, refused, call.now_us)
    for at, (outcome, result) in enumerate(zip(sent, results, strict=True)):
        if result is KIND.conflict and _completed(connection, outcome):
            results[at] = items.UPDATED
        elif result is items.STORED:
            tell(connection, outcome, call.now_us)
    return results


def tell(connection: sa.Connection, outcome: Outcome, now_us: int) -> None:
    """Tell others of an outcome that was stored."""
    recorded_us = items.known_by(outcome.recorded_us, now_us)
    told = {
        "lead_id": outcome.lead_id,
        "closed_at": iso(outcome.closed_us),
        "outcome": outcome.outcome,
        "amount": outcome.amount,
        "recorded_at": None if recorded_us is None else iso(recorded_us),
    }
    outbox.put(connection, MESSAGE, outcome.lead_id, told, now_us)


def _completed(connection: sa.Connection, outcome: Outcome) -> bool:
    """Add the amount to the same outcome, if it is there without one; tell whether it was."""
    if outcome.amount is None:
        return False
    names = ("lead_id", "closed_us", "outcome")
    same = (outcomes.c[name] == getattr(outcome, name) for name in names)
    own = sa.update(outcomes).where(*same, outcomes.c.amount.is_(None))
    return bool(connection.execute(own.values(amount=outcome.amount)).rowcount)


def _refusal(outcome: Outcome, gone: Set[str], call: Call) -> Result | None:
    if outcome.lead_id in gone:
        return items.erased()
    return items.ahead("closed_at", outcome.closed_us, call.now_us, call.policy.skew_us)


def _row(outcome: Outcome, now_us: int) -> dict[str, Any]:
    return {
        "lead_id": outcome.lead_id,
        "closed_us": outcome.closed_us,
        "outcome": outcome.outcome,
        "amount": outcome.amount,
        "recorded_us": items.known_by(outcome.recorded_us, now_us),
        "received_us": now_us,
    }


def _same(outcome: Outcome, row: once.Row) -> bool:
    """Tell whether an outcome contradicts nothing that is kept; it may leave out some of it."""
    recorded_us = items.known_by(outcome.recorded_us, row["received_us"])
    said = (("amount", outcome.amount), ("recorded_us", recorded_us))
    left = all(value is None or value == row[name] for name, value in said)
    return left and outcome.outcome == row["outcome"]


KIND = once.Kind(
    outcomes,
    ("lead_id", "closed_us"),
    _row,
    _same,
    items.rejected(items.CONFLICT, "closed_at", "has another outcome of this lead already"),
)
