"""The level of the newest leads: when their wins so far move it, and what that leaves."""

from dataclasses import replace
from functools import cache

import numpy as np
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from features.history import DAY_US
from tests.worlds import PLAIN, World, few_rounds, learn_quickly, plain_world, plainly_learned
from training import choosing, level, origins, shipping
from training.calibration import Calibration
from training.choosing import held_out, newest, training_rows
from training.labels import DelayCurve
from training.level import Young, shift, suspected, young_rows
from training.recipes import Recipe
from training.study import prepare

DAYS = np.arange(1.0, 91.0)
EVENLY = DelayCurve(DAYS, DAYS / 90)
AS_IT_IS = Calibration()


def young_leads(seed, true_shift=0.0, pace=1.0, leads=4_000, curve=EVENLY):
    """Leads with right log-odds but for a shift, whose wins come at `pace` times the curve's."""
    rng = np.random.default_rng(seed)
    log_odds, age = rng.normal(-3, 1, leads), rng.uniform(0, 90, leads)
    came = EVENLY.at(age * pace)
    seen = rng.random(leads) < expit(log_odds + true_shift) * came
    return Young(log_odds, seen, age, np.arange(leads), curve)


@pytest.mark.parametrize("true_shift", [1.5, 2.5, -1.5])
def test_a_level_that_moved_is_found(true_shift):
    found = [shift(young_leads(seed, true_shift), AS_IT_IS) for seed in range(5)]
    assert np.mean(found) == pytest.approx(true_shift, abs=0.15)


def test_a_level_that_stands_is_left_alone():
    assert [shift(young_leads(seed), AS_IT_IS) for seed in range(50)] == [0.0] * 50


@pytest.mark.parametrize("pace", [1.5, 1 / 1.5])
def test_wins_that_come_at_another_pace_are_no_other_level(pace):
    many = young_leads(0, pace=pace, leads=20_000)
    best, error = level._fit(many, many.log_odds, 1.0)
    assert abs(best) > 3 * error  # that could be told, were it not for the pace
    assert shift(many, AS_IT_IS) == 0.0


def test_the_level_is_what_calibration_leaves():
    moved = young_leads(0, 2.0)
    found = shift(moved, AS_IT_IS)
    assert shift(moved, Calibration(intercept=found)) == 0.0
    half = Calibration(intercept=found / 2)
    assert shift(moved, half) == pytest.approx(found / 2, abs=1e-6)


def test_nine_leads_with_a_win_tell_nothing_and_ten_do():
    moved = young_leads(0, 2.0)
    won = np.flatnonzero(moved.seen)

    def with_wins(count):
        chosen = np.union1d(won[:count], np.flatnonzero(~moved.seen)[:30])
        rows = {n: getattr(moved, n)[chosen] for n in ("log_odds", "seen", "follow_up_days")}
        return replace(moved, **rows, cluster=chosen)

    assert shift(with_wins(9), AS_IT_IS) == 0.0
    assert shift(with_wins(10), AS_IT_IS) > 1.0
    assert not suspected(with_wins(9), AS_IT_IS)
    # Nor do nine leads with many snapshots each.
    nine = with_wins(9)
    many = {n: np.repeat(getattr(nine, n), 8) for n in ("log_odds", "seen", "follow_up_days")}
    assert shift(replace(nine, **many, cluster=np.repeat(nine.cluster, 8)), AS_IT_IS) == 0.0


def test_snapshots_of_one_lead_are_one_lead_s_evidence():
    few = young_leads(3, 1.2, leads=400)
    assert shift(few, AS_IT_IS) == 0.0
    columns = ("log_odds", "seen", "follow_up_days", "cluster")
    again = replace(few, **{name: np.tile(getattr(few, name), 10) for name in columns})
    assert shift(again, AS_IT_IS) == 0.0
    assert shift(replace(again, cluster=np.arange(len(again.seen))), AS_IT_IS) > 0.5


def test_wins_that_no_level_explains_move_nothing():
    none_yet = DelayCurve(np.array([80.0]), np.array([1.0]))
    few = young_leads(0, 2.0, curve=none_yet)
    early = replace(few, follow_up_days=np.minimum(few.follow_up_days, 40))
    assert level._fit(early, early.log_odds, 1.0)[1] == np.inf
    assert shift(early, AS_IT_IS) == 0.0
    # Not even where a quicker pace would explain them.
    quicker = replace(early, follow_up_days=np.full(len(early.seen), 60.0))
    assert level._fit(quicker, quicker.log_odds, level.PACE)[1] < 0.2
    assert shift(quicker, AS_IT_IS) == 0.0


@settings(deadline=None)
@given(st.integers(0, 1000), st.floats(-3, 3), st.integers(0, 300))
def test_any_leads_give_a_bounded_shift_that_keeps_their_order(seed, true_shift, leads):
    some = young_leads(seed, true_shift, leads=leads)
    found = shift(some, AS_IT_IS)
    assert abs(found) <= 10
    raised = AS_IT_IS.shifted(found).log_odds(np.linspace(-8, 4, 50))
    assert (np.diff(raised) > 0).all()


