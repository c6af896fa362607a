"""Whole tables, streamed from one state of the database."""

import io
import threading
from collections.abc import AsyncIterator, Generator
from typing import Annotated, Any

import anyio
import anyio.to_thread
import pyarrow as pa
from fastapi import FastAPI, Path, Request, Response
from starlette.responses import StreamingResponse

from serving.answer_file import Rows
from serving.http import problems
from serving.http.documented import READ_STATUSES, answered
from serving.http.schemas import Status
from serving.http.state import State
from serving.store import export
from serving.store.database import Database
from serving.store.export import Exported

MOST_AT_ONCE = 2
"""Each holds a connection, and a state of the database, for as long as its reader takes."""
MEDIA = {"parquet": "application/vnd.apache.parquet", "csv": "text/csv; charset=utf-8"}
BINARY = {"schema": {"type": "string", "format": "binary"}}

NAMED = {
    "Content-Disposition": {
        "description": 'The name of the file: `attachment; filename="leads.csv"`.',
        "required": True,
        "schema": {"type": "string"},
    }
}

TableIn = Annotated[str, Path(json_schema_extra={"enum": [*export.NAMES]})]
FormIn = Annotated[str, Path(json_schema_extra={"enum": [*MEDIA]})]
Chunks = Generator[bytes, None, None]


def add_export_routes(app: FastAPI, state: State) -> None:
    """Add ``GET /v1/export/{table}.parquet`` and ``.csv``."""
    slots = threading.BoundedSemaphore(MOST_AT_ONCE)
    told: dict[int | str, dict[str, Any]] = answered(Status, 404, *READ_STATUSES)
    content = {media.partition(";")[0]: BINARY for media in MEDIA.values()}
    told[200] = {
        "description": "The table, with its times in UTC.",
        "content": content,
        "headers": NAMED,
    }

    @app.get(
        "/v1/export/{table}.{form}",
        tags=["export"],
        response_class=Response,
        responses=told,
    )
    async def exported(table: TableIn, form: FormIn, request: Request) -> Response:
        """Return a whole table as it is at one moment; those named training_… are for `train`."""
        await state.gate.admit(request, "admin")
        if table not in export.NAMES or form not in MEDIA:
            raise problems.of(404, "unknown_table", "there is no such table, or no such format")
        if not slots.acquire(blocking=False):
            raise problems.busy(f"{MOST_AT_ONCE} exports are running")
        chunks = _chunks(state.database, export.table(table), slots, csv=form == "csv")
        first = await anyio.to_thread.run_sync(next, chunks)
        named = {"content-disposition": f'attachment; filename="{table}.{form}"'}
        return StreamingResponse(_sent(first, chunks), 200, named, media_type=MEDIA[form])


def _chunks(
    database: Database, table: Exported, slots: threading.BoundedSemaphore, *, csv: bool
) -> Chunks:
    """Write a table into chunks; the database is asked before the first one is there."""
    drain = _Drain()
    try:
        with database.reading(patient=True) as connection:
            rows = Rows(pa.PythonFile(drain, "w"), csv=csv)
            for part in table.parts(connection):
                rows.write(part)
                yield drain.taken()
            rows.close()
        yield drain.taken()
    finally:
        slots.release()


async def _sent(first: bytes, chunks: Chunks) -> AsyncIterator[bytes]:
    try:
        yield first
        while (chunk := await anyio.to_thread.run_sync(next, chunks, None)) is not None:
            yield chunk
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(chunks.close)


class _Drain(io.RawIOBase):
    """A file that is written, and emptied from time to time."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        """Return what was written since the last time."""
        taken, self._parts = b"".join(self._parts), []
        return taken
