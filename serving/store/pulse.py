"""Whether the database answers, and what stands in it: asked by the clock, never by a request."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import sqlalchemy as sa

from serving.chores import Chore
from serving.store import figures
from serving.store.database import Database, DatabaseError
from serving.store.figures import Figures
from serving.store.tables import facts

BEAT_SECONDS, COUNT_SECONDS = 5.0, 15.0
HANGS_AFTER_SECONDS = 5.0


@dataclass
class Pulse:
    """What was last heard of a database; until it was asked it counts as up.

    Attributes
    ----------
    database : Database
    figures : Figures or None
        As they were counted last.
    """

    database: Database
    figures: Figures | None = None
    _answers: bool = True
    _asked: float | None = None
    _counted: float | None = None

    @property
    def up(self) -> bool:
        """Whether it answered when it was asked last, and does not let us wait now."""
        asked = self._asked
        return self._answers and (asked is None or perf_counter() - asked < HANGS_AFTER_SECONDS)

    @property
    def figures_age_seconds(self) -> float | None:
        """How old the figures are; None where there are none."""
        return None if self._counted is None else perf_counter() - self._counted

    def chores(self, now_us: Callable[[], int]) -> list[Chore]:
        """Return what keeps it current, each in a thread of its own: the database may hang."""
        return [
            Chore("pulse", BEAT_SECONDS, self.beat),
            Chore("figures", COUNT_SECONDS, lambda: self.count(now_us())),
        ]

    def beat(self) -> None:
        """Ask it for one row.

        Raises
        ------
        DatabaseError
            It cannot be reached, and counts as down.
        """
        self._asked = perf_counter()
        try:
            with self.database.reading() as connection:
                connection.execute(sa.select(facts.c.name).limit(1)).all()
            self._answers = True
        except DatabaseError:
            self._answers = False
            raise
        finally:
            self._asked = None

    def count(self, now_us: int) -> None:
        """Count what stands in it.

        Raises
        ------
        DatabaseError
            It cannot be reached; the figures stay as they were.
        """
        with self.database.reading() as connection:
            self.figures = figures.read(connection, now_us)
        self._counted = perf_counter()
