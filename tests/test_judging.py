"""The later leads that judge the chosen recipe, and the baselines beside it."""

from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
import pytest

from features.history import DAY_US
from tests.factories import make_events, make_leads
from tests.worlds import PLAIN, World, few_rounds, make_outcomes, plain_world, until
from training import baselines
from training.calibration import Calibration
from training.choosing import Choice, choose, training_rows
from training.handoff import best_fifth_rule
from training.judging import judge
from training.recipes import Recipe
from training.study import prepare


@pytest.fixture(scope="module")
def study():
    return prepare(plain_world().crm, PLAIN)


def judged_with(study, recipe, calibration=None):
    rule = best_fifth_rule(np.arange(10) / 10)
    with few_rounds():
        return judge(study, Choice(recipe, (), (), calibration or Calibration(), rule))


@pytest.fixture(scope="module")
def judged(study):
    return judged_with(study, Recipe("scorecard"))


def auc(score, won):
    """Share of the pairs in which the winner stands first; equal scores count half."""
    winner, other = score[won][:, None], score[~won]
    return float((winner > other).mean() + (winner == other).mean() / 2)


def test_judged_are_leads_created_after_the_cut_and_none_that_chose(study, judged):
    created = study.crm.leads.created_us[study.snapshots.lead]
    assert len(judged.scored) == len(study.judging) == 3
    for cut, scored in zip(study.judging, judged.scored, strict=True):
        np.testing.assert_array_equal(scored.row, np.flatnonzero(cut.test))
        assert (created[scored.row] > cut.cut_us).all()
        assert (created[scored.row] <= cut.next_us).all()
    for cut in study.choosing:
        lead = study.snapshots.lead
        assert not np.intersect1d(lead[judged.row], lead[cut.test]).size
        assert created[judged.row].min() > created[cut.test].max()


def test_the_model_and_the_baselines_that_see_inquiries_rank_later_winners_first(study, judged):
    rows = study.at_until.matured[judged.row]
    won = study.at_until.seen[judged.row][rows]
    assert auc(judged.model[rows], won) > 0.75
    assert auc(judged.baselines["points"][rows], won) > 0.65
    assert auc(judged.baselines["logistic"][rows], won) > 0.65


def test_every_baseline_has_a_probability_for_every_row(study, judged):
    assert judged.baselines.keys() == {"base_rate", "recency", "points", "odoo", "logistic"}
    for p in (judged.model, *judged.baselines.values()):
        assert len(p) == len(judged.row)
        assert ((p >= 0) & (p <= 1)).all()
    assert len(set(judged.baselines["base_rate"])) == len(study.judging)


def test_the_calibration_is_the_one_that_was_chosen(study, judged):
    shifted = judged_with(study, Recipe("scorecard"), Calibration(-1.0, 0.5, 2))
    plain, other = (np.log(p / (1 - p)) for p in (judged.model, shifted.model))
    np.testing.assert_allclose(other, -1.0 + 0.5 * plain, atol=1e-9)


@pytest.mark.parametrize("recipe", [Recipe("trees", 60.0), Recipe("scorecard")])
def test_mix_and_half_life_are_those_of_the_recipe(study, recipe):
    cut = study.judging[0]
    with few_rounds():
        rows = training_rows(study, cut, recipe)
        expected = rows.fit(recipe.mix, study.seed)
    Z = study.matrix(rows.spec, study.snapshots.rows(np.flatnonzero(cut.test)))
    found = judged_with(study, recipe).scored[0].log_odds
    np.testing.assert_array_equal(found, expected.log_odds(Z))


def test_the_base_rate_is_the_weighted_share_won_that_was_known_at_the_cut(study, judged):
    cut = study.judging[0]
    known = study.labels(study.snapshots.rows(cut.train), cut.cut_us)
    share = (known.won * known.weight).sum() / known.weight.sum()
    np.testing.assert_allclose(judged.baselines["base_rate"][: int(cut.test.sum())], share)


