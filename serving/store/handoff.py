"""A hand-off as it is kept; what may happen to it, and how it is shown, is not here."""

from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa

from serving.store.tables import handoffs, leads


@dataclass(frozen=True)
class Handoff:
    """A row of the table `handoffs`, which says what its columns mean."""

    handoff_id: str
    lead_id: str
    episode: int
    kind: str
    status: str
    decision_id: int
    score: float | None
    reasons: str
    created_us: int
    version: int
    proposed_us: int | None = None
    due_us: int | None = None
    why: str | None = None
    again_us: int | None = None
    again_on: str | None = None
    again_after: int | None = None

    @classmethod
    def of(cls, row: sa.Row[Any]) -> "Handoff":
        """Read a row, which may have other columns, too."""
        return cls(*(getattr(row, name) for name in _NAMES))


_NAMES = [field.name for field in fields(Handoff)]
OF_LEADS = sa.select(
    handoffs, sa.func.coalesce(leads.c.merged_into, leads.c.lead_id).label("head")
).join(leads, leads.c.lead_id == handoffs.c.lead_id)
"""Hand-offs, each with the lead that its lead is now."""
