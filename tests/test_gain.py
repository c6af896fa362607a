"""The wins among the best leads, and who would change under another order, by hand."""

from functools import partial

import numpy as np
import pytest

from training.report.gain import SHARES, exchange, gain, tells
from training.report.sample import Sample

HASHES = np.arange(10, dtype=np.uint64)
IDS = [f"L-{k}" for k in range(10)]


def made(score, won):
    n = len(score)
    return Sample(
        np.arange(n), np.arange(n), np.arange(n), np.zeros(n, np.int64),
        np.array(score, float), np.array(won, float), np.zeros(n, np.bool_),
    )  # fmt: skip


FALLING = made(np.linspace(0.9, 0.0, 10), [1, 1, 0, 1, 0, 0, 0, 0, 0, 1])


def value_at(found, share):
    return found.value[SHARES.tolist().index(share)]


def test_the_curve_by_hand():
    found = gain(FALLING.score, FALLING.won, FALLING.cluster, seed=0)
    assert [value_at(found, s) for s in (0, 0.1, 0.2, 0.4, 1.0)] == pytest.approx(
        [0, 0.25, 0.5, 0.75, 1]
    )
    turned = gain(-FALLING.score, FALLING.won, FALLING.cluster, seed=0)
    assert value_at(turned, 0.2) == pytest.approx(0.25)


def test_the_band_holds_the_curve_and_ends_where_it_must():
    rng = np.random.default_rng(0)
    score = rng.random(400)
    won = (rng.random(400) < score).astype(float)
    found = gain(score, won, np.arange(400), seed=0)
    assert all(low <= v <= high for v, low, high in zip(found.value, found.low, found.high))  # noqa: B905
    assert (found.low[0], found.high[0], found.low[-1], found.high[-1]) == (0, 0, 1, 1)
    assert value_at(found, 0.5) > 0.6
    by_account = gain(score, won, np.arange(400) // 40, seed=0)
    assert by_account.value == found.value
    assert by_account.low != found.low


def test_equal_scores_are_chance():
    found = gain(np.ones(10), FALLING.won, np.arange(10), seed=0)
    assert found.value == pytest.approx(SHARES.tolist())


def test_without_a_win_there_is_no_curve():
    assert gain(np.ones(3), np.zeros(3), np.arange(3), seed=0).value == []


def exchanged(sample, other, share):
    return exchange(
        sample, {"points": np.array(other, float)}, ids=IDS, hashes=HASHES, share=share, seed=0
    )


def test_who_changes_by_hand():
    [found] = exchanged(FALLING, [9, 0, 0, 8, 7, 0, 0, 0, 0, 0], 0.3)
    assert (found["against"], found["leads"], found["handed_off"]) == ("points", 10, 3)
    assert (found["model"]["won"], found["other"]["won"]) == (2, 2)
    assert found["model"]["captured"]["value"] == 0.5
    assert found["model"]["share_won"]["value"] == pytest.approx(2 / 3)
    assert found["chance_won"] == pytest.approx(1.2)
    assert found["newly"]["leads"] == found["no_more"]["leads"] == 2
    assert [each["lead_id"] for each in found["newly"]["examples"]] == ["L-1", "L-2"]
    assert [each["lead_id"] for each in found["no_more"]["examples"]] == ["L-4", "L-3"]
    assert (found["newly"]["won"], found["no_more"]["won"]) == (1, 1)
    assert found["more_won"]["value"] == 0


def test_an_order_that_finds_more_is_better_beyond_chance_and_turned_it_is_worse():
    rng = np.random.default_rng(1)
    score = rng.random(600)
    sample = made(score, rng.random(600) < score)
    ids, hashes = [str(k) for k in range(600)], np.arange(600, dtype=np.uint64)
    compare = partial(exchange, ids=ids, hashes=hashes, share=0.2, seed=0)
    [found] = compare(sample, {"turned": 1 - score})
    gap = found["more_won"]
    assert 0 < gap["low"] <= gap["value"] <= gap["high"]
    assert gap["value"] == found["model"]["won"] - found["other"]["won"]
    turned = made(1 - score, sample.won)
    assert compare(turned, {"right": score})[0]["more_won"]["high"] < 0


def test_the_same_order_changes_nobody():
    [found] = exchanged(FALLING, FALLING.score * 2, 0.3)
    assert found["newly"] == found["no_more"] == {"leads": 0, "won": 0, "examples": []}
    assert found["more_won"] == {"value": 0, "low": 0, "high": 0}


def test_where_nothing_is_handed_off_nothing_is_compared():
    assert exchanged(FALLING, FALLING.score, 0.04) == []


def test_an_order_tells_when_it_and_not_chance_picks_most():
    assert tells(np.arange(10.0), 0.2)
    assert not tells(np.ones(10), 0.2)
    assert tells(np.array([3.0, 2, 1, 1, 1, 1]), 4 / 6)
    assert not tells(np.array([3.0, 1, 1, 1, 1, 1]), 3 / 6)
    assert not tells(np.arange(10.0), 0.0)
