import json

import numpy as np
import pytest
from scipy.special import expit
from sklearn import metrics

from features.history import DAY_US
from training.evaluation import (
    by_age,
    choosing_loss,
    clustered_mean,
    exposure,
    figures,
    paired_difference,
    reliability,
)


def sample(seed, rows=600, decimals=None):
    rng = np.random.default_rng(seed)
    score = expit(rng.normal(-2, 1.2, rows))
    won = (rng.random(rows) < score).astype(float)
    return score if decimals is None else score.round(decimals), won


def found(score, won, lead=None, as_of=None, **options):
    lead = np.arange(len(score)) if lead is None else lead
    as_of = np.zeros(len(score), np.int64) if as_of is None else as_of
    return figures(np.asarray(score), np.asarray(won), lead, as_of, **{"seed": 0, **options})


@pytest.mark.parametrize("decimals", [None, 2, 1])
def test_figures_equal_those_of_scikit_learn(decimals):
    score, won = sample(0, decimals=decimals)
    ours = found(score, won, draws=2)
    assert ours.log_loss.value == pytest.approx(metrics.log_loss(won, score), rel=1e-9)
    assert ours.brier.value == pytest.approx(metrics.brier_score_loss(won, score), rel=1e-9)
    assert ours.auc.value == pytest.approx(metrics.roc_auc_score(won, score), rel=1e-9)
    expected = metrics.average_precision_score(won, score)
    assert ours.average_precision.value == pytest.approx(expected, rel=1e-9)


def test_an_inverted_score_is_found_out():
    score, won = sample(0)
    right, wrong = found(score, won), found(1 - score, won)
    assert right.auc.low > 0.6
    assert wrong.auc.value == pytest.approx(1 - right.auc.value)
    assert wrong.lift_at_10pct.value < 0.5 < 1.5 < right.lift_at_10pct.value


def test_permuted_outcomes_have_auc_one_half_within_the_interval():
    """Law 10."""
    score, won = sample(0, rows=1500)
    rng = np.random.default_rng(1)
    shuffled = [found(score, rng.permutation(won), draws=100).auc for _ in range(20)]
    assert sum(auc.low <= 0.5 <= auc.high for auc in shuffled) >= 17
    assert np.mean([auc.value for auc in shuffled]) == pytest.approx(0.5, abs=0.02)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """The calibration ratio of right scores is 1."""
    ratios = [found(*sample(seed, rows=400), draws=200).calibration_ratio for seed in range(60)]
    assert 52 <= sum(ratio.low <= 1 <= ratio.high for ratio in ratios) <= 60


def test_rows_of_one_lead_are_drawn_together():
    score, won = sample(0, rows=300)
    once = found(score, won)
    four = found(np.repeat(score, 4), np.repeat(won, 4), lead=np.repeat(np.arange(300), 4))
    apart = found(np.repeat(score, 4), np.repeat(won, 4))
    width = [f.auc.high - f.auc.low for f in (once, four, apart)]
    assert four.auc.value == pytest.approx(once.auc.value)
    assert width[1] == pytest.approx(width[0], rel=0.15)
    assert width[2] < 0.65 * width[0]


def test_the_same_seed_gives_the_same_interval_and_row_order_changes_no_value():
    score, won = sample(0, decimals=1)
    week = np.arange(600) % 5 * 7 * DAY_US
    order = np.random.default_rng(3).permutation(600)
    one, again = found(score, won, as_of=week), found(score, won, as_of=week)
    other = found(score[order], won[order], as_of=week[order])
    assert one == again
    for name, figure in one.as_dict().items():
        assert other.as_dict()[name]["value"] == pytest.approx(figure["value"])


def test_the_ratio_is_mean_score_over_share_won():
    assert found([0.2, 0.4], [0.0, 1.0]).calibration_ratio.value == pytest.approx(0.6)


def test_lift_is_counted_in_the_best_tenth():
    score = np.arange(20) / 20
    won = np.zeros(20)
    won[[19, 10, 5, 0]] = 1
    assert found(score, won).lift_at_10pct.value == pytest.approx((1 / 2) / (4 / 20))
    assert found(np.full(20, 0.5), won).lift_at_10pct.value == pytest.approx(1)


def test_capture_takes_the_best_leads_of_each_week():
    week = np.repeat([0, 7, 14], 5) * DAY_US
    score = np.tile([0.5, 0.4, 0.3, 0.2, 0.1], 3)
    won = np.array([1, 0, 0, 1, 0] + [0, 1, 0, 0, 0] + [0] * 5, float)
    one, two = (
        found(score, won, as_of=week, capacity_per_week=n).capture_at_capacity for n in (1, 2)
    )
    assert one.value == pytest.approx((1 / 2 + 0) / 2)  # the week without a win has no share
    assert two.value == pytest.approx((1 / 2 + 1) / 2)
    assert found(score, won, as_of=week, capacity_per_week=9).capture_at_capacity.value == 1
    fifth = found(score, won, as_of=week)  # of five leads: one
    assert fifth.capture_at_capacity.value == one.value


def test_capture_shares_out_a_place_among_equal_scores():
    won = np.array([1.0, 0, 0, 0])
    tied = found(np.full(4, 0.5), won, capacity_per_week=1)
    assert tied.capture_at_capacity.value == pytest.approx(1 / 4)


