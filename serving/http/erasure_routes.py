"""A lead that is to be forgotten."""

from datetime import datetime
from functools import partial

import anyio.to_thread
import sqlalchemy as sa
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, Field

from serving.http import problems
from serving.http.documented import WRITE_STATUSES, answered
from serving.http.state import State
from serving.http.writes import Written, nothing, write
from serving.store import erasure
from serving.store.call import Call


class ProofOut(BaseModel):
    """The record of an erasure, which holds nothing of the lead."""

    proof_id: str
    lead_hash: str = Field(
        description="Stands for the lead in the audit log and among the tombstones."
    )
    lead_hashes: list[str] = Field(description="Of all ids that stood for the lead, by merges.")
    erased_at: datetime
    rows: dict[str, int] = Field(description="How many were deleted, by table.")
    key_id: str = Field(description="Of the key that asked for it.")
    statement: str


def add_erasure_routes(app: FastAPI, state: State) -> None:
    """Add ``DELETE /v1/leads/{lead_id}``."""

    @app.delete(
        "/v1/leads/{lead_id}", tags=["leads"], responses=answered(ProofOut, 404, *WRITE_STATUSES)
    )
    async def erase(lead_id: str, request: Request) -> Response:
        """Erase a lead with all that was merged with it; the proof is the same when asked again.

        What is sent about it from now on is rejected, and the next training does not know it.
        Endpoints of webhooks are told by `lead.erased`.
        """
        answer = await write(state, request, nothing, partial(_erased, state, lead_id))
        await anyio.to_thread.run_sync(state.database.scrub)
        return answer


def _erased(
    state: State, lead_id: str, connection: sa.Connection, _body: None, call: Call
) -> Written:
    key_id, file = call.client.key_id, state.tombstones_file
    proof = erasure.erase(connection, lead_id, key_id, call.now_us, file)
    if proof is None:
        raise problems.of(404, "unknown_lead", "nothing is known of this lead")
    return Written(proof.encode(), [lead_id])
