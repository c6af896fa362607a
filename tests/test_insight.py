"""What each value of each feature went with: counts by hand, the strongest first, no chance."""

from dataclasses import replace

import numpy as np
import pytest

from features.attributes import Attribute
from features.matrix import FeatureSpec
from training.report.insight import insights
from training.report.sample import Sample

INDUSTRY = Attribute("業種", "category", ("finance", "製造業"))
FREE_MAIL = Attribute("free_mail", "boolean")
WHOLE = FeatureSpec(("inquiry", "商談"), ("form",), attributes=(INDUSTRY, FREE_MAIL))


def made(won, score=None):
    n = len(won)
    return Sample(
        np.arange(n), np.arange(n), np.arange(n), np.zeros(n, np.int64),
        np.full(n, 0.25) if score is None else np.array(score, float), np.array(won, float),
        np.zeros(n, np.bool_),
    )  # fmt: skip


def told(won, **columns):
    """The insights of the columns that are given, named as the features are."""
    spec = replace(WHOLE, exclude=tuple(name for name in WHOLE.names if name not in columns))
    X = np.column_stack([columns[name] for name in spec.names]).astype(np.float32)
    return insights(made(won), X, spec)


def test_shares_of_levels_by_hand():
    won = np.array([1] * 30 + [0] * 10 + [1] * 5 + [0] * 45 + [0] * 10)
    code = [1.0] * 40 + [2.0] * 50 + [np.nan] * 10
    [found] = told(won, lead_業種=code)
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
    found = told(won, lead_free_mail=weak, count_inquiry_7d=strong)
    assert [each["feature"] for each in found] == ["count_inquiry_7d", "lead_free_mail"]
    assert found[0]["effect"] > found[1]["effect"] > 0
    assert [each["level"] for each in found[1]["levels"]] == ["no", "yes"]
    effects = [
        len(told(won, count_inquiry_7d=np.random.default_rng(seed).integers(0, 4, 2_000)))
        for seed in range(20)
    ]
    assert sum(effects) < 12


def test_a_perfect_feature_takes_nearly_all_uncertainty_away():
    won = np.array([1, 0] * 200)
    assert told(won, count_inquiry_7d=won * 3)[0]["effect"] == pytest.approx(1, abs=0.01)


def test_values_on_few_leads_are_not_shown_and_a_constant_is_none():
    won = np.array([1.0] * 20 + [0] * 29)
    [found] = told(won, lead_業種=[1.0] * 20 + [2.0] * 20 + [np.nan] * 9)
    assert [each["level"] for each in found["levels"]] == ["finance", "製造業"]
    assert told(won, lead_業種=[1.0] * 49) == []


@pytest.mark.parametrize("won", [[], [0.0] * 30, [1.0] * 30])
def test_where_outcomes_are_all_alike_nothing_goes_with_them(won):
    assert told(won, count_inquiry_7d=np.arange(len(won))) == []


def test_first_and_last_types_and_channels_have_their_names():
    won = np.array([1] * 40 + [0] * 60)
    [found] = told(won, first_type=[0.0] * 30 + [1.0] * 30 + [2.0] * 20 + [np.nan] * 20)
    names = [(each["level"], each["leads"], each["won"]) for each in found["levels"]]
    assert names == [
        ("inbound inquiry", 30, 30),
        ("商談", 30, 10),
        ("others", 20, 0),
        (None, 20, 0),
    ]
    [found] = told(won, last_channel=[0.0] * 50 + [1.0] * 50)
    assert [each["level"] for each in found["levels"]] == ["form", "others"]
