"""Who does what is done by the clock, where several processes share a database."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa

from serving.store.database import Database, DatabaseError
from serving.store.dialect import insert
from serving.store.tables import jobs

LEASE_US = 600_000_000
"""For which a job is one process's; if that was killed, another takes it after this."""


@contextmanager
def running(database: Database, name: str, now_us: int) -> Iterator[bool]:
    """Take a job for a block: False where another process is at it.

    When the block ends well it is noted as done, and given back; when it fails, only given back.
    """
    with database.writing() as connection:
        mine = take(connection, name, now_us, LEASE_US)
    if not mine:
        yield False
        return
    try:
        yield True
    except BaseException:
        with suppress(DatabaseError), database.writing() as connection:
            release(connection, name)
        raise
    with database.writing() as connection:
        done(connection, name, now_us)


def take(connection: sa.Connection, name: str, now_us: int, lease_us: int) -> bool:
    """Take a job for a while; False where another has it. Its lease ends by itself.

    One that ends later than it can was taken by a clock that was ahead: it is over.

    Parameters
    ----------
    connection : sa.Connection
        Of a transaction of its own: others see it when that ends.
    name : str
    now_us, lease_us : int
    """
    connection.execute(insert(connection, jobs).values(name=name).on_conflict_do_nothing())
    until_us = jobs.c.locked_until_us
    free = sa.or_(until_us.is_(None), until_us <= now_us, until_us > now_us + lease_us)
    mine = sa.update(jobs).where(jobs.c.name == name, free)
    return bool(connection.execute(mine.values(locked_until_us=now_us + lease_us)).rowcount)


def done(connection: sa.Connection, name: str, now_us: int) -> None:
    """Give a job back, and note when it was done."""
    given = sa.update(jobs).where(jobs.c.name == name)
    connection.execute(given.values(ran_us=now_us, locked_until_us=None))


def release(connection: sa.Connection, name: str) -> None:
    """Give a job back that was not done."""
    given = sa.update(jobs).where(jobs.c.name == name)
    connection.execute(given.values(locked_until_us=None))


def ran_us(connection: sa.Connection, name: str) -> int | None:
    """Return when a job was done last; None where it never was."""
    return connection.execute(sa.select(jobs.c.ran_us).where(jobs.c.name == name)).scalar()
