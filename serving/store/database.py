"""A database that holds the service's state: how it is opened, read and written; not what is in it.

SQLite keeps a write-ahead log that is on disk before a write is acknowledged; one process may write
to it. PostgreSQL serves several.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from features.findings import UsageError
from serving.store import migrations
from serving.store.turns import Turns, of_the_database

BUSY = "busy_timeout=5000"
PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    BUSY,
    "foreign_keys=ON",
    "secure_delete=ON",
)
CONNECT_SECONDS = 5
TURN_SECONDS = 20
"""For which a write waits for its turn; longer than rewriting a file of a gigabyte takes."""
WAITS = {"lock_timeout": 10, "statement_timeout": 60, "idle_in_transaction_session_timeout": 60}
"""Seconds after which PostgreSQL gives up a statement."""
PATIENT = {"statement_timeout": 3_600, "idle_in_transaction_session_timeout": 3_600}
"""The same for whoever reads whole tables, as fast as others take them."""
SILENT_SECONDS = 15
"""After which a connection on which nothing is acknowledged is given up."""
COLLISIONS = ("40001", "40P01")
"""What PostgreSQL calls a transaction that must be tried again, and a deadlock."""
TRIES = 4
"""After so many collisions a write is given up."""
POOL = 16
"""Connections: as many as writers, readers, lookups of keys and what is done by the clock need."""
MEND = "check that it runs, that this URL is right, and the space on its disk"

Result = TypeVar("Result")
logger = logging.getLogger(__name__)


class DatabaseError(RuntimeError):
    """The database cannot be used: for whoever runs it."""


class Collision(DatabaseError):
    """Two transactions stood in each other's way; this one was undone, and may be tried again."""


