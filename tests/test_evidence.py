"""What rules are fixed from, and the promises of precision and value."""

import json
from math import inf

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from tests.worlds import learn_quickly, plain_world
from training.config import Config, RuleChoice
from training.evidence import Evidence
from training.handoff import DECISIONS, Rule, first_crossings, value_rule
from training.study import prepare

WEEKS = np.array([10, 20])


def made(rows, weeks=WEEKS):
    """Evidence of (lead, day, score, won) rows."""
    lead, day, score, won = (np.array(column) for column in zip(*rows, strict=True))
    return Evidence.of(lead, day, score.astype(float), won.astype(float), weeks)


def sample(seed, leads=1_000, top=0.6):
    """Leads whose chance to win is their score, up to `top`; and the chance of each."""
    rng = np.random.default_rng(seed)
    p = top * rng.beta(1, 4, leads)
    won = rng.random(leads) < p
    return Evidence.of(np.arange(leads), np.zeros(leads, np.int64), p, won * 1.0, WEEKS), p


def test_a_lead_counts_at_its_first_crossing_and_by_what_came_of_that_moment():
    rows = made([(7, 1, 0.2, 0), (7, 2, 0.6, 1), (7, 3, 0.4, 0), (9, 1, 0.5, np.nan)])
    assert rows.score.tolist() == [0.2, 0.6, 0.5]
    assert rows.best.tolist() == [0.6, 0.5]
    crossed = {threshold: rows.crossed(threshold) for threshold in (0.1, 0.3, 0.45, 0.55, 0.7)}
    assert crossed == {0.1: (1, 0), 0.3: (1, 1), 0.45: (1, 1), 0.55: (1, 1), 0.7: (0, 0)}


@st.composite
def histories(draw):
    one = st.tuples(
        st.integers(0, 3), st.integers(0, 9), st.floats(0, 1), st.sampled_from([0.0, 1.0, np.nan])
    )
    return draw(st.lists(one, min_size=1, max_size=20, unique_by=lambda row: row[:2]))


@settings(max_examples=200, deadline=None)
@given(rows=histories(), threshold=st.floats(0, 1))
def test_leaving_out_all_but_new_heights_changes_no_crossing(rows, threshold):
    lead, day, score, won = (np.array(column) for column in zip(*rows, strict=True))
    leads, moments = first_crossings(lead, day, score, threshold)
    label = {(k, d): w for k, d, w in zip(lead.tolist(), day.tolist(), won.tolist(), strict=True)}
    came = [label[key] for key in zip(leads.tolist(), moments.tolist(), strict=True)]
    known = [each for each in came if not np.isnan(each)]
    found = made(rows)
    assert found.crossed(threshold) == (len(known), sum(known))
    again = Evidence.from_dict(found.as_dict())
    assert again.crossed(threshold) == found.crossed(threshold)
    assert again.best.tolist() == found.best.tolist()


def precision(target, confidence=0.9, **more):
    return RuleChoice(kind="precision", precision=target, confidence=confidence, **more)


def test_the_promise_holds_by_the_exact_binomial_test_and_at_no_lower_threshold_tried():
    evidence, _ = sample(1)
    rule = evidence.fix(precision(0.25))
    known, won = evidence.crossed(rule.threshold)
    assert binomtest(won, known, 0.25, "greater").pvalue <= 0.1
    assert (rule.feasible, rule.promise.precision, rule.promise.confidence) == (True, 0.25, 0.9)
    assert rule.expected_share == pytest.approx((evidence.best >= rule.threshold).mean())
    assert rule.promise.expected_per_week == pytest.approx(15 * rule.expected_share)


def test_where_no_threshold_can_promise_it_nothing_is_handed_off_and_the_most_is_said():
    evidence, _ = sample(2)
    rule = evidence.fix(precision(0.9))
    assert (rule.threshold, rule.feasible, rule.expected_share) == (inf, False, 0.0)
    most = rule.promise.most_precision
    assert 0.1 < most < 0.6
    assert evidence.fix(precision(most - 1e-6)).feasible
    assert not evidence.fix(precision(most + 1e-6)).feasible


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1_000), low=st.floats(0.05, 0.5), more=st.floats(0, 0.3))
def test_asking_for_more_never_hands_off_more(seed, low, more):
    evidence, _ = sample(seed, 400)
    lax, strict = evidence.fix(precision(low)), evidence.fix(precision(low + more))
    assert strict.threshold >= lax.threshold
    surer = evidence.fix(precision(low, 0.99))
    assert surer.threshold >= lax.threshold


def test_promises_are_kept_in_nine_worlds_of_ten():
    worlds = [sample(seed, 300) for seed in range(200)]
    given_, missed = 0, 0
    for evidence, p in worlds:
        rule = evidence.fix(precision(0.15))
        if rule.feasible:
            given_ += 1
            missed += p[p >= rule.threshold].mean() < 0.15
    assert given_ > 100
    assert missed <= 0.13 * len(worlds)


