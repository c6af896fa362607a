"""Another rule on a trained model: `leadqual rule`."""

import json
from dataclasses import replace

import pytest

from features.findings import UsageError
from tests.commands import run
from tests.worlds import few_rounds, learn_quickly, simulated_world, written
from training import report, ruling
from training.config import Config
from training.evidence import Evidence
from training.scorer import ArtifactError, LeadScorer


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rule") / "model"
    learned = learn_quickly(simulated_world(), Config(), allow_weak=True)
    learned.scorer.save(folder)
    report.write(learned.report, folder)
    return folder


def rule(model, output, *options):
    return run("rule", f"--model={model}", f"--output={output}", *options)


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        (["--capacity=5"], "capacity", "at most 5 new hand-offs a week in 90 % of the weeks"),
        (["--precision=0.05"], "precision", "at least 5 % of the hand-offs will be won, with 90 %"),
        (["--precision=0.05", "--confidence=0.8"], "precision", "with 80 % confidence"),
        (["--value=100", "--cost=9"], "value", "the probability times 100 exceeds 9"),
        (["--precision=0.99"], "precision", "the most that can be promised with 90 % confidence"),
        (["--value=1", "--cost=1"], "value", "a hand-off costs 1, no less than the 1"),
    ],
)
def test_the_rule_is_another_one_and_the_scores_are_the_same(model, tmp_path, options, kind, said):
    done = rule(model, tmp_path / "other", *options)
    assert done.code == 0, done.err
    assert said in done.err
    before, after = LeadScorer.load(model), LeadScorer.load(tmp_path / "other")
    assert after.rule.kind == kind
    assert after.rule.stated
    assert after.digest != before.digest
    assert after.estimator.trees.to_text() == before.estimator.trees.to_text()
    assert (after.calibration, after.spec) == (before.calibration, before.spec)
    told = json.loads((tmp_path / "other/report.json").read_text(encoding="utf-8"))
    assert said in told["summary"][0]
    assert told["rule"]["kind"] == kind
    gate = {check["name"]: check["passed"] for check in told["gate"]["checks"]}
    assert gate["rule_feasible"] == after.rule.feasible
    assert told["gate"]["passed"] == all(gate.values())
    assert told["test"] == json.loads((model / "report.json").read_text(encoding="utf-8"))["test"]
    assert said in (tmp_path / "other/report.html").read_text(encoding="utf-8")


def test_it_is_the_rule_that_training_would_have_fixed(tmp_path):
    stated = Config.model_validate({"rule": {"capacity_per_week": 5}})
    trained = learn_quickly(simulated_world(), stated, allow_weak=True).scorer
    plain = learn_quickly(simulated_world(), Config(), allow_weak=True).scorer
    assert ruling.ruled(plain, stated.rule).rule == trained.rule


def test_a_rule_of_a_rule_starts_from_the_same_evidence(model, tmp_path):
    assert rule(model, tmp_path / "a", "--precision=0.05").code == 0
    assert rule(tmp_path / "a", tmp_path / "b", "--capacity=5").code == 0
    assert rule(model, tmp_path / "c", "--capacity=5").code == 0
    b, c = LeadScorer.load(tmp_path / "b"), LeadScorer.load(tmp_path / "c")
    assert (b.rule, b.digest) == (c.rule, c.digest)


def test_grades_and_decisions_follow_the_new_rule(model, tmp_path):
    rule(model, tmp_path / "none", "--precision=0.99")
    found = LeadScorer.load(tmp_path / "none")
    evidence = Evidence.from_dict(found.reference["evidence"])
    assert evidence.crossed(found.rule.threshold) == (0, 0)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--capacity=5", "--precision=0.3"],
        ["--confidence=0.9"],
        ["--capacity=5", "--confidence=0.9"],
        ["--value=5"],
        ["--cost=5"],
        ["--capacity=0"],
        ["--precision=1.5"],
        ["--precision=nan"],
        ["--value=10", "--cost=-1"],
    ],
)
def test_what_is_no_rule_is_refused_and_nothing_written(model, tmp_path, options):
    done = rule(model, tmp_path / "other", *options)
    assert done.code == 2
    assert "--" in done.err
    assert "capacity_per_week" not in done.err
    assert not (tmp_path / "other").exists()


def test_a_model_without_evidence_says_what_to_do(model):
    scorer = LeadScorer.load(model)
    bare = {name: part for name, part in scorer.reference.items() if name != "evidence"}
    choice = ruling.stated(capacity=5, precision=None, confidence=None, value=None, cost=None)
    with pytest.raises(ArtifactError, match="retrain"):
        ruling.ruled(replace(scorer, reference=bare), choice)
    with pytest.raises(UsageError, match="state one rule"):
        ruling.stated(capacity=None, precision=None, confidence=None, value=None, cost=None)


def test_a_minimum_of_history_stays_and_leads_below_it_have_no_score(tmp_path):
    stated = Config.model_validate({"rule": {"min_events": 3}})
    scorer = learn_quickly(simulated_world(), stated, allow_weak=True).scorer
    assert scorer.rule.minimum_events == 3
    choice = ruling.stated(capacity=5, precision=None, confidence=None, value=None, cost=None)
    assert ruling.ruled(scorer, choice).rule.minimum_events == 3


def test_a_rule_on_a_registered_model_is_registered_with_what_its_promotion_asks_for(tmp_path):
    uri = f"--registry=sqlite:///{tmp_path}/mlflow.db"
    world = simulated_world(3_000)
    with few_rounds():
        done = run(
            "train", *written(world, tmp_path), "--horizon-days=90",
            f"--output={tmp_path / 'm'}", "--register=leads", uri,
        )  # fmt: skip
    assert done.code == 0, done.err
    assert run("promote", "leads", uri).code == 0
    done = rule("models:/leads@champion", tmp_path / "r", "--capacity=9", "--register=leads", uri)
    assert done.code == 0, done.err
    assert "registered as leads version 2, the challenger" in done.err
    assert (tmp_path / "r/judged/leads.parquet").read_bytes() == (
        tmp_path / "m/judged/leads.parquet"
    ).read_bytes()
    promoted = run("promote", "leads", uri)
    assert promoted.code == 0, promoted.err
    assert json.loads(run("models", "leads", uri, "--json").out)[0]["aliases"] == ["champion"]


def test_a_model_without_judged_leads_is_not_registered_and_nothing_is_written(model, tmp_path):
    done = rule(model, tmp_path / "r", "--capacity=9", "--register=leads")
    assert done.code == 2
    assert "has no judged leads beside it" in done.err
    assert not (tmp_path / "r").exists()
