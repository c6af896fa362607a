"""A registry as teams run it: MLflow's own server in front of a real PostgreSQL."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException

import pytest

from tests.postgres import postgres
from tests.scorers import small_scorer
from training import registry
from training.registry import RegistryError

pytestmark = pytest.mark.postgres
START_SECONDS = 150


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    connection = HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


@contextmanager
def served(store, artifacts, log):
    """Run a server on loopback, in a process group that is ended whole."""
    port = free_port()
    with log.open("wb") as said:
        server = subprocess.Popen(
            [
                sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store,
                "--artifacts-destination", str(artifacts), "--host", "127.0.0.1",
                "--port", str(port), "--workers", "1",
            ],
            env=os.environ
            | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=said,
            stderr=said,
            start_new_session=True,
        )  # fmt: skip
        try:
            give_up = time.monotonic() + START_SECONDS
            while not answers(port):
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < give_up, log.read_text()
                time.sleep(0.5)
            yield f"http://127.0.0.1:{port}", server
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGCONT)
                os.killpg(server.pid, signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    server.wait(10)
                os.killpg(server.pid, signal.SIGKILL)
            server.wait(10)


def test_a_model_is_registered_promoted_opened_and_rolled_back_and_a_silent_server_is_given_up(
    tmp_path,
):
    scorers = [small_scorer(seed).save(tmp_path / str(seed)) for seed in (1, 2)]
    with postgres() as url:
        store = url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
        with served(store, tmp_path / "artifacts", tmp_path / "server.log") as (uri, server):
            for seed, instead_of in ((1, None), (2, "1")):
                made = registry.register(tmp_path / str(seed), "リード", uri=uri)
                registry.keep_verdict("リード", made.version, {"result": "passed"}, uri=uri)
                registry.promote("リード", made.version, instead_of=instead_of, uri=uri)
            assert registry.judged_leads("リード", "1", tmp_path, uri=uri) is None
            assert registry.open_model("models:/リード@champion", uri=uri).digest == (
                scorers[1].digest
            )
            assert registry.rollback("リード", uri=uri).digest == scorers[0].digest
            found = registry.versions("リード", uri=uri)
            assert [(v.version, v.aliases, v.gate) for v in found] == [
                ("2", (), "passed"),
                ("1", ("champion",), "passed"),
            ]

            os.killpg(server.pid, signal.SIGSTOP)
            started = time.monotonic()
            with pytest.raises(RegistryError, match="timed out"):
                registry.promote("リード", "2", instead_of="1", uri=uri)
            assert time.monotonic() - started < 5
            os.killpg(server.pid, signal.SIGCONT)
            assert registry.standing("リード", "2", uri=uri) == ("2", "1")
        assert not answers(int(uri.rpartition(":")[2]))
