import json
from dataclasses import replace
from math import inf

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom

from features.history import DAY_US
from training.handoff import (
    ABSTAIN,
    DECISIONS,
    GRADES,
    HAND_OFF,
    NURTURE,
    SUPPRESSED,
    Promise,
    Rule,
    apply_capacity,
    best_fifth_rule,
    best_scores,
    capacity_rule,
    decide,
    first_crossings,
    replay,
)

TENTHS = np.arange(1, 11) / 10


def rule_at(threshold, grades=None):
    grades = (threshold, threshold, threshold) if grades is None else grades
    return Rule("capacity", True, threshold, grades, Promise(), True, 0.5)


def test_a_score_at_the_threshold_is_handed_off_and_one_below_is_not():
    decision, _ = decide(rule_at(0.5), np.array([0.5, np.nextafter(0.5, 0), 1.0, 0.0]))
    assert decision.tolist() == [HAND_OFF, NURTURE, HAND_OFF, NURTURE]


def test_grades_begin_at_their_lowest_score():
    below = [np.nextafter(edge, 0) for edge in (0.7, 0.5, 0.2)]
    scores = np.array([0.7, below[0], 0.5, below[1], 0.2, below[2]])
    _, grade = decide(rule_at(0.5, (0.7, 0.5, 0.2)), scores)
    assert "".join(GRADES[code] for code in grade) == "ABBCCD"


def test_no_score_abstains_without_a_grade():
    decision, grade = decide(rule_at(0.5), np.array([np.nan]))
    assert DECISIONS[decision[0]] == "abstain"
    assert GRADES[grade[0]] == ""


def test_too_few_events_abstain_only_where_the_rule_asks_for_a_minimum():
    score, events = np.array([0.9, 0.9]), np.array([2, 3])
    asking = replace(rule_at(0.5), minimum_events=3)
    assert decide(asking, score, events=events)[0].tolist() == [ABSTAIN, HAND_OFF]
    assert decide(rule_at(0.5), score, events=np.array([0, 3]))[0].tolist() == [HAND_OFF] * 2


def test_suppression_comes_first_and_leaves_the_grade():
    score = np.array([0.9, 0.1, np.nan])
    decision, grade = decide(rule_at(0.5), score, suppressed=np.array([True, False, True]))
    assert decision.tolist() == [SUPPRESSED, NURTURE, SUPPRESSED]
    assert [GRADES[code] for code in grade] == ["A", "D", ""]


scores = st.lists(st.floats(0, 1), min_size=1, max_size=30).map(np.array)
thresholds = st.floats(0, 1)


@given(scores, thresholds, thresholds)
def test_raising_the_threshold_never_adds_hand_offs(score, one, other):
    """Law 9, for a backlog."""
    low, high = sorted((one, other))
    handed_low = decide(rule_at(low), score)[0] == HAND_OFF
    handed_high = decide(rule_at(high), score)[0] == HAND_OFF
    assert not (handed_high & ~handed_low).any()


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 50), st.floats(0, 1)), max_size=30),
    thresholds,
    thresholds,
)
def test_raising_the_threshold_never_adds_first_crossings_nor_brings_one_forward(rows, one, other):
    """Law 9, for a replay."""
    low, high = sorted((one, other))
    columns = np.array(rows, float).reshape(-1, 3).T
    lead, as_of = columns[:2].astype(np.int64)
    early, late = (
        dict(zip(*(c.tolist() for c in first_crossings(lead, as_of, columns[2], t)), strict=True))
        for t in (low, high)
    )
    assert set(late) <= set(early)
    assert all(early[crossed] <= moment for crossed, moment in late.items())


@given(scores, st.floats(0, 1))
def test_grades_are_in_order_and_hand_offs_are_a_or_b(evidence, share):
    for rule in (
        best_fifth_rule(evidence),
        capacity_rule(evidence, len(evidence), max(round(share * len(evidence)), 1)),
    ):
        a, b, c = rule.grades
        assert a >= b >= c
        assert b == rule.threshold
        decision, grade = decide(rule, evidence)
        assert ((decision == HAND_OFF) == (grade <= 1)).all()


