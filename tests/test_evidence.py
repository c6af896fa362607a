"""What rules are fixed from, and the promises of precision and value."""

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from training.config import RuleChoice
from training.evidence import Evidence
from training.handoff import first_crossings, value_rule

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