def test_outcomes_that_follow_no_score_can_promise_no_more_than_their_share():
    evidence, p = sample(1)
    shuffled = np.random.default_rng(0).permutation(evidence.won)
    permuted = Evidence(evidence.lead, evidence.score, shuffled, WEEKS)
    assert evidence.fix(precision(0.25)).feasible
    assert not permuted.fix(precision(0.25)).feasible
    assert p.mean() < 0.25


@given(value=st.floats(1, 1e6), cost=st.floats(0, 1e6), score=st.floats(0, 1))
def test_a_lead_is_handed_off_where_it_is_worth_more_than_it_costs(value, cost, score):
    rule = value_rule(np.array([0.1, 0.9]), value=value, cost=cost)
    worth, exact = score >= rule.threshold, score > cost / value
    assert worth == exact or (cost >= value and not worth)


def test_a_hand_off_that_costs_what_a_win_is_worth_is_never_made():
    rule = RuleChoice(kind="value", value=10.0, cost=10.0)
    assert sample(1)[0].fix(rule).feasible is False


def test_the_curve_by_hand():
    rows = made([(1, 0, 0.9, 1), (2, 0, 0.8, 0), (3, 0, 0.7, 1), (4, 0, 0.1, np.nan)])
    points = rows.curve()
    assert [point["threshold"] for point in points] == [0.9, 0.8, 0.7, 0.1]
    assert [point["per_week"] for point in points] == pytest.approx([3.75, 7.5, 11.25, 15])
    assert [point["won_share"]["value"] for point in points] == pytest.approx(
        [1, 0.5, 2 / 3, 2 / 3]
    )
    wins = [point["wins_per_week"]["value"] for point in points]
    assert wins == pytest.approx([3.75, 3.75, 7.5, 10])
    for point in points:
        for figure in (point["won_share"], point["wins_per_week"]):
            assert figure["low"] <= figure["value"] <= figure["high"]


def test_one_more_lead_is_won_as_often_as_those_that_a_point_adds():
    rows = made([(1, 0, 0.9, 1), (2, 0, 0.8, 0), (3, 0, 0.7, 1), (4, 0, 0.1, np.nan)])
    more = [point["one_more"] for point in rows.curve()]
    assert [figure["value"] for figure in more] == [1, 0, 1, None]
    assert more[1]["low"] == 0 < more[1]["high"]


def test_a_win_that_comes_too_late_for_an_earlier_crossing_makes_no_share_below_zero():
    late = made([(1, 0, 0.5, 0), (1, 5, 0.9, 1), (2, 0, 0.5, 0)])
    assert [point["one_more"]["value"] for point in late.curve()] == [1, 0]


def test_no_leads_are_no_evidence():
    none, empty = np.empty(0, np.int64), np.empty(0)
    nothing = Evidence.of(none, none, empty, empty, WEEKS)
    assert nothing.curve() == []
    assert not nothing.fix(precision(0.1)).feasible
    assert nothing.fix(RuleChoice(kind="value", value=10.0, cost=1.0)).expected_share == 0


def test_the_bottom_is_marked_only_where_it_surely_wins_less_than_half_as_often():
    score, lead = np.arange(500) / 500, np.arange(500)
    day = np.zeros(500, np.int64)
    marked = []
    for won in (score > 0.7, score < 0.3, lead % 3 == 0):
        evidence = Evidence.of(lead, day, score, won.astype(np.float64), WEEKS)
        marked.append(evidence.fix(RuleChoice()).deprioritise_below)
    assert marked == [pytest.approx(0.2), 0.0, 0.0]
    few = Evidence.of(lead[:5], day[:5], score[::100], np.ones(5), WEEKS)
    assert few.fix(RuleChoice()).deprioritise_below == 0.0


# leads with too little history


@st.composite
def short_histories(draw):
    """Rows of (lead, day, score, won, events by then) and a minimum of events."""
    one = st.tuples(
        st.integers(0, 5), st.integers(0, 9), st.sampled_from([0.0, 0.1, 0.4, 0.9]),
        st.sampled_from([0.0, 1.0, np.nan]), st.integers(0, 3),
    )  # fmt: skip
    rows = draw(st.lists(one, min_size=1, max_size=25, unique_by=lambda row: row[:2]))
    return rows, draw(st.integers(0, 4))


def slowly_crossed(rows, minimum, threshold):
    """The first moment at which each lead is flagged: in plain Python, as the scorer decides."""
    first = {}
    for lead, _, score, won, events in sorted(rows, key=lambda row: row[:2]):
        if lead not in first and events >= minimum and score >= threshold:
            first[lead] = won
    known = [won for won in first.values() if not np.isnan(won)]
    return len(known), sum(known), len(first)


def abstaining(rows, minimum):
    lead, day, score, won, events = (np.array(column) for column in zip(*rows, strict=True))
    seen = np.where(events < minimum, -inf, score.astype(float))
    return Evidence.of(lead, day, seen, won.astype(float), WEEKS)


