import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from serving import server
from serving.server import AddressRefused, refuse_exposed, run
from serving.settings import Settings
from tests.scorers import small_scorer
from training.scorer import ArtifactError

ROOT = Path(__file__).parents[1]
PROGRAM = """
import sys
from functools import partial
from pathlib import Path
from serving.server import run
from serving import settings
from training.scorer import LeadScorer
if __name__ == "__main__":
    stated = settings.read(port=0, workers=int(sys.argv[2]))
    run(partial(LeadScorer.load, Path(sys.argv[1])), stated)
    print("ended in order")
"""
START_SECONDS, STOP_SECONDS = 120, 60
"""Far more than it takes: tests share a machine."""
BODY = json.dumps({"leads": [{"lead_id": "L-1", "created_at": "2026-01-01T00:00:00Z"}]}).encode()
HEAD = (
    "POST /v1/score HTTP/1.1\r\nHost: test\r\nConnection: close\r\n"
    f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
).encode()


class Process:
    """The real server in a process of its own, on a free port."""

    def __init__(self, model, program, workers=1, **environment):
        program.write_text(PROGRAM)
        command = [sys.executable, str(program), str(model), str(workers)]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines = []
        for line in self.process.stderr or ():
            self.lines.append(json.loads(line))
            if self.lines[-1]["message"] == "listening":
                break
        self.address = self.lines[-1]["address"]
        self.port = int(self.address.rpartition(":")[2])

    def ready(self):
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen(f"{self.address}/readyz", timeout=5) as answer:
                    return json.loads(answer.read())
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"not ready after {START_SECONDS} s")

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=STOP_SECONDS)

    def terminate(self):
        """End it as an operator would; how long it took, and what it left to read."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=STOP_SECONDS)
        self.lines += [json.loads(line) for line in err.splitlines()]
        return time.monotonic() - started, out

    def kill(self):
        """Kill it with its workers: one that is left would hold the pipes open for ever."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server") / "model"
    small_scorer(5).save(folder)
    return folder


@pytest.fixture
def started(model, tmp_path):
    running = []

    def start(workers=1, **environment):
        running.append(Process(model, tmp_path / "program.py", workers, **environment))
        return running[-1]

    yield start
    for each in running:
        each.kill()


def answer_of(connection):
    received = b""
    while piece := connection.recv(65_536):
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    return head.split(b"\r\n", 1)[0], json.loads(body)


def test_a_request_in_flight_is_answered_after_sigterm_and_no_new_one_taken(started):
    service = started()
    assert service.ready() == {"status": "ready", "model": "leadqual/local"}
    with service.connect() as connection:
        connection.sendall(HEAD + BODY[:10])
        time.sleep(0.3)
        asked = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        with pytest.raises(ConnectionError):
            service.connect()
        connection.sendall(BODY[10:])
        status, answer = answer_of(connection)
    assert status == b"HTTP/1.1 200 OK"
    assert answer["results"][0]["lead_id"] == "L-1"
    out, _ = service.process.communicate(timeout=STOP_SECONDS)
    assert time.monotonic() - asked < STOP_SECONDS
    assert service.process.returncode == 0
    assert out == "ended in order\n"  # it returns: nothing is raised out of the signal's handler


def test_a_request_that_never_comes_to_an_end_does_not_hold_it_up(started):
    service = started(LEADQUAL_STOP_WITHIN_SECONDS="1")
    service.ready()
    with service.connect() as connection:
        connection.sendall(HEAD + BODY[:10])
        time.sleep(0.3)
        took, _ = service.terminate()
    assert took < 10
    assert Settings().stop_within_seconds <= 15
    assert service.process.returncode == 0


def test_several_workers_serve_and_end_together(started):
    service = started(workers=2)
    service.ready()
    with service.connect() as connection:
        connection.sendall(HEAD + BODY)
        assert answer_of(connection)[0] == b"HTTP/1.1 200 OK"
    took, _ = service.terminate()
    assert took < STOP_SECONDS
    assert service.process.returncode == 0
    with pytest.raises(ConnectionError):
        service.connect()


def test_workers_end_when_the_process_above_them_is_killed(started):
    service = started(workers=2)
    service.ready()
    service.process.kill()
    service.process.communicate(timeout=STOP_SECONDS)  # at the end of what the workers write
    with pytest.raises(ConnectionError):
        service.connect()


def test_the_log_is_json_and_holds_no_lead(started):
    service = started()
    service.ready()
    for body in (BODY, BODY.replace(b"2026", b"yamada")):
        head = HEAD.replace(b"Length: %d" % len(BODY), b"Length: %d" % len(body))
        with service.connect() as connection:
            connection.sendall(head + body)
            answer_of(connection)
    service.terminate()
    assert "listening" in [line["message"] for line in service.lines]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in service.lines)
    assert "L-1" not in str(service.lines)
    assert "yamada" not in str(service.lines)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_others_reach_is_refused_before_the_model_is_opened(host):
    def load():
        raise AssertionError("not asked for")

    with pytest.raises(AddressRefused, match=r"use --host 127\.0\.0\.1"):
        run(load, Settings(host=host))


def test_with_a_database_which_has_keys_any_address_may_be_listened_on(tmp_path):
    def load():
        raise ArtifactError("asked for")

    with pytest.raises(ArtifactError, match="asked for"):
        run(load, Settings(host="0.0.0.0", database_url=f"sqlite:///{tmp_path / 'x.db'}"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_is_allowed(host):
    refuse_exposed(host)


def test_a_model_that_cannot_be_used_is_told_before_anything_listens():
    def load():
        raise ArtifactError("retrain")

    with pytest.raises(ArtifactError, match="retrain"):
        run(load, Settings(port=0))


def test_a_port_that_is_taken_is_told(model):
    before = logging.getLogger().handlers[:]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressRefused, match=f"port {port} .* choose another with --port"):
            run(lambda: small_scorer(5), Settings(port=port))
    logging.getLogger().handlers[:] = before


def test_addresses_are_written_as_urls():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert server.address(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_the_clock_counts_microseconds():
    assert abs(server.now_us() - time.time() * 1e6) < 60e6
