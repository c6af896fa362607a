import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.forest import Forest, ForestError

COLUMNS = 6
ODD = [np.nan, np.inf, -np.inf, 0.0, -0.0, -0.5, -1.0, 1e-40, -1e-36, 69.9, 3e9, -3e9]


def fitted(*, use_missing=True, seed=0):
    """A booster that splits on numbers with and without gaps, and on sets of categories."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(3_000, COLUMNS)).astype(np.float32)
    X[:, 1] = rng.integers(0, 400, len(X))
    X[:, 2] = rng.integers(0, 70, len(X))
    X[rng.random(X.shape) < 0.2] = np.nan
    X[:, 5] = np.nan_to_num(X[:, 5])
    y = np.nan_to_num(X[:, 0]) + (np.nan_to_num(X[:, 2]) % 3 == 0) + X[:, 5] > 0.5
    model = lgb.LGBMClassifier(
        n_estimators=60,
        num_leaves=15,
        max_cat_to_onehot=2,
        use_missing=use_missing,
        n_jobs=1,
        verbose=-1,
    )
    return model.fit(X, y, categorical_feature=[1, 2]).booster_, X


@pytest.fixture(scope="module")
def numbers():
    booster, X = fitted()
    return booster, Forest.of(booster.model_to_string()), X


@pytest.mark.parametrize("use_missing", [True, False])
def test_gives_lightgbms_own_numbers_to_the_last_bit(use_missing):
    booster, X = fitted(use_missing=use_missing)
    odd = np.stack([np.full(COLUMNS, value, np.float32) for value in ODD])
    X = np.concatenate([X, odd, 50 * X[:500]])
    ours = Forest.of(booster.model_to_string()).log_odds(X)
    assert np.array_equal(ours, booster.predict(X, raw_score=True, num_threads=1))


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
def test_any_row_is_as_lightgbm_has_it_alone_and_among_others(numbers, X):
    booster, forest, _ = numbers
    ours = forest.log_odds(X)
    assert np.array_equal(ours, booster.predict(X, raw_score=True, num_threads=1))
    assert np.array_equal(ours, np.concatenate([forest.log_odds(X[[i]]) for i in range(3)]))


def test_a_constant_model_has_one_leaf():
    X = np.zeros((100, 2), np.float32)
    booster = lgb.LGBMClassifier(n_estimators=3, verbose=-1).fit(X, np.repeat([0, 1], 50)).booster_
    ours = Forest.of(booster.model_to_string()).log_odds(X[:1])
    assert ours.tolist() == np.asarray(booster.predict(X[:1], raw_score=True)).tolist()


def test_rows_of_another_width_are_refused(numbers):
    with pytest.raises(ValueError, match="know 6 features, got rows of \\(1, 5\\)"):
        numbers[1].log_odds(np.zeros((1, 5), np.float32))


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("split_feature=", "split_feature=99 "),
        ("left_child=", "left_child=0 "),
        ("right_child=", "right_child=-999 "),
        ("leaf_value=", "leaf_value=x "),
        ("num_leaves=15", "num_leaves=1"),
        ("cat_boundaries=0", "cat_boundaries=7"),
        ("decision_type=", "decision_type=4 "),
        ("num_tree_per_iteration=1", "num_tree_per_iteration=3"),
        ("is_linear=0", "is_linear=1"),
        ("Tree=", "Wood="),
    ],
)
def test_a_text_that_contradicts_itself_is_refused(numbers, was, becomes):
    text = numbers[0].model_to_string()
    broken = _first_number_replaced(text, was, becomes)
    assert broken != text
    with pytest.raises(ForestError):
        Forest.of(broken)


def _first_number_replaced(text, was, becomes):
    """Replace a field's first number, so that lengths stay as they are."""
    if not becomes.endswith(" "):
        return text.replace(was, becomes)
    before, _, after = text.partition("\n" + was)
    return f"{before}\n{becomes}{after.partition(' ')[2]}"
