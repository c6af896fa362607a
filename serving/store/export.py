"""The tables as others read them: Arrow, times in UTC, some rows at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from serving.store import tables

TABLES = (
    tables.leads,
    tables.merges,
    tables.changes,
    tables.events,
    tables.outcomes,
    tables.decisions,
    tables.handoffs,
    tables.steps,
    tables.messages,
    tables.audit,
)
"""All but those that hold secrets, and what is of use here only."""
ROWS_AT_ONCE, WIDE_ROWS_AT_ONCE = 10_000, 1_000
WIDE = {"decisions", "handoffs", "messages"}
"""Tables whose rows hold texts of some kB."""
MOMENT = pa.timestamp("us", tz="UTC")
LEAD = {"lead_id": pa.string()}
VIEWS: dict[str, dict[str, pa.DataType]] = {
    "training_leads": LEAD | {"created_at": MOMENT, "account_id": pa.string()},
    "training_events": LEAD
    | {
        "occurred_at": MOMENT,
        "event_type": pa.string(),
        "channel": pa.string(),
        "value": pa.float64(),
        "recorded_at": MOMENT,
    },
    "training_outcomes": LEAD
    | {
        "closed_at": MOMENT,
        "outcome": pa.string(),
        "amount": pa.float64(),
        "recorded_at": MOMENT,
    },
    "training_changes": LEAD
    | {"changed_at": MOMENT, "attribute": pa.string(), "value": pa.string()},
}
NAMES = (*(each.name for each in TABLES), *VIEWS)
"""The tables that are exported, and the views that `leadqual train` takes."""
TYPES: tuple[tuple[type[sa.types.TypeEngine[Any]], pa.DataType], ...] = (
    (sa.Boolean, pa.bool_()),
    (sa.Double, pa.float64()),
    (sa.Integer, pa.int64()),
    (sa.String, pa.string()),
)


@dataclass(frozen=True)
class Exported:
    """A table of the database that is exported.

    Attributes
    ----------
    name : str
    schema : pa.Schema
        A column ``…_us`` of the database is ``…_at`` here.
    """

    name: str
    schema: pa.Schema
    _query: sa.Select[Any]

    def rows(self, connection: sa.Connection) -> int:
        """Count the rows."""
        count = sa.select(sa.func.count()).select_from(self._query.order_by(None).subquery())
        return int(connection.execute(count).scalar_one())

    def parts(self, connection: sa.Connection) -> Iterator[pa.Table]:
        """Read some rows at a time, in the order of their key; the first part may be empty."""
        yield self.schema.empty_table()
        size = WIDE_ROWS_AT_ONCE if self.name in WIDE else ROWS_AT_ONCE
        options = {"stream_results": True, "yield_per": size}
        for rows in connection.execute(self._query, execution_options=options).partitions():
            columns = zip(zip(*rows, strict=True), self.schema, strict=True)
            yield pa.table([_array(values, field.type) for values, field in columns], self.schema)


def table(name: str) -> Exported:
    """Return a table by its name, one of `NAMES`."""
    if name in VIEWS:
        fields = VIEWS[name]
        view = sa.table(name, *(sa.column(each) for each in fields))
        return Exported(name, pa.schema(fields.items()), sa.select(view))
    found = tables.metadata.tables[name]
    fields = {_name(column): _type(column) for column in found.columns}
    query = sa.select(found).order_by(*found.primary_key.columns)
    return Exported(name, pa.schema(fields.items()), query)


def _name(column: sa.Column[Any]) -> str:
    stem, ending, _ = column.name.rpartition("_us")
    if not ending:
        return column.name
    return stem if stem == "at" else f"{stem}_at"


def _type(column: sa.Column[Any]) -> pa.DataType:
    if column.name.endswith("_us"):
        return MOMENT
    return next(ours for theirs, ours in TYPES if isinstance(column.type, theirs))


def _array(values: Sequence[Any], type: pa.DataType) -> pa.Array:
    """Make a column; a time comes as microseconds, or of a view as a time or as text."""
    if type == MOMENT and any(isinstance(value, str) for value in values):
        return pa.array(values, pa.string()).cast(MOMENT)
    return pa.array(values, type)
