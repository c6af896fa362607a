"""Threads for one kind of work, so that work of another kind need not wait for them."""

import asyncio
from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

import anyio
import anyio.to_thread

Result = TypeVar("Result")


class Lane:
    """So many calls at a time, the others wait in turn; each event loop has a lane of its own.

    Parameters
    ----------
    threads : int
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._limiters: WeakKeyDictionary[asyncio.AbstractEventLoop, anyio.CapacityLimiter]
        self._limiters = WeakKeyDictionary()

    async def run(self, work: Callable[[], Result], *, abandon: bool = False) -> Result:
        """Call something in a thread; with `abandon` a cancelled one is left to itself."""
        loop = asyncio.get_running_loop()
        limiter = self._limiters.get(loop)
        if limiter is None:
            limiter = self._limiters[loop] = anyio.CapacityLimiter(self._threads)
        return await anyio.to_thread.run_sync(work, limiter=limiter, abandon_on_cancel=abandon)