@pytest.mark.parametrize("won", [0.0, 1.0])
def test_one_class_only_is_no_error_and_none_in_json(won):
    plain = json.loads(json.dumps(found(np.full(5, 0.3), np.full(5, won)).as_dict()))
    assert plain["auc"] == {"value": None, "low": None, "high": None}
    assert plain["log_loss"]["value"] == pytest.approx(-np.log(0.3 if won else 0.7))
    assert (plain["calibration_ratio"]["value"] is None) == (won == 0)


def test_no_rows_and_sure_scores_are_no_error():
    assert found([], []).as_dict()["brier"] == {"value": None, "low": None, "high": None}
    assert found([0.0, 1.0], [1.0, 0.0]).log_loss.value == pytest.approx(36.04, abs=0.01)


def test_the_table_by_age_keeps_ages_apart():
    score, won = sample(0, rows=400)
    age = np.tile(np.array([0, 1, 7, 45], np.float32), 100)
    lead = np.repeat(np.arange(100), 4)
    table = by_age(age, score, won, lead, np.zeros(400, np.int64), seed=0, draws=10)
    assert [(line.age_days, line.rows, line.leads) for line in table] == [
        (0, 100, 100),
        (1, 100, 100),
        (7, 100, 100),
        (30, 100, 100),  # 45 days: between the ages of 30 and 60
    ]
    assert table[2].won_leads == won[age == 7].sum()
    alone = metrics.roc_auc_score(won[age == 7], score[age == 7])
    assert table[2].figures.auc.value == pytest.approx(alone)


def test_reliability_has_bins_of_equal_size_with_exact_intervals():
    score = np.arange(1, 101) / 100
    won = (score > 0.5).astype(float)
    bins = reliability(score, won, bins=10)
    assert [b.rows for b in bins] == [10] * 10
    assert [b.wins for b in bins] == [0] * 5 + [10] * 5
    assert bins[0].mean_score == pytest.approx(0.055)
    assert (bins[0].low, bins[-1].high) == (0, 1)
    assert bins[0].high == pytest.approx(1 - 0.025 ** (1 / 10))
    assert reliability(np.empty(0), np.empty(0)) == ()


def test_equal_scores_share_a_bin():
    bins = reliability(np.repeat([0.1, 0.2], [95, 5]), np.zeros(100))
    assert [b.rows for b in bins] == [95, 5]


def test_the_choosing_loss_by_hand():
    seen = np.array([True, False, False, False])
    matured = np.array([False, True, False, False])
    arrived = np.array([0.1, 0.1, 0.25, 0.0])
    loss = choosing_loss(np.full(4, 0.4), seen, matured, arrived)
    assert loss.tolist() == pytest.approx([-np.log(0.4), -np.log(0.6), -np.log(0.9), 0])
    assert np.isfinite(
        choosing_loss(np.array([0.0, 1.0]), seen[:2], matured[:2], arrived[:2])
    ).all()


def test_the_choosing_loss_prefers_the_truth_where_nothing_has_matured():
    rng = np.random.default_rng(0)
    won, delay, follow_up = rng.random(40_000) < 0.2, rng.random(40_000), rng.random(40_000)
    seen = won & (delay <= follow_up)
    nothing = np.zeros(40_000, bool)
    losses = {
        p: choosing_loss(np.full(40_000, p), seen, nothing, follow_up).mean()
        for p in (0.1, 0.15, 0.2, 0.25, 0.3)
    }
    assert min(losses, key=losses.__getitem__) == 0.2


def test_standard_errors_take_leads_as_clusters():
    values = np.random.default_rng(0).normal(size=200)
    alone = clustered_mean(values, np.arange(200))
    assert alone.standard_error == pytest.approx(values.std(ddof=1) / 200**0.5)
    twice = clustered_mean(np.repeat(values, 2), np.repeat(np.arange(200), 2))
    assert twice.value == pytest.approx(alone.value)
    assert twice.standard_error == pytest.approx(alone.standard_error)


def test_a_difference_is_paired():
    base = np.random.default_rng(0).normal(size=100)
    found_difference = paired_difference(base + 0.1, base, np.arange(100))
    assert found_difference.value == pytest.approx(0.1)
    assert found_difference.standard_error == pytest.approx(0, abs=1e-12)


def test_too_few_leads_have_no_standard_error():
    assert np.isnan(clustered_mean(np.ones(3), np.zeros(3, np.int64)).standard_error)
    assert np.isnan(clustered_mean(np.empty(0), np.empty(0, np.int64)).value)


def test_wins_so_far_are_set_against_those_to_be_expected_by_now():
    p, arrived = np.array([0.5, 0.5, 0.2]), np.array([1.0, 0.5, 0.0])
    found = exposure(p, np.array([True, True, False]), arrived)
    assert found.value == pytest.approx(2 / 0.75)
    # Garwood's interval of a count of 2: 0.2422 to 7.2247
    assert [found.low, found.high] == pytest.approx([0.2422 / 0.75, 7.2247 / 0.75], abs=1e-3)
    none = exposure(p, np.zeros(3, np.bool_), arrived)
    assert (none.value, none.low) == (0.0, 0.0)
    assert np.isnan(exposure(p, np.zeros(3, np.bool_), np.zeros(3)).value)


def test_a_world_as_promised_is_no_alarm_and_one_that_doubled_is():
    rng = np.random.default_rng(0)
    p, arrived = rng.beta(1, 6, 3_000), rng.random(3_000)
    right = exposure(p, rng.random(3_000) < p * arrived, arrived)
    assert right.low < 1 < right.high
    doubled = exposure(p, rng.random(3_000) < np.minimum(2 * p * arrived, 1), arrived)
    assert doubled.low > 1.25
