"""Who does what is done by the clock, where several processes share a database."""

import sqlalchemy as sa

from serving.store.dialect import insert
from serving.store.tables import jobs


def take(connection: sa.Connection, name: str, now_us: int, lease_us: int) -> bool:
    """Take a job for a while; False where another has it. Its lease ends by itself.

    Parameters
    ----------
    connection : sa.Connection
        Of a transaction of its own: others see it when that ends.
    name : str
    now_us, lease_us : int
    """
    connection.execute(insert(connection, jobs).values(name=name).on_conflict_do_nothing())
    free = sa.or_(jobs.c.locked_until_us.is_(None), jobs.c.locked_until_us <= now_us)
    mine = sa.update(jobs).where(jobs.c.name == name, free)
    return bool(connection.execute(mine.values(locked_until_us=now_us + lease_us)).rowcount)


def done(connection: sa.Connection, name: str, now_us: int) -> None:
    """Give a job back, and note when it was done."""
    given = sa.update(jobs).where(jobs.c.name == name)
    connection.execute(given.values(ran_us=now_us, locked_until_us=None))


def ran_us(connection: sa.Connection, name: str) -> int | None:
    """Return when a job was done last; None where it never was."""
    return connection.execute(sa.select(jobs.c.ran_us).where(jobs.c.name == name)).scalar()
