"""The whole service on a real database, without a socket: its clock is moved by hand."""

import asyncio
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import cache
from itertools import count

import httpx

from serving.http.app import create_app
from serving.served_model import ModelSlot, ServedModel
from serving.store import keys, tables
from serving.store.call import Call
from serving.store.database import Database
from serving.store.dialect import insert
from serving.store.freshness import refresh
from serving.store.keys import Client
from serving.store.policy import Policy
from tests.scorers import AS_OF_US, small_scorer

NUMBERS = count()


@cache
def served_model(seed=5):
    """Return a small model, one a seed, with a digest as one that was saved has."""
    return ServedModel.of(replace(small_scorer(seed), digest=f"{seed:064x}", version=str(seed)))


class Crm:
    """A CRM that talks to the service: every scope, and a clock at `AS_OF_US`.

    `now_us` may be set; `send` goes through the real application.
    """

    def __init__(self, url, model=None, policy=None, scopes=keys.SCOPES, **options):
        self.now_us = AS_OF_US
        self.policy = policy or Policy()
        self.database = Database.open(url)
        self.slot = ModelSlot(served_model() if model is None else model)
        self.app = create_app(
            self.slot,
            now_us=lambda: self.now_us,
            database=self.database,
            policy=self.policy,
            **options,
        )
        self.token = self.key("crm", scopes)

    def key(self, client, scopes=keys.SCOPES):
        with self.database.writing() as connection:
            return keys.create(connection, client, scopes, self.now_us)

    def send(self, method, path, *, token=None, headers=None, **content):
        (answer,) = self.send_at_once(1, method, path, token=token, headers=headers, **content)
        return answer

    def send_at_once(self, times, method, path, *, token=None, headers=None, **content):
        """Send the same so often at once, or what `content` gives for each number as a function."""
        given = {"authorization": f"Bearer {token or self.token}"} | (headers or {})

        async def sent():
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                requests = [
                    client.request(method, path, headers=given, **_of(content, number))
                    for number in range(times)
                ]
                return await asyncio.gather(*requests)

        return asyncio.run(sent())

    def get(self, path, **content):
        return self.send("GET", path, **content)

    def post(self, path, body, **content):
        return self.send("POST", path, json=body, **content)

    def rows(self, query):
        with self.database.reading() as connection:
            return connection.execute(query).all()

    def close(self):
        self.database.close()


def _of(content, number):
    return {name: each(number) if callable(each) else each for name, each in content.items()}


@contextmanager
def crm(url, **options):
    """Open a CRM and close it."""
    opened = Crm(url, **options)
    try:
        yield opened
    finally:
        opened.close()


def put(crm, *leads, suppress="[]", cause="event", model=...):
    """Put leads, as a request to score has them, into the tables, and refresh them."""
    with crm.database.writing() as connection:
        for lead in leads:
            _put(connection, lead, suppress, crm.now_us)
        call = Call(
            Client("k", "crm", frozenset()),
            "",
            crm.now_us,
            crm.slot.model if model is ... else model,
            crm.policy,
        )
        refresh(connection, [lead["lead_id"] for lead in leads], call, cause)


def _put(connection, lead, suppress, now_us):
    lead_id, created_us = lead["lead_id"], micros(lead["created_at"])
    times = {"created_us": created_us, "received_us": now_us, "changed_us": now_us}
    record = {"lead_id": lead_id, "suppress": suppress, "episode": 0, **times}
    made = insert(connection, tables.leads).values(record)
    fresh = {"suppress": suppress}
    connection.execute(made.on_conflict_do_update(index_elements=["lead_id"], set_=fresh))
    for name, value in lead.get("attributes", {}).items():
        changed = {"changed_us": created_us, "received_us": now_us}
        row = {"lead_id": lead_id, "attribute": name, "value": as_csv(value), **changed}
        connection.execute(tables.changes.insert().values(row))
    for event in lead.get("events", ()):
        recorded = event.get("recorded_at")
        row = {
            "source": "crm",
            "event_id": event.get("event_id") or f"E-{next(NUMBERS)}",
            "lead_id": lead_id,
            "event_type": event["event_type"],
            "channel": event.get("channel"),
            "value": event.get("value"),
            "occurred_us": micros(event["occurred_at"]),
            "recorded_us": recorded and micros(recorded),
            "received_us": now_us,
            "verified": event.get("verified", True),
        }
        connection.execute(tables.events.insert().values(row))


def as_csv(value):
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)


def micros(text):
    return round(datetime.fromisoformat(text).timestamp() * 1_000_000)


def sqlite_steps(connection, work):
    """Count the steps of SQLite's machine that some work takes."""
    taken, own = count(), connection.connection.driver_connection
    own.set_progress_handler(lambda: next(taken) < 0, 1)
    work()
    own.set_progress_handler(None, 0)
    return next(taken)
