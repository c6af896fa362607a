"""The whole service on a real database, without a socket: its clock is moved by hand."""

import asyncio
from contextlib import contextmanager
from functools import cache

import httpx

from serving.http.app import create_app
from serving.served_model import ModelSlot, ServedModel
from serving.store import keys
from serving.store.database import Database
from serving.store.policy import Policy
from tests.scorers import AS_OF_US, small_scorer


@cache
def served_model():
    """One small model for all tests that do not need their own."""
    return ServedModel.of(small_scorer(5))


class Crm:
    """A CRM that talks to the service: every scope, and a clock at `AS_OF_US`.

    `now_us` may be set; `send` goes through the real application.
    """

    def __init__(self, url, model=None, policy=None, scopes=keys.SCOPES):
        self.now_us = AS_OF_US
        self.database = Database.open(url)
        self.slot = ModelSlot(served_model() if model is None else model)
        self.app = create_app(
            self.slot, now_us=lambda: self.now_us, database=self.database, policy=policy or Policy()
        )
        self.token = self.key("crm", scopes)

    def key(self, client, scopes=keys.SCOPES):
        with self.database.writing() as connection:
            return keys.create(connection, client, scopes, self.now_us)

    def send(self, method, path, *, token=None, headers=None, **content):
        given = {"authorization": f"Bearer {token or self.token}"} | (headers or {})

        async def sent():
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, path, headers=given, **content)

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


@contextmanager
def crm(url, **options):
    """Open a CRM and close it."""
    opened = Crm(url, **options)
    try:
        yield opened
    finally:
        opened.close()
