"""Outcomes as they are received, each once; what follows from them is not here."""

from collections.abc import Sequence, Set
from typing import Any

import sqlalchemy as sa

from serving.store import items, once
from serving.store.call import Call
from serving.store.items import Outcome, Result
from serving.store.tables import outcomes


def store(
    connection: sa.Connection, sent: Sequence[Outcome], gone: Set[str], call: Call
) -> list[Result]:
    """Store outcomes that are not there yet, also of leads without a record; see `once.store`."""
    refused = [_refusal(outcome, gone, call) for outcome in sent]
    return once.store(connection, KIND, sent, refused, call.now_us)


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
    recorded_us = items.known_by(outcome.recorded_us, row["received_us"])
    said = outcome.outcome, outcome.amount, recorded_us
    return said == (row["outcome"], row["amount"], row["recorded_us"])


KIND = once.Kind(
    outcomes,
    ("lead_id", "closed_us"),
    _row,
    _same,
    items.rejected("conflict", "closed_at", "has another outcome of this lead already"),
)
