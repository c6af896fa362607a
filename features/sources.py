"""Where a table is read from: a file, a folder of parts or a database; checks are not here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from features.arrow_types import CATEGORY, common_type, is_text, typed
from features.contract import ContractError, Example, Finding
from features.csv_file import CsvFile
from features.faults import NO_ROWS, Int64
from features.parquet_file import MAGIC, ParquetFile
from features.readings import Reading
from features.remote import is_remote, remote
from features.rules import found
from features.sql_table import SqlTable

PARQUET = (".parquet", ".pq")
CSV = (".csv", ".csv.gz", ".csv.zst")


class Part(Protocol):
    """What one file, or one table of a database, can do."""

    @property
    def label(self) -> str:
        """What goes before the place of one of its rows."""

    @property
    def schema(self) -> pa.Schema:
        """The columns and their types."""

    def read(
        self, names: Sequence[str], categories: Sequence[str]
    ) -> tuple[pa.Table, tuple[Example, ...]]:
        """Read columns, and the rows that could not be cut into columns."""

    def batches(
        self, names: Sequence[str], categories: Sequence[str]
    ) -> Iterator[tuple[pa.Table, tuple[Example, ...]]]:
        """Read the same some rows at a time."""

    def about(self) -> tuple[int, int]:
        """Say about how many rows there are, and how many bytes they take in memory."""

    def places(self, rows: Sequence[int]) -> list[str]:
        """Say where rows stand; they ascend."""


FileParts = ParquetFile | CsvFile


@dataclass(frozen=True)
class Layout:
    """Where the rows of a table stand.

    Attributes
    ----------
    parts : tuple of Part
    starts : int64 [parts + 1]
        The first row of each part.
    """

    parts: tuple[Part, ...]
    starts: Int64

    def places(self, rows: Sequence[int]) -> list[str]:
        """Say where rows stand, in the order given: ``line 7``, ``part-2.parquet, row 7``."""
        wanted = np.unique(np.asarray(rows, np.int64))
        place: dict[int, str] = {}
        for part, start, end in zip(self.parts, self.starts[:-1], self.starts[1:], strict=True):
            here = wanted[(wanted >= start) & (wanted < end)]
            if len(here):
                place |= zip(here.tolist(), part.places((here - start).tolist()), strict=True)
        return [place[row] for row in rows]


@dataclass(frozen=True)
class Extract:
    """Columns that were read.

    Attributes
    ----------
    columns : pa.Table
        Under the names that they have in the source.
    ragged : tuple of Example
        Rows of CSV files with more or fewer cells than the header; they are not in `columns`.
    layout : Layout
    """

    columns: pa.Table
    ragged: tuple[Example, ...]
    layout: Layout


def _as_is(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column


@dataclass(frozen=True)
class Form:
    """How a column is read, as far as only the whole of it tells.

    Attributes
    ----------
    whole : bool or None
        Whether ids are whole numbers; None: the column is whole, and tells it.
    read : callable
        Gives an attribute the type that all of its text has.
    """

    whole: bool | None = None
    read: Callable[[pa.ChunkedArray], pa.ChunkedArray] = _as_is


@dataclass(frozen=True)
class Source:
    """The parts of a table, all with the same columns.

    Attributes
    ----------
    parts : tuple of Part
        At least one.
    names : tuple of str
        The columns; a name may be there twice.
    kinds : mapping of column name to pa.DataType
        What the column of every part can be read as.
    findings : tuple of Finding
    forms : mapping of column name to Form, or None
        Of a share of a table: what only the whole of it tells (see `features.partitions`).
    conflicting : int64
        Rows of such a share whose id stands for an event of another one.
    readings : mapping of attribute to Reading, or None
        Of such a share of changes: how each history is read.
    """

    parts: tuple[Part, ...]
    names: tuple[str, ...]
    kinds: Mapping[str, pa.DataType]
    findings: tuple[Finding, ...] = ()
    forms: Mapping[str, Form] | None = None
    conflicting: Int64 = field(default_factory=lambda: NO_ROWS)
    readings: Mapping[str, Reading] | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the parts; a database has none."""
        return tuple(part.path for part in self.parts if isinstance(part, FileParts))

    @property
    def untyped(self) -> bool:
        """Whether all columns come as text."""
        return isinstance(self.parts[0], CsvFile)

    @property
    def is_share(self) -> bool:
        """Whether these are only some rows of a table: that there are none says nothing."""
        return self.forms is not None

    def form(self, name: str) -> Form:
        """Return how a column is read."""
        if self.forms is not None:
            return self.forms.get(name, Form())
        return Form(read=typed) if self.untyped else Form()

    def has_codes(self, name: str) -> bool:
        """Whether a column is stored as a dictionary: read as one, it is far smaller."""
        return all(isinstance(part, ParquetFile) and part.has_codes(name) for part in self.parts)

    def read(self, names: Sequence[str], categories: Sequence[str]) -> Extract:
        """Read columns; `categories` are those to read as a dictionary if they are text."""
        read = [part.read(names, categories) for part in self.parts]
        tables = [self._alike(table, categories) for table, _ in read]
        return Extract(
            pa.concat_tables(tables),
            tuple(example for _, ragged in read for example in ragged),
            Layout(self.parts, np.cumsum([0, *(table.num_rows for table in tables)])),
        )

    def batches(
        self, names: Sequence[str], categories: Sequence[str] = ()
    ) -> Iterator[tuple[int, pa.Table, tuple[Example, ...]]]:
        """Read columns some rows at a time: the number of the part, rows, and those torn."""
        for at, part in enumerate(self.parts):
            for table, ragged in part.batches(names, categories):
                yield at, self._alike(table, categories), ragged

    def about(self) -> tuple[int, int]:
        """Say about how many rows there are, and how many bytes they take in memory."""
        rows, size = zip(*(part.about() for part in self.parts), strict=True)
        return sum(rows), sum(size)

    def _alike(self, table: pa.Table, categories: Sequence[str]) -> pa.Table:
        if len(self.parts) == 1:
            return table
        kinds = {
            name: CATEGORY if name in categories and is_text(self.kinds[name]) else self.kinds[name]
            for name in table.column_names
        }
        return table.cast(pa.schema(list(kinds.items())), safe=False)


