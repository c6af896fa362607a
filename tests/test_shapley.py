"""What features add by the trees: LightGBM's own numbers, and the definition computed slowly."""

from itertools import combinations
from math import factorial

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.test_forest import COLUMNS, ODD, fitted
from training.forest import Forest, ForestError
from training.shapley import Shapley


@pytest.fixture(scope="module")
def numbers():
    booster, X = fitted()
    return booster, Shapley.of(Forest.of(booster.model_to_string())), X


def lightgbms(booster, X):
    return np.asarray(booster.predict(X, pred_contrib=True, num_threads=1))[:, :-1]


@pytest.mark.parametrize("use_missing", [True, False])
@pytest.mark.parametrize("seed", [0, 1])
def test_are_lightgbms_own(use_missing, seed):
    booster, X = fitted(use_missing=use_missing, seed=seed)
    odd = np.stack([np.full(COLUMNS, value, np.float32) for value in ODD])
    X = np.concatenate([X[:500], odd, 50 * X[:500]])
    ours = Shapley.of(Forest.of(booster.model_to_string())).contributions(X)
    np.testing.assert_allclose(ours, lightgbms(booster, X), rtol=0, atol=1e-12)
    assert np.abs(ours).max() > 0.5


@given(
    X=arrays(
        np.float32,
        (3, COLUMNS),
        elements=st.one_of(
            st.sampled_from([np.float32(value) for value in ODD]),
            st.integers(-2, 402).map(np.float32),
            st.floats(-3, 3, width=32),
        ),
    )
)
@settings(deadline=None)
def test_any_row_adds_up_alone_and_among_others(numbers, X):
    booster, shapley, _ = numbers
    ours = shapley.contributions(X)
    rest = shapley.forest.log_odds(X) - ours.sum(axis=1)
    constant = np.asarray(booster.predict(X, pred_contrib=True, num_threads=1))[0, -1]
    np.testing.assert_allclose(rest, constant, rtol=0, atol=1e-9)
    assert np.array_equal(ours, np.concatenate([shapley.contributions(X[[i]]) for i in range(3)]))


def slowly(forest, x, features):
    """Shapley's definition: a feature's average addition over all sets of the others."""

    def value(known, node):
        if node < 0:
            return forest.leaf[-1 - node]
        sides = forest.child[node].tolist()
        if forest.feature[node] in known:
            return value(
                known, sides[0 if x[forest.feature[node]] <= forest.threshold[node] else 1]
            )
        return sum(
            forest.rows_of(side) / forest.rows_of(node) * value(known, side) for side in sides
        )

    def game(known):
        return sum(value(known, root) for root in forest.root.tolist())

    found = []
    for feature in range(features):
        others = [other for other in range(features) if other != feature]
        found.append(
            sum(
                factorial(size) * factorial(features - size - 1) / factorial(features)
                * (game({*known, feature}) - game(set(known)))
                for size in range(features)
                for known in combinations(others, size)
            )
        )  # fmt: skip
    return found


def test_are_what_shapley_defines():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(500, 4)).astype(np.float32)
    y = (X[:, 0] * X[:, 1] + X[:, 2] > 0.2).astype(int)
    model = lgb.LGBMClassifier(n_estimators=5, num_leaves=7, verbose=-1).fit(X, y)
    forest = Forest.of(model.booster_.model_to_string())
    ours = Shapley.of(forest).contributions(X[:5])
    for row in range(5):
        np.testing.assert_allclose(ours[row], slowly(forest, X[row], 4), rtol=0, atol=1e-12)


def test_a_constant_model_adds_nothing_and_no_rows_give_none(numbers):
    X = np.zeros((100, 2), np.float32)
    booster = lgb.LGBMClassifier(n_estimators=3, verbose=-1).fit(X, np.repeat([0, 1], 50)).booster_
    constant = Shapley.of(Forest.of(booster.model_to_string()))
    assert constant.contributions(X[:2]).tolist() == [[0.0, 0.0]] * 2
    assert numbers[1].contributions(np.zeros((0, COLUMNS), np.float32)).shape == (0, COLUMNS)
    with pytest.raises(ValueError, match="know 6 features, got rows of \\(1, 5\\)"):
        numbers[1].contributions(np.zeros((1, 5), np.float32))


def test_trees_that_are_too_large_for_tables_are_refused():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3_000, 3)).astype(np.float32)
    y = rng.integers(0, 2, 3_000)
    model = lgb.LGBMClassifier(n_estimators=1, num_leaves=100, min_child_samples=1, verbose=-1).fit(
        X, y
    )
    with pytest.raises(ForestError, match="more than 14 nodes"):
        Shapley.of(Forest.of(model.booster_.model_to_string()))
