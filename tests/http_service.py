"""The stateless service for tests."""

import asyncio
import socket
import threading
from contextlib import contextmanager

import httpx
import uvicorn

from serving.http.app import create_app
from serving.served_model import ModelSlot, ServedModel
from tests.scorers import AS_OF_US


class Service:
    """The real application without a socket; its clock stands at `AS_OF`."""

    def __init__(self, scorer=None, slot=None, **options):
        self.scorer = scorer
        self.slot = slot or ModelSlot(None if scorer is None else ServedModel.of(scorer))
        self.app = create_app(self.slot, now_us=lambda: AS_OF_US, **options)

    def send(self, method, path, **content):
        async def sent():
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, path, **content)

        return asyncio.run(sent())

    def get(self, path):
        return self.send("GET", path)

    def score(self, *leads, **fields):
        return self.send("POST", "/v1/score", json={"leads": list(leads), **fields})

    def results(self, *leads, **fields):
        answer = self.score(*leads, **fields)
        assert answer.status_code == 200, answer.text
        return answer.json()["results"]

    def raw(self, body, **headers):
        given = {"content-type": "application/json"} | headers
        return self.send("POST", "/v1/score", content=body, headers=given)

    def start(self):
        """Start the application, and stop it."""

        async def lived():
            async with self.app.router.lifespan_context(self.app):
                pass

        asyncio.run(lived())


@contextmanager
def listening(app, protocol="auto"):
    """Let uvicorn serve an application; yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_level="error", lifespan="off", ws="none", http=protocol)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()
