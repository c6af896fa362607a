"""Who does what is done by the clock, where several processes share a database."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

import sqlalchemy as sa

from serving.store.database import Database, DatabaseError
from serving.store.dialect import insert
from serving.store.tables import jobs

SECOND_US = 1_000_000
LEASE_US = 600 * SECOND_US
"""For which a job is one process's; if that was killed, another takes it after this."""
SKEW_US = LEASE_US
"""By so much the clocks of processes may differ."""


@dataclass
class Lease:
    """A job that is this process's for a while, prolonged for as long as it is asked for.

    Attributes
    ----------
    database : Database
    name : str
    now_us : int
        When it was asked for.
    until_us : int or None
        When it ends, by the clock of `now_us`; None where another process is at it.
    """

    database: Database
    name: str
    now_us: int
    until_us: int | None = None
    _began: float = field(default_factory=lambda: perf_counter(), repr=False)

    def holds(self) -> bool:
        """Tell whether the job is still this process's: asked before every part of it.

        Raises
        ------
        DatabaseError
            It was to be prolonged, and could not be.
        """
        now_us = self.now_us + round((perf_counter() - self._began) * SECOND_US)
        if self.until_us is not None and self.until_us - now_us < LEASE_US // 2:
            until_us = now_us + LEASE_US
            kept = self.database.write(partial(_set, self, {"locked_until_us": until_us}))
            self.until_us = until_us if kept else None
        return self.until_us is not None


@contextmanager
def running(database: Database, name: str, now_us: int) -> Iterator[Lease]:
    """Take a job for a block; the lease does not hold where another process is at it.

    When the block ends well it is noted as done, and given back; when it fails, only given back.
    """
    until_us = now_us + LEASE_US
    mine = database.write(partial(take, name=name, now_us=now_us, until_us=until_us))
    lease = Lease(database, name, now_us, until_us if mine else None)
    try:
        yield lease
    except BaseException:
        with suppress(DatabaseError):
            database.write(partial(_set, lease, {"locked_until_us": None}))
        raise
    database.write(partial(_set, lease, {"locked_until_us": None, "ran_us": now_us}))


def take(connection: sa.Connection, name: str, now_us: int, until_us: int) -> bool:
    """Take a job for a while; False where another has it. Its lease ends by itself.

    One that ends much later than it can was taken by a clock that was ahead: it is over.

    Parameters
    ----------
    connection : sa.Connection
        Of a transaction of its own: others see it when that ends.
    name : str
    now_us, until_us : int
    """
    connection.execute(insert(connection, jobs).values(name=name).on_conflict_do_nothing())
    held_us = jobs.c.locked_until_us
    ahead = held_us > now_us + LEASE_US + SKEW_US
    free = sa.or_(held_us.is_(None), held_us <= now_us, ahead)
    mine = sa.update(jobs).where(jobs.c.name == name, free)
    return bool(connection.execute(mine.values(locked_until_us=until_us)).rowcount)


def note(connection: sa.Connection, name: str, now_us: int) -> None:
    """Note that something was done that needs no lease."""
    done = insert(connection, jobs).values(name=name, ran_us=now_us)
    changed = {"ran_us": now_us}
    connection.execute(done.on_conflict_do_update(index_elements=["name"], set_=changed))


def ran_us(connection: sa.Connection, name: str) -> int | None:
    """Return when a job was done last; None where it never was."""
    return connection.execute(sa.select(jobs.c.ran_us).where(jobs.c.name == name)).scalar()


def _set(lease: Lease, values: dict[str, int | None], connection: sa.Connection) -> bool:
    """Change a job that is this process's still; tell whether it is."""
    if lease.until_us is None:
        return False
    own = (jobs.c.name == lease.name) & (jobs.c.locked_until_us == lease.until_us)
    return bool(connection.execute(sa.update(jobs).where(own).values(values)).rowcount)