Place = str | Path | Source
"""A CSV, a Parquet file, a folder of parts, a SQL URL with a table, or what was found there."""


def locate(table: str, source: Place) -> Source:
    """Find the parts of a table.

    Raises
    ------
    ContractError
        If there is nothing to read, or the parts differ.
    """
    if isinstance(source, Source):
        return source
    text = str(source)
    place = remote(table, text) if is_remote(text) else Path(source)
    if "://" in text and not is_remote(text):
        parts: tuple[Part, ...] = (SqlTable(table, text),)
        findings: tuple[Finding, ...] = ()
    elif place.is_dir():
        parts, findings = _folder(table, place)
    else:
        parts, findings = (_file(table, place),), ()
    schemas = _schemas(parts)
    return Source(parts, tuple(schemas[0].names), _common(table, parts, schemas), findings)


def _folder(table: str, folder: Path) -> tuple[tuple[Part, ...], tuple[Finding, ...]]:
    seen = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "_")))
    paths = [path for path in seen if path.name.endswith(PARQUET + CSV)]
    if not paths:
        raise ContractError([found("empty_folder", table, path=str(folder))])
    others = [Example("", path.name) for path in seen if path not in paths]
    findings = (found("ignored_files", table, examples=others),) if others else ()
    parts: list[Part] = []
    refused: list[Finding] = []
    for path in paths:
        try:
            parts.append(_file(table, path, path.name))
        except ContractError as error:
            refused += error.findings
    if refused:
        raise ContractError(refused)
    return tuple(parts), findings


def _file(table: str, path: Path, label: str = "") -> Part:
    if not path.is_file():
        raise ContractError([found("no_such_file", table, path=str(path))])
    with path.open("rb") as file:
        start = file.read(len(MAGIC))
    if not start:
        raise ContractError([found("empty_file", table, path=str(path))])
    if start == MAGIC or path.name.endswith(PARQUET):
        return ParquetFile(table, path, label)
    return CsvFile(table, path, label)


def _schemas(parts: Sequence[Part]) -> list[pa.Schema]:
    schemas: list[pa.Schema] = []
    refused: list[Finding] = []
    for part in parts:
        try:
            schemas.append(part.schema)
        except ContractError as error:
            refused += error.findings
    if refused:
        raise ContractError(refused)
    return schemas


def _common(
    table: str, parts: Sequence[Part], schemas: Sequence[pa.Schema]
) -> dict[str, pa.DataType]:
    """Return the type of each column in all parts; the first part is the model."""
    model = dict(zip(schemas[0].names, schemas[0].types, strict=True))
    differences = []
    for part, schema in zip(parts[1:], schemas[1:], strict=True):
        kinds = dict(zip(schema.names, schema.types, strict=True))
        differences += [
            Example(part.label, f"has no {name}") for name in model if name not in kinds
        ]
        differences += [
            Example(part.label, f"has a {name} too") for name in kinds if name not in model
        ]
        for name in model.keys() & kinds.keys():
            common = common_type(model[name], kinds[name])
            if common is None:
                text = f"{name} is {kinds[name]}, not {model[name]}"
                differences.append(Example(part.label, text))
            else:
                model[name] = common
    if differences:
        raise ContractError(
            [found("parts_differ", table, examples=differences, first=parts[0].label)]
        )
    return model
