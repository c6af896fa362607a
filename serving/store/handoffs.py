"""Hand-offs: which leads are proposed to sales, and what became of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from serving.store.call import Call


@dataclass(frozen=True)
class Considered:
    """A lead with the decision that stands for it.

    Attributes
    ----------
    row : row of the table `leads`
    decision_id : int
    decision, why : str
    score : float or None
    reasons : list of dict
    suppress : list of str
    inquired, event_came : bool
        Whether an inbound inquiry, or any event, was received since the decision before.
    """

    row: sa.Row[Any]
    decision_id: int
    decision: str
    why: str
    score: float | None
    reasons: list[dict[str, Any]]
    suppress: list[str]
    inquired: bool
    event_came: bool


def consider(connection: sa.Connection, leads: Sequence[Considered], call: Call) -> None:
    """Propose leads to sales where their decisions say so."""
