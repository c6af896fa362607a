"""What a gate refuses, by the command: models that know nothing, too weak ones, and challengers."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
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


# A champion, and challengers of another kind

FEW = "[gate]\nleast_leads = 50\nleast_wins = 5\n"


@pytest.fixture(scope="module")
def reigning(tmp_path_factory):
    """A registry whose champion learned 60 days ago; `challenge` registers another and promotes."""
    home = tmp_path_factory.mktemp("reigning")
    world = simulated_world(3_000)

    def trained(folder, world, days_ago, toml):
        (folder / "leadqual.toml").write_text(toml, encoding="utf-8")
        moment = np.datetime64(world.until_us - days_ago * 86_400_000_000, "us")
        with few_rounds():
            return run(
                "train", *written(world, folder), "--config", folder / "leadqual.toml",
                "--until", np.datetime_as_string(moment, timezone="UTC"), "--output", folder / "m",
                "--registry", f"sqlite:///{folder}/mlflow.db", "--register", "leads",
                "--allow-weak",
            )  # fmt: skip

    assert trained(home, world, 60, FEW).code == 0
    forced = ("--force", "--because", "the first")
    promoted = run("promote", "leads", *forced, "--registry", f"sqlite:///{home}/mlflow.db")
    assert promoted.code == 0, promoted.err

    def challenge(folder, toml=FEW, world=world, more=()):
        shutil.copy(home / "mlflow.db", folder / "mlflow.db")
        done = trained(folder, world, 0, toml)
        assert done.code == 0, done.err
        uri = f"sqlite:///{folder}/mlflow.db"
        return run("promote", "leads", "--registry", uri, "--json", *more)

    return challenge


def failed(done):
    verdict = json.loads(done.out)
    return {check["name"]: check["detail"] for check in verdict["checks"] if not check["passed"]}


def test_a_retrained_challenger_is_compared_and_who_changes_is_shown(reigning, tmp_path):
    done = reigning(tmp_path)
    verdict = json.loads(done.out)
    assert done.code == (3 if failed(done) else 0)
    checks = {check["name"]: check["detail"] for check in verdict["checks"]}
    assert "against the champion on " in checks["log_loss"]
    churn = verdict["churn"]
    for key, what in (
        ("handed_off_newly", "are handed off newly"),
        ("handed_off_no_more", "are no longer handed off"),
    ):
        assert f"{churn[key]['leads']} of {churn['leads']} judged leads {what}" in done.err
        assert len(churn[key]["examples"]) == min(churn[key]["leads"], 10)
        for lead in churn[key]["examples"]:
            assert f"  {lead['lead_id']} at {lead['as_of']}: " in done.err
    assert churn["handed_off_newly"]["leads"] + churn["handed_off_no_more"]["leads"] > 0


def test_a_challenger_with_another_horizon_is_refused(reigning, tmp_path):
    done = reigning(tmp_path, f"{FEW}[label]\nhorizon_days = 30\n")
    assert done.code == 3
    assert {"schema", "log_loss"} <= failed(done).keys()
    assert "the horizon is 30 days, the champion's 90" in done.err
    assert "the two answer different questions" in done.err
    assert registered(tmp_path) == [("2", ["challenger"]), ("1", ["champion"])]


def test_a_challenger_with_another_vocabulary_is_refused(reigning, tmp_path):
    world = simulated_world(3_000)
    kept = pc.invert(pc.equal(world.events["event_type"], "seminar_attended"))
    poorer = replace(
        world,
        events=world.events.filter(kept),
        leads=world.leads.drop_columns(["industry"]),
    )
    done = reigning(tmp_path, world=poorer)
    assert done.code == 3
    assert "attributes that only the champion knows: industry" in failed(done)["schema"]
    assert "event types that only the champion knows: seminar_attended" in failed(done)["schema"]
    assert registered(tmp_path) == [("2", ["challenger"]), ("1", ["champion"])]


def test_a_challenger_judged_at_other_moments_cannot_be_compared_and_says_what_helps(
    reigning, tmp_path
):
    done = reigning(tmp_path, f"{FEW}[snapshots]\nages_days = [3, 10]\n")
    assert done.code == 3
    assert "log_loss: only 0 leads with 0 wins can be compared, 50 and 5 are needed" in done.err
    assert "judge both at the same ages" in done.err
    assert registered(tmp_path) == [("2", ["challenger"]), ("1", ["champion"])]
