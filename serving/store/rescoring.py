"""Open leads are scored again though nothing came: every night, and by a model that is new."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter, sleep

import sqlalchemy as sa

from serving.served_model import ModelSlot, ServedModel
from serving.store import jobs
from serving.store.call import CLOCK, Call
from serving.store.database import Database
from serving.store.freshness import refresh
from serving.store.held import hold
from serving.store.policy import DAY_US, HOUR_US, Policy
from serving.store.tables import decisions, events, leads, outcomes

JOB = "rescore"
LEADS_AT_ONCE = 50
"""In one transaction: requests that write wait for it, and come in between."""


@dataclass
class Rescoring:
    """Scores what is not fresh, or was judged by another model or before last night.

    Attributes
    ----------
    database : Database
    slot : ModelSlot
    policy : Policy
    pause : callable
        Waits for so many seconds, in which others write.
    """

    database: Database
    slot: ModelSlot
    policy: Policy
    pause: Callable[[float], object] = sleep
    _done: tuple[str, int] | None = None

    def run(self, now_us: int) -> int:
        """Do it where it is due; return the number of leads scored.

        Raises
        ------
        DatabaseError
            It goes on with the rest when it is run again.
        """
        model = self.slot.model
        if model is None:
            return 0
        since_us = night_us(now_us, self.policy.rescore_hour)
        due = (model.scorer.digest, since_us)
        if due == self._done:
            return 0
        total, last = 0, ""
        with jobs.running(self.database, JOB, now_us) as lease:
            while lease.holds() and self.slot.model is model:  # else that one's turn has come
                began = perf_counter()
                scored = self._some(model, since_us, now_us, last)
                if not scored:
                    break
                total, last = total + len(scored), scored[-1]
                self.pause(perf_counter() - began)
            mine = lease.holds()
        if mine and not total:  # else once more: a write that began with the old model may end now
            self._done = due
        return total

    def _some(self, model: ServedModel, since_us: int, now_us: int, after: str) -> list[str]:
        """Score the next leads in order of their ids."""
        call = Call(CLOCK, "", now_us, model, self.policy)
        with self.database.reading() as connection:
            found = connection.execute(_due(model.scorer.digest, since_us, after)).all()
        for cause in ("model", "clock"):
            lead_ids = [row.lead_id for row in found if row.cause == cause]
            self.database.write(partial(_refreshed, lead_ids, call, cause))
        return [row.lead_id for row in found]


def _refreshed(lead_ids: Sequence[str], call: Call, cause: str, connection: sa.Connection) -> None:
    hold(connection, lead_ids)
    refresh(connection, lead_ids, call, cause)


def night_us(now_us: int, hour: int) -> int:
    """Return the last moment at which that hour (UTC) began.

    >>> night_us(DAY_US + 3 * HOUR_US, 2) == DAY_US + 2 * HOUR_US
    True
    >>> night_us(DAY_US + 1 * HOUR_US, 2) == 2 * HOUR_US
    True
    """
    return (now_us - hour * HOUR_US) // DAY_US * DAY_US + hour * HOUR_US


def _due(digest: str, since_us: int, after: str) -> sa.Select[tuple[str, str]]:
    later = (events.c.lead_id == leads.c.lead_id) & (events.c.occurred_us > outcomes.c.closed_us)
    closed = sa.exists().where(outcomes.c.lead_id == leads.c.lead_id, ~sa.exists().where(later))
    stale = leads.c.scored_us.is_(None) | (leads.c.scored_us < leads.c.changed_us)
    other_model = decisions.c.model_digest != digest
    open_ = ~closed & ~leads.c.suppress.contains('"objected"')
    cause = sa.case((stale | other_model, "model"), else_="clock").label("cause")
    return (
        sa.select(leads.c.lead_id, cause)
        .outerjoin(decisions, decisions.c.decision_id == leads.c.decision_id)
        .where(leads.c.lead_id > after, leads.c.merged_into.is_(None))
        .where(stale | (open_ & (other_model | (leads.c.scored_us < since_us))))
        .order_by(leads.c.lead_id)
        .limit(LEADS_AT_ONCE)
    )
