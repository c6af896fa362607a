"""What SQLAlchemy writes differently for each database."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def insert(connection: sa.Connection, table: sa.Table) -> Any:
    """Return an INSERT that can say what is done ON CONFLICT."""
    return insert_of(connection.dialect.name, table)


def insert_of(dialect: str, table: sa.Table) -> Any:
    """Return the same by the name of the database's dialect."""
    made = postgresql if dialect == "postgresql" else sqlite
    return made.insert(table)
