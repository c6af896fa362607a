"""Threads in which one kind of request asks the database, so that another kind need not wait."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar
from weakref import finalize

from serving.http import problems
from serving.store.database import Database, DatabaseError

Result = TypeVar("Result")
Asked = tuple["Future[Any]", Callable[[], Any]]

MOST_WAITING = 500


class Lane:
    """So many calls at a time; the others wait in turn.

    Its threads are daemons, which those of an executor are not: a process ends though the database
    hangs.

    Parameters
    ----------
    database : Database
        That is asked.
    threads : int
        Busy for as long as what was asked goes on, though nobody waits for it any more.
    seconds : float
        For which a request waits, its turn included.
    """

    def __init__(self, database: Database, threads: int, seconds: float) -> None:
        self._database = database
        self._most = threads
        self._seconds = seconds
        self._queue: SimpleQueue[Asked | None] = SimpleQueue()
        self._threads: list[Thread] = []
        self._asked = 0
        self._counts = Lock()
        finalize(self, _dismiss, self._queue, self._threads).atexit = False

    async def run(self, work: Callable[[], Result]) -> Result:
        """Call something in a thread.

        Raises
        ------
        Problem
            503, too many wait already.
        DatabaseError
            It takes too long. What it writes may be kept, unless its turn had not come.
        """
        asked = self._ask(work)
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.wrap_future(asked)
        except TimeoutError as error:
            raise DatabaseError(
                f"the database {self._database.shown} did not answer within {self._seconds:g} s"
            ) from error

    def _ask(self, work: Callable[[], Result]) -> "Future[Result]":
        asked: Future[Result] = Future()
        context = copy_context()
        with self._counts:
            if self._asked >= self._most + MOST_WAITING:
                raise problems.busy("too many requests wait for the database")
            self._asked += 1
            if len(self._threads) < min(self._asked, self._most):
                self._threads.append(Thread(target=_serve, args=(self._queue,), daemon=True))
                self._threads[-1].start()
        asked.add_done_callback(self._ended)
        self._queue.put((asked, lambda: context.run(work)))
        return asked

    def _ended(self, _asked: "Future[Any]") -> None:
        with self._counts:
            self._asked -= 1


def _serve(queue: "SimpleQueue[Asked | None]") -> None:
    """Do what is asked, unless nobody waits for it any more."""
    while given := queue.get():
        asked, work = given
        if asked.set_running_or_notify_cancel():
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001  # raised by who asked
                asked.set_exception(error)
            else:
                asked.set_result(result)
        del given, asked, work  # a request is not kept until the next one comes


def _dismiss(queue: "SimpleQueue[Asked | None]", threads: list[Thread]) -> None:
    for _ in threads:
        queue.put(None)
