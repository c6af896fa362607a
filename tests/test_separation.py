"""One column against the outcome: learned from earlier leads, judged on later ones of one time."""

import numpy as np
import pytest

from training.separation import Split, levels, numbers

ROWS = np.arange(400)


def split(won):
    return Split.of(np.asarray(won, np.bool_), ROWS)


def test_half_the_winners_are_judged():
    won = ROWS >= 300
    found = split(won)
    assert won[found.fit].sum() == won[found.judge].sum() == 50


def test_the_outcome_itself_has_an_auc_of_one_and_its_bound_is_below():
    won = ROWS % 4 == 0
    found = split(won).auc(won.astype(np.int64))
    assert found.value == 1.0
    assert 0.95 < found.low < 1.0


def test_a_column_that_is_upside_down_among_earlier_leads_stays_upside_down():
    won = ROWS % 4 == 0
    split_ = split(won)
    code = won.astype(np.int64)
    code[split_.fit] = 1 - code[split_.fit]
    assert split_.auc(code).value == 0.0


def test_what_tells_the_date_alone_has_an_auc_of_a_half():
    season = np.arange(4_000) // 800 % 2  # 0, 1, 0, 1, 0: known levels, each at its own time
    won = np.random.default_rng(0).random(4_000) < np.where(season == 1, 0.6, 0.1)
    found = Split.of(won, np.arange(4_000))
    assert season[found.judge].mean() > 0.2
    assert found.auc(season).value == pytest.approx(0.5, abs=0.1)
    assert Split.of(won, np.random.default_rng(1).permutation(4_000)).auc(season).value > 0.7


def test_too_few_winners_say_nothing():
    found = split(ROWS < 38).auc((ROWS < 38).astype(np.int64))
    assert np.isnan(found.value)
    assert np.isnan(found.low)


def test_missing_numbers_and_levels_have_a_code_of_their_own():
    values = np.array([0.0, 5.0, np.nan, 9.0])
    assert len(set(numbers(values, np.arange(4)).tolist())) == 4
    assert numbers(np.full(3, np.nan), np.arange(3)).tolist() == [1, 1, 1]
    assert levels(np.array([2.0, np.nan, 0.0])).tolist() == [2, 3, 0]
