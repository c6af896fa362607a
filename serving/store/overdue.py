"""Proposals that nobody took in time go back to marketing, and free places are filled."""

from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

from serving.served_model import ModelSlot
from serving.store import handoffs, jobs, life, tables
from serving.store.call import CLOCK, Call
from serving.store.database import Database
from serving.store.handoff import OF_LEADS, Handoff
from serving.store.held import hold
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
        with jobs.running(self.database, JOB, now_us) as lease:
            call = Call(CLOCK, "", now_us, self.slot.model, self.policy)
            expired = filled = AT_ONCE
            while expired and lease.holds():
                expired = self.database.write(partial(_expired, call))
                total += expired
            while filled == AT_ONCE and lease.holds():
                filled = self.database.write(partial(handoffs.fill, call=call, most=AT_ONCE))
        return total


def _expired(call: Call, connection: sa.Connection) -> int:
    rows = tables.handoffs.c
    due = (rows.status == life.PROPOSED) & (rows.due_us <= call.now_us)
    some = sa.select(rows.handoff_id, rows.lead_id).where(due).order_by(rows.seq)
    found = connection.execute(some.limit(AT_ONCE)).all()
    lead_ids = [row.lead_id for row in found]
    hold(connection, lead_ids)
    locked(connection, lead_ids)
    still = OF_LEADS.where(due, rows.handoff_id.in_([row.handoff_id for row in found]))
    own = connection.execute(still.with_for_update(of=tables.handoffs)).all()
    deed = Deed("expire", call.now_us, why=TOO_LATE)
    take(connection, [Move(Handoff.of(row), deed, row.head) for row in own], call, by_service=True)
    return len(found)
