"""The service as it is run, `leadqual serve` in a process of its own on a real database."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from serving.store import keys
from serving.store.database import Database

ROOT = Path(__file__).parents[1]
START_SECONDS, STOP_SECONDS = 120, 60
"""Far more than it takes: tests share a machine."""


class Running:
    """A running service; `lines` is what it has logged."""

    def __init__(self, *options, **environment):
        command = [sys.executable, str(ROOT / "leadqual.py"), "serve", "--port=0", *options]
        self.process = subprocess.Popen(
            command,
            env=os.environ | environment,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines: list[dict] = []
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._listening.wait(START_SECONDS), "it does not listen"

    def _read(self):
        assert self.process.stderr
        for line in self.process.stderr:
            if not line.startswith("{"):
                continue  # said, not logged
            self.lines.append(json.loads(line))
            if self.lines[-1]["message"] == "listening":
                self.port = int(self.lines[-1]["address"].rpartition(":")[2])
                self._listening.set()
        self._listening.set()

    def ask(self, method, path, token="", body=None, **headers):
        """Send a request on a connection of its own; return status, headers and JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=STOP_SECONDS)
        try:
            given = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, given | headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), json.loads(answer.read())
        finally:
            connection.close()

    def until(self, status, method, path, *content):
        """Ask until this status comes; return the JSON."""
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up:
            found, _, answer = self.ask(method, path, *content)
            if found == status:
                return answer
            time.sleep(0.2)
        raise AssertionError(f"{path} does not answer {status}")

    def terminate(self):
        """End it as an operator would; return the seconds that it took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(STOP_SECONDS)
        self._reader.join(STOP_SECONDS)
        return time.monotonic() - started


@contextmanager
def running(*options, **environment):
    """Run a service, and end it whatever comes."""
    service = Running(*options, **environment)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            os.killpg(service.process.pid, signal.SIGKILL)
        service.process.wait(STOP_SECONDS)
        service._reader.join(STOP_SECONDS)
        assert service.process.stderr
        service.process.stderr.close()


def key_of(url):
    """Make a key that may do everything."""
    database = Database.open(url)
    with database.writing() as connection:
        token = keys.create(connection, "crm", keys.SCOPES, time.time_ns() // 1_000)
    database.close()
    return token
