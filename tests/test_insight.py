"""What each value of each feature went with: counts by hand, the strongest first, no chance."""

import numpy as np
import pytest

from features.attributes import Attribute
from features.catalogue import Feature, of_attribute
from training.insight import insights
from training.sample import Sample

INDUSTRY = Attribute("業種", "category", ("finance", "製造業"))
FREE_MAIL = Attribute("free_mail", "boolean")
CLICKS = Feature("clicks", "count", "7 d", "interest", "clicks, last 7 days", "クリック数")


def made(won, score=None):
    n = len(won)
    return Sample(
        np.arange(n), np.arange(n), np.arange(n), np.zeros(n, np.int64),
        np.full(n, 0.25) if score is None else np.array(score, float), np.array(won, float),
        np.zeros(n, np.bool_),
    )  # fmt: skip


def told(won, **columns):
    attributes = [a for a in (INDUSTRY, FREE_MAIL) if a.name in columns]
    features = [*(of_attribute(a) for a in attributes), *([CLICKS] if "clicks" in columns else [])]
    X = np.column_stack(list(columns.values())).astype(np.float32)
    return insights(made(won), X, features, attributes)


def test_shares_of_levels_by_hand():
    won = np.array([1] * 30 + [0] * 10 + [1] * 5 + [0] * 45 + [0] * 10)
    code = [1.0] * 40 + [2.0] * 50 + [np.nan] * 10
    [found] = told(won, 業種=code)
    assert (found["feature"], found["attribute"]) == ("lead_業種", "業種")
    assert [(e["level"], e["leads"], e["won"]) for e in found["levels"]] == [
        ("finance", 40, 30), ("製造業", 50, 5), (None, 10, 0),
    ]  # fmt: skip
    first = found["levels"][0]["share_won"]
    assert first["value"] == 0.75
    assert first["low"] < 0.75 < first["high"]
    assert found["levels"][0]["mean_score"] == pytest.approx(0.25)


def test_the_strongest_feature_comes_first_and_one_that_tells_nothing_is_left_out():
    rng = np.random.default_rng(0)
    won = rng.random(2_000) < 0.3
    strong = np.where(rng.random(2_000) < 0.9, won, ~won) + 0.0
    weak = np.where(rng.random(2_000) < 0.6, won, ~won) + 0.0
    found = told(won, free_mail=weak, clicks=strong)
    assert [each["feature"] for each in found] == ["clicks", "lead_free_mail"]
    assert found[0]["effect"] > found[1]["effect"] > 0
    assert [each["level"] for each in found[1]["levels"]] == ["no", "yes"]
    effects = [
        len(told(won, clicks=np.random.default_rng(seed).integers(0, 4, 2_000)))
        for seed in range(20)
    ]
    assert sum(effects) < 12


def test_a_perfect_feature_takes_nearly_all_uncertainty_away():
    won = np.array([1, 0] * 200)
    assert told(won, clicks=won * 3)[0]["effect"] == pytest.approx(1, abs=0.01)


def test_values_on_few_leads_are_not_shown_and_a_constant_is_none():
    won = np.array([1.0] * 20 + [0] * 29)
    [found] = told(won, 業種=[1.0] * 20 + [2.0] * 20 + [np.nan] * 9)
    assert [each["level"] for each in found["levels"]] == ["finance", "製造業"]
    assert told(won, 業種=[1.0] * 49) == []


@pytest.mark.parametrize("won", [[], [0.0] * 30, [1.0] * 30])
def test_where_outcomes_are_all_alike_nothing_goes_with_them(won):
    assert told(won, clicks=np.arange(len(won))) == []
