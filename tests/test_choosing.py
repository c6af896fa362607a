"""Which recipe is chosen, on what, and what may not be looked at while choosing."""

from dataclasses import fields, replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.history import DAY_US
from tests.factories import TIME, at, event, make_events
from tests.worlds import PLAIN, few_rounds, plain_world, shuffled, until
from training import choosing, evaluation, handoff
from training.calibration import Calibration
from training.choosing import Scored, calibrate, choose, fix_rule, joined, training_rows
from training.recipes import Recipe
from training.study import prepare

BLEND, CARD, TREES = Recipe("blend"), Recipe("scorecard"), Recipe("trees")
QUICK_BLEND = Recipe("blend", 90.0)
LEAD = np.arange(100)


@pytest.fixture(scope="module")
def study():
    return prepare(plain_world().crm, PLAIN)


def same_rows(left, right):
    """Whether two sets of training rows are the same to the last bit."""
    assert left.spec == right.spec
    np.testing.assert_array_equal(left.X, right.X)
    for field in fields(left.known):
        np.testing.assert_array_equal(
            getattr(left.known, field.name), getattr(right.known, field.name)
        )


# Two paired standard errors


def apart(difference, *, spread=1.0):
    """Losses of 100 leads whose paired differences have this mean and a standard error of 0.1."""
    sign = np.where(LEAD % 2, 1.0, -1.0)
    return difference + spread * sign * np.sqrt(99 / 100)


def test_the_best_recipe_is_taken_where_the_blend_is_more_than_two_errors_worse():
    base = np.ones(100)
    found = evaluation.paired_difference(base + apart(0.21), base, LEAD)
    assert found.standard_error == pytest.approx(0.1)
    taken = {}
    for worse in (0.199, 0.201, 0.5):
        loss = {CARD: base, BLEND: base + apart(worse)}
        taken[worse] = choosing._within_two_errors(loss, LEAD)
    assert taken == {0.199: BLEND, 0.201: CARD, 0.5: CARD}


def test_the_pairing_counts_and_not_how_much_losses_vary_from_lead_to_lead():
    base = np.random.default_rng(0).gamma(1.0, 5.0, 100)
    loss = {CARD: base, BLEND: base + apart(0.05, spread=0.01)}
    assert choosing._within_two_errors(loss, LEAD) == CARD


def test_errors_are_those_of_leads_and_not_of_rows():
    # Ten rows a lead that all say the same are ten leads' worth of evidence, not a hundred's.
    lead = LEAD // 10
    worse = apart(0.0)[lead] + 0.3
    base = np.ones(100)
    assert choosing._within_two_errors({CARD: base, BLEND: base + worse}, lead) == BLEND
    assert choosing._within_two_errors({CARD: base, BLEND: base + worse}, LEAD) == CARD


def test_the_best_blend_within_two_errors_is_taken_and_a_blend_that_is_best_stays():
    base = np.ones(100)
    losses = {CARD: base, BLEND: base + apart(0.15), QUICK_BLEND: base + apart(0.1)}
    assert choosing._within_two_errors(losses, LEAD) == QUICK_BLEND
    losses = {CARD: base + 1, TREES: base + 2, BLEND: base}
    assert choosing._within_two_errors(losses, LEAD) == BLEND


def test_a_blend_that_is_too_far_does_not_hide_one_that_is_near_enough():
    base = np.ones(100)
    losses = {CARD: base, BLEND: base + apart(0.1, spread=0.1), QUICK_BLEND: base + apart(0.15)}
    assert choosing._within_two_errors(losses, LEAD) == QUICK_BLEND


def test_candidates_are_listed_best_first_with_their_intervals():
    losses = {CARD: np.ones(100), BLEND: 0.5 + apart(0.0), TREES: np.full(100, 0.75)}
    found = choosing._candidates(losses, LEAD)
    assert [candidate.recipe for candidate in found] == [BLEND, TREES, CARD]
    assert [round(candidate.log_loss, 6) for candidate in found] == [0.5, 0.75, 1.0]
    assert found[0].low == pytest.approx(0.5 - 0.196)
    assert found[0].high == pytest.approx(0.5 + 0.196)
    assert (found[2].low, found[2].high) == (1.0, 1.0)


