"""A table of a SQL database as Arrow columns; what they must hold is not here."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from features.contract import ContractError, Example
from features.faults import shown
from features.rules import found

if TYPE_CHECKING:
    import sqlalchemy as sa


@dataclass(frozen=True)
class SqlTable:
    """A table behind a SQLAlchemy URL whose fragment names it: ``sqlite:///crm.db#leads``.

    Attributes
    ----------
    table : str
        The table of the contract it holds, for findings.
    url : str
        Its fragment is a table, or schema.table.
    """

    table: str
    url: str
    label: str = ""

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns; their types are known when they are read, but bytes are told from text."""
        import sqlalchemy as sa  # noqa: PLC0415

        return pa.schema(
            [
                (column.name, pa.binary() if isinstance(column.type, sa.LargeBinary) else pa.null())
                for column in self._reflected.columns
            ]
        )

    def read(
        self, names: Sequence[str], categories: Sequence[str]
    ) -> tuple[pa.Table, tuple[Example, ...]]:
        """Read columns; types that Arrow lacks (UUID, JSON) are read as text."""
        import pandas as pd  # noqa: PLC0415
        import sqlalchemy as sa  # noqa: PLC0415

        plain = (sa.Numeric, sa.Integer, sa.Boolean, sa.DateTime, sa.Date, sa.String)
        columns = [self._reflected.c[name] for name in names]
        query = sa.select(
            *(
                c if isinstance(c.type, plain) else sa.cast(c, sa.String).label(c.name)
                for c in columns
            )
        )
        try:
            with self._engine.connect() as connection:
                frame = pd.read_sql_query(query, connection, dtype_backend="pyarrow")
        except sa.exc.SQLAlchemyError as reason:
            raise self._refused(reason) from reason
        finally:
            self._engine.dispose()
        return pa.table({name: _column(frame[name]) for name in names}), ()

    def places(self, rows: Sequence[int]) -> list[str]:
        """Say which rows these are in the order the database gave them, counted from 1."""
        return [f"row {row + 1}" for row in rows]

    @cached_property
    def _engine(self) -> "sa.Engine":
        import sqlalchemy as sa  # noqa: PLC0415

        try:
            url = sa.make_url(self.url.partition("#")[0])
            if url.drivername == "postgresql":
                url = url.set(drivername="postgresql+psycopg")
            return sa.create_engine(url)
        except (sa.exc.SQLAlchemyError, ModuleNotFoundError) as reason:
            raise self._refused(reason) from reason

    @cached_property
    def _reflected(self) -> "sa.Table":
        import sqlalchemy as sa  # noqa: PLC0415

        schema, _, name = self.url.partition("#")[2].rpartition(".")
        engine = self._engine
        if not name:
            raise self._refused("no table is named after a #")
        if engine.dialect.name == "sqlite" and not Path(engine.url.database or "").is_file():
            raise self._refused(f"{engine.url.database} does not exist")
        try:
            return sa.Table(name, sa.MetaData(), schema=schema or None, autoload_with=engine)
        except sa.exc.NoSuchTableError as reason:
            raise self._refused(f"there is no table {reason}") from reason
        except sa.exc.SQLAlchemyError as reason:
            raise self._refused(reason) from reason

    def _refused(self, reason: object) -> ContractError:
        return ContractError([found("cannot_query", self.table, reason=shown(reason))])


def _column(series: Any) -> pa.ChunkedArray:
    try:
        values = pa.array(series, from_pandas=True)
    except pa.ArrowException:  # SQLite keeps any type in any column
        values = pa.array([None if value is None else str(value) for value in series])
    return values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])
