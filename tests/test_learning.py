"""A whole training run: its laws, what it promises and what not, and the artifact it ships."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from features.history import DAY_US
from features.matrix import Leads
from tests.factories import AS_OF_US, at, event, make_events, make_leads
from tests.worlds import (
    PLAIN,
    World,
    few_rounds,
    files_of,
    learn_quickly,
    make_outcomes,
    permuted,
    plain_world,
    plainly_learned,
    shuffled,
    simulated_world,
    until,
)
from training import choosing, sampling, shipping, study
from training.config import AllowedLeak, Config, Leaks
from training.labels import TooLittleHistory
from training.learning import STAGES, Stopwatch, learn
from training.recipes import MIXES
from training.scorer import LeadScorer

BASELINES = {"base_rate", "recency", "points", "odoo", "logistic"}


def first_of(report):
    """The first sentence, but for the one that a model no better than a baseline opens with."""
    better = [line for line in report["summary"] if not line.startswith("The model is not better")]
    return better[0]


def with_capacity(leads_per_week):
    rule = PLAIN.rule.model_copy(update={"capacity_per_week": leads_per_week})
    return PLAIN.model_copy(update={"rule": rule})


def more(table, *others):
    return pa.concat_tables([table, *others]).unify_dictionaries()


@pytest.fixture(scope="module")
def plain_files(tmp_path_factory):
    return files_of(plainly_learned(), tmp_path_factory.mktemp("plain") / "model")


def test_what_is_shipped_scores_keen_leads_far_above_quiet_ones():
    scorer, leads = plainly_learned().scorer, plain_world().crm.leads
    as_of = np.minimum(leads.created_us + 7 * DAY_US, AS_OF_US)
    score = scorer.score(leads, as_of).score
    keen = scorer.matrix(leads, as_of)[:, scorer.spec.names.index("count_inquiry_all")] > 0
    assert keen.sum() > 80
    assert score[keen].mean() > 3 * score[~keen].mean()
    assert np.quantile(score[keen], 0.05) > np.median(score[~keen])


def test_what_was_learned_is_loaded_to_the_last_digit(tmp_path):
    scorer = plainly_learned().scorer
    saved = scorer.save(tmp_path / "model")
    loaded = LeadScorer.load(tmp_path / "model", expect_digest=saved.digest)
    leads = plain_world().crm.leads
    as_of = np.full(len(leads), AS_OF_US)
    one, other = scorer.score(leads, as_of), loaded.score(leads, as_of)
    np.testing.assert_array_equal(one.score, other.score)
    np.testing.assert_array_equal(one.percentile, other.percentile)
    assert loaded.card == saved.card


def test_a_learned_scorer_scores_a_lead_the_same_alone_and_in_a_batch():
    scorer, leads = plainly_learned().scorer, plain_world().crm.leads
    together = scorer.score(leads, np.full(len(leads), AS_OF_US))
    for row in (0, 199, 399):
        columns = {name: column[row : row + 1] for name, column in leads.columns.items()}
        alone = Leads(leads.created_us[[row]], columns, leads.history, leads.segment[[row]])
        assert scorer.score(alone, np.array([AS_OF_US])).score[0] == together.score[row]


# The same data and seed, the same artifact


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_data_and_seed_give_the_same_artifact_bit_for_bit(plain_files, tmp_path, threads):
    again = learn_quickly(plain_world(), threads=threads)
    assert files_of(again, tmp_path / "model") == plain_files


def test_the_order_of_events_and_outcomes_changes_no_bit(plain_files, tmp_path):
    world = plain_world()
    turned = replace(world, events=shuffled(world.events, 1), outcomes=shuffled(world.outcomes, 2))
    assert files_of(learn_quickly(turned), tmp_path / "model") == plain_files


def test_another_seed_gives_another_model(plain_files, tmp_path):
    files = files_of(learn_quickly(plain_world(), seed=1), tmp_path / "model")
    assert files["trees.txt"] != plain_files["trees.txt"]


# Nothing after the export is looked at


def later(world, age):
    """Worlds that differ from one another after an age only, in every table."""
    early = until(world, age)
    ids = early.leads["lead_id"].to_pylist()
    busy = make_events({lead: [event(age - 5, "shouting", "fax", 9.0)] for lead in ids})
    unheard = make_events({ids[0]: [event(age + 30, "whisper", known_age_days=age - 1)]})
    wins = make_outcomes([(lead, age - 1, "won") for lead in ids])
    backdated = make_outcomes([(ids[-1], age + 2, "won")], **{ids[-1]: age - 1})
    late_leads = make_leads({"new-1": age - 1, "new-2": age - 2})
    late_leads = late_leads.append_column("employees", pa.array([7, 8], pa.int64()))
    late_leads = late_leads.append_column("industry", pa.array(["mining", "mining"]))
    return {
        "as they came": replace(world, until_us=at(age)),
        "removed": early,
        "events added": replace(early, events=more(early.events, busy, unheard)),
        "outcomes added": replace(early, outcomes=more(early.outcomes, wins, backdated)),
        "leads added": replace(early, leads=more(early.leads, late_leads)),
    }


def test_whatever_is_added_changed_or_removed_after_the_export_changes_no_bit(tmp_path):
    files = {
        what: files_of(learn_quickly(world, allow_weak=True), tmp_path / what)
        for what, world in later(plain_world(300), 40).items()
    }
    for what, content in files.items():
        assert content == files["removed"], what


def test_what_was_known_at_the_export_does_change_the_model(plain_files, tmp_path):
    world = plain_world()
    lead = world.leads["lead_id"].to_pylist()[0]
    known = make_events({lead: [event(299.5, "inquiry")]})
    files = files_of(
        learn_quickly(replace(world, events=more(world.events, known))), tmp_path / "m"
    )
    assert files["estimator.skops"] != plain_files["estimator.skops"]


# Permuted outcomes


def test_permuted_outcomes_give_an_auc_of_one_half_and_the_real_ones_do_not():
    world = plain_world(800, days=600)
    real, lots = (
        learn_quickly(one).report["test"]["model"]["auc"] for one in (world, permuted(world, 0))
    )
    assert real["low"] > 0.6
    assert lots["low"] < 0.5 < lots["high"]
    assert lots["high"] - lots["low"] < 0.4


# What is promised


def test_without_a_stated_capacity_the_best_fifth_is_handed_off_and_said_first():
    report, rule = plainly_learned().report, plainly_learned().scorer.rule
    assert (rule.kind, rule.stated) == ("best_fifth", False)
    assert report["rule"]["stated"] is False
    assert first_of(report) == (
        "No hand-off rule is stated, so the best fifth of the leads is handed off. To state what "
        "sales can work, write capacity_per_week = N under [rule] in leadqual.toml."
    )
    assert rule.expected_share == pytest.approx(0.2, abs=0.03)


def test_a_stated_capacity_is_promised_and_said_first():
    learned = learn_quickly(plain_world(), with_capacity(3))
    rule = learned.scorer.rule
    assert (rule.kind, rule.stated, rule.capacity_per_week) == ("capacity", True, 3)
    first = first_of(learned.report)
    assert first.startswith("Rule: at most 3 new hand-offs a week in 90 % of the weeks; ")
    assert f"{rule.promise.expected_per_week:.1f} a week are expected" in first
    assert 0 < (rule.promise.expected_per_week or 0.0) <= 3
    replayed = learned.report["rule"]["judged"]
    assert replayed["over_capacity_share"] < 0.3
    assert sum(replayed["per_week"]) > 0


def test_the_shipped_rule_hands_off_about_as_many_recent_leads_as_the_judged_one():
    rule = plainly_learned().report["rule"]
    assert rule["recent_share_judged"] == pytest.approx(0.2, abs=0.05)
    assert rule["recent_share_refit"] == pytest.approx(rule["recent_share_judged"], abs=0.12)


# Too little history


def test_a_history_too_short_to_judge_is_refused_unless_weak_is_allowed():
    world = plain_world(150)
    with pytest.raises(TooLittleHistory, match=r"\d+ leads created after .* at least 30 are") as no:
        learn_quickly(world)
    assert "--allow-weak" in str(no.value)
    learned = learn_quickly(world, allow_weak=True)
    assert learned.report["weak"] is True
    seen = learned.report["origins"]["wins_seen"]
    assert 0 < seen < 30
    assert (
        f"Too little history to judge: {seen} leads after the first cut were seen to win, 30 are "
        "needed. No figure below can be promised, neither probabilities nor the share handed off."
    ) in learned.report["summary"]


@pytest.mark.parametrize(("wins", "weak"), [(29, True), (30, False)])
def test_thirty_wins_after_the_first_cut_are_enough(wins, weak):
    ages = {f"lead-{k:03}": 300.0 - k for k in range(200)}
    winners = [*list(ages)[:80:4], *list(ages)[80 : 80 + wins]]
    closes = {lead: (ages[lead] - 10, "won") for lead in winners}
    world = World(make_leads(ages), make_events({}), make_outcomes(closes))
    report = learn_quickly(world, allow_weak=True).report
    assert (report["origins"]["wins_seen"], report["weak"]) == (wins, weak)
    if weak:
        with pytest.raises(TooLittleHistory):
            learn_quickly(world)


def test_two_leads_give_a_model_that_promises_nothing(tmp_path):
    ages = {"winner": 100, "open": 100}
    world = World(make_leads(ages), make_events({}), make_outcomes({"winner": (90, "won")}))
    aged = PLAIN.snapshots.model_copy(update={"ages_days": (0.0, 3.0)})
    config = PLAIN.model_copy(update={"snapshots": aged})
    with pytest.raises(TooLittleHistory):
        learn_quickly(world, config)
    learned = learn_quickly(world, config, allow_weak=True)
    test, summary = learned.report["test"], learned.report["summary"]
    assert learned.report["weak"] is True
    assert "Too little history to judge: 0 leads" in summary[1]
    assert len(summary) == 3  # the rule, too little, and the split by hash
    assert test["baselines"].keys() == BASELINES
    for figures in (test["model"], *test["baselines"].values()):
        assert {figure["value"] for figure in figures.values()} == {None}
    learned.scorer.save(tmp_path / "model")
    score = LeadScorer.load(tmp_path / "model").score(world.crm.leads, np.full(2, AS_OF_US)).score
    assert ((score > 0) & (score < 1)).all()


def test_leads_that_all_came_on_one_day_are_split_by_hash_and_the_report_says_so():
    ages = {f"lead-{k}": 60.0 for k in range(240)}
    keen = {lead: [59.5] * 2 for k, lead in enumerate(ages) if k % 3 == 0}
    wins = {lead: (45.0, "won") for k, lead in enumerate(ages) if k % 3 == 0 or k % 20 == 1}
    visits = AllowedLeak(column="web_visit", name="test", reason="keen leads all win here")
    allowed = PLAIN.model_copy(update={"leaks": Leaks(allow=(visits,))})
    world = World(make_leads(ages), make_events(keen), make_outcomes(wins))
    report = learn_quickly(world, allowed).report
    assert report["origins"]["kind"] == "hash"
    assert report["origins"]["judged_on"] == "leads held out by a hash of their id"
    told = (
        "Leads were split by a hash of their id, not by time: how the model does on later leads "
        "cannot be told"
    )
    assert any(line.startswith(told) for line in report["summary"])


def test_a_split_by_time_is_not_called_one_by_hash():
    report = plainly_learned().report
    assert report["origins"]["judged_on"] == "later leads"
    assert not any("hash" in sentence for sentence in report["summary"])
    assert not any("Too little" in sentence for sentence in report["summary"])


def test_no_losses_recorded_at_all_is_learned_from():
    world = plain_world()
    wins = world.outcomes.filter(pc.equal(world.outcomes["outcome"], "won"))
    report = learn_quickly(replace(world, outcomes=wins)).report
    assert report["label"]["lost_is_open"] is False
    assert report["test"]["model"]["auc"]["value"] > 0.65


# The refit


def test_the_refit_knows_what_came_after_the_last_cut():
    world = plain_world()
    ids = world.leads["lead_id"].to_pylist()
    late = make_events({ids[k]: [event(0.5, "webinar")] for k in range(300, 395)})
    learned = learn_quickly(replace(world, events=more(world.events, late)))
    assert "webinar" in learned.scorer.spec.types
    assert learned.scorer.card.trained_until == "2026-09-01T12:00:00Z"
    assert learned.report["rows"]["train"]["leads"] > 350


def test_the_refit_has_the_mix_and_the_half_life_that_were_chosen(monkeypatch):
    asked = []
    rows = choosing.training_rows

    def spy(study, cut, recipe):
        asked.append((cut.kind, int(cut.train.sum()), recipe.half_life_days))
        return rows(study, cut, recipe)

    monkeypatch.setattr(shipping, "training_rows", spy)
    with few_rounds(half_lives=(45.0,)):
        learned = learn(plain_world().crm, PLAIN)
    assert asked == [("all", learned.report["label"]["snapshots"], 45.0)]
    assert learned.scorer.card.recipe == learned.report["chosen"]
    mix, half_life = learned.report["chosen"].split(", ")
    assert half_life == "half-life 45 d"
    assert learned.scorer.estimator.mix == MIXES[mix]


def test_of_a_history_too_large_the_refit_learns_from_every_winner_and_the_report_says_so(
    monkeypatch,
):
    fitted, fit = [], choosing.TrainingRows.fit

    def spy(rows, *given):
        fitted.append(rows)
        return fit(rows, *given)

    monkeypatch.setattr(choosing.TrainingRows, "fit", spy)
    crm = simulated_world().crm
    memory = 6_000 * sampling.BYTES_OF_SNAPSHOT
    learned = learn_quickly(simulated_world(), Config(), memory=memory, allow_weak=True)
    sample = learned.report["sample"]
    assert 0 < sample["share"] < 1 < sample["won_beside"]
    refit = max(fitted, key=lambda rows: len(rows.X))
    assert len(refit.X) == len(refit.known.won) == len(refit.importance)
    whole = study.prepare(crm, Config()).at_until.seen.sum()
    assert refit.known.seen.sum() == whole
    assert len(np.unique(refit.importance)) == 2
    said = " ".join(learned.report["summary"])
    assert "fit into --memory" in said
    assert f"the other {sample['won_beside']:,} leads that were won" in said


def test_percentiles_and_histograms_of_reference_are_whole():
    reference = plainly_learned().scorer.reference
    assert reference["scores"] == sorted(reference["scores"])
    assert 100 < len(reference["scores"]) <= 1_000
    histograms = reference["features"]
    assert histograms.keys() == set(plainly_learned().scorer.spec.names)
    assert len({sum(found["counts"]) for found in histograms.values()}) == 1
    for found in histograms.values():  # one bin more than edges, and missing
        assert len(found["counts"]) == len(found["edges"]) + 2


# Stages and findings


def test_stages_are_announced_in_order_and_timed():
    told: list[str] = []
    learned = learn_quickly(plain_world(), clock=Stopwatch(told.append))
    assert told == list(STAGES[1:-1])
    assert list(learned.report["seconds"]) == told
    assert all(seconds >= 0 for seconds in learned.report["seconds"].values())


def test_findings_of_the_features_are_handed_on():
    world = plain_world()
    texts = pa.array([f"text {k} " * 9 for k in range(400)])
    remarked = replace(world, leads=world.leads.append_column("remark", texts))
    found = learn_quickly(remarked).findings
    assert [(one.table, one.column) for one in found] == [("leads", "remark")]
    assert plainly_learned().findings == ()


# The simulator's world, with all trees


@pytest.mark.slow
def test_the_full_recipe_beats_the_base_rate_in_a_world_of_known_truth(tmp_path):
    world = simulated_world(1_500)
    learned = learn(world.crm, Config(), threads=2)
    report = learned.report
    model, base = report["test"]["model"], report["test"]["baselines"]["base_rate"]
    assert model["log_loss"]["value"] < base["log_loss"]["value"]
    assert model["auc"]["value"] > 0.6
    assert base["auc"]["value"] == pytest.approx(0.5, abs=0.1)
    losses = [candidate["log_loss"] for candidate in report["candidates"]]
    assert len(losses) == 9
    assert losses == sorted(losses)
    learned.scorer.save(tmp_path / "model")
    leads = world.crm.leads
    as_of = np.full(len(leads), world.until_us)
    score = LeadScorer.load(tmp_path / "model").score(leads, as_of).score
    np.testing.assert_array_equal(score, learned.scorer.score(leads, as_of).score)


@pytest.mark.slow
def test_full_trainings_are_the_same_bit_for_bit_on_one_thread_and_two(tmp_path):
    world = simulated_world(600)
    turned = replace(world, events=shuffled(world.events, 3))
    one, two = (
        learn(each.crm, Config(), allow_weak=True, threads=threads)
        for threads, each in ((1, world), (2, turned))
    )
    assert files_of(one, tmp_path / "one") == files_of(two, tmp_path / "two")
