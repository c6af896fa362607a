import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from training.calibration import Calibration, CutFit, fit_cut, shrink


def sample(seed, rows=2000, intercept=0.0, slope=1.0):
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(-2, 1, rows)
    return log_odds, (rng.random(rows) < expit(intercept + slope * log_odds)).astype(float)


def test_a_cut_is_fitted_as_by_plain_logistic_regression():
    log_odds, won = sample(0, intercept=0.5, slope=0.7)
    ours = fit_cut(log_odds, won)
    theirs = LogisticRegression(C=1e9, tol=1e-8).fit(log_odds[:, None], won)
    assert ours.slope == pytest.approx(theirs.coef_[0, 0], abs=1e-3)
    assert ours.level - ours.slope * ours.center == pytest.approx(theirs.intercept_[0], abs=1e-3)
    assert ours.wins == won.sum()


def test_two_cuts_that_agree_correct_the_scores():
    fits = [fit_cut(*sample(seed, 20_000, intercept=0.6, slope=0.7)) for seed in range(3)]
    found = shrink(fits)
    assert found.intercept == pytest.approx(0.6, abs=0.1)
    assert found.slope == pytest.approx(0.7, abs=0.05)
    assert found.cuts == 3


def test_right_scores_stay():
    found = shrink([fit_cut(*sample(seed, 20_000)) for seed in range(3)])
    assert found.probability(np.array([-2.0])) == pytest.approx(expit(-2.0), abs=0.01)


def test_the_shrinkage_by_hand():
    # deviations of the level 0.2 and 0.6: mean 0.4, variance 0.08, factor 1 - 0.04 / 0.16 = 0.75
    found = shrink([CutFit(0.0, 0.2, 1.0, 20), CutFit(0.0, 0.6, 1.0, 20)])
    assert [found.intercept, found.slope] == pytest.approx([0.3, 1.0])
    # of the slope 0.1 and 0.3, around a center of -2: the level there stays as it is
    found = shrink([CutFit(-2.0, -2.0, 1.1, 20), CutFit(-2.0, -2.0, 1.3, 20)])
    assert found.slope == pytest.approx(1.15)
    assert found.log_odds(np.array([-2.0])) == pytest.approx(-2.0)


def test_cuts_with_other_scores_are_compared_at_one_place():
    line = [CutFit(center, 0.5 + 0.8 * center, 0.8, 50) for center in (-3.0, -1.0)]
    found = shrink(line)
    assert [found.intercept, found.slope] == pytest.approx([0.5, 0.8])


def test_cuts_that_all_came_out_too_low_never_add_up_to_too_high():
    # ranks of no use at first and too flat later, each cut's leads won more often than said
    cuts = [CutFit(-3.3, -2.8, 0.1, 900), CutFit(-2.8, -2.6, 0.1, 700), CutFit(-0.9, -0.4, 2.6, 90)]
    found = shrink(cuts)
    for cut in cuts:
        assert found.log_odds(np.array([cut.center])) > cut.center + 0.1


def test_cuts_that_disagree_change_nothing():
    found = shrink([CutFit(0.0, -1.0, 0.6, 50), CutFit(0.0, 1.0, 1.4, 50)])
    assert (found.intercept, found.slope) == (0.0, 1.0)


def test_nineteen_wins_are_no_evidence_and_twenty_are():
    cut = CutFit(0.0, 0.5, 1.0, 20)
    assert shrink([cut, CutFit(0.0, 0.5, 1.0, 19)]) == Calibration()
    assert shrink([cut, cut]) == Calibration(0.5, 1.0, 2)
    assert shrink([]) == Calibration()


def test_separated_rows_give_bounded_numbers():
    log_odds = np.r_[np.linspace(-3, -1, 100), np.linspace(1, 3, 100)]
    found = fit_cut(log_odds, (log_odds > 0).astype(float))
    assert 1 < found.slope <= 10
    assert abs(found.level - found.center) <= 10


@pytest.mark.parametrize("won", [0.0, 1.0])
def test_one_class_only_gives_bounded_numbers(won):
    found = fit_cut(np.linspace(-3, -1, 100), np.full(100, won))
    assert abs(found.level - found.center) <= 10
    assert 0.1 <= found.slope <= 10


def test_scores_upside_down_never_get_a_negative_slope():
    log_odds, won = sample(0)
    fits = [fit_cut(-log_odds, won)] * 2
    assert fits[0].slope == pytest.approx(0.1)
    found = shrink(fits)
    assert found.slope == pytest.approx(0.1)
    assert found.probability(-log_odds).mean() == pytest.approx(won.mean(), rel=0.05)


def test_no_rows_no_fit():
    assert fit_cut(np.empty(0), np.empty(0)) == CutFit(0.0, 0.0, 1.0, 0)


cuts = st.builds(
    CutFit, st.floats(-5, 1), st.floats(-12, 12), st.floats(0.1, 10), st.integers(0, 60)
)


@given(st.lists(cuts, max_size=5))
def test_calibration_never_turns_the_order_of_leads(fits):
    found = shrink(fits)
    assert found.slope > 0
    assert (np.diff(found.log_odds(np.linspace(-8, 4, 20))) > 0).all()


def test_deviations_too_small_to_square_are_none():
    fits = [CutFit(0.0, 1e-200, 1.0, 40), CutFit(0.0, 3e-200, 1.0, 40)]
    assert shrink(fits).intercept == 0.0
