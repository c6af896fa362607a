"""A served MLflow on a real PostgreSQL: register, the gate, the succession, and its end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress

import pytest

from tests.commands import run
from tests.postgres import postgres
from tests.scorers import small_scorer
from training import registry

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(540)]
START_SECONDS, STOP_SECONDS, DOWN_SECONDS = 180, 30, 5


@contextmanager
def mlflow_server(database, folder):
    """Start `mlflow server` in a process group of its own; whatever happens, the group is killed.

    It has its log in a file: a pipe that nobody reads would stop it.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", database,
        "--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1",
        "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | quiet,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/health", process, folder / "server.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_SECONDS)


def wait_until_it_answers(address, process, log):
    give_up = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        with suppress(OSError), urllib.request.urlopen(address, timeout=5):
            return
        time.sleep(0.5)
    raise AssertionError(log.read_text()[-2000:])


def test_a_served_registry_on_postgresql_does_all_and_is_given_up_when_it_is_down(tmp_path):
    small_scorer(1).save(tmp_path / "model")
    forced = ("--force", "--because", "展示会のため", "--json")
    with postgres(tmp_path / "pg") as url:
        database = url.render_as_string(hide_password=False)
        with mlflow_server(database, tmp_path) as uri:
            for version in ("1", "2"):
                made = registry.register(tmp_path / "model", "見込み", uri=uri)
                assert (made.version, made.aliases) == (version, ("challenger",))
                refused = run("promote", "見込み", "--registry", uri)
                assert refused.code == 3
                assert "judged_leads: none are kept with this version" in refused.err
                done = run("promote", "見込み", *forced, "--registry", uri)
                assert done.code == 0
                said = json.loads(done.out)
                assert (said["result"], said["champion"]["version"]) == ("forced", version)
            assert registry.open_model("models:/見込み@champion", uri=uri).version == "2"
            assert run("rollback", "見込み", "--registry", uri).code == 0
            found = json.loads(run("models", "見込み", "--json", "--registry", uri).out)
            assert {v["version"]: v["aliases"] for v in found} == {"2": [], "1": ["champion"]}
            assert {v["version"]: len(v["reigns"]) for v in found} == {"2": 1, "1": 2}
    started = time.monotonic()
    down = run("promote", "見込み", "--registry", uri)
    assert time.monotonic() - started < DOWN_SECONDS
    assert down.code == 4
    assert "Connection refused" in down.err
