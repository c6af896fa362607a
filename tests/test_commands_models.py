"""`leadqual models`, `promote`, `rollback`, `serve`, and what holds for every command."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
import uvicorn

import leadqual
from serving import server
from tests.commands import run, table
from tests.scorers import small_scorer
from training import registry

ROOT = Path(leadqual.__file__).parent
COMMANDS = (
    "features", "simulate", "check", "train", "snapshots", "rule", "models", "promote", "rollback",
    "backtest", "score", "serve", "replay", "settings", "export", "keys",
)  # fmt: skip


@pytest.fixture(scope="session")
def uri(tmp_path_factory):
    """A registry with two versions of `leads` and one of `見込み`, and no champion."""
    folder = tmp_path_factory.mktemp("registry")
    address = f"sqlite:///{folder}/mlflow.db"
    small_scorer(1).save(folder / "1")
    for name in ("leads", "leads", "見込み"):
        registry.register(folder / "1", name, uri=address, metrics={"log_loss": 0.25})
    return address


@pytest.fixture
def score(uri, tmp_path):
    leads = table(tmp_path / "l.csv", "lead_id,created_at", "a,2026-01-01T00:00:00Z")
    events = table(tmp_path / "e.csv", "lead_id,occurred_at,event_type")

    def scored(model, *more, registry=uri):
        return run(
            "score", "--model", model, "--registry", registry, "--leads", leads, "--events", events,
            "--as-of", "2026-02-01T00:00:00Z", "--output", tmp_path / "s.csv", *more,
        )  # fmt: skip

    return scored


def test_models_are_listed_promoted_scored_with_and_rolled_back(uri, score, tmp_path):
    listed = run("models", "--registry", uri)
    assert listed.code == 0
    assert "見込み" in listed.out
    assert "0.2500" in listed.out
    assert listed.err == ""

    missing = score("models:/leads@champion")
    assert missing.code == 4
    assert "leadqual promote leads" in missing.err

    refused = run("promote", "leads", "--registry", uri)
    assert refused.code == 3
    for check in ("judged_leads: no judged leads", "--because"):
        assert check in refused.err

    forced = ("--force", "--because", "展示会のため")
    first = run("promote", "leads", "--version", 1, *forced, "--json", "--registry", uri)
    second = run("promote", "leads", *forced, "--registry", uri)
    verdict = json.loads(first.out)
    assert (verdict["result"], verdict["passed"], verdict["against"]) == ("forced", False, None)
    for done, version in ((first, 1), (second, 2)):
        assert done.code == 0
        assert "FAILED  judged_leads" in done.err
        assert "forced, because: 展示会のため" in done.err
        assert f"leads version {version} is now the champion (sha256:" in done.err
    assert score("models:/leads@champion").code == 0
    assert "leads/2 sha256:" in (tmp_path / "s.csv").read_text(encoding="utf-8-sig")

    back = run("rollback", "leads", "--registry", uri)
    assert back.code == 0
    table = run("models", "leads", "--registry", uri).out
    assert "Who became champion" in table
    assert table.count("展示会のため") == 2
    found = json.loads(run("models", "leads", "--json", "--registry", uri).out)
    assert {v["version"]: v["aliases"] for v in found} == {"2": [], "1": ["champion"]}
    assert {v["version"]: [line["how"] for line in v["reigns"]] for v in found} == {
        "2": ["promote"],
        "1": ["promote", "rollback"],
    }

    again = run("rollback", "leads", "--registry", uri)
    assert again.code == 4
    assert "nothing to go back to" in again.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("models", "lead"), 4, "no model lead (there: leads, 見込み)"),
        (("promote", "lead"), 4, "no model lead"),
        (("promote", "leads", "--version", "9"), 4, "no version 9 (there: 2, 1)"),
        (("promote", "leads", "--version", ""), 4, "no version"),
        (("promote",), 2, "name"),
        (("promote", "leads", "--force"), 2, "--because TEXT"),
        (("promote", "leads", "--because", "so"), 2, "--force"),
        (("promote", "leads", "--force", "--because", " "), 2, "--because TEXT"),
        (("rollback",), 2, "name"),
        (("rollback", "見込み"), 4, "leadqual promote 見込み"),
    ],
)
def test_what_the_registry_does_not_hold_is_said_with_what_it_does(uri, arguments, code, said):
    done = run(*arguments, "--registry", uri)
    assert done.code == code
    assert said in done.err


def test_a_registered_model_that_is_not_the_pinned_one_is_refused(score):
    done = score("models:/leads/1", "--expect-digest", "0" * 64)
    assert done.code == 4
    assert "another model than the pinned one" in done.err


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:9", "Connection refused"),
        ("sqlite:///nowhere.db", "there is no registry at sqlite:///nowhere.db"),
        ("mlruns", "mlruns is no registry"),
        ("", "is no registry"),
        ("odd://host", "odd"),
    ],
)
def test_a_registry_that_cannot_be_used_ends_with_4(score, address, said):
    for done in (run("models", "--registry", address), score("models:/leads/1", registry=address)):
        assert done.code == 4
        assert said in done.err


def test_a_registry_that_never_answers_ends_with_4():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        for command in (("models",), ("promote", "leads"), ("rollback", "leads")):
            done = run(*command, "--registry", address)
        assert time.monotonic() - started < 3 * 4
    assert done.code == 4
    assert f"the registry at {address} cannot be used (timed out)" in done.err


def test_a_password_is_not_shown():
    done = run("models", "--registry", "postgresql://u:secret@127.0.0.1:9/x")
    assert done.code == 4
    assert "secret" not in done.err


def test_the_registry_is_that_of_the_environment(uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert len(json.loads(run("models", "--json").out)) == 3


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--model", "nowhere"), 4, "must name a folder"),
        (("--model", "models:/leads@best"), 4, "alias best"),
        (("--model", "models:/leads/1", "--host", "0.0.0.0"), 2, "--host 127.0.0.1"),
        (("--model", "models:/leads/1", "--host", "nowhere.invalid"), 2, "--host 127.0.0.1"),
        (("--model", "models:/leads/1", "--port", "99999"), 2, "65535"),
        (("--model", "models:/leads/1", "--workers", "0"), 2, "--workers"),
        (("--model", "models:/leads/1", "--expect-digest", "0" * 64), 4, "pinned"),
        (("--model", "models:/leads/1", "--expect-digest", " "), 2, "--expect-digest is empty"),
        ((), 2, "--model"),
    ],
)
def test_a_service_that_cannot_start_says_why(uri, options, code, said):
    done = run("serve", "--registry", uri, *options)
    assert done.code == code
    assert said in done.err


def test_settings_of_the_environment_that_cannot_be_used_are_named(uri, monkeypatch):
    monkeypatch.setenv("LEADQUAL_PORT", "http")
    done = run("serve", "--model", "models:/leads/1", "--registry", uri)
    assert done.code == 2
    assert "LEADQUAL_PORT" in done.err


def test_sigterm_stops_a_server_that_does_not_listen_to_signals_yet():
    """It raised SystemExit once, which a destructor that was running swallowed."""
    before = signal.getsignal(signal.SIGTERM)
    starting = uvicorn.Server(uvicorn.Config("not.loaded:yet"))
    with server._stopped_by_sigterm(starting):
        os.kill(os.getpid(), signal.SIGTERM)
        assert starting.should_exit
    assert signal.getsignal(signal.SIGTERM) is before


# what holds for every command


def outside(code, **environment):
    """Run Python in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | environment,
        check=False,
        capture_output=True,
    )


