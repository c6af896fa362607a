"""What a gate refuses, by the command: models that know nothing, and models that are too weak."""

import json

import numpy as np
import pytest

from tests.commands import run
from tests.worlds import few_rounds, permuted, plain_world, simulated_world, written

PROMISED = '[rule]\nkind = "precision"\nprecision = 0.12\n'


@pytest.fixture
def train(tmp_path):
    """Train by the command with few trees; `models` then tells what is registered."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"

    def trained(world, toml, *more):
        (tmp_path / "leadqual.toml").write_text(toml, encoding="utf-8")
        until = np.datetime_as_string(np.datetime64(world.until_us, "us"), timezone="UTC")
        with few_rounds():
            return run(
                "train", *written(world, tmp_path), "--config", tmp_path / "leadqual.toml",
                "--until", until, "--output", tmp_path / "m", "--registry", uri, *more,
            )  # fmt: skip

    return trained


def report_of(folder):
    return json.loads((folder / "m" / "report.json").read_text(encoding="utf-8"))


def registered(folder):
    """Which versions there are, and which is the champion."""
    done = run("models", "--registry", f"sqlite:///{folder}/mlflow.db", "--json")
    return [(v["version"], v["aliases"]) for v in json.loads(done.out)]


@pytest.mark.parametrize("seed", [0, 1])
def test_nothing_is_promised_registered_or_promoted_of_outcomes_drawn_by_lot(train, tmp_path, seed):
    world = permuted(simulated_world(3_000), seed)
    refused = train(world, PROMISED, "--register", "lots")
    assert refused.code == 3
    assert "lots is not registered: the model in " in refused.err
    assert registered(tmp_path) == []
    report = report_of(tmp_path)
    auc = report["test"]["model"]["auc"]
    assert auc["low"] < 0.5 < auc["high"]
    assert auc["high"] - auc["low"] < 0.3
    assert report["rule"]["feasible"] is False
    assert report["rule"]["threshold"] is None
    assert any("the most that can be promised" in sentence for sentence in report["summary"])
    checks = {check["name"]: check["passed"] for check in report["gate"]["checks"]}
    assert (checks["rule_feasible"], checks["baselines"]) == (False, False)

    weakly = train(world, PROMISED, "--register", "lots", "--allow-weak")
    assert weakly.code == 0, weakly.err
    promoted = run("promote", "lots", "--registry", f"sqlite:///{tmp_path}/mlflow.db")
    assert promoted.code == 3
    assert "rule_feasible: no threshold keeps the rule" in promoted.err
    assert "baselines: log loss" in promoted.err
    assert registered(tmp_path) == [("1", ["challenger"])]


def test_the_same_world_with_its_own_outcomes_passes(train, tmp_path):
    """What the test above refuses is the lot's doing."""
    done = train(simulated_world(3_000), PROMISED, "--register", "real")
    assert done.code == 0, done.err
    report = report_of(tmp_path)
    assert report["test"]["model"]["auc"]["low"] > 0.55
    promoted = run("promote", "real", "--registry", f"sqlite:///{tmp_path}/mlflow.db")
    assert promoted.code == 0, promoted.err


def test_a_model_that_a_baseline_beats_is_registered_only_where_that_is_allowed(train, tmp_path):
    toml = "[label]\nhorizon_days = 30\n"
    refused = train(plain_world(), toml, "--register", "weak")
    assert refused.code == 3
    assert "weak is not registered" in refused.err
    assert "is not better than the baseline points" in refused.err
    assert "with --allow-weak" in refused.err
    assert registered(tmp_path) == []
    report = report_of(tmp_path)
    assert report["against_baselines"]["better"] is False
    failed = [check["name"] for check in report["gate"]["checks"] if not check["passed"]]
    assert "baselines" in failed
    assert train(plain_world(), toml).code == 0
    allowed = train(plain_world(), toml, "--register", "weak", "--allow-weak")
    assert allowed.code == 0
    assert registered(tmp_path) == [("1", ["challenger"])]
