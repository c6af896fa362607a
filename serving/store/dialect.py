"""What SQLAlchemy writes differently for each database."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def insert(connection: sa.Connection, table: sa.Table) -> Any:
    """Return an INSERT that can say what is done ON CONFLICT."""
    made = postgresql if connection.dialect.name == "postgresql" else sqlite
    return made.insert(table)
