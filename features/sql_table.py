"""A table of a SQL database as Arrow columns; what they must hold is not here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from features.arrow_types import common_type
from features.contract import ContractError, Example
from features.faults import LONGEST_REASON, shown
from features.rules import found

if TYPE_CHECKING:
    import sqlalchemy as sa

ROWS_AT_ONCE, BYTES_OF_VALUE = 50_000, 30
CONNECT_SECONDS = 10


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
        if not names:
            return pa.table({}), ()
        parts = list(self._arrays(names))
        columns = zip(*parts, strict=True) if parts else [()] * len(names)
        return pa.table([_chunked(arrays) for arrays in columns], names=list(names)), ()

    def batches(
        self, names: Sequence[str], categories: Sequence[str]
    ) -> Iterator[tuple[pa.Table, tuple[Example, ...]]]:
        """Read the same some rows at a time."""
        for arrays in self._arrays(names) if names else ():
            yield pa.table(arrays, names=list(names)), ()

    def about(self) -> tuple[int, int]:
        """Say how many rows there are, and about how many bytes they take in memory."""
        import sqlalchemy as sa  # noqa: PLC0415

        count = sa.select(sa.func.count()).select_from(self._reflected)
        try:
            with self._engine.connect() as connection:
                rows = int(connection.execute(count).scalar_one())
        except sa.exc.SQLAlchemyError as reason:
            raise self._refused(reason) from reason
        return rows, rows * len(self.schema) * BYTES_OF_VALUE

    def _arrays(self, names: Sequence[str]) -> Iterator[list[pa.Array]]:
        import sqlalchemy as sa  # noqa: PLC0415

        query = sa.select(*(_plain(self._reflected.c[name]) for name in names))
        options = {"stream_results": True, "yield_per": ROWS_AT_ONCE}
        try:
            with self._engine.connect() as connection:
                for rows in connection.execute(query, execution_options=options).partitions():
                    yield [_array(values) for values in zip(*rows, strict=True)]
        except sa.exc.SQLAlchemyError as reason:
            raise self._refused(reason) from reason

    def places(self, rows: Sequence[int]) -> list[str]:
        """Say which rows these are in the order the database gave them, counted from 1."""
        return [f"row {row + 1}" for row in rows]

    @property
    def shown(self) -> str:
        """The URL without its password."""
        import sqlalchemy as sa  # noqa: PLC0415

        url, _, name = self.url.partition("#")
        return f"{sa.make_url(url).render_as_string()}#{name}"

    @cached_property
    def _engine(self) -> "sa.Engine":
        import sqlalchemy as sa  # noqa: PLC0415

        try:
            url, options = sa.make_url(self.url.partition("#")[0]), {}
            if url.get_backend_name() == "postgresql":
                url = url.set(drivername="postgresql+psycopg")
                options = {"connect_timeout": CONNECT_SECONDS}
            return sa.create_engine(url, poolclass=sa.NullPool, connect_args=options)
        except ModuleNotFoundError as missing:
            raise self._refused(f"{missing}: pip install 'leadqual[postgres]'") from missing
        except sa.exc.SQLAlchemyError as reason:
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
        return ContractError(
            [found("cannot_query", self.table, reason=shown(reason, LONGEST_REASON))]
        )


def _plain(column: "sa.Column[Any]") -> "sa.ColumnElement[Any]":
    """Ask for text where Arrow lacks the type (UUID, JSON)."""
    import sqlalchemy as sa  # noqa: PLC0415

    known = (sa.Numeric, sa.Float, sa.Integer, sa.Boolean, sa.DateTime, sa.Date, sa.String)
    return column if isinstance(column.type, known) else sa.cast(column, sa.String)


def _array(values: Sequence[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, TypeError):  # SQLite keeps any type in any column
        return pa.array([None if value is None else str(value) for value in values])


def _chunked(arrays: Sequence[pa.Array]) -> pa.ChunkedArray:
    kind = pa.null()
    for array in arrays:
        kind = common_type(kind, array.type) or pa.string()
    return pa.chunked_array([array.cast(kind, safe=False) for array in arrays], kind)
