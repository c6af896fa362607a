"""The file that a backlog's answers are written to: Parquet or CSV by its ending, whole or not at all; who answers is not here."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

ENDINGS = (".parquet", ".csv")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Lets spreadsheets show Japanese."""


class OutputError(OSError):
    """A file that cannot be written: the message says which, why and what to do."""


class UsageError(ValueError):
    """An option that cannot be used as given: the message says what it got and what it takes."""


class Writer(Protocol):
    """What takes the answers, table after table."""

    def write_table(self, table: pa.Table) -> None:
        """Append rows."""

    def close(self) -> None:
        """Finish the file."""


@contextmanager
def answer_file(path: Path) -> Iterator[Callable[[pa.Schema], Writer]]:
    """Open a file for answers at once, so that one that cannot be written is told before the work.

    Rows go to a temporary file in the same folder. It takes the name `path` when the block ends well, after its
    content is on the disk; else it is removed and what stood at `path` stays.

    Parameters
    ----------
    path : Path
        Ends in ``.parquet`` or ``.csv``.

    Yields
    ------
    callable
        Takes the schema of the answers and gives the writer, which the block need not close.

    Raises
    ------
    UsageError
        Another ending.
    OutputError
        The folder is missing, not writable or full.
    """
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"--output {path}: write to a file that ends in .parquet or .csv")
    if path.is_dir():
        raise UsageError(
            f"--output {path} is a folder: name a file in it, such as {path / 'scores.parquet'}"
        )
    staged = path.with_name(f".{path.name}.{os.getpid()}.part")
    with _told(path):
        sink = staged.open("wb")
    writers: list[_Told] = []
    try:
        with sink:

            def begin(schema: pa.Schema) -> Writer:
                writers.append(_Told(path, _writer(sink, path, schema)))
                return writers[-1]

            with _closed_whatever_happens(writers):
                yield begin
            with _told(path):
                sink.flush()
                os.fsync(sink.fileno())
        with _told(path):
            staged.replace(path)
            _sync_folder(path.parent)
    finally:
        staged.unlink(missing_ok=True)


@contextmanager
def _closed_whatever_happens(writers: "list[_Told]") -> Iterator[None]:
    """Close what was opened: with its errors after work that went well, without after work that failed."""
    try:
        yield
    except BaseException:
        for writer in writers:
            with suppress(OSError, pa.ArrowException):
                writer.close()
        raise
    for writer in writers:
        writer.close()


class _Told:
    """A writer whose errors name the file and what to do."""

    def __init__(self, path: Path, writer: Any) -> None:
        self._path, self._writer = path, writer

    def write_table(self, table: pa.Table) -> None:
        with _told(self._path):
            self._writer.write_table(table)

    def close(self) -> None:
        with _told(self._path):
            self._writer.close()


class _Csv:
    """Rows as CSV: times in ISO 8601 with Z, reasons as JSON."""

    def __init__(self, sink: IO[bytes], schema: pa.Schema) -> None:
        sink.write(BYTE_ORDER_MARK)
        self._schema = pa.schema([(field.name, _flat(field.type)) for field in schema])
        self._writer = pa_csv.CSVWriter(sink, self._schema)

    def write_table(self, table: pa.Table) -> None:
        columns = [_as_text(column) for column in table.columns]
        self._writer.write_table(pa.table(columns, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


def _writer(sink: IO[bytes], path: Path, schema: pa.Schema) -> Any:
    if path.suffix.lower() == ".csv":
        return _Csv(sink, schema)
    return pq.ParquetWriter(sink, schema, store_schema=False)


def _flat(kind: pa.DataType) -> pa.DataType:
    nested = pa.types.is_list(kind) or pa.types.is_timestamp(kind) or pa.types.is_dictionary(kind)
    return pa.string() if nested else kind


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_timestamp(column.type):
        return pc.strftime(column, format="%Y-%m-%dT%H:%M:%SZ")
    if pa.types.is_list(column.type):
        rows = column.to_pylist()
        texts = [None if row is None else json.dumps(row, ensure_ascii=False) for row in rows]
        return pa.chunked_array([pa.array(texts, pa.string())])
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}): check that its folder exists, may be written and "
            "has space left; nothing was left behind"
        ) from error


def _sync_folder(folder: Path) -> None:
    """Bring a new name onto the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
