"""The scorecard, the trees and their mix: what they learn from hand-made rows, and what not."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from features.history import DAY_US
from training import recipes, scorecard_file, trees
from training.recipes import HALF_LIVES_DAYS, MIXES, Estimator, Recipe, importance
from training.scorecard import Scorecard
from training.trees import Trees

NAN = np.nan


def rows(*facts):
    """Make a matrix and labels of (values, won, how many rows)."""
    X = np.repeat(np.array([values for values, _, _ in facts], np.float32), [n for *_, n in facts],
                  axis=0)  # fmt: skip
    return X, np.repeat([float(won) for _, won, _ in facts], [n for *_, n in facts])


def noisy(seed, n=400):
    """Rows in which the first column matters, and the second, a code, does; the third is noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3)).astype(np.float32)
    X[:, 1] = rng.integers(0, 4, n)
    X[rng.random(n) < 0.1, 0] = NAN
    odds = np.nan_to_num(2 * X[:, 0]) + (X[:, 1] == 2)
    return X, (rng.random(n) < 1 / (1 + np.exp(-odds))).astype(float)


@pytest.fixture(scope="module")
def fitted():
    X, y = noisy(0)
    return X, recipes.fit(X, y, np.ones(len(y)), categorical=[1], seed=0)


# The scorecard


def test_the_points_of_a_bin_are_the_log_odds_of_its_rows():
    facts = [([0], 0, 90), ([0], 1, 10), ([1], 0, 60), ([1], 1, 40), ([NAN], 0, 20), ([NAN], 1, 80)]
    X, y = rows(*facts)
    card = Scorecard(C=1e6).fit(X, y)
    expected = np.log([10 / 90, 40 / 60, 80 / 20])
    np.testing.assert_allclose(card.decision_function(X[[0, 100, 200]]), expected, atol=2e-3)


def test_values_beyond_those_that_were_seen_have_the_points_of_the_outermost_bins():
    X, y = rows(([0], 0, 80), ([0], 1, 20), ([10], 0, 20), ([10], 1, 80))
    card = Scorecard().fit(X, y)
    seen = card.decision_function(np.array([[0], [10]], np.float32))
    far = card.decision_function(np.array([[-1e30], [1e30], [-np.inf], [np.inf]], np.float32))
    assert far.tolist() == [seen[0], seen[1], seen[0], seen[1]]
    assert seen[0] < 0 < seen[1]


def test_a_value_at_the_edge_of_a_bin_belongs_to_the_lower_one():
    values = np.repeat(np.arange(100), 10).astype(np.float32)[:, None]
    card = Scorecard().fit(values, (values[:, 0] >= 50).astype(float))
    assert len(card.edges_) == 10
    edge = card.edges_[5]
    assert edge == 49
    just_above = np.nextafter(edge, np.float32(np.inf))
    at, above, below = card.decision_function(np.array([[edge], [just_above], [edge - 1]], "f4"))
    assert (at == below, at < above) == (True, True)


def test_a_number_has_about_ten_bins_of_equally_many_rows_and_a_code_one_per_code():
    X, y = noisy(1, 1_000)
    card = Scorecard(categorical=(1,)).fit(X, y)
    edges = [card.edges_[a:b] for a, b in zip(card.start_, card.start_[1:], strict=False)]
    assert [len(e) for e in edges] == [10, 3, 10]
    assert edges[1].tolist() == [0, 1, 2]
    share = np.searchsorted(edges[0][1:], X[~np.isnan(X[:, 0]), 0], "left")
    assert (np.abs(np.bincount(share) / len(share) - 0.1) < 0.01).all()


def test_codes_that_no_row_had_and_missing_that_never_was_have_no_points():
    X, y = rows(([1], 0, 90), ([1], 1, 10), ([3], 0, 10), ([3], 1, 90))
    card = Scorecard(categorical=(0,), C=1.0).fit(X, y)
    unseen = card.decision_function(np.array([[0], [2], [NAN]], np.float32))
    np.testing.assert_allclose(unseen, card.intercept_, atol=1e-9)
    low, high = card.decision_function(np.array([[1], [3]], np.float32))
    assert low < card.intercept_ < high


