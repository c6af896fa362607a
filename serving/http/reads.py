"""A request that reads, from one state of the database."""

from collections.abc import Callable

import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import Response

from serving.http.direct_route import JsonBytes
from serving.http.problems import MOST_ERRORS, Fault, contradiction, pointer
from serving.http.state import State


async def read(
    state: State, request: Request, work: Callable[[sa.Connection], bytes], scope: str = "read"
) -> Response:
    """Answer a request that reads with the JSON that `work` returns; see `writes.write`.

    A list's filter that there is not is refused: else it would be taken for one that lets all pass.
    """
    await state.gate.admit(request, scope)
    _refuse_unknown(request)

    def done() -> bytes:
        with state.database.reading() as connection:
            return work(connection)

    return JsonBytes(await state.readers.run(done))


def _refuse_unknown(request: Request) -> None:
    known = [field.alias for field in request.scope["route"].dependant.query_params]
    if not known:
        return
    detail = f"is no parameter of this list: it has {', '.join(known)}"
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        faults = [Fault(pointer([name]), detail, "unknown") for name in unknown]
        raise contradiction(faults[:MOST_ERRORS], len(faults))