def test_a_is_the_upper_half_of_the_hand_offs_and_c_twice_as_many_below():
    rule = best_fifth_rule(np.arange(100) / 100)
    _, grade = decide(rule, np.arange(100) / 100)
    assert [int((grade == k).sum()) for k in range(4)] == [10, 10, 40, 40]
    assert rule.grades == (0.9, 0.8, 0.4)


def test_the_best_fifth_is_a_fifth_and_says_that_nobody_stated_it():
    rule = best_fifth_rule(TENTHS)
    assert (rule.threshold, rule.expected_share) == (0.9, 0.2)
    assert not rule.stated
    assert rule.capacity_per_week is None


def test_equal_scores_are_handed_off_together_near_a_fifth():
    rule = best_fifth_rule(np.repeat([0.9, 0.5, 0.1], [1, 2, 7]))
    assert (rule.threshold, rule.expected_share) == (0.5, 0.3)
    rule = best_fifth_rule(np.repeat([0.9, 0.5, 0.1], [1, 5, 4]))
    assert (rule.threshold, rule.expected_share) == (0.9, 0.1)


def test_without_evidence_nothing_is_handed_off():
    for rule in (best_fifth_rule(np.empty(0)), capacity_rule(np.empty(0), 10, 5)):
        assert not rule.feasible
        assert decide(rule, np.array([1.0]))[0].tolist() == [NURTURE]


def test_capacity_follows_the_beta_binomial_bound():
    """As in the sketch of Practice: 20 of the next 120, from 400 scores."""
    rule = capacity_rule(np.arange(1, 401) / 401, 120, 20)
    assert rule.threshold == pytest.approx((401 - 50) / 401)
    assert rule.promise.confidence == 0.9
    assert rule.promise.at_most_per_week == 20
    assert rule.promise.expected_per_week == pytest.approx(15.0)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 80), st.integers(1, 60), st.integers(1, 20), st.sampled_from([0.05, 0.1, 0.5])
)
def test_capacity_equals_the_bound_counted_up_one_by_one(n, week, capacity, delta):
    ordered = np.arange(n, 0, -1) / (n + 1)
    k = 0
    while k < n and betabinom.sf(capacity, week, k + 1, n - k) <= delta:
        k += 1
    expected = inf if k == 0 else 0.0 if k == n else ordered[k - 1]
    assert capacity_rule(ordered, week, capacity, delta=delta).threshold == expected


def test_more_room_never_raises_the_threshold():
    found = [capacity_rule(np.arange(400) / 400, 120, room).threshold for room in range(1, 130)]
    assert (np.diff(found) <= 0).all()
    assert found[-1] == 0  # room for everybody: whatever the score


def test_equal_scores_do_not_break_the_promise():
    tied = np.repeat([0.8, 0.5, 0.1], [10, 200, 190])
    rule = capacity_rule(tied, 120, 20)
    assert rule.threshold == 0.8
    assert capacity_rule(np.full(400, 0.5), 120, 20).threshold == inf


def test_a_capacity_below_one_is_refused():
    with pytest.raises(ValueError, match="capacity_per_week must be at least 1, got 0"):
        capacity_rule(TENTHS, 10, 0)


def test_the_promise_is_kept_in_simulated_weeks():
    """At most one week in ten is too much, with weeks of changing size and scores with ties."""
    rng = np.random.default_rng(0)
    over, used = [], []
    for _ in range(60):
        rule = capacity_rule(rng.beta(1, 8, 400).round(3), rng.poisson(120, 50), 20)
        weeks = [rng.beta(1, 8, rng.poisson(120)).round(3) for _ in range(40)]
        handed = np.array([(decide(rule, week)[0] == HAND_OFF).sum() for week in weeks])
        over.append((handed > 20).mean())
        used.append(handed.mean())
    assert np.mean(over) <= 0.13
    assert np.mean(used) > 12