def test_scores_of_a_cut_stand_at_its_own_level():
    log_odds, moved = np.linspace(-4, 0, 5), young_leads(0, 2.0)
    cuts = [choosing.Scored(np.arange(5), log_odds, young) for young in (None, moved)]
    found = choosing.probability(cuts, AS_IT_IS)
    np.testing.assert_allclose(found[:5], expit(log_odds))
    np.testing.assert_allclose(found[5:], expit(log_odds + shift(moved, AS_IT_IS)))
    assert choosing.probability((), AS_IT_IS).shape == (0,)


# In a training run


@cache
def new_world() -> World:
    """Deals began to close 45 days ago; matured are wins of 15 days only."""
    world = plain_world(2_000, days=300)
    created = world.leads["created_at"].cast("int64").to_numpy()
    new = created > world.until_us - 45 * DAY_US
    ids = world.leads["lead_id"].filter(new).combine_chunks()
    kept = pc.or_(
        pc.equal(world.outcomes["outcome"], "lost"), pc.is_in(world.outcomes["lead_id"], ids)
    )
    return replace(world, outcomes=world.outcomes.filter(kept))


@pytest.fixture(scope="module")
def study():
    return prepare(new_world().crm, PLAIN)


@cache
def learned_anew():
    return learn_quickly(new_world())


def test_young_are_leads_of_which_no_snapshot_has_matured(study):
    known, lead = study.at_until, study.snapshots.lead
    young = young_rows(known, lead)
    first = np.full(len(study.crm.leads), -np.inf)
    np.maximum.at(first, lead, known.follow_up_days)
    np.testing.assert_array_equal(young, first[lead] < PLAIN.label.horizon_days)
    later = np.append(known.follow_up_days[:-1], -1.0)
    assert not young_rows(replace(known, follow_up_days=later), lead)[-1]


def test_held_out_scores_are_learned_from_other_leads(study):
    cut, recipe = study.everything(), Recipe("scorecard")
    with few_rounds():
        rows = training_rows(study, cut, recipe)
        learned = newest(study, cut, rows, rows.fit(recipe.mix, study.seed))
        found = held_out(study, cut, recipe, learned, AS_IT_IS)
        assert found is not None
        # Whatever is known of a fold's own leads changes nothing of its scores.
        lead = study.snapshots.lead
        mine = study.hashes[lead] // origins.FOLDS % level.FOLDS == 0
        others = rows.only(~mine).fit(recipe.mix, study.seed)
    young = young_rows(rows.known, lead)
    expected = others.log_odds(rows.X[young & mine])
    np.testing.assert_array_equal(found.log_odds[mine[young]], expected)
    assert found.log_odds[found.seen].mean() < learned.log_odds[learned.seen].mean()
    np.testing.assert_array_equal(found.seen, learned.seen)


def test_nothing_more_is_fitted_where_nothing_moved(monkeypatch):
    study = prepare(plain_world().crm, PLAIN)
    cut, recipe = study.everything(), Recipe("scorecard")
    rows = training_rows(study, cut, recipe)
    learned = newest(study, cut, rows, rows.fit(recipe.mix, study.seed))
    monkeypatch.setattr(choosing, "training_rows", None)
    assert held_out(study, cut, recipe, learned, AS_IT_IS) is None


def test_a_new_world_is_told_in_the_model_and_in_the_report(study):
    learned = learned_anew()
    moved, scorer = learned.report["level"], learned.scorer
    fresh = study.snapshots.rows(
        young_rows(study.at_until, study.snapshots.lead) & (study.snapshots.age_days == 0)
    )
    X = study.matrix(scorer.spec, fresh)
    before = scorer.calibration.shifted(-moved).probability(scorer.estimator.log_odds(X))
    assert before.mean() < 0.05
    assert 0.18 < scorer.probability(X).mean() < 0.36  # 0.245 in truth
    (said,) = [line for line in learned.report["summary"] if "The world has moved" in line]
    assert f"multiplied by {np.exp(moved):.2f}" in said
    plain = plainly_learned()
    assert plain.report["level"] == 0.0
    assert not [line for line in plain.report["summary"] if "The world has moved" in line]


def test_the_level_hands_off_the_same_leads_by_a_capacity(study, monkeypatch):
    with few_rounds():
        choice = choosing.choose(study)
        with_level = shipping.ship(study, choice, ()).scorer
        monkeypatch.setattr(level, "suspected", lambda *_: False)
        without = shipping.ship(study, choice, ()).scorer
    assert with_level.calibration.intercept > without.calibration.intercept
    X = study.matrix(with_level.spec, study.snapshots)
    flagged = [each.probability(X) >= each.rule.threshold for each in (with_level, without)]
    assert 0 < flagged[0].sum() < len(X)
    np.testing.assert_array_equal(flagged[0], flagged[1])
