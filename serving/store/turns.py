"""Works that wait for a database to which only one may write: those that wait share a commit."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

Result = TypeVar("Result")
Transaction = Callable[[], AbstractContextManager[sa.Connection]]

TOGETHER, TOGETHER_SECONDS = 32, 0.02
"""So many works share a transaction at most, and none joins when it has lasted so long."""


@dataclass(eq=False)
class _Turn(Generic[Result]):
    """A work that waits to be done.

    Attributes
    ----------
    work : callable
    awake : threading.Event
        Set when it is done, or leads.
    leads : bool
        Who brought it does those that wait, this one among them.
    over : bool
        Nobody waits for it any more.
    done : bool
        Its transaction has ended, and it may be asked for its result.
    given : what it gave
    error : BaseException or None
        What kept it from being done.
    """

    work: Callable[[sa.Connection], Result]
    awake: threading.Event = field(default_factory=threading.Event)
    leads: bool = False
    over: bool = False
    done: bool = False
    given: Result | None = None
    error: BaseException | None = None

    def take(self, connection: sa.Connection) -> None:
        """Do it in a savepoint; what it raises is its own, but for what ails the database."""
        try:
            with connection.begin_nested():
                self.given = self.work(connection)
        except BaseException as error:
            if of_the_database(error):
                raise
            self.error = error

    def result(self) -> Result:
        """Return what it gave, or raise what it raised."""
        if self.error is not None:
            raise self.error
        return self.given  # type: ignore[return-value]


class Turns:
    """The works that wait; one of those who brought them does as many as there are at a time.

    A commit takes as long for many as for one: the longer the disk takes, the more wait and are
    done by the next one (group commit).
    """

    def __init__(self) -> None:
        self._waiting: deque[_Turn[Any]] = deque()
        self._lock = threading.Lock()
        self._led = False

    def do(
        self, work: Callable[[sa.Connection], Result], transaction: Transaction, seconds: float
    ) -> Result:
        """Do a work in a transaction, which others may share, and return what it gives.

        Parameters
        ----------
        work : callable
            Given the connection; what it raises undoes it alone, and is raised here.
        transaction : callable
            Gives the connection, and commits when its block ends.
        seconds : float
            For which it waits for others.

        Raises
        ------
        TimeoutError
            They took longer; it was not begun, or its end is not known.
        """
        turn = _Turn(work)
        with self._lock:
            self._waiting.append(turn)
            turn.leads = not self._led
            self._led = True
        if not (turn.leads or turn.awake.wait(seconds)):
            with self._lock:
                turn.over = not turn.awake.is_set()
            if turn.over:
                raise TimeoutError
        if turn.leads:
            try:
                while not turn.done:
                    self._lead(turn, transaction)
            finally:
                self._hand_on()
        return turn.result()

    def _hand_on(self) -> None:
        """Let one of those who wait lead from now on."""
        with self._lock:
            heirs = (turn for turn in self._waiting if not turn.over)
            heir = next(heirs, None)
            self._led = heir is not None
            if heir is not None:
                heir.leads = True
                heir.awake.set()

    def _lead(self, own: _Turn[Any], transaction: Transaction) -> None:
        """Do what waits, in one transaction; where it cannot begin, only the own turn is over."""
        taken: list[_Turn[Any]] = []
        working = False
        try:
            with transaction() as connection:
                working, until = True, monotonic() + TOGETHER_SECONDS
                while turn := self._next(len(taken), until):
                    taken.append(turn)
                    turn.take(connection)
                working = False
        except BaseException as error:  # noqa: BLE001  # raised by each of them
            if working and len(taken) > 1:
                _one_by_one(taken, transaction)
            else:
                taken = taken or [self._withdrawn(own)]
                for turn in taken:
                    turn.error = error
        for turn in taken:
            turn.done = True
            turn.awake.set()

    def _next(self, taken: int, until: float) -> _Turn[Any] | None:
        """Return the next work that somebody waits for, if it may join those that were taken."""
        with self._lock:
            while self._waiting and self._waiting[0].over:
                self._waiting.popleft()
            joins = not taken or (taken < TOGETHER and monotonic() < until)
            return self._waiting.popleft() if self._waiting and joins else None

    def _withdrawn(self, turn: _Turn[Any]) -> _Turn[Any]:
        with self._lock:
            self._waiting.remove(turn)
        return turn


def _one_by_one(turns: Iterable[_Turn[Any]], transaction: Transaction) -> None:
    """Do each work in a transaction of its own: one of several failed as the database does."""
    for turn in turns:
        turn.given = turn.error = None
        try:
            with transaction() as connection:
                turn.take(connection)
        except BaseException as error:  # noqa: BLE001  # raised by whose it is
            turn.error = error


def of_the_database(error: BaseException) -> bool:
    """Tell whether a database cannot be used, rather than what was asked of it."""
    if isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError | sa.exc.TimeoutError):
        return True
    damaged = type(error) is sa.exc.DatabaseError  # of SQLite: no database, or a torn one
    return isinstance(error, sa.exc.DBAPIError) and (error.connection_invalidated or damaged)