def test_a_row_of_weight_two_counts_as_two_rows():
    X, y = noisy(2)
    weight = np.where(X[:, 2] > 0, 2.0, 1.0)
    twice = np.repeat(np.arange(len(y)), weight.astype(int))
    # The bins are those of the rows, weighted or not, so that only the points are compared.
    heavy, light = (Scorecard(bins=1, categorical=(1,)) for _ in range(2))
    heavy.fit(X, y, weight)
    light.fit(X[twice], y[twice])
    np.testing.assert_allclose(heavy.points_, light.points_, atol=1e-3)


def test_a_column_that_is_missing_throughout_adds_nothing():
    X, y = noisy(3)
    X[:, 2] = NAN
    card = Scorecard().fit(X, y)
    np.testing.assert_allclose(card.contributions(X)[:, 2], 0, atol=1e-12)


def test_probabilities_are_those_of_the_log_odds(fitted):
    X, both = fitted
    log_odds = both.scorecard.decision_function(X)
    p = both.scorecard.predict_proba(X)
    np.testing.assert_allclose(p[:, 1], 1 / (1 + np.exp(-log_odds)))
    np.testing.assert_allclose(p.sum(axis=1), 1.0)


def test_the_scorecard_is_an_estimator_as_scikit_learn_knows_them():
    card = clone(Scorecard(bins=5, C=1.0, categorical=(1,)))
    assert card.get_params() == {"bins": 5, "C": 1.0, "categorical": (1,)}


def test_rows_of_another_width_are_refused(fitted):
    X, both = fitted
    for wrong in (X[:, :2], np.hstack([X, X])):
        for method in (
            both.scorecard.decision_function,
            both.scorecard.contributions,
            both.trees.log_odds,
        ):
            with pytest.raises(ValueError, match="know"):
                method(wrong)


def test_an_archive_of_a_scorecard_gives_it_back_to_the_last_digit_and_is_the_same_twice(fitted):
    X, both = fitted
    archive = scorecard_file.dumps(both.scorecard)
    loaded = scorecard_file.loads(archive)
    np.testing.assert_array_equal(loaded.decision_function(X), both.scorecard.decision_function(X))
    assert loaded.get_params() == both.scorecard.get_params()
    assert scorecard_file.dumps(loaded) == archive


# The trees


def test_trees_rank_as_the_rows_say_and_take_missing_for_what_it_is():
    facts = [([0], 0, 190), ([0], 1, 10), ([1], 1, 190), ([1], 0, 10), ([NAN], 1, 100),
             ([NAN], 0, 100)]  # fmt: skip
    X, y = rows(*facts)
    forest = trees.fit(X, y, np.ones(len(y)), categorical=[], seed=0)
    low, high, missing = forest.log_odds(np.array([[0], [1], [NAN]], np.float32))
    assert low < -2 < missing < 2 < high
    assert abs(missing) < 0.5


def test_trees_learn_from_weights():
    X, y = rows(([0], 0, 100), ([0], 1, 100), ([1], 0, 100), ([1], 1, 100))
    weight = np.where(y == (X[:, 0] > 0), 9.0, 1.0)
    forest = trees.fit(X, y, weight, categorical=[], seed=0)
    low, high = forest.log_odds(np.array([[0], [1]], np.float32))
    assert low < -1.5
    assert high > 1.5


def test_trees_come_back_from_their_text(fitted):
    X, both = fitted
    again = Trees.from_text(both.trees.to_text())
    np.testing.assert_array_equal(again.log_odds(X), both.trees.log_odds(X))
    assert again.to_text() == both.trees.to_text()


# Both parts


@pytest.mark.parametrize("mix", MIXES)
def test_what_features_add_and_a_constant_make_up_the_log_odds(fitted, mix):
    X, both = fitted
    estimator = both.mixed(mix)
    constant = estimator.log_odds(X) - estimator.contributions(X).sum(axis=1)
    np.testing.assert_allclose(constant, constant[0], rtol=0, atol=1e-9)
    assert np.ptp(estimator.contributions(X)[:, 0]) > 0.5


@pytest.mark.parametrize("mix", MIXES)
def test_more_of_what_winners_have_gives_higher_log_odds(fitted, mix):
    _, both = fitted
    steps = np.zeros((5, 3), np.float32)
    steps[:, 0] = [-2, -1, 0, 1, 2]
    assert (np.diff(both.mixed(mix).log_odds(steps)) > 0).all()
    codes = np.zeros((2, 3), np.float32)
    codes[:, 1] = [1, 2]
    assert np.diff(both.mixed(mix).log_odds(codes))[0] > 0.2


