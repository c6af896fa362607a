"""How the tables of the database came to be, version by version; Alembic carries it out."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

HEAD = "head"
LOCK = 0x6C656164
"""Of PostgreSQL's advisory locks: of several processes that start, one upgrades at a time."""


class Newer(RuntimeError):
    """The database has tables of a version that this one does not know."""


class Older(RuntimeError):
    """The database has tables of an earlier version."""


class Empty(RuntimeError):
    """The database has none of these tables."""


def upgrade(connection: sa.Connection, to: str = HEAD) -> None:
    """Bring the tables up to a version, within the connection's transaction.

    Raises
    ------
    Newer
        They are of a newer one.
    """
    if connection.dialect.name == "postgresql":
        for wait in ("lock_timeout", "statement_timeout"):  # for this transaction
            connection.execute(sa.text(f"SET LOCAL {wait} = 0"))
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
    try:
        if (
            current(connection)
            != ScriptDirectory.from_config(_config(connection)).get_current_head()
        ):
            command.upgrade(_config(connection), to)
    except CommandError as error:
        raise _newer(current(connection)) from error


def check(connection: sa.Connection) -> None:
    """Look whether the tables are of this version; nothing is written.

    Raises
    ------
    Empty, Older, Newer
    """
    found, script = current(connection), ScriptDirectory.from_config(_config(connection))
    if found is None:
        raise Empty("holds no tables of leadqual")
    if found not in {each.revision for each in script.walk_revisions()}:
        raise _newer(found)
    if found != script.get_current_head():
        raise Older("has tables of an earlier version: start `leadqual serve` of this one first")


def downgrade(connection: sa.Connection, to: str) -> None:
    """Bring the tables back to an older version; what only the newer one keeps is lost."""
    command.downgrade(_config(connection), to)


def current(connection: sa.Connection) -> str | None:
    """Return the version of the tables; None where there are none."""
    return MigrationContext.configure(connection).get_current_revision()


def _newer(found: str | None) -> Newer:
    return Newer(
        f"was written by a newer version of leadqual (its tables are {found}): "
        "install that version, or restore the backup from before the upgrade"
    )


def _config(connection: sa.Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
