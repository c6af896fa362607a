import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from training.baselines import POINTS, base_rate, logistic, odoo, points, points_score, recency

ONES = np.ones(4)


def test_the_base_rate_is_weighted():
    predict = base_rate(np.array([1.0, 0.0, 0.0]), np.array([2.0, 1.0, 1.0]))
    assert predict(3).tolist() == [0.5, 0.5, 0.5]


def test_recency_ranks_the_latest_event_first_and_silence_last():
    rng = np.random.default_rng(0)
    days = rng.uniform(0, 60, 2000)
    won = (rng.random(2000) < expit(1 - days / 10)).astype(float)
    days[(days > 55) & (rng.random(2000) < 0.5)] = np.nan
    predict = recency(days, won, np.ones(2000))
    scores = predict(np.array([0.0, 10.0, 60.0, np.nan]))
    assert (np.diff(scores) < 0).all()
    assert scores[0] == pytest.approx(expit(1), abs=0.05)
    assert predict(days).mean() == pytest.approx(won.mean(), abs=1e-3)


def test_recency_may_find_that_the_latest_are_the_worst():
    days = np.arange(100.0)
    scores = recency(days, (days > 60).astype(float) * (days % 2), np.ones(100))(days)
    assert (np.diff(scores) > 0).all()


def test_recency_without_a_single_event_is_the_base_rate():
    predict = recency(np.full(4, np.nan), np.array([1.0, 0, 0, 0]), ONES)
    assert predict(np.array([np.nan, 3.0])) == pytest.approx([0.25, 0.25], abs=1e-3)


def test_rows_without_weight_teach_nothing():
    days, won = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 0.0, 1.0, 1.0])
    weight = np.array([1.0, 1.0, 0.0, 0.0])
    kept = recency(days[:2], won[:2], ONES[:2])(days[:2])
    assert recency(days, won, weight)(days[:2]) == pytest.approx(kept, abs=0.01)


def test_points_by_hand():
    types = ["web_visit", "document_request", "seminar_attended", "own_type"]
    counts = np.array([[7.0, 1, 2, 3], [0, 0, 0, 0]])
    days = np.array([[0.0, 30, 60, 0], [np.nan] * 4])
    assert points_score(counts, days, types).tolist() == [5 + 5 + 30 / 4 + 3, 0]


def test_the_points_of_practice():
    assert POINTS["inquiry"] == 30
    assert POINTS["seminar_attended"] == 15
    assert POINTS["document_request"] == POINTS["form_submit"] == POINTS["card_exchange"] == 10
    assert POINTS["seminar_registration"] == 5
    assert POINTS["newsletter_signup"] == POINTS["newsletter_click"] == 3
    assert POINTS["web_visit"] == POINTS["newsletter_open"] == 1


def test_points_become_a_probability():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 3, (3000, 2)).astype(float)
    days = np.where(counts > 0, 0.0, np.nan)
    truth = expit(-2 + 0.05 * points_score(counts, days, ["inquiry", "web_visit"]))
    won = (rng.random(3000) < truth).astype(float)
    predict = points(counts, days, ["inquiry", "web_visit"], won, np.ones(3000))
    assert predict(counts, days) == pytest.approx(truth, abs=0.05)


def test_odoo_by_hand():
    codes = np.array([[0, 5], [0, -1], [1, 5], [1, 6]])
    won = np.array([True, False, False, False])
    score_won = 1 / 4 * (1.1 / 1.2) * (1.1 / 1.2)
    score_lost = 3 / 4 * (1.1 / 3.2) * (1.1 / 2.2)
    predict = odoo(codes, won)
    assert predict(np.array([[0, 5]]))[0] == pytest.approx(score_won / (score_won + score_lost))


def test_odoo_skips_unset_fields_and_counts_unseen_values_a_tenth():
    predict = odoo(np.array([[0], [1], [1]]), np.array([True, False, False]))
    assert predict(np.array([[-1]]))[0] == pytest.approx(1 / 3)
    unseen = (1 / 3 * 0.1 / 1.2, 2 / 3 * 0.1 / 2.2)
    assert predict(np.array([[7]]))[0] == pytest.approx(unseen[0] / sum(unseen))


def test_odoo_passes_over_fields_of_more_than_two_hundred_values():
    for levels, used in ((200, True), (201, False)):
        codes, won = np.arange(levels)[:, None], np.arange(levels) % 2 == 0
        score = odoo(codes, won)(np.array([[0]]))[0]
        assert score == pytest.approx(11 / 12 if used else won.mean(), abs=0.01)


def test_odoo_after_one_win_and_without_any_closed_lead():
    assert odoo(np.array([[0]]), np.array([True]))(np.array([[0]])).tolist() == [1.0]
    assert odoo(np.array([[0]]), np.array([False]))(np.array([[0]])).tolist() == [0.0]
    assert odoo(np.empty((0, 1), np.int64), np.empty(0, bool))(np.array([[0]])).tolist() == [0.5]


def test_logistic_is_plain_logistic_regression_on_scaled_numbers():
    rng = np.random.default_rng(0)
    X = rng.normal(3, [1, 1000], (2000, 2)).astype(np.float32)
    won = (rng.random(2000) < expit(X[:, 0] - 3)).astype(float)
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    expected = LogisticRegression().fit(scaled, won).predict_proba(scaled)[:, 1]
    assert logistic(X, won, np.ones(2000))(X) == pytest.approx(expected, abs=0.01)


def test_logistic_takes_missing_numbers_and_codes_that_are_new():
    rng = np.random.default_rng(0)
    code = rng.integers(0, 3, 3000)
    X = np.column_stack([rng.normal(size=3000), code, np.full(3000, np.nan)]).astype(np.float32)
    won = (rng.random(3000) < np.array([0.1, 0.5, 0.2])[code]).astype(float)
    X[::7, 0] = np.nan
    X[::11, 1] = np.nan
    predict = logistic(X, won, np.ones(3000), categorical=[1])
    rows = np.array([[0, code, np.nan] for code in (0, 1, 2, 9)], np.float32)
    assert predict(rows)[:3] == pytest.approx([0.1, 0.5, 0.2], abs=0.04)
    assert np.isfinite(predict(rows)).all()


@pytest.mark.parametrize("won", [0.0, 1.0])
def test_one_class_only_is_the_base_rate(won):
    X = np.array([[0], [1], [2], [3]], np.float32)
    assert logistic(X, np.full(4, won), ONES)(X[:2]).tolist() == [won, won]
    assert recency(X[:, 0], np.full(4, won), ONES)(X[:2, 0]).tolist() == [won, won]
