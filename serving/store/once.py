"""Facts that are stored once, however often and from how many sides at once they are sent."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from serving.store.dialect import insert_of
from serving.store.items import DUPLICATE, STORED, Result

Item = TypeVar("Item")
Key = tuple[Any, ...]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Kind(Generic[Item]):
    """A kind of fact, of which a table holds each one once.

    Attributes
    ----------
    table : sa.Table
    key : tuple of str
        The columns that say whether two are the same one.
    row : callable
        Gives the row of an item that is received at a moment, microseconds since the epoch.
    same : callable
        Tells whether an item says what a row of its key says.
    conflict : Result
        For one that does not.
    """

    table: sa.Table
    key: tuple[str, ...]
    row: Callable[[Item, int], dict[str, Any]]
    same: Callable[[Item, Row], bool]
    conflict: Result


def store(
    connection: sa.Connection,
    kind: Kind[Item],
    sent: Sequence[Item],
    refused: Sequence[Result | None],
    now_us: int,
) -> list[Result]:
    """Store the facts that are not there yet.

    Parameters
    ----------
    connection : sa.Connection
    kind : Kind
    sent : sequence of items
    refused : sequence of Result or None
        For each item why it must not be stored, if so.
    now_us : int
        The moment of receipt.

    Returns
    -------
    list of Result
        One an item, in the same order: of two with one key the first is stored, and the other a
        duplicate, or in conflict where it says something else.
    """
    rows = [None if no else kind.row(item, now_us) for item, no in zip(sent, refused, strict=True)]
    keys = [None if row is None else tuple(row[name] for name in kind.key) for row in rows]
    first: dict[Key, int] = {}
    for at, key in enumerate(keys):
        if key is not None:
            first.setdefault(key, at)
    new, kept = _added(connection, kind, {key: rows[at] or {} for key, at in first.items()})
    results = []
    for at, (item, key, no) in enumerate(zip(sent, keys, refused, strict=True)):
        if key is None:
            results.append(no or STORED)
        elif key in new and first[key] == at:
            results.append(STORED)
        else:
            results.append(DUPLICATE if kind.same(item, kept[key]) else kind.conflict)
    return results


def _added(
    connection: sa.Connection, kind: Kind[Item], rows: Mapping[Key, Row]
) -> tuple[frozenset[Key], dict[Key, Row]]:
    """Insert rows; return the keys of those that are new, and what the table holds of all keys."""
    if not rows:
        return frozenset(), {}
    ordered = [dict(rows[key]) for key in sorted(rows)]  # one order: nobody waits in a circle
    made = _insert(connection.dialect.name, kind.table, kind.key)
    new = frozenset(tuple(row) for row in connection.execute(made, ordered))
    kept = {key: rows[key] for key in new}
    there = [key for key in rows if key not in new]
    if there:
        columns = sa.tuple_(*(kind.table.c[name] for name in kind.key))
        query = sa.select(kind.table).where(columns.in_(there))
        for row in connection.execute(query).mappings():
            kept[tuple(row[name] for name in kind.key)] = dict(row)
    return new, kept


@cache
def _insert(dialect: str, table: sa.Table, key: tuple[str, ...]) -> Any:
    """Return the statement, which takes as long to build as to carry out."""
    made = insert_of(dialect, table).on_conflict_do_nothing(index_elements=key)
    return made.returning(*(table.c[name] for name in key))