@dataclass(frozen=True)
class Database:
    """An open database.

    Attributes
    ----------
    engine : sa.Engine
    """

    engine: sa.Engine
    _alone: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _turns: Turns = field(default_factory=Turns, repr=False)

    @classmethod
    def open(cls, url: str, *, create: bool = True) -> "Database":
        """Open a database and bring its tables up to this version's.

        Parameters
        ----------
        url : str
            ``sqlite:///leadqual.db`` (made where there is none) or ``postgresql://…``.
        create : bool
            Whether a file of SQLite is made.

        Raises
        ------
        DatabaseError
            It cannot be reached, was written by a newer version, or is none and not to be made.
        """
        database = cls(_engine(url))
        if (
            not create
            and database.is_sqlite
            and not Path(str(database.engine.url.database)).exists()
        ):
            raise DatabaseError(f"there is no {database.engine.url.database}: check --database-url")
        try:
            with database.writing() as connection:
                migrations.upgrade(connection)
        except DatabaseError:
            database.close()
            raise
        except migrations.Newer as newer:
            database.close()
            raise DatabaseError(f"{database.shown} {newer}") from newer
        return database

    @property
    def is_sqlite(self) -> bool:
        """Whether one process has it for itself."""
        return self.engine.dialect.name == "sqlite"

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return self.engine.url.render_as_string()

    def write(self, work: Callable[[sa.Connection], Result]) -> Result:
        """Do some work in a transaction, and return what it gives when that is on disk.

        On SQLite it may share the transaction with others that wait; see `Turns`. On PostgreSQL it
        has its own, and is done anew where that met another one.

        Parameters
        ----------
        work : callable
            Given the connection; what it raises undoes it, and is raised here.

        Raises
        ------
        DatabaseError
            As `writing`; also where it had to wait too long.
        """
        if self.is_sqlite:
            try:
                return self._turns.do(work, self.writing, TURN_SECONDS)
            except TimeoutError as error:
                raise self._taken() from error
        for _ in range(TRIES - 1):
            try:
                with self.writing() as connection:
                    return work(connection)
            except Collision:
                logger.info("a transaction is tried again: it met another one")
        with self.writing() as connection:
            return work(connection)

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Give a connection in a transaction that is on disk when the block ends.

        Raises
        ------
        DatabaseError
            It cannot be reached, or its disk is full; nothing of the block was kept, unless the
            connection broke while it was being acknowledged.
        """
        alone = self._alone_in_turn() if self.is_sqlite else nullcontext()
        with self._refusing(), alone, self.engine.begin() as connection:
            yield connection

    @contextmanager
    def _alone_in_turn(self) -> Iterator[None]:
        if not self._alone.acquire(timeout=TURN_SECONDS):
            raise self._taken()
        try:
            yield
        finally:
            self._alone.release()

    def _taken(self) -> DatabaseError:
        return DatabaseError(
            f"the database {self.shown} was written for {TURN_SECONDS} s by others of this "
            "process: send less at a time, or take PostgreSQL"
        )

    @contextmanager
    def reading(self, *, patient: bool = False) -> Iterator[sa.Connection]:
        """Give a connection that sees one state throughout, and writes nothing.

        Parameters
        ----------
        patient : bool
            It may take an hour.

        Raises
        ------
        DatabaseError
            It cannot be reached.
        """
        options = {"leadqual_reads": True, "isolation_level": "REPEATABLE READ"}
        if self.is_sqlite:
            del options["isolation_level"]
        with self._refusing(), self.engine.connect() as connection:
            connection = connection.execution_options(**options)
            if patient and not self.is_sqlite:
                for name, seconds in PATIENT.items():
                    connection.exec_driver_sql(f"SET LOCAL {name} = '{seconds}s'")
            yield connection

    def scrub(self) -> bool:
        """Leave nothing of deleted rows in SQLite's write-ahead log; its pages hold zeros by then.

        Returns
        -------
        bool
            False where somebody was reading: ask again later.
        """
        if not self.is_sqlite:
            return True
        with self._refusing(), self._alone_in_turn(), self._raw() as connection:
            return _checkpointed(connection.cursor())

    def rebuild(self) -> None:
        """Write SQLite's file anew, without the traces that it keeps of rows that were moved.

        Writers wait, some two seconds for every 100 MB; as much room again is needed meanwhile.
        """
        if not self.is_sqlite:
            return
        with self._refusing(), self._alone_in_turn(), self._raw() as connection:
            connection.cursor().execute("VACUUM")
            _checkpointed(connection.cursor())

    def _raw(self) -> AbstractContextManager[Any]:
        return closing(self.engine.raw_connection())

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.SQLAlchemyError as error:
            if not of_the_database(error):
                raise
            raise self._refused(error) from error

    def _refused(self, error: sa.exc.SQLAlchemyError) -> DatabaseError:
        cause = getattr(error, "orig", None) or error
        kind = Collision if getattr(cause, "sqlstate", None) in COLLISIONS else DatabaseError
        reason = str(cause).strip().partition("\n")[0]
        return kind(f"the database {self.shown} cannot be used ({reason}): {MEND}")


def _checkpointed(cursor: Any) -> bool:
    cursor.execute("PRAGMA busy_timeout=0")  # writers wait meanwhile: for no reader
    try:
        busy, _, _ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        cursor.execute(f"PRAGMA {BUSY}")
    return not busy


def _engine(url: str) -> sa.Engine:
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise UsageError(
            "the database URL cannot be read: write sqlite:///leadqual.db or "
            "postgresql://user:password@host/name"
        ) from error
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return _sqlite(parsed)
    if backend == "postgresql":
        return _postgres(parsed.set(drivername="postgresql+psycopg"))
    raise UsageError(
        f"{backend} databases are not supported: write sqlite:///leadqual.db or postgresql://…"
    )


def _sqlite(url: sa.URL) -> sa.Engine:
    if not url.database or url.database == ":memory:":
        raise DatabaseError("the database needs a file: write sqlite:///leadqual.db")
    if not Path(url.database).absolute().parent.is_dir():
        raise DatabaseError(f"the folder of {url.database} does not exist: make it first")
    engine = sa.create_engine(url, pool_size=POOL, max_overflow=0, pool_timeout=CONNECT_SECONDS)

    @sa.event.listens_for(engine, "connect")
    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # SQLAlchemy begins, below
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begun(connection: sa.Connection) -> None:
        reads = connection.get_execution_options().get("leadqual_reads")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _postgres(url: sa.URL) -> sa.Engine:
    waits = (f"-c {name}={seconds}s" for name, seconds in WAITS.items())
    try:
        return sa.create_engine(
            url,
            pool_size=POOL,
            max_overflow=0,
            pool_timeout=CONNECT_SECONDS,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": CONNECT_SECONDS,
                "tcp_user_timeout": SILENT_SECONDS * 1_000,
                "options": " ".join(["-c timezone=utc", *waits]),
            },
        )
    except ModuleNotFoundError as missing:
        raise DatabaseError(
            f"PostgreSQL needs its driver ({missing}): pip install 'leadqual[postgres]'"
        ) from missing
