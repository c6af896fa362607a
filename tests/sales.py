"""Leads as they are considered for sales, with whatever decision a test wants."""

import sqlalchemy as sa

from serving.store import tables
from serving.store.call import Call
from serving.store.dialect import insert
from serving.store.handoffs import Considered, consider
from serving.store.keys import Client
from serving.store.received import locked
from tests.scorers import EPOCH_US

SENDER = Client("k", "crm", frozenset())


def call_of(crm):
    """Return a request of now."""
    return Call(SENDER, "r", crm.now_us, crm.slot.model, crm.policy)


def add_lead(crm, lead_id="L-1"):
    with crm.database.writing() as connection:
        row = {"lead_id": lead_id, "created_us": EPOCH_US, "received_us": EPOCH_US, "episode": 0}
        row |= {"suppress": "[]", "changed_us": EPOCH_US}
        connection.execute(insert(connection, tables.leads).values(row).on_conflict_do_nothing())


def add_event(crm, lead_id="L-1", event_type="web_visit", verified=True):
    """Keep an event; nothing follows from it."""
    with crm.database.writing() as connection:
        number = connection.execute(sa.select(sa.func.count(tables.events.c.seq))).scalar_one()
        row = {"source": "crm", "event_id": f"E-{number}", "lead_id": lead_id}
        row |= {"event_type": event_type, "occurred_us": crm.now_us, "received_us": crm.now_us}
        connection.execute(tables.events.insert().values(**row, verified=verified))


def add_change(crm, lead_id="L-1", attribute="industry", value="finance"):
    """Keep a change of an attribute; nothing follows from it."""
    with crm.database.writing() as connection:
        row = {"lead_id": lead_id, "attribute": attribute, "value": value}
        row |= {"changed_us": crm.now_us, "received_us": crm.now_us}
        connection.execute(tables.changes.insert().values(row))


def decide(crm, *lead_ids, decision="hand_off", score=0.9, suppress=(), inquired=False):
    """Let leads be considered after such a decision; `score` may be one for each."""
    scores = score if isinstance(score, list) else [score] * len(lead_ids)
    with crm.database.writing() as connection:
        rows = {row.lead_id: row for row in locked(connection, lead_ids)}
        considered = [
            Considered(
                row=rows[lead_id],
                decision_id=1,
                decision="suppressed" if suppress else decision,
                why=decision,
                score=own,
                reasons=[],
                suppress=[*suppress],
                inquired=inquired,
            )
            for lead_id, own in zip(lead_ids, scores, strict=True)
        ]
        consider(connection, considered, call_of(crm))


def handoffs(crm, **wanted):
    """Return the rows of hand-offs, the oldest first."""
    query = sa.select(tables.handoffs).order_by(tables.handoffs.c.seq).filter_by(**wanted)
    return crm.rows(query)


def steps(crm, lead_id="L-1"):
    """Return what happened to a lead's hand-offs, as action and status."""
    taken = tables.steps.c
    query = sa.select(taken.action, taken.status).where(taken.lead_id == lead_id)
    return crm.rows(query.order_by(taken.received_us, taken.version))


def close(crm, outcome, lead_id="L-1", closed_us=None):
    """Keep an outcome that was sent by itself; nothing follows from it."""
    with crm.database.writing() as connection:
        row = {"lead_id": lead_id, "outcome": outcome, "received_us": crm.now_us}
        row["closed_us"] = crm.now_us if closed_us is None else closed_us
        connection.execute(tables.outcomes.insert().values(row))


def merge(crm, lead_id, into):
    """Let a lead be another one from now on."""
    with crm.database.writing() as connection:
        own = sa.update(tables.leads).where(tables.leads.c.lead_id == lead_id)
        connection.execute(own.values(merged_into=into))
