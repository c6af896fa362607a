"""What a service with a database adds: its routes, and what it does by the clock."""

import random

from fastapi import FastAPI
from pydantic import BaseModel

from serving.chores import Chore
from serving.courier import Courier
from serving.http import handoff_schemas, webhook_routes
from serving.http.audit_routes import add_audit_routes
from serving.http.erasure_routes import add_erasure_routes
from serving.http.export_routes import add_export_routes
from serving.http.gate import NOTED_EVERY_SECONDS
from serving.http.handoff_routes import add_handoff_routes
from serving.http.intake_routes import INTAKE_BODIES, add_intake_routes
from serving.http.lead_routes import add_lead_routes
from serving.http.segment_routes import SEGMENT_BODIES, add_segment_routes
from serving.http.state import State
from serving.store.overdue import Overdue
from serving.store.rescoring import Rescoring
from serving.store.retention import Retention
from serving.webhooks import Sender

RESCORE_SECONDS = 15.0
"""Between looking whether all open leads are to be scored again."""
OVERDUE_SECONDS = 30.0
"""Between looking for hand-offs that nobody took in time, and for places that are free."""
DELIVER_SECONDS, RETAIN_SECONDS = 1.0, 3_600.0

BODIES: tuple[type[BaseModel], ...] = (
    *INTAKE_BODIES,
    *SEGMENT_BODIES,
    handoff_schemas.StepIn,
    *dict.fromkeys(handoff_schemas.BODIES.values()),
    *webhook_routes.BODIES,
)
"""What its routes read."""


def add_routes(app: FastAPI, state: State) -> None:
    """Add the routes."""
    add_intake_routes(app, state)
    add_segment_routes(app, state)
    add_lead_routes(app, state)
    add_handoff_routes(app, state)
    add_audit_routes(app, state)
    add_erasure_routes(app, state)
    add_export_routes(app, state)
    webhook_routes.add_webhook_routes(app, state)
    webhook_routes.add_message_routes(app, state)


def chores(state: State) -> list[Chore]:
    """Return what is done beside answering."""
    rescoring = Rescoring(state.database, state.slot, state.policy)
    overdue = Overdue(state.database, state.slot, state.policy)
    sender = Sender(private=state.policy.private_webhooks)
    courier = Courier(state.database, sender, state.now_us, random.random)
    retention = Retention(state.database, state.policy)
    return [
        Chore("rescore", RESCORE_SECONDS, lambda: rescoring.run(state.now_us())),
        Chore("overdue", OVERDUE_SECONDS, lambda: overdue.run(state.now_us())),
        Chore("deliver", DELIVER_SECONDS, courier.begin),
        Chore("keys", NOTED_EVERY_SECONDS, state.gate.tend),
        Chore("retain", RETAIN_SECONDS, lambda: retention.run(state.now_us())),
    ]
