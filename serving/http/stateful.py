"""What a service with a database adds: its routes, and what it does by the clock."""

from fastapi import FastAPI
from pydantic import BaseModel

from serving.chores import Chore
from serving.http import handoff_schemas
from serving.http.handoff_routes import add_handoff_routes
from serving.http.lead_routes import add_lead_routes
from serving.http.state import State
from serving.store.overdue import Overdue
from serving.store.rescoring import Rescoring

RESCORE_SECONDS = 15.0
"""Between looking whether all open leads are to be scored again."""

OVERDUE_SECONDS = 30.0
"""Between looking for hand-offs that nobody took in time, and for places that are free."""

BODIES: tuple[type[BaseModel], ...] = (
    handoff_schemas.StepIn,
    *dict.fromkeys(handoff_schemas.BODIES.values()),
)
"""What its routes read."""


def add_routes(app: FastAPI, state: State) -> None:
    """Add the routes."""
    add_lead_routes(app, state)
    add_handoff_routes(app, state)


def chores(state: State) -> list[Chore]:
    """Return what is done beside answering."""
    rescoring = Rescoring(state.database, state.slot, state.policy)
    overdue = Overdue(state.database, state.slot, state.policy)
    return [
        Chore("rescore", RESCORE_SECONDS, lambda: rescoring.run(state.now_us())),
        Chore("overdue", OVERDUE_SECONDS, lambda: overdue.run(state.now_us())),
    ]
