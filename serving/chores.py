"""What the service does by the clock beside answering; what each of them does is not here."""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import SystemRandom
from time import perf_counter

from serving.store.database import DatabaseError

logger = logging.getLogger(__name__)

STOP_WITHIN_SECONDS = 3
UNIFORM = SystemRandom().random


@dataclass
class Past:
    """How a chore went until now; its thread writes it.

    Attributes
    ----------
    succeeded_us : int
        When it ended well last; 0 where it never did.
    failures : int
        How often it did not.
    """

    succeeded_us: int = 0
    failures: int = 0


@dataclass(frozen=True)
class Chore:
    """Something to do again and again.

    Attributes
    ----------
    name : str
    every_seconds : float
        From its end to its next beginning.
    run : callable
        Does it once. Whatever it raises is logged, and it is tried again after the pause.
    jitter : float
        The share by which a pause may be longer or shorter, so that processes do not go in step.
    past : Past
    """

    name: str
    every_seconds: float
    run: Callable[[], object]
    jitter: float = 0.0
    past: Past = field(default_factory=Past, compare=False)


class Chores:
    """Runs chores, each in a thread of its own, so that none waits for another.

    Parameters
    ----------
    chores : iterable of Chore
    now_us : callable
        The clock, microseconds since the epoch.
    uniform : callable
        Gives numbers in [0, 1) for the jitter.
    """

    def __init__(
        self,
        chores: Iterable[Chore],
        now_us: Callable[[], int],
        uniform: Callable[[], float] = UNIFORM,
    ) -> None:
        self._chores = tuple(chores)
        self._now_us = now_us
        self._uniform = uniform
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin with all of them."""
        for chore in self._chores:
            thread = threading.Thread(
                target=self._repeat, args=(chore,), name=chore.name, daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Begin none again, and wait a while for those that run."""
        self._stopping.set()
        until = perf_counter() + STOP_WITHIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - perf_counter()))

    def _repeat(self, chore: Chore) -> None:
        while not self._stopping.is_set():
            self._once(chore)
            varied = 1 + chore.jitter * (2 * self._uniform() - 1)
            self._stopping.wait(chore.every_seconds * varied)

    def _once(self, chore: Chore) -> None:
        try:
            chore.run()
        except Exception as error:
            chore.past.failures += 1
            if isinstance(error, DatabaseError):
                logger.warning("%s waits: %s", chore.name, error)
            else:
                logger.exception("%s failed", chore.name)
        else:
            chore.past.succeeded_us = self._now_us()
