"""A table that is too large for the memory, on disk in shares by lead; its checks are not here.

A share holds all rows of its leads and is a source of its own, so that whatever is done with tables
is done share by share. What only the whole column tells goes with it: whether ids are whole
numbers, what the text of a CSV means, and how the history of an attribute is read.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from features import columns as checks
from features import shared_ids
from features.arrow_types import (
    WHOLE,
    Meanings,
    are_whole,
    as_text,
    common_type,
    inner,
    is_text,
    read_as,
)
from features.checked_table import CATEGORIES, Plan
from features.contract import CHANGES, LEADS, ContractError, Example
from features.faults import NO_ROWS, Int64
from features.findings import EXAMPLES, Finding, merged
from features.lookup import hashes
from features.readings import Clues, Reading, readings
from features.shared_ids import Hashes
from features.sources import Form, Layout, Source
from features.threads import in_order

ROW = "__leadqual_row__"
"""The row of the source."""
PLACE = "row:"
"""Before it, where a share names one of its rows."""
ROWS_AT_ONCE = 1 << 18
"""So many are read and put into order together."""
COMPRESSION = "lz4"
THREADS = 2
ID_FILES = 64
"""Over which ids are spread that are to be compared: each is sorted in memory."""

Done = Callable[[int], None]


@dataclass(frozen=True)
class Held:
    """Some leads' rows of a table, in memory; `ROW` may be one of its columns.

    Attributes
    ----------
    table : pa.Table
    label : str
    """

    table: pa.Table
    label: str = ""

    @property
    def schema(self) -> pa.Schema:
        """The columns and their types."""
        return self.table.schema

    @property
    def rows(self) -> Int64:
        """The row of the source that each row is; those of this table where it is not known."""
        if ROW not in self.table.column_names:
            return np.arange(len(self.table))
        return self.table[ROW].to_numpy()

    def read(
        self, names: Sequence[str], categories: Sequence[str]
    ) -> tuple[pa.Table, tuple[Example, ...]]:
        """Read columns."""
        return self.table.select(names), ()

    def batches(
        self, names: Sequence[str], categories: Sequence[str]
    ) -> Iterator[tuple[pa.Table, tuple[Example, ...]]]:
        """Read the same."""
        yield self.read(names, categories)

    def about(self) -> tuple[int, int]:
        """Say how many rows there are, and how many bytes they take."""
        return len(self.table), self.table.nbytes

    def places(self, rows: Sequence[int]) -> list[str]:
        """Name the rows of the source; `named` says where they stand."""
        return [f"{PLACE}{row}" for row in self.rows[np.asarray(rows, np.int64)].tolist()]


@dataclass(frozen=True)
class Share:
    """Some leads' rows of a table, in a file.

    Attributes
    ----------
    path : Path
    ragged : tuple of Example
        Rows that could not be cut into columns, which belong to no lead.
    label : str
    """

    path: Path
    ragged: tuple[Example, ...] = ()
    label: str = ""

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns and their types."""
        with pa.OSFile(str(self.path), "rb") as file, pa.ipc.open_stream(file) as stream:
            return stream.schema

    @cached_property
    def rows(self) -> Int64:
        """The row of the source that each row is."""
        return pa.concat_tables(self._tables([ROW]))[ROW].to_numpy()

    def read(
        self, names: Sequence[str], categories: Sequence[str]
    ) -> tuple[pa.Table, tuple[Example, ...]]:
        """Read columns; `categories` were read as a dictionary when they were split."""
        return stack(self._tables(names)), self.ragged

    def batches(
        self, names: Sequence[str], categories: Sequence[str]
    ) -> Iterator[tuple[pa.Table, tuple[Example, ...]]]:
        """Read the same some rows at a time."""
        yield self.read(names, categories)

    def about(self) -> tuple[int, int]:
        """Say how many rows there are, and about how many bytes they take."""
        return len(self.rows), self.path.stat().st_size

    def places(self, rows: Sequence[int]) -> list[str]:
        """Name the rows of the source; `named` says where they stand."""
        return [f"{PLACE}{row}" for row in self.rows[np.asarray(rows, np.int64)].tolist()]

    def _tables(self, names: Sequence[str]) -> list[pa.Table]:
        found = []
        with pa.OSFile(str(self.path), "rb") as file:
            while file.tell() < file.size():
                with pa.ipc.open_stream(file) as stream:
                    found.append(stream.read_all().select(names))
        return found


