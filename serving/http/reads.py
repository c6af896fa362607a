"""A request that reads, from one state of the database."""

from collections.abc import Callable

import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import Response

from serving.http.direct_route import JsonBytes
from serving.http.state import State


async def read(
    state: State, request: Request, work: Callable[[sa.Connection], bytes], scope: str = "read"
) -> Response:
    """Answer a request that reads with the JSON that `work` returns; see `writes.write`."""
    await state.gate.admit(request, scope)

    def done() -> bytes:
        with state.database.reading() as connection:
            return work(connection)

    return JsonBytes(await state.readers.run(done))
