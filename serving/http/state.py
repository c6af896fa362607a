"""What a service with a database hands to its routes; what they do with it is not here."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from serving.http.gate import Gate
from serving.http.lane import Lane
from serving.http.meters import Meters
from serving.served_model import ModelSlot
from serving.store.database import Database
from serving.store.policy import Policy
from serving.store.turns import TOGETHER

WRITERS, READERS = 5, 5
ANSWER_SECONDS = 30
"""After which a request is told that the database does not answer."""


@dataclass(frozen=True)
class State:
    """The parts of a running service that keeps a history.

    Attributes
    ----------
    database : Database
    gate : Gate
    slot : ModelSlot
    meters : Meters
    now_us : callable
        The clock, microseconds since the epoch.
    policy : Policy
    tombstones_file : Path or None
        Where what was erased is noted for after a restore.
    """

    database: Database
    gate: Gate
    slot: ModelSlot
    meters: Meters
    now_us: Callable[[], int]
    policy: Policy = field(default_factory=Policy)
    tombstones_file: Path | None = None

    @cached_property
    def writers(self) -> Lane:
        """Threads that write: as many as share a commit, or fewer than there are connections."""
        threads = TOGETHER if self.database.is_sqlite else WRITERS
        return Lane(self.database, threads, ANSWER_SECONDS)

    @cached_property
    def readers(self) -> Lane:
        """Threads that read."""
        return Lane(self.database, READERS, ANSWER_SECONDS)
