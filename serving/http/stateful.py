"""What a service with a database adds: its routes, and what it does by the clock."""

from fastapi import FastAPI
from pydantic import BaseModel

from serving.chores import Chore
from serving.http.intake_routes import INTAKE_BODIES, add_intake_routes
from serving.http.lead_routes import add_lead_routes
from serving.http.segment_routes import SEGMENT_BODIES, add_segment_routes
from serving.http.state import State
from serving.store.rescoring import Rescoring

RESCORE_SECONDS = 15.0
"""Between looking whether all open leads are to be scored again."""

BODIES: tuple[type[BaseModel], ...] = (*INTAKE_BODIES, *SEGMENT_BODIES)
"""What its routes read."""


def add_routes(app: FastAPI, state: State) -> None:
    """Add the routes."""
    add_intake_routes(app, state)
    add_segment_routes(app, state)
    add_lead_routes(app, state)


def chores(state: State) -> list[Chore]:
    """Return what is done beside answering."""
    rescoring = Rescoring(state.database, state.slot, state.policy)
    return [Chore("rescore", RESCORE_SECONDS, lambda: rescoring.run(state.now_us()))]