class Never:
    """A part that nobody may ask."""

    def __getattr__(self, name):
        raise AssertionError(f"{name} was asked for")


def test_the_mix_weighs_both_parts_and_a_part_of_weight_0_is_not_computed(fitted):
    X, both = fitted
    nobody: Any = Never()
    card, forest = both.scorecard.decision_function(X), both.trees.log_odds(X)
    np.testing.assert_array_equal(Estimator(both.scorecard, nobody, (1.0, 0.0)).log_odds(X), card)
    np.testing.assert_array_equal(Estimator(nobody, both.trees, (0.0, 1.0)).log_odds(X), forest)
    mixed = Estimator(both.scorecard, both.trees, (0.25, 0.75)).log_odds(X)
    np.testing.assert_allclose(mixed, 0.25 * card + 0.75 * forest, rtol=1e-15)
    Estimator(both.scorecard, nobody, (1.0, 0.0)).contributions(X)
    Estimator(nobody, both.trees, (0.0, 1.0)).contributions(X)
    assert MIXES == {"scorecard": (1.0, 0.0), "trees": (0.0, 1.0), "blend": (0.5, 0.5)}


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30).filter(any), st.floats(0.01, 100))
def test_weights_count_by_their_ratios_and_add_up_to_how_many_equal_rows_tell_as_much(w, factor):
    weight = np.array(w, float)
    scaled = recipes.effective(weight)
    np.testing.assert_allclose(recipes.effective(factor * weight), scaled)
    used = np.count_nonzero(weight)
    assert scaled.sum() <= used * (1 + 1e-12)
    np.testing.assert_allclose(scaled * weight.sum(), weight * scaled.sum())
    if len(set(w) - {0}) == 1:
        np.testing.assert_allclose(scaled, weight > 0)


def test_rows_without_weight_are_not_learned_from():
    X, y = noisy(4)
    lies, noise = np.full_like(y, 0.0), np.full_like(X, 9.0)
    weight = np.concatenate([np.ones(len(y)), np.zeros(len(y))])
    with_lies = recipes.fit(
        np.vstack([X, noise]), np.concatenate([y, lies]), weight, categorical=[1], seed=0
    )
    without = recipes.fit(X, y, np.ones(len(y)), categorical=[1], seed=0)
    np.testing.assert_array_equal(with_lies.log_odds(X), without.log_odds(X))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), mix=st.sampled_from(list(MIXES)))
def test_a_row_scores_the_same_alone_and_among_others_to_the_last_digit(fitted, seed, mix):
    estimator = fitted[1].mixed(mix)
    X, _ = noisy(seed, 50)
    together = estimator.log_odds(X)
    for row in (0, 7, 8, 9, 49):
        assert estimator.log_odds(X[row : row + 1])[0] == together[row]
    np.testing.assert_array_equal(estimator.log_odds(X[:9]), together[:9])


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_rows_and_seed_give_the_same_estimator(fitted, threads):
    X, y = noisy(0)
    again = recipes.fit(X, y, np.ones(len(y)), categorical=[1], seed=0, threads=threads)
    assert again.trees.to_text() == fitted[1].trees.to_text()
    assert scorecard_file.dumps(again.scorecard) == scorecard_file.dumps(fitted[1].scorecard)


# How fast rows lose weight


def test_a_row_has_half_the_weight_for_every_half_life_of_its_age():
    as_of = np.array([0, 45, 90, 180, 100]) * DAY_US
    weight = importance(as_of, 180 * DAY_US, 90.0)
    np.testing.assert_allclose(weight, [0.25, 0.5**1.5, 0.5, 1.0, 0.5 ** (80 / 90)])
    assert importance(as_of, 180 * DAY_US, None).tolist() == [1.0] * 5
    assert HALF_LIVES_DAYS == (None, 365.0, 90.0)


def test_a_recipe_is_called_by_its_mix_and_half_life():
    assert Recipe("trees").name == "trees"
    assert Recipe("blend", 365.0).name == "blend, half-life 365 d"
