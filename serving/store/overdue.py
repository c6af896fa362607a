"""Proposals that nobody took in time go back to marketing, and free places are filled."""

from dataclasses import dataclass

import sqlalchemy as sa

from serving.served_model import ModelSlot
from serving.store import handoffs, jobs, life, tables
from serving.store.call import CLOCK, Call
from serving.store.database import Database
from serving.store.handoff import OF_LEADS, Handoff
from serving.store.policy import Policy
from serving.store.received import locked
from serving.store.reentry import TOO_LATE
from serving.store.steps import Deed, Move, take

JOB = "hand-offs"
AT_ONCE = 200
"""In one transaction: requests that write wait for it."""


@dataclass(frozen=True)
class Overdue:
    """Keeps the clock of the hand-offs.

    Attributes
    ----------
    database : Database
    slot : ModelSlot
    policy : Policy
    """

    database: Database
    slot: ModelSlot
    policy: Policy

    def run(self, now_us: int) -> int:
        """Expire what is overdue, propose what waits for a place; return how many expired.

        Nothing is done where another process is at it.

        Raises
        ------
        DatabaseError
            It goes on with the rest when it is run again.
        """
        total = 0
        with jobs.running(self.database, JOB, now_us) as mine:
            if not mine:
                return 0
            call = Call(CLOCK, "", now_us, self.slot.model, self.policy)
            while expired := self._expired(call):
                total += expired
            while self._filled(call) == AT_ONCE:
                pass
        return total

    def _filled(self, call: Call) -> int:
        with self.database.writing() as connection:
            return handoffs.fill(connection, call, AT_ONCE)

    def _expired(self, call: Call) -> int:
        rows = tables.handoffs.c
        due = (rows.status == life.PROPOSED) & (rows.due_us <= call.now_us)
        some = sa.select(rows.handoff_id, rows.lead_id).where(due).order_by(rows.seq)
        deed = Deed("expire", call.now_us, why=TOO_LATE)
        with self.database.writing() as connection:
            found = connection.execute(some.limit(AT_ONCE)).all()
            locked(connection, [row.lead_id for row in found])
            ids = [row.handoff_id for row in found]
            still = OF_LEADS.where(due, rows.handoff_id.in_(ids))
            own = connection.execute(still.with_for_update(of=tables.handoffs)).all()
            moves = [Move(Handoff.of(row), deed, row.head) for row in own]
            take(connection, moves, call, by_service=True)
        return len(found)