# Choosing as a whole


def oracle(sign):
    """Recipes whose log-odds are the truth times a sign for the scorecard, and nothing else's."""

    def try_recipes(study, cut, half_life, proxies, seen):
        row = np.flatnonzero(cut.test)
        truth = np.where(study.at_until.seen[row], 2.0, -2.0)
        strength = {"scorecard": sign, "trees": 0.0, "blend": -sign}
        return [
            (Recipe(mix, half_life), Scored(row, power * truth)) for mix, power in strength.items()
        ]

    return try_recipes


@pytest.mark.parametrize(("sign", "best"), [(1, "scorecard"), (-1, "blend")])
def test_the_recipe_that_knows_the_truth_is_chosen_and_its_inverse_is_last(
    study, monkeypatch, sign, best
):
    monkeypatch.setattr(choosing, "_try_recipes", oracle(sign))
    choice = choose(study)
    assert choice.recipe.mix == best
    order = list(dict.fromkeys(candidate.recipe.mix for candidate in choice.candidates))
    assert order == ["scorecard", "trees", "blend"][::sign]


def test_every_mix_with_every_half_life_is_tried_on_every_choosing_cut(study):
    with few_rounds(half_lives=(None, 90.0)):
        choice = choose(study)
    assert {(c.recipe.mix, c.recipe.half_life_days) for c in choice.candidates} == {
        (mix, half) for mix in ("blend", "scorecard", "trees") for half in (None, 90.0)
    }
    assert len(choice.scored) == len(study.choosing) == 1
    for scored, cut in zip(choice.scored, study.choosing, strict=True):
        np.testing.assert_array_equal(scored.row, np.flatnonzero(cut.test))


def test_the_chosen_scores_rank_winners_first(study):
    with few_rounds():
        every = joined(choose(study).scored)
    won = study.at_until.seen[every.row]
    assert every.log_odds[won].mean() > every.log_odds[~won].mean() + 0.5


def test_without_a_cut_the_blend_is_taken_and_nothing_is_promised(study):
    none = replace(study, roles=replace(study.roles, choose=()))
    choice = choose(none)
    assert (choice.recipe, choice.candidates, choice.scored) == (BLEND, (), ())
    assert choice.calibration == Calibration()
    assert not choice.rule.feasible


# What is fixed with the choice


def test_calibration_rests_on_matured_rows_only(study):
    row = np.flatnonzero(np.any([cut.test for cut in study.origins.cuts], axis=0))
    matured = study.at_until.matured[row]
    log_odds = np.where(study.at_until.won[row] > 0, 1.0, -1.0)
    fitted = calibrate(study, (Scored(row, log_odds),) * 2)
    assert fitted.cuts == 2
    nonsense = np.where(matured, log_odds, 99.0)
    assert not matured.all()
    assert calibrate(study, (Scored(row, nonsense),) * 2) == fitted


def test_calibration_undoes_scores_that_promise_too_much(study):
    rows = [np.flatnonzero(cut.test) for cut in study.judging]
    share = study.at_until.won[np.concatenate(rows)].mean()
    rng = np.random.default_rng(0)
    high = np.log(share / (1 - share)) + 1
    scored = [Scored(row, high + rng.normal(0, 0.1, len(row))) for row in rows]
    fitted = calibrate(study, scored)
    assert fitted.cuts >= 2
    for cut in scored:
        before = Calibration().probability(cut.log_odds).mean()
        assert fitted.probability(cut.log_odds).mean() < 0.75 * before