@settings(max_examples=300, deadline=None)
@given(drawn=short_histories(), threshold=st.sampled_from([0.0, 0.05, 0.1, 0.4, 0.9, 0.95]))
def test_leads_below_the_minimum_of_history_never_cross_and_still_count_as_leads(drawn, threshold):
    rows, minimum = drawn
    found = abstaining(rows, minimum)
    known, won, crossed = slowly_crossed(rows, minimum, threshold)
    assert found.crossed(threshold) == (known, won)
    assert (found.best >= threshold).sum() == crossed
    assert len(found.best) == len({row[0] for row in rows})
    again = Evidence.from_dict(json.loads(json.dumps(found.as_dict(), allow_nan=False)))
    assert again.crossed(threshold) == (known, won)
    assert again.best.tolist() == found.best.tolist()


CHOICES = (
    RuleChoice(),
    RuleChoice(capacity_per_week=1),
    RuleChoice(capacity_per_week=19),
    RuleChoice(capacity_per_week=20),
    precision(0.05, 0.5),
    RuleChoice(kind="value", value=10.0, cost=1.0),
)


@settings(max_examples=300, deadline=None)
@given(drawn=short_histories(), choice=st.sampled_from(CHOICES))
def test_every_rule_expects_what_is_flagged_when_it_is_replayed_slowly(drawn, choice):
    rows, minimum = drawn
    found = abstaining(rows, minimum)
    rule = found.fix(choice)
    crossed = slowly_crossed(rows, minimum, rule.threshold)[2]
    assert rule.expected_share == pytest.approx(crossed / len(found.best))
    assert 0 <= rule.deprioritise_below <= rule.grades[2] <= rule.grades[1] <= rule.grades[0]
    assert rule.threshold >= 0
    if not (found.best >= 0).any() and choice.kind != "value":
        assert not rule.feasible
    assert Rule.from_dict(json.loads(json.dumps(rule.as_dict(), allow_nan=False))) == rule
    for point in found.curve():
        assert point["threshold"] >= 0


def test_slots_that_abstaining_leads_would_have_taken_go_to_others():
    score, lead, day = np.arange(400) / 400, np.arange(400), np.zeros(400, np.int64)
    won, weeks = np.zeros(400), np.array([120])
    shy = np.where(lead % 2 == 0, -inf, score)  # every second lead never has enough events
    every, half = (
        Evidence.of(lead, day, s, won, weeks).fix(RuleChoice(capacity_per_week=20))
        for s in (score, shy)
    )
    assert every.threshold == 0.875
    assert half.threshold == pytest.approx(0.7525)
    assert half.expected_share == every.expected_share == 0.125
    assert half.promise.expected_per_week == 15


def test_a_capacity_that_all_leads_with_a_score_fit_into_hands_off_all_of_them():
    lead, day = np.arange(400), np.zeros(400, np.int64)
    few = np.where(lead < 20, 0.5 + lead / 100, -inf)
    rule = Evidence.of(lead, day, few, np.zeros(400), np.array([120])).fix(
        RuleChoice(capacity_per_week=20)
    )
    assert (rule.threshold, rule.expected_share) == (0.0, 0.05)


def test_a_run_fixes_its_rule_on_what_its_scorer_would_flag():
    """Out of a whole run: the evidence is that of leads with events enough, counted slowly."""
    plain, asking = (
        Config.model_validate({"label": {"horizon_days": 30}, "rule": rule})
        for rule in ({"capacity_per_week": 3}, {"capacity_per_week": 3, "min_events": 2})
    )
    world = plain_world()
    kept = learn_quickly(world, asking)
    scored = Evidence.from_dict(kept.scorer.reference["evidence"])
    study = prepare(world.crm, asking)
    rows = np.arange(len(study.snapshots))
    found = study.flaggable(rows, np.full(len(rows), 0.5)) >= 0
    ids = world.leads["lead_id"].to_pylist()
    moments: dict[str, list[int]] = {lead: [] for lead in ids}
    known = world.events["occurred_at"].cast(pa.int64()).to_pylist()
    for lead, moment in zip(world.events["lead_id"].to_pylist(), known, strict=True):
        moments[lead].append(moment)
    slowly = [
        sum(moment <= as_of for moment in moments[ids[lead]]) >= 2
        for lead, as_of in zip(
            study.snapshots.lead.tolist(), study.snapshots.as_of_us.tolist(), strict=True
        )
    ]
    assert found.tolist() == slowly
    assert 0 < sum(slowly) < len(slowly)
    assert 0 < (scored.best < 0).sum() < len(scored.best)
    assert kept.scorer.rule.expected_share == pytest.approx(
        (scored.best >= kept.scorer.rule.threshold).mean()
    )
    judged = kept.judged_leads
    decided = kept.scorer.score(judged.raw, judged.as_of_us)
    few = decided.decision == DECISIONS.index("abstain")
    assert 0 < few.sum() < len(few)
    assert kept.scorer.rule.threshold < learn_quickly(world, plain).scorer.rule.threshold