@dataclass(frozen=True)
class Split:
    """A table in shares.

    Attributes
    ----------
    origin : Source
    folder : Path
        Of the shares.
    shares : int
        How many there are.
    starts : tuple of int
        The first row of each part of the origin, and the number of all rows.
    ragged : tuple of Example
        Rows that could not be cut into columns.
    wholes, meanings : mapping of column name
        What only the whole column tells: whether ids are whole numbers, and what text means.
    conflicting : tuple of int
        Rows in ascending order whose id stands for another lead's event before.
    readings : mapping of attribute to Reading, or None
        Of changes, where it is known: how each history is read.
    """

    origin: Source
    folder: Path
    shares: int
    starts: tuple[int, ...]
    ragged: tuple[Example, ...]
    wholes: Mapping[str, bool]
    meanings: Mapping[str, int | None]
    conflicting: tuple[int, ...] = ()
    readings: Mapping[str, Reading] | None = None

    @property
    def rows(self) -> int:
        """How many rows there are, torn ones left out."""
        return self.starts[-1]

    def share(self, at: int) -> Source:
        """Give a share; what is to be told of the whole source, the first one tells."""
        part = Share(_path(self.folder, at), self.ragged if at == 0 else ())
        kinds = dict(zip(part.schema.names, part.schema.types, strict=True))
        return Source(
            (part,),
            self.origin.names,
            {**self.origin.kinds, **kinds},
            self.origin.findings if at == 0 else (),
            self._forms,
            np.flatnonzero(np.isin(part.rows, self.conflicting)) if self.conflicting else NO_ROWS,
            self.readings,
        )

    @cached_property
    def _forms(self) -> dict[str, Form]:
        ids = {name: Form(whole=whole) for name, whole in self.wholes.items()}
        return ids | {n: Form(read=partial(read_as, found)) for n, found in self.meanings.items()}

    def source_rows(self, at: int, rows: Int64 | None) -> Int64:
        """Give the rows of the source that rows of a share are; None: all of them."""
        every = Share(_path(self.folder, at)).rows
        return every if rows is None else every[rows]

    @property
    def layout(self) -> Layout:
        """Where the rows stand."""
        return Layout(self.origin.parts, np.array(self.starts))

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` needs, as JSON can hold it."""
        ragged = [[case.where, case.value] for case in self.ragged]
        return {
            "shares": self.shares,
            "starts": self.starts,
            "ragged": ragged,
            "wholes": self.wholes,
            "meanings": self.meanings,
            "conflicting": self.conflicting,
            "readings": self.readings and {n: astuple(each) for n, each in self.readings.items()},
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any], origin: Source, folder: Path) -> "Split":
        """Take up a split that was done before."""
        ragged = tuple(Example(*each) for each in stored["ragged"])
        return cls(
            origin,
            folder,
            stored["shares"],
            tuple(stored["starts"]),
            ragged,
            stored["wholes"],
            stored["meanings"],
            tuple(stored["conflicting"]),
            stored["readings"] and {n: Reading(*each) for n, each in stored["readings"].items()},
        )


def named(layout: Layout, places: Sequence[str]) -> list[str]:
    """Say where rows stand that shares named; other places stay."""
    rows = {text: int(text.removeprefix(PLACE)) for text in places if text.startswith(PLACE)}
    said = dict(zip(rows, layout.places(list(rows.values())), strict=True))
    return [said.get(text, text) for text in places]


def rows_named(places: Sequence[str]) -> list[int]:
    """Give the rows of the source that shares named; -1 for other places, which come first."""
    rows = (text.removeprefix(PLACE) for text in places)
    return [int(row) if row.isdigit() else -1 for row in rows]


def placed(findings: Iterable[Finding], layouts: Mapping[str, Layout]) -> tuple[Finding, ...]:
    """Add up findings of shares, in the order of the tables, with where their first rows stand."""
    every = merged(findings)
    order = [*layouts, *{finding.table for finding in every}]
    every = tuple(sorted(every, key=lambda one: order.index(one.table)))
    return tuple(_placed(finding, layouts.get(finding.table)) for finding in every)


def _placed(finding: Finding, layout: Layout | None) -> Finding:
    rows = rows_named([case.where for case in finding.examples])
    values = [case.value for case in finding.examples]
    order = sorted(range(len(rows)), key=lambda at: (rows[at], values[at]))
    cases = [finding.examples[at] for at in order[:EXAMPLES]]
    if layout is None or not any(case.where.startswith(PLACE) for case in cases):
        return replace(finding, examples=tuple(cases))
    places = named(layout, [case.where for case in cases])
    told = (Example(at, case.value) for at, case in zip(places, cases, strict=True))
    return replace(finding, examples=tuple(told))


def with_readings(
    splits: Mapping[str, Split],
    clues: Callable[[Mapping[str, Source]], Mapping[str, Clues]],
    threads: int = THREADS,
) -> dict[str, Split]:
    """Say how the histories of attributes are read, by all shares of the leads and the changes.

    Parameters
    ----------
    splits : mapping of table name to Split
        Without changes there is nothing to say.
    clues : callable
        Reads what a share of both tells.
    threads : int
    """
    if CHANGES.name not in splits:
        return dict(splits)

    def told(at: int) -> Mapping[str, Clues]:
        return clues({name: splits[name].share(at) for name in (LEADS.name, CHANGES.name)})

    changes = splits[CHANGES.name]
    found = readings(in_order(told, range(changes.shares), threads))
    return {**splits, CHANGES.name: replace(changes, readings=found)}


def split(
    planned: Plan, origin: Source, folder: Path, shares: int, done: Done = lambda rows: None
) -> Split:
    """Write the rows of a table into shares by a hash of their lead's id.

    Parameters
    ----------
    planned : Plan
        What is to be read of it.
    origin : Source
    folder : Path
        Is there, and empty.
    shares : int
    done : callable, optional
        Is told the rows done.

    Raises
    ------
    ContractError
        There is no column of lead ids, or the source cannot be read.
    OSError
        The disk is full.
    """
    lead = planned.chosen.get("lead_id")
    if lead is None or as_text(_empty(origin.kinds[lead])) is None:
        raise ContractError(planned.findings)
    wholes, rows = whole_numbers(planned, origin), _Rows(planned, origin)
    scatter = _Scatter(lead, _event(planned, wholes), wholes, shares)
    first = True
    for scattered in in_order(scatter.order, rows.numbered(), THREADS):
        for at, few in enumerate(scattered.shares()):
            if first or len(few):  # the schema at least
                _append(_path(folder, at), few)
        if scattered.ids is not None:
            shared_ids.note(folder, shares, scattered.ids, scattered.leads)
        first = False
        done(len(scattered.table))
    return Split(
        origin,
        folder,
        shares,
        tuple(rows.starts.tolist()),
        tuple(rows.ragged),
        wholes,
        _meanings(planned, origin),
        tuple(scatter.conflicting(folder).tolist()),
    )


def conflicting(planned: Plan, origin: Source, folder: Path) -> Int64:
    """Give the rows of events whose id stands for another lead's event before, ascending.

    Of a table that is brought into shares elsewhere, where none sees more than its own.

    Parameters
    ----------
    planned : Plan
    origin : Source
    folder : Path
        Is there, and empty; eight bytes an event are kept in it meanwhile.
    """
    wholes = whole_numbers(planned, origin)
    event, lead = _event(planned, wholes), planned.chosen["lead_id"]
    if event is None:
        return NO_ROWS
    scatter = _Scatter(lead, event, wholes, ID_FILES)
    for _, table, _ in origin.batches([event, lead]):
        ids, leads = (hashes(scatter.ids(table, name)) for name in (event, lead))
        shared_ids.note(folder, ID_FILES, ids, leads)
    suspects = shared_ids.suspects(folder, ID_FILES)
    if not len(suspects):
        return NO_ROWS
    found: list[tuple[Int64, pa.Array, pa.Array]] = []
    start = 0
    for _, table, _ in origin.batches([event, lead]):
        few, *of_few = scatter.suspected(table, event, suspects)
        found.append((few + start, *of_few))
        start += len(table)
    some, all_ids, all_leads = map(list, zip(*found, strict=True))
    every = (np.concatenate(some), pa.concat_arrays(all_ids), pa.concat_arrays(all_leads))
    return shared_ids.conflicting([every])


def _event(planned: Plan, wholes: Mapping[str, bool]) -> str | None:
    name = planned.chosen.get("event_id")
    return name if name in wholes else None


class _Scattered(NamedTuple):
    """Some rows in order of their shares, where each share ends, and the hashes of their ids."""

    table: pa.Table
    ends: Int64
    ids: Hashes | None
    leads: Hashes

    def shares(self) -> Iterator[pa.Table]:
        """Give the rows of each share."""
        for start, end in zip([0, *self.ends[:-1]], self.ends, strict=True):
            yield self.table.slice(start, end - start)


class _Scatter(NamedTuple):
    """Orders rows by the share of their lead."""

    lead: str
    event: str | None
    wholes: Mapping[str, bool]
    number: int

    def order(self, given: tuple[int, pa.Table]) -> _Scattered:
        """Order numbered rows."""
        start, table = given
        table = table.append_column(ROW, pa.array(np.arange(start, start + len(table))))
        leads = hashes(self.ids(table, self.lead))
        share = _share_of(leads, self.number)
        order = pa.array(np.argsort(share, kind="stable"))
        return _Scattered(
            table.unify_dictionaries().combine_chunks().take(order),
            np.cumsum(np.bincount(share, minlength=self.number)),
            None if self.event is None else hashes(self.ids(table, self.event)),
            leads,
        )

    def conflicting(self, folder: Path) -> Int64:
        """Give the rows of events whose id stands for another lead's event before."""
        suspects = shared_ids.suspects(folder, self.number)
        if self.event is None or not len(suspects):
            return NO_ROWS
        shares = (Share(_path(folder, at)) for at in range(self.number))
        return shared_ids.conflicting(
            self._suspected(share, self.event, suspects) for share in shares
        )

    def _suspected(
        self, share: Share, event: str, suspects: Hashes
    ) -> tuple[Int64, pa.Array, pa.Array]:
        table, _ = share.read([event, self.lead], ())
        rows, ids, leads = self.suspected(table, event, suspects)
        return share.rows[rows], ids, leads

    def suspected(
        self, table: pa.Table, event: str, suspects: Hashes
    ) -> tuple[Int64, pa.Array, pa.Array]:
        """Give rows, ids and leads of the events of a table whose ids are suspected."""
        ids = self.ids(table, event)
        few = np.flatnonzero(np.isin(hashes(ids) & ~shared_ids.LEAD, suspects))
        leads = self.ids(table, self.lead).take(pa.array(few)).combine_chunks()
        return few, ids.take(pa.array(few)).combine_chunks(), leads

    def ids(self, table: pa.Table, name: str) -> pa.ChunkedArray:
        """Give a column of ids as text."""
        return checks.ids(name, table[name], required=False, whole=self.wholes[name]).values


class _Rows:
    """The rows of a source as they are read, where its parts begin, and the rows that are torn."""

    def __init__(self, planned: Plan, origin: Source) -> None:
        self._origin, self._names = origin, planned.names
        self._categories = [t for ours, t in planned.chosen.items() if ours in CATEGORIES]
        self.starts = np.zeros(len(origin.parts) + 1, np.int64)
        self.ragged: list[Example] = []

    def numbered(self) -> Iterator[tuple[int, pa.Table]]:
        """Give rows with the number of the first one; at least once."""
        read = row = 0
        waiting: list[pa.Table] = []
        for part, given, torn in self._origin.batches(self._names, self._categories):
            table = given.cast(pa.schema(list(map(_movable, given.schema))))
            read += len(table)
            self.starts[part + 1 :] = read
            self.ragged.extend(torn)
            waiting.append(table)
            if read - row >= ROWS_AT_ONCE:
                yield row, stack(waiting)
                row, waiting = read, []
        if waiting:
            yield row, stack(waiting)
        elif not read:
            yield 0, self._origin.read(self._names, self._categories).columns


def _movable(field: pa.Field) -> pa.Field:
    """Give a column a type that Arrow can bring into another order."""
    return field.with_type(pa.string()) if pa.types.is_string_view(field.type) else field


def _path(folder: Path, at: int) -> Path:
    return folder / f"{at:04d}.arrows"


def _append(path: Path, table: pa.Table) -> None:
    """Append a stream to a file of streams: none stays open, and each has its own dictionaries."""
    options = pa.ipc.IpcWriteOptions(compression=COMPRESSION)
    with (
        pa.OSFile(str(path), "ab") as file,
        pa.ipc.new_stream(file, table.schema, options=options) as stream,
    ):
        stream.write_table(table)


def _share_of(hashed: np.typing.NDArray[np.uint64], shares: int) -> np.typing.NDArray[np.uint16]:
    """Give a share by the upper half of a hash."""
    upper = hashed >> np.uint64(32)
    return (upper * np.uint64(shares) >> np.uint64(32)).astype(np.uint16)


def whole_numbers(planned: Plan, origin: Source) -> dict[str, bool]:
    """Say of each column of text or ids whether it is whole numbers."""
    return {
        theirs: _is_whole(origin, theirs)
        for ours, theirs in planned.chosen.items()
        if (column := planned.table.column(ours))
        and column.kind == "text"
        and as_text(_empty(origin.kinds[theirs])) is not None
    }


def _meanings(planned: Plan, origin: Source) -> dict[str, int | None]:
    """Find what the text of each attribute means, where all columns come as text."""
    names = [t for ours, t in planned.chosen.items() if planned.table.column(ours) is None]
    seen = {name: Meanings() for name in names if origin.untyped}
    for _, rows, _ in origin.batches(list(seen)) if seen else ():
        for name, meanings in seen.items():
            meanings.see(rows[name])
    return {name: meanings.found for name, meanings in seen.items()}


def _is_whole(origin: Source, name: str) -> bool:
    """Say whether a column is whole numbers; nearly always its first value tells."""
    for _, rows, _ in origin.batches([name]):
        present = rows[name].drop_null()
        if len(present):
            if pa.types.is_integer(inner(present.type)):
                return True
            if is_text(present.type) and not WHOLE.fullmatch(str(present[0].as_py())):
                return False
            return are_whole(rows[name] for _, rows, _ in origin.batches([name]))
    return False


def _empty(kind: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array([], kind)


def stack(tables: Sequence[pa.Table]) -> pa.Table:
    """Put tables with the same columns one after the other; of a database their types differ."""
    names = tables[0].column_names
    kinds = [(name, _common(table[name].type for table in tables)) for name in names]
    return pa.concat_tables(table.cast(pa.schema(kinds)) for table in tables)


def _common(kinds: Iterator[pa.DataType]) -> pa.DataType:
    found = pa.null()
    for kind in kinds:
        found = common_type(found, kind) or pa.string()
    return found