def test_the_rule_is_fixed_on_the_best_score_of_leads_that_had_time(study):
    row = np.arange(len(study.snapshots))
    timely = study.had_time(row)
    assert 0 < timely.sum() < len(row)
    log_odds = np.random.default_rng(1).normal(size=len(row))
    rule = fix_rule(study, (Scored(row, log_odds),), Calibration())
    best = handoff.best_scores(study.snapshots.lead[timely], 1 / (1 + np.exp(-log_odds[timely])))
    assert (rule.kind, rule.stated) == ("best_fifth", False)
    assert (best >= rule.threshold).mean() == pytest.approx(0.2, abs=0.005)
    without_time = np.where(timely, log_odds, 99.0)
    assert fix_rule(study, (Scored(row, without_time),), Calibration()) == rule


def test_a_stated_capacity_is_kept_with_the_leads_that_arrive_in_a_week(study):
    rule = PLAIN.rule.model_copy(update={"capacity_per_week": 2})
    stated = replace(study, config=PLAIN.model_copy(update={"rule": rule}))
    row = np.arange(len(study.snapshots))
    scored = (Scored(row, np.random.default_rng(1).normal(size=len(row))),)
    fixed = fix_rule(stated, scored, Calibration())
    assert (fixed.kind, fixed.stated, fixed.capacity_per_week) == ("capacity", True, 2)
    arriving = study.arrivals_per_week().mean()
    assert arriving == pytest.approx(400 / 300 * 7, rel=0.05)
    expected = fixed.promise.expected_per_week or 0.0
    assert expected == pytest.approx(fixed.expected_share * arriving)
    assert 0 < expected < 2


def test_a_fit_asks_for_the_ratios_of_the_weights_alone(study):
    with few_rounds():
        rows = training_rows(study, study.choosing[0], Recipe("blend", 90.0))
        heavier = replace(rows, known=replace(rows.known, weight=8 * rows.known.weight))
        one, other = (each.fit("blend", 0).log_odds(rows.X) for each in (rows, heavier))
    np.testing.assert_array_equal(one, other)


# What was known at a cut


def test_training_rows_are_those_of_an_export_made_at_the_cut(study):
    for cut in study.origins.cuts:
        age = (plain_world().until_us - cut.cut_us) / DAY_US
        then = until(plain_world(), age)
        assert then.until_us == cut.cut_us
        exported = prepare(then.crm, PLAIN)
        same_rows(
            training_rows(study, cut, Recipe("blend")),
            training_rows(exported, exported.everything(), Recipe("blend")),
        )


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1_000))
def test_whatever_happens_after_a_cut_changes_nothing_that_is_learned_at_it(study, seed):
    cut = study.choosing[0]
    world, rng = plain_world(), np.random.default_rng(seed)
    moment = pa.scalar(cut.cut_us, TIME)
    known = until(world, (world.until_us - cut.cut_us) / DAY_US)
    ids = world.leads["lead_id"].to_pylist()
    more = make_events({ids[k]: [event(float(rng.uniform(0, 20)), "shouting")] for k in range(50)})
    late = world.outcomes.filter(pc.greater(world.outcomes["closed_at"], moment))
    swapped = late.set_column(0, "lead_id", shuffled(late.select(["lead_id"]), seed)["lead_id"])
    changed = replace(
        world,
        events=pa.concat_tables([known.events, more]).unify_dictionaries(),
        outcomes=pa.concat_tables([known.outcomes, swapped]),
    )
    other = prepare(changed.crm, PLAIN)
    assert other.origins.cuts[0].cut_us == cut.cut_us
    same_rows(
        training_rows(study, cut, Recipe("blend")),
        training_rows(other, other.origins.cuts[0], Recipe("blend")),
    )


def test_what_was_recorded_after_a_cut_is_not_known_at_it(study):
    cut, world = study.choosing[0], plain_world()
    age = (world.until_us - cut.cut_us) / DAY_US
    closed = world.outcomes["closed_at"].cast(pa.int64()).to_numpy()
    won = pc.equal(world.outcomes["outcome"], "won").to_numpy()
    late = world.outcomes["recorded_at"].cast(pa.int64()).to_numpy().copy()
    late[(closed <= cut.cut_us) & won] = at(age - 1)
    recorded = pa.array(late, TIME)
    changed = replace(world, outcomes=world.outcomes.set_column(3, "recorded_at", recorded))
    other = prepare(changed.crm, PLAIN)
    known = training_rows(study, cut, Recipe("blend")).known
    assert known.won.sum() > 20
    rows = other.snapshots.rows(cut.train)
    assert not other.labels(rows, cut.cut_us).won.any()
    assert other.labels(rows, at(age - 1)).won.sum() >= known.won.sum()


