"""Processes that are killed while they register or promote, and two that promote at once."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import leadqual
from tests.scorers import small_scorer
from training import promotion, registry
from training.registry import RegistryError

ROOT = Path(leadqual.__file__).parent
PROMOTE = ("promote", "leads", "--force", "--because", "a test")

KILLED = """
import os, signal, sys
from pathlib import Path
from mlflow import MlflowClient
from training import promotion, registry, tracking

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

{wound}
{act}
"""
REGISTER = "registry.register(Path(sys.argv[1]), 'leads', uri=sys.argv[2])"
MOVE = "registry.promote('leads', '2', instead_of='1', uri=sys.argv[2])"
GATE = "promotion.promote('leads', '2', uri=sys.argv[2], because='a test', now_us=0)"
AFTER = "step = {0}\n{0} = lambda *a, **k: (step(*a, **k), die())"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A registry whose version 1 is the champion and version 2 the challenger, and an artifact."""
    folder = tmp_path_factory.mktemp("prepared")
    small_scorer(1).save(folder / "1")
    small_scorer(2).save(folder / "2")
    uri = f"sqlite:///{folder}/mlflow.db"
    registry.register(folder / "1", "leads", uri=uri)
    registry.promote("leads", "1", instead_of=None, uri=uri)
    registry.register(folder / "2", "leads", uri=uri)
    return folder


@pytest.fixture
def uri(prepared, tmp_path):
    shutil.copy(prepared / "mlflow.db", tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


def killed(wound, act, folder, uri):
    """Run a step in a process that kills itself on the way."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED.format(wound=wound, act=act), str(folder), uri],
        cwd=ROOT,
        env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        check=False,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def champion(uri):
    return registry.open_model("models:/leads@champion", uri=uri).version


@pytest.mark.parametrize(
    "wound",
    [
        "tracking.log_run = die",
        "MlflowClient.create_model_version = die",
        AFTER.format("MlflowClient.create_model_version"),
    ],
)
def test_a_kill_while_registering_serves_nothing_new_and_again_mends_it(uri, prepared, wound):
    killed(wound, REGISTER, prepared / "1", uri)
    assert champion(uri) == "1"
    for version in registry.versions("leads", uri=uri):
        registry.open_model(f"models:/leads/{version.version}", uri=uri)
    made = registry.register(prepared / "1", "leads", uri=uri)
    assert made.aliases == ("challenger",)
    assert registry.open_model("models:/leads@challenger", uri=uri).digest == made.digest


@pytest.mark.parametrize(
    ("wound", "now"),
    [
        ("MlflowClient.set_registered_model_alias = die", "1"),
        (AFTER.format("MlflowClient.set_registered_model_alias"), "2"),
        ("MlflowClient.delete_registered_model_alias = die", "2"),
    ],
)
def test_a_kill_while_promoting_leaves_a_whole_champion_and_again_mends_it(
    uri, prepared, wound, now
):
    killed(wound, MOVE, prepared, uri)
    assert champion(uri) == now
    registry.promote("leads", "2", instead_of=now, uri=uri)
    found = {v.version: v for v in registry.versions("leads", uri=uri)}
    assert {number: v.aliases for number, v in found.items()} == {"2": ("champion",), "1": ()}
    assert {number: len(v.reigns) for number, v in found.items()} == {"2": 1, "1": 1}
    assert registry.rollback("leads", uri=uri).version == "1"


@pytest.mark.parametrize(
    ("wound", "verdict"),
    [
        ("registry.keep_verdict = die", ""),
        ("MlflowClient.set_model_version_tag = die", ""),
        (AFTER.format("registry.keep_verdict"), "forced"),
        ("registry.promote = die", "forced"),
    ],
)
def test_a_kill_while_the_gate_decides_moves_nothing_and_again_decides(uri, wound, verdict):
    killed(wound, GATE, "", uri)
    assert champion(uri) == "1"
    found = {v.version: v for v in registry.versions("leads", uri=uri)}
    assert (found["2"].gate, found["2"].aliases) == (verdict, ("challenger",))
    promotion.promote("leads", "2", uri=uri, because="a test", now_us=0)
    found = {v.version: v for v in registry.versions("leads", uri=uri)}
    assert (found["2"].gate, found["2"].aliases) == ("forced", ("champion",))
    assert len(found["2"].reigns) == 1


def test_a_kill_at_the_first_registration_leaves_no_champion(prepared, tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    killed("MlflowClient.create_model_version = die", REGISTER, prepared / "1", uri)
    with pytest.raises(RegistryError, match="alias champion"):
        champion(uri)
    assert registry.register(prepared / "1", "leads", uri=uri).version == "1"


def test_of_two_promotions_at_once_the_last_word_is_whole(uri, prepared):
    registry.register(prepared / "1", "leads", uri=uri)
    running = {
        version: subprocess.Popen(
            [sys.executable, "leadqual.py", *PROMOTE, "--version", version, "--registry", uri],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for version in ("2", "3")
    }
    try:
        said = {version: one.communicate(timeout=120)[1] for version, one in running.items()}
    finally:
        for one in running.values():
            one.kill()
            one.wait(10)
    codes = {version: one.returncode for version, one in running.items()}
    assert set(codes.values()) <= {0, 4}, said
    assert 0 in codes.values(), said
    assert all(b"run `leadqual promote` again" in said[v] for v, code in codes.items() if code)
    now = champion(uri)
    assert codes[now] == 0
    reigns = [
        (r["number"], v.version) for v in registry.versions("leads", uri=uri) for r in v.reigns
    ]
    assert max(reigns)[1] == now
