"""A CSV file as columns of text, and the line of each row; what the text means is not here."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from features.arrow_types import CATEGORY
from features.contract import ContractError, Example
from features.faults import LONGEST_REASON, shown
from features.findings import EXAMPLES
from features.remote import opened
from features.rules import found

BLOCK_BYTES = 32 << 20
"""A cell may be as large, and twice."""
BATCH_BYTES = 16 << 20
"""The same where rows are read some at a time."""
COUNTED_BYTES = 1 << 20
COMPRESSED = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".lz4": "lz4"}
PACKED, BYTES_OF_ROW = 16, 60
"""For a guess of how much is in a file."""
LONGEST_CELL = 2**31 - 1
OTHER_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}


class BrokenRecord(csv.Error):
    """A record that is no CSV; `line` is where it starts."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line


@dataclass(frozen=True)
class CsvFile:
    """A CSV file in UTF-8, with a header; also compressed (``.csv.gz``, ``.csv.zst``).

    Attributes
    ----------
    table : str
        The table it holds, for findings.
    path : Path
    label : str
        What goes before the line where one of its rows is named.
    """

    table: str
    path: Path
    label: str = ""

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns, all of them text."""
        return pa.schema([(name, pa.string()) for name in self._head[0]])

    def read(
        self, names: Sequence[str], categories: Sequence[str]
    ) -> tuple[pa.Table, tuple[Example, ...]]:
        """Read columns as text, and the rows with more or fewer cells than the header.

        Parameters
        ----------
        names, categories : sequence of str
            The columns, and those of them to read as a dictionary. An empty cell is null.
        """
        kinds = _kinds(names, categories)
        if len(self._head) == 1 or not names:
            return kinds.empty_table(), ()
        torn: list[int] = []
        try:
            table = pa_csv.read_csv(self._bytes(), **_options(kinds, torn, BLOCK_BYTES))
        except (pa.ArrowException, OSError) as reason:
            raise self._refused(reason) from reason
        return table, self._torn(len(table), len(torn))

    def batches(
        self, names: Sequence[str], categories: Sequence[str]
    ) -> Iterator[tuple[pa.Table, tuple[Example, ...]]]:
        """Read the same some rows at a time; the torn rows come last."""
        if len(self._head) == 1 or not names:
            return
        torn: list[int] = []
        rows = 0
        try:
            options = _options(_kinds(names, categories), torn, BATCH_BYTES)
            with pa_csv.open_csv(self._bytes(), **options) as reader:
                for batch in reader:
                    rows += len(batch)
                    yield pa.Table.from_batches([batch]), ()
        except (pa.ArrowException, OSError) as reason:
            raise self._refused(reason) from reason
        yield _kinds(names, categories).empty_table(), self._torn(rows, len(torn))

    def about(self) -> tuple[int, int]:
        """Say about how many rows there are, and how many bytes they take in memory."""
        packed = PACKED if self.path.suffix.lower() in COMPRESSED else 1
        size = self.path.stat().st_size * packed
        return size // BYTES_OF_ROW, size + size // 2

    def places(self, rows: Sequence[int]) -> list[str]:
        """Say on which line each row starts; rows ascend."""
        wanted, lines = iter(rows), []
        row = next(wanted, None)
        for at, (line, _) in enumerate(self._even()):
            while row is not None and row == at:
                lines.append(self._place(line))
                row = next(wanted, None)
            if row is None:
                break
        return lines

    def _torn(self, rows: int, torn: int) -> tuple[Example, ...]:
        """Give the rows with more or fewer cells; a quote that is left open swallows rows."""
        if self._lines() > 1 + rows + torn:
            self._check_quotes()
        return tuple(self._ragged()) if torn else ()

    @cached_property
    def _head(self) -> list[list[str]]:
        """The header, and the first row where there is one."""
        try:
            head = [cells for _, cells in islice(self._records(), 2)]
        except (UnicodeDecodeError, csv.Error, pa.ArrowException, OSError) as reason:
            raise self._refused(reason) from reason
        if not head:
            raise ContractError([found("empty_file", self.table, path=str(self.path))])
        if len(head[0]) == 1:
            for delimiter, name in OTHER_DELIMITERS.items():
                if delimiter in head[0][0]:
                    finding = found(
                        "wrong_delimiter", self.table, path=str(self.path), delimiter=name
                    )
                    raise ContractError([finding])
        return head

    def _even(self) -> Iterator[tuple[int, list[str]]]:
        """Give the rows that have as many cells as the header."""
        width = len(self._head[0])
        return (
            (line, cells) for line, cells in islice(self._records(), 1, None) if len(cells) == width
        )

    def _ragged(self) -> Iterator[Example]:
        width = len(self._head[0])
        for line, cells in islice(self._records(), 1, None):
            if len(cells) != width:
                yield Example(self._place(line), ",".join(cells))

    def _lines(self) -> int:
        """Count lines; the last one may lack its end."""
        feeds, returns = 1, 1
        with self._bytes() as data:
            while block := data.read(COUNTED_BYTES):
                feeds += block.count(b"\n")
                returns += block.count(b"\r")
        return max(feeds, returns)

    def _check_quotes(self) -> None:
        """Refuse a file in which a row that spans lines does so by a quote that was left open."""
        try:
            for _ in self._records(strict=True):
                pass
        except BrokenRecord as broken:
            place = self._place(broken.line)
            raise ContractError(
                [found("open_quote", self.table, path=str(self.path), place=place)]
            ) from broken

    def _records(self, *, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
        """Give each record with the line it starts on; blank lines are none."""
        limit = csv.field_size_limit(LONGEST_CELL)
        try:
            with io.TextIOWrapper(self._bytes(), encoding="utf-8-sig", newline="") as text:
                reader = csv.reader(text, strict=strict)
                line = 1
                for cells in reader:
                    if cells:
                        yield line, cells
                    line = reader.line_num + 1
        except csv.Error as reason:
            raise BrokenRecord(line, str(reason)) from reason
        finally:
            csv.field_size_limit(limit)

    def _refused(self, reason: Exception) -> ContractError:
        examples = list(islice(self._undecodable(), EXAMPLES))
        if examples:
            finding = found("not_utf8", self.table, examples=examples, path=str(self.path))
        else:
            text = shown(reason, LONGEST_REASON)
            finding = found("not_csv", self.table, path=str(self.path), reason=text)
        return ContractError([finding])

    def _undecodable(self) -> Iterator[Example]:
        try:
            with io.BufferedReader(self._bytes()) as lines:
                for number, line in enumerate(lines, 1):
                    try:
                        line.decode("utf-8")
                    except UnicodeDecodeError:
                        yield Example(self._place(number), shown(line.decode("utf-8", "replace")))
        except (pa.ArrowException, OSError):
            return

    def _bytes(self) -> pa.NativeFile:
        codec = COMPRESSED.get(self.path.suffix.lower())
        return pa.input_stream(opened(self.path), compression=codec)

    def _place(self, line: int) -> str:
        return f"{self.label}, line {line}" if self.label else f"line {line}"


def _kinds(names: Sequence[str], categories: Sequence[str]) -> pa.Schema:
    return pa.schema([(name, CATEGORY if name in categories else pa.string()) for name in names])


def _options(kinds: pa.Schema, torn: list[int], block: int) -> dict[str, Any]:
    """Tell Arrow how to read; the numbers of cells of torn rows are appended to `torn`."""

    def skip(row: pa_csv.InvalidRow) -> str:
        torn.append(row.actual_columns)
        return "skip"

    return {
        "read_options": pa_csv.ReadOptions(block_size=block),
        "parse_options": pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
        "convert_options": pa_csv.ConvertOptions(
            include_columns=kinds.names,
            column_types=kinds,
            null_values=[""],
            strings_can_be_null=True,
        ),
    }