def test_events_recorded_after_a_cut_are_no_features_at_it(study):
    cut, world = study.choosing[0], plain_world()
    age = (world.until_us - cut.cut_us) / DAY_US
    late = pa.array(np.full(len(world.events), at(age - 1)), TIME)
    occurred = world.events["occurred_at"].cast(pa.int64()).to_numpy()
    recorded = pc.if_else(pa.array(occurred <= cut.cut_us), late, world.events["recorded_at"])
    place = world.events.column_names.index("recorded_at")
    changed = replace(world, events=world.events.set_column(place, "recorded_at", recorded))
    other = prepare(changed.crm, PLAIN)
    rows = training_rows(other, cut, Recipe("blend"))
    assert training_rows(study, cut, Recipe("blend")).spec.types == ("inquiry", "web_visit")
    assert rows.spec.types == ()
    assert rows.X[:, rows.spec.names.index("events_all")].max() == 0


def test_a_half_life_weighs_the_rows_of_a_cut_by_their_age_at_it(study):
    cut = study.judging[-1]
    plain, halved = (
        training_rows(study, cut, Recipe("blend", half)).known for half in (None, 60.0)
    )
    age = (cut.cut_us - study.snapshots.as_of_us[cut.train]) / DAY_US
    weighed = plain.weight > 0
    np.testing.assert_array_equal(halved.weight > 0, weighed)
    young, old = (weighed & (age < 45), weighed & (age > 165))
    lighter = halved.weight / np.where(weighed, plain.weight, 1.0)
    assert lighter[young].min() > 3 * lighter[old].max()
    np.testing.assert_array_equal(halved.won, plain.won)


# The leads that judge take no part


def judging_changed(world, study, seed):
    """Another world: of the leads that judge as many are won, but others, and at other times."""
    rng = np.random.default_rng(seed)
    judges = np.unique(study.snapshots.lead[np.any([cut.test for cut in study.judging], axis=0)])
    names = set(world.leads["lead_id"].take(pa.array(judges)).to_pylist())
    rows = world.outcomes.to_pylist()
    theirs = [row for row in rows if row["lead_id"] in names]
    for row, outcome in zip(theirs, rng.permutation([r["outcome"] for r in theirs]), strict=True):
        row["outcome"] = str(outcome)
        row["closed_at"] -= timedelta(days=float(rng.uniform(0, 5)))
        row["recorded_at"] = row["closed_at"]
    return replace(world, outcomes=pa.Table.from_pylist(rows, world.outcomes.schema))


def test_other_outcomes_of_the_judging_leads_change_no_choice():
    world = plain_world(800)
    study = prepare(world.crm, PLAIN)
    changed = prepare(judging_changed(world, study, 0).crm, PLAIN)
    assert changed.roles.choose == study.roles.choose == (0, 1)
    assert not np.array_equal(changed.arrivals.days, study.arrivals.days)
    # Some rows that choose are young: how wins arrive counts for them.
    young = study.choosing[1].test & ~study.at_until.matured
    assert (study.arrivals.at(study.at_until.follow_up_days[young]) < 0.9).any()
    with few_rounds(half_lives=(None, 90.0)):
        one, other = choose(study), choose(changed)
    assert (one.recipe, one.candidates, one.calibration, one.rule) == (
        other.recipe,
        other.candidates,
        other.calibration,
        other.rule,
    )
    for left, right in zip(one.scored, other.scored, strict=True):
        np.testing.assert_array_equal(left.log_odds, right.log_odds)