def test_a_lead_crosses_once_at_its_first_moment_in_time():
    lead = np.array([3, 1, 1, 1, 2])
    as_of = np.array([5, 30, 20, 10, 7])
    score = np.array([0.4, 0.9, 0.5, 0.4, 0.5])
    leads, moments = first_crossings(lead, as_of, score, 0.5)
    assert leads.tolist() == [1, 2]
    assert moments.tolist() == [20, 7]


def test_a_replay_counts_first_crossings_per_week():
    lead = np.array([0, 0, 1, 2, 3, 4])
    as_of = np.array([0, 8, 7, 7.5, 13.99, 21]) * DAY_US
    found = replay(
        lead,
        as_of.astype(np.int64),
        np.ones(6),
        1.0,
        start_us=0,
        end_us=21 * DAY_US,
        capacity_per_week=2,
    )
    assert found.per_week.tolist() == [1, 3, 0]
    assert found.mean == pytest.approx(4 / 3)
    assert found.p90 == pytest.approx(2.6)
    assert found.largest == 3
    assert found.over_capacity_share == pytest.approx(1 / 3)


def test_a_replay_knows_crossings_before_its_start_and_counts_whole_weeks():
    lead, as_of = np.array([0, 0, 1]), np.array([-1, 3, 15]) * DAY_US
    found = replay(lead, as_of, np.ones(3), 0.5, start_us=0, end_us=20 * DAY_US)
    assert found.per_week.tolist() == [0, 0]
    assert found.over_capacity_share is None


def test_the_best_score_of_each_lead():
    assert best_scores(np.array([7, 2, 7]), np.array([0.3, 0.2, 0.1])).tolist() == [0.2, 0.3]
    assert best_scores(np.empty(0, np.int64), np.empty(0)).tolist() == []


def test_capacity_ranks_by_score_then_lead_id_and_leaves_out_who_cannot_be_handed_off():
    score = np.array([0.5, 0.9, 0.5, 0.95, np.nan, 0.1])
    ids = pa.array(["b", "z", "a", "s", "n", "l"])
    decision = np.array([HAND_OFF, HAND_OFF, HAND_OFF, SUPPRESSED, ABSTAIN, NURTURE], np.uint8)
    rank, over = apply_capacity(score, ids, decision, 2)
    assert rank.tolist() == [3, 1, 2, 0, 0, 4]
    assert over.tolist() == [True, False, False, False, False, False]
    assert not apply_capacity(score, ids, decision, 3)[1].any()


def test_a_rule_goes_through_json_unchanged():
    for rule in (
        capacity_rule(TENTHS, 10, 2),
        best_fifth_rule(TENTHS),
        best_fifth_rule(TENTHS[:0]),
    ):
        assert Rule.from_dict(json.loads(json.dumps(rule.as_dict(), allow_nan=False))) == rule


@settings(deadline=None)
@given(st.sampled_from(["threshold", "kind", "promise"]))
def test_a_rule_with_missing_or_unknown_keys_is_refused(key):
    plain = best_fifth_rule(TENTHS).as_dict()
    with pytest.raises(ValueError, match="a rule has the keys"):
        Rule.from_dict({name: value for name, value in plain.items() if name != key})
    with pytest.raises(ValueError, match="a rule has the keys"):
        Rule.from_dict({**plain, "treshold": 0.5})


def test_a_rule_that_contradicts_itself_is_refused():
    plain = best_fifth_rule(TENTHS).as_dict()
    with pytest.raises(ValueError, match="contradict each other"):
        Rule.from_dict({**plain, "threshold": 0.1})
    with pytest.raises(ValueError, match="contradict each other"):
        Rule.from_dict({**plain, "grades": plain["grades"][::-1]})
