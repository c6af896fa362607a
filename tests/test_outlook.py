"""What sales will feel of a rule, by hand and against simulated weeks."""

import numpy as np
import pytest

from training import handoff
from training.evidence import Evidence
from training.report.outlook import outlook

SCORES = np.arange(1_000) / 1_000
WON = (np.arange(1_000) % 10 < 3).astype(float)


def evidence(score=SCORES, won=WON, weeks=(100, 140)):
    return Evidence(np.arange(len(score)), score, won, np.array(weeks))


def test_hand_offs_wins_and_share_by_hand():
    found = outlook(evidence(), handoff.best_fifth_rule(SCORES))
    assert found.share == pytest.approx(0.2)
    assert found.hand_offs_per_week.value == pytest.approx(24)
    assert found.share_won.value == pytest.approx(0.3)
    assert found.share_won.low < 0.3 < found.share_won.high
    assert found.wins_per_week.value == pytest.approx(7.2)
    assert found.wins_per_week.low == pytest.approx(24 * found.share_won.low)
    assert found.one_more.value == pytest.approx(0.3, abs=0.05)


def test_one_more_lead_is_one_of_those_next_below_the_threshold_and_of_no_other():
    rule = handoff.best_fifth_rule(SCORES)
    above, next_below = rule.threshold <= SCORES, np.zeros(1_000, np.bool_)
    next_below[770:800] = True
    for won, expected in ((above, 0.0), (next_below, 1.0), (~above & ~next_below, 0.0)):
        found = outlook(evidence(won=won.astype(float)), rule).one_more
        assert found.value == expected
    few = evidence(weeks=(10,))  # a hundred weeks: one more a week is a hundred more leads
    assert few.won_just_below(rule.threshold)["value"] == pytest.approx(0.3)
    more = evidence(won=(~above & ~next_below).astype(float), weeks=(10,))
    assert more.won_just_below(rule.threshold)["value"] == pytest.approx(0.7)


def test_eight_of_ten_weeks_stay_inside_the_bounds():
    rng = np.random.default_rng(0)
    found = outlook(evidence(), handoff.best_fifth_rule(SCORES)).hand_offs_per_week
    weeks = rng.binomial(rng.choice([100, 140], 20_000), 0.2)
    inside = ((weeks >= found.low) & (weeks <= found.high)).mean()
    assert 0.8 <= inside < 0.93
    assert (weeks < found.low).mean() < 0.12
    assert (weeks > found.high).mean() < 0.12


def test_a_capacity_that_is_promised_bounds_the_weeks():
    rule = handoff.capacity_rule(SCORES, np.array([100, 140]), 15)
    assert outlook(evidence(), rule).hand_offs_per_week.high <= 15


def test_a_rule_that_hands_nothing_off_brings_nothing():
    rule = handoff.precision_rule(SCORES, evidence().crossed, 0.99)
    assert not rule.feasible
    found = outlook(evidence(), rule)
    assert (found.share, found.hand_offs_per_week.value) == (0, 0)
    assert np.isnan(found.share_won.value)
    assert np.isnan(found.one_more.value)


def test_leads_whose_outcome_is_not_known_give_no_share():
    found = outlook(evidence(won=np.full(1_000, np.nan)), handoff.best_fifth_rule(SCORES))
    assert found.hand_offs_per_week.value == pytest.approx(24)
    assert np.isnan([found.share_won.value, found.share_won.high, found.wins_per_week.value]).all()


def test_no_leads_at_all_give_nothing():
    nothing = Evidence(np.empty(0, np.int64), np.empty(0), np.empty(0), np.array([3]))
    found = outlook(nothing, handoff.best_fifth_rule(np.empty(0)))
    assert np.isnan(found.hand_offs_per_week.value)