def test_no_help_imports_anything_heavy():
    code = f"""
import sys, leadqual
for arguments in (["--help"], ["--version"], *([name, "-h"] for name in {COMMANDS})):
    try:
        leadqual.app(arguments)
    except SystemExit as end:
        assert end.code == 0, arguments
heavy = {{"mlflow", "lightgbm", "numba", "numpy", "pandas", "pyarrow", "sklearn", "scipy", "rich",
         "fastapi", "uvicorn", "sqlalchemy", "skops", "joblib", "jinja2"}}
print(sorted(heavy & sys.modules.keys()))
"""
    done = outside(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().splitlines()[-1] == "[]"


def test_help_names_every_command_and_nothing_is_cut_short():
    done = run("--help")
    assert done.code == 0
    lines = done.out.partition("Commands:")[2].split("\n")
    assert tuple(line.split()[0] for line in lines if line.strip()) == COMMANDS
    assert not any(line.endswith("...") for line in lines)
    for command in vars(typer.main.get_command(leadqual.app))["commands"].values():
        assert all(parameter.help for parameter in command.params), command.name


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("--nonsense",), ("score", "extra")])
def test_wrong_usage_ends_with_2_and_shows_the_right_one(arguments):
    done = run(*arguments)
    assert done.code == 2
    assert "Usage: leadqual" in done.out + done.err


def test_the_catalogue_can_be_searched_line_by_line(capsys):
    done = run("features")
    assert done.code == 0
    assert done.err == ""
    rows = [line for line in done.out.splitlines() if "days_since_newsletter_signup" in line]
    assert len(rows) == 1
    assert "メルマガ登録" in rows[0]
    assert max(map(len, done.out.splitlines())) <= 120
    names = [feature["name"] for feature in json.loads(run("features", "--json").out)]
    assert len(set(names)) == len(names) >= 100


def test_results_are_written_to_terminals_without_japanese_and_to_pipes_that_close():
    listing = "import sys, leadqual; sys.argv = ['leadqual', 'features', {}]; leadqual.main()"
    plain = outside(listing.format("'--json'"), PYTHONIOENCODING="ascii")
    assert plain.returncode == 0
    assert "ウェブ訪問" in json.loads(plain.stdout)[0]["japanese"]
    assert outside(listing.format(""), PYTHONIOENCODING="ascii").returncode == 0
    full = outside(f"import os; os.dup2(os.open('/dev/full', 1), 1); {listing.format('')}")
    assert full.returncode == 5
    assert b"Traceback" not in full.stderr
    closed = outside(
        f"import os; r, w = os.pipe(); os.close(r); os.dup2(w, 1); {listing.format('')}"
    )
    assert closed.returncode in {1, 141}
    assert b"Traceback" not in closed.stderr


def test_a_bug_is_shown_as_one(monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("training.registry.versions", fail)
    with pytest.raises(ZeroDivisionError):
        run("models")
    monkeypatch.setattr("training.registry.versions", lambda *_, **__: [0] * 10**16)
    done = run("models")
    assert done.code == 5
    assert "the memory is too small" in done.err
