"""Threads in which one kind of request asks the database, so that another kind need not wait."""

import asyncio
from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

import anyio
import anyio.to_thread

from serving.http import problems
from serving.store.database import Database, DatabaseError

Result = TypeVar("Result")

MOST_WAITING = 500


class Lane:
    """So many calls at a time, the others wait in turn; each event loop has a lane of its own.

    Parameters
    ----------
    database : Database
        That is asked.
    threads : int
    seconds : float
        For which a request waits, its turn included; what it asked for goes on without it.
    """

    def __init__(self, database: Database, threads: int, seconds: float) -> None:
        self._database = database
        self._threads = threads
        self._seconds = seconds
        self._limiters: WeakKeyDictionary[asyncio.AbstractEventLoop, anyio.CapacityLimiter]
        self._limiters = WeakKeyDictionary()

    async def run(self, work: Callable[[], Result]) -> Result:
        """Call something in a thread.

        Raises
        ------
        Problem
            503, too many wait already.
        DatabaseError
            It takes too long. What it writes may be kept.
        """
        loop = asyncio.get_running_loop()
        limiter = self._limiters.get(loop)
        if limiter is None:
            limiter = self._limiters[loop] = anyio.CapacityLimiter(self._threads)
        if limiter.statistics().tasks_waiting >= MOST_WAITING:
            raise problems.busy("too many requests wait for the database")
        try:
            with anyio.fail_after(self._seconds):
                return await anyio.to_thread.run_sync(work, limiter=limiter, abandon_on_cancel=True)
        except TimeoutError as error:
            raise DatabaseError(
                f"the database {self._database.shown} did not answer within {self._seconds:g} s"
            ) from error