def test_what_happens_later_changes_no_score_of_earlier_snapshots(study, judged):
    """The last judged leads in an export of 20 days after the cut, and in the whole history."""
    cut = study.judging[-1]
    day = cut.cut_us + 20 * DAY_US
    early = prepare(until(plain_world(), (plain_world().until_us - day) / DAY_US).crm, PLAIN)
    there = early.snapshots
    created = early.crm.leads.created_us[there.lead]
    train = (there.as_of_us <= cut.cut_us) & (created <= cut.cut_us)
    with few_rounds():
        rows = training_rows(early, replace(cut, train=train), Recipe("blend"))
        scores = rows.fit("scorecard", study.seed).log_odds(early.matrix(rows.spec, there))
    keys = zip(there.lead.tolist(), there.as_of_us.tolist(), strict=True)
    known = dict(zip(keys, scores, strict=True))
    last = judged.scored[-1]
    places = zip(study.snapshots.lead[last.row], study.snapshots.as_of_us[last.row], strict=True)
    both = [
        (known[place], log_odds)
        for place, log_odds in zip(places, last.log_odds, strict=True)
        if place in known
    ]
    assert len(both) > 50
    assert all(one == other for one, other in both)


def test_odoo_learns_from_leads_that_were_closed_by_the_cut_and_no_others(study, monkeypatch):
    seen = []
    fit = baselines.odoo

    def spy(codes, won):
        seen.append((len(codes), int(won.sum())))
        return fit(codes, won)

    monkeypatch.setattr(baselines, "odoo", spy)
    judged_with(study, Recipe("scorecard"))
    outcomes = plain_world().outcomes
    closed = outcomes["closed_at"].cast("int64").to_numpy()
    won = pc.equal(outcomes["outcome"], "won").to_numpy()
    assert sorted(seen) == sorted(
        (int((closed <= cut.cut_us).sum()), int(won[closed <= cut.cut_us].sum()))
        for cut in study.judging
    )


def test_a_baseline_whose_feature_is_excluded_is_left_out(study):
    excluded = ("days_since_last_event", "days_since_inquiry")
    features = PLAIN.features.model_copy(update={"exclude": excluded})
    without = PLAIN.model_copy(update={"features": features})
    found = judged_with(replace(study, config=without), Recipe("scorecard"))
    assert found.baselines.keys() == {"base_rate", "points", "odoo", "logistic"}


def test_baselines_stand_where_no_loss_was_ever_recorded():
    world = plain_world()
    wins = world.outcomes.filter(pc.equal(world.outcomes["outcome"], "won"))
    study = prepare(replace(world, outcomes=wins).crm, PLAIN)
    found = judged_with(study, Recipe("scorecard"))
    assert set(found.baselines["odoo"]) == {1.0}  # Odoo knows closed leads only
    rows = study.at_until.matured[found.row]
    assert auc(found.model[rows], study.at_until.seen[found.row][rows]) > 0.75


def test_folds_of_a_hash_split_are_scored_by_models_of_the_others():
    ages = {f"lead-{k}": 60.0 for k in range(240)}
    keen = {lead: [59.5] * 2 for k, lead in enumerate(ages) if k % 3 == 0}
    wins = {lead: (45.0, "won") for k, lead in enumerate(ages) if k % 3 == 0 or k % 20 == 1}
    study = prepare(World(make_leads(ages), make_events(keen), make_outcomes(wins)).crm, PLAIN)
    assert study.origins.kind == "hash"
    found = judged_with(study, Recipe("scorecard"))
    for cut, scored in zip(study.judging, found.scored, strict=True):
        trained = np.unique(study.snapshots.lead[cut.train])
        assert not np.isin(study.snapshots.lead[scored.row], trained).any()
    old = study.snapshots.age_days[found.row] >= 1
    assert auc(found.model[old], study.at_until.seen[found.row][old]) > 0.85


def test_no_judging_cut_judges_nothing(study):
    found = judged_with(replace(study, roles=replace(study.roles, judge=())), Recipe("blend"))
    assert (len(found.row), len(found.model), found.scored, found.baselines) == (0, 0, (), {})


def test_choosing_and_judging_use_different_leads(study, judged):
    with few_rounds():
        choice = choose(study)
    lead = study.snapshots.lead
    chosen = np.unique(lead[np.concatenate([scored.row for scored in choice.scored])])
    assert len(chosen) > 50
    assert not np.intersect1d(chosen, lead[judged.row]).size
