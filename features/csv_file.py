"""A CSV file as columns of text, and the line of each row; what the text means is not here."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from features.contract import ContractError, Example
from features.faults import LONGEST_REASON, shown
from features.findings import EXAMPLES
from features.rules import found

BLOCK_BYTES = 32 << 20
"""A cell may be as large, and twice."""
COUNTED_BYTES = 1 << 20
LONGEST_CELL = 2**31 - 1
OTHER_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}


class BrokenRecord(csv.Error):
    """A record that is no CSV; `line` is where it starts."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line


@dataclass(frozen=True)
class CsvFile:
    """A CSV file in UTF-8, with a header; also compressed (``.csv.gz``).

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
        kinds = {
            name: pa.dictionary(pa.int32(), pa.string()) if name in categories else pa.string()
            for name in names
        }
        if len(self._head) == 1 or not names:
            return pa.schema(kinds.items()).empty_table(), ()
        torn = []

        def skip(row: pa_csv.InvalidRow) -> str:
            torn.append(row.actual_columns)
            return "skip"

        try:
            table = pa_csv.read_csv(
                self.path,
                read_options=pa_csv.ReadOptions(block_size=BLOCK_BYTES),
                parse_options=pa_csv.ParseOptions(
                    newlines_in_values=True, invalid_row_handler=skip
                ),
                convert_options=pa_csv.ConvertOptions(
                    include_columns=list(names),
                    column_types=kinds,
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )
        except (pa.ArrowException, OSError) as reason:
            raise self._refused(reason) from reason
        if self._lines() > 1 + len(table) + len(torn):
            self._check_quotes()
        return table, tuple(self._ragged()) if torn else ()

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
        return pa.input_stream(str(self.path), compression="detect")

    def _place(self, line: int) -> str:
        return f"{self.label}, line {line}" if self.label else f"line {line}"
