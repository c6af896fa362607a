"""A Parquet file as Arrow columns; what they must hold is not here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from features.contract import ContractError, Example
from features.faults import LONGEST_REASON, shown
from features.remote import opened
from features.rules import found

MAGIC = b"PAR1"
TEXT_BYTES = 4
"""What a text that is not stored as a code takes at least: its length."""
ROWS_AT_ONCE, WIDTH_OF_TEXT = 1 << 19, 20


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file.

    Attributes
    ----------
    table : str
        The table it holds, for findings.
    path : Path
    label : str
        What goes before the row where one of its rows is named.
    """

    table: str
    path: Path
    label: str = ""

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns and their types."""
        try:
            return pq.read_schema(opened(self.path))
        except (pa.ArrowException, OSError) as reason:
            raise self._refused(reason) from reason

    def has_codes(self, name: str) -> bool:
        """Whether a text is mostly stored as codes: as text it takes more bytes a value."""
        about, at = self._metadata, self.schema.names.index(name)
        stored = [about.row_group(group).column(at) for group in range(about.num_row_groups)]
        size = sum(column.total_uncompressed_size for column in stored)
        return size < TEXT_BYTES * sum(column.num_values for column in stored)

    def read(
        self, names: Sequence[str], categories: Sequence[str]
    ) -> tuple[pa.Table, tuple[Example, ...]]:
        """Read columns, some of them as a dictionary if they are text; no row can be torn."""
        try:
            with pq.ParquetFile(
                opened(self.path), read_dictionary=list(categories), pre_buffer=False
            ) as file:
                return file.read(columns=list(names)), ()
        except (pa.ArrowException, OSError) as reason:
            raise self._refused(reason) from reason

    def batches(
        self, names: Sequence[str], categories: Sequence[str]
    ) -> Iterator[tuple[pa.Table, tuple[Example, ...]]]:
        """Read the same some rows at a time."""
        try:
            with pq.ParquetFile(
                opened(self.path), read_dictionary=list(categories), pre_buffer=False
            ) as file:
                for rows in file.iter_batches(ROWS_AT_ONCE, columns=list(names)):
                    yield pa.Table.from_batches([rows]), ()
        except (pa.ArrowException, OSError) as reason:
            raise self._refused(reason) from reason

    def about(self) -> tuple[int, int]:
        """Say how many rows there are, and about how many bytes they take in memory."""
        about = self._metadata
        groups = [about.row_group(at) for at in range(about.num_row_groups)]
        stored = sum(group.total_byte_size for group in groups)  # not compressed, but coded
        return about.num_rows, max(about.num_rows * sum(map(_width, self.schema.types)), stored)

    def places(self, rows: Sequence[int]) -> list[str]:
        """Say which rows of the file these are, counted from 1."""
        before = f"{self.label}, " if self.label else ""
        return [f"{before}row {row + 1}" for row in rows]

    @cached_property
    def _metadata(self) -> pq.FileMetaData:
        try:
            return pq.read_metadata(opened(self.path))
        except (pa.ArrowException, OSError) as reason:
            raise self._refused(reason) from reason

    def _refused(self, reason: Exception) -> ContractError:
        text = shown(reason, LONGEST_REASON)
        finding = found("not_parquet", self.table, path=str(self.path), reason=text)
        return ContractError([finding])


def _width(kind: pa.DataType) -> int:
    """Say about how many bytes a value takes in memory."""
    try:
        return max(int(kind.bit_width) // 8, 1)
    except ValueError:
        return WIDTH_OF_TEXT
