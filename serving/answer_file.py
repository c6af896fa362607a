"""The file of answers: Parquet or CSV, whole or not at all; what it says is not decided here."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from features.findings import UsageError

ENDINGS = (".parquet", ".csv")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Lets spreadsheets show Japanese."""


class OutputError(OSError):
    """A file that cannot be written: the message says which, why and what to do."""


@contextmanager
def answer_file(path: Path, staged: Path) -> Iterator[Callable[[pa.Table], None]]:
    """Open a file for answers, at once, so that one that cannot be written is told before the work.

    When the block ends well, and the content of the temporary file is on the disk, it takes the
    name `path`; else it is removed, and what stood at `path` stays.

    Parameters
    ----------
    path : Path
        Ends in ``.parquet`` or ``.csv``. A CSV is UTF-8 with a byte-order mark; its times are
        ISO 8601, its reasons JSON.
    staged : Path
        The temporary file, on the same disk.

    Yields
    ------
    callable
        Appends a table; the first one, which may be empty, decides the columns.

    Raises
    ------
    OutputError
        The folder is missing, not writable or full.
    """
    with told(path):
        rows = Rows(pa.OSFile(str(staged), "wb"), csv=path.suffix.lower() == ".csv")

    def write(table: pa.Table) -> None:
        with told(path):
            rows.write(table)

    try:
        yield write
        with told(path):
            rows.close()
            _sync(staged)
            staged.replace(path)
            _sync(path.parent)
    finally:
        with suppress(OSError, pa.ArrowException):
            rows.close()
        staged.unlink(missing_ok=True)


class Rows:
    """An open file that takes tables, as Parquet or CSV.

    Parameters
    ----------
    sink : pa.NativeFile
        Is closed with it.
    csv : bool
    """

    def __init__(self, sink: pa.NativeFile, *, csv: bool) -> None:
        self._sink = sink
        self._csv = csv
        self._writer: Any = None

    def write(self, table: pa.Table) -> None:
        """Append a table; the first one decides the columns."""
        if self._csv:
            table = pa.table([_as_text(column) for column in table.columns], table.column_names)
        if self._writer is None:
            self._writer = self._begin(table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        """Finish the file, once."""
        writer, self._writer = self._writer, None
        try:
            if writer is not None:
                writer.close()
        finally:
            self._sink.close()

    def _begin(self, schema: pa.Schema) -> Any:
        if not self._csv:
            return pq.ParquetWriter(self._sink, schema, store_schema=False)
        self._sink.write(BYTE_ORDER_MARK)
        return pa_csv.CSVWriter(self._sink, schema)


def check_name(path: Path) -> None:
    """Refuse a name that cannot be an output.

    Raises
    ------
    UsageError
        Another ending, or a folder.
    """
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"--output {path}: name a file that ends in .parquet or .csv")
    with told(path):
        is_folder = path.is_dir()
    if is_folder:
        raise UsageError(
            f"--output {path} is a folder: name a file in it, such as {path / 'scores.parquet'}"
        )


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_timestamp(column.type):
        return pc.strftime(column, format="%Y-%m-%dT%H:%M:%SZ")
    if pa.types.is_list(column.type):
        texts = [None if reasons is None else _as_json(reasons) for reasons in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.string())])
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column


def _as_json(reasons: list[dict[str, str]]) -> str:
    """Write a lead's reasons as JSON; their evidence, which is JSON already, becomes part of it."""
    whole = [reason | {"evidence": json.loads(reason["evidence"])} for reason in reasons]
    return json.dumps(whole, ensure_ascii=False)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Say of an output that cannot be written which it is, why, and what to do."""
    try:
        yield
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise OutputError(
            f"{path} cannot be written ({why}): check that its folder exists, may be written and "
            "has space left; nothing was left behind"
        ) from error


def _sync(path: Path) -> None:
    """Bring a file's content, or a folder's names, onto the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
