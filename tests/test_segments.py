"""Figures by month and by group: the right leads in each, the worst first, none of small ones."""

import numpy as np
import pyarrow as pa
import pytest

from features.attributes import Attribute
from tests.factories import clock
from training.config import ConfigError, Report
from training.report import segments
from training.report.sample import Sample

LEADS = 400
PLAIN = Report()


def made(score, won, handed=None, as_of=None):
    n = len(score)
    return Sample(
        np.arange(n), np.arange(n), np.arange(n),
        np.full(n, clock("2026-03-10 00:00")) if as_of is None else as_of,
        np.array(score, float), np.array(won, float),
        np.array(score, float) >= 0.5 if handed is None else handed,
    )  # fmt: skip


def world(seed=0):
    """Leads of which those of group `blind` are scored as if nothing was known of them."""
    rng = np.random.default_rng(seed)
    chance = rng.choice([0.1, 0.6], LEADS)
    blind = np.arange(LEADS) % 4 == 0
    won = rng.random(LEADS) < chance
    score = np.where(blind, 0.35, chance)
    table = pa.table(
        {
            "地域": ["blind" if b else "seen" for b in blind],
            "tiny": ["few" if k < 30 else "many" for k in range(LEADS)],
            "size": rng.integers(1, 500, LEADS),
            "shop": [f"s{k % 40}" for k in range(LEADS)],
        }
    )
    return made(score, won), table


ATTRIBUTES = [
    Attribute("地域", "category", ("blind", "seen")),
    Attribute("tiny", "category", ("few", "many")),
    Attribute("size", "number"),
    Attribute("shop", "category", ()),
]


def found_in(sample, table, wanted=PLAIN):
    return segments.segments(sample, table, ATTRIBUTES, wanted, seed=0)


def test_the_worst_group_stands_first_and_small_ones_are_counted():
    found = found_in(*world())
    names = [(each["attribute"], each["level"]) for each in found["groups"]]
    assert names[0] == ("地域", "blind")
    assert names[-1] == ("地域", "seen")
    skill = [each["skill"]["value"] for each in found["groups"]]
    assert skill == sorted(skill)
    assert skill[0] < 0.02 < skill[-1]
    assert ("tiny", "few") not in names
    assert found["too_small"] == 1
    assert found["attributes"] == ["地域", "tiny"]
    assert found["left_out"] == ["shop"]


def test_the_figures_are_of_the_leads_of_the_group():
    sample, table = world()
    by_name = {each["level"]: each for each in found_in(sample, table)["groups"]}
    mask = np.arange(LEADS) % 4 == 0
    blind = by_name["blind"]
    assert blind["leads"] == blind["matured"] == mask.sum()
    assert blind["won"] == sample.won[mask].sum()
    assert blind["share_won"]["value"] == sample.won[mask].mean()
    assert blind["mean_score"] == pytest.approx(0.35)
    assert blind["auc"]["value"] == 0.5
    assert blind["handed_off"]["value"] == 0
    seen = by_name["seen"]
    assert seen["auc"]["low"] > 0.6
    share = sample.won[~mask].mean()
    own = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    assert seen["skill"]["value"] == pytest.approx(1 - seen["log_loss"]["value"] / own)
    assert 0 < seen["skill"]["low"] < seen["skill"]["value"] < seen["skill"]["high"] < 1
    assert seen["handed_off"]["value"] == (sample.score[~mask] >= 0.5).mean()
    assert seen["found"]["value"] == sample.handed[~mask & (sample.won > 0)].mean()
    assert seen["calibration_ratio"]["value"] == pytest.approx(
        sample.score[~mask].mean() / sample.won[~mask].mean()
    )


def test_an_inverted_score_is_below_its_group_s_own_share():
    sample, table = world()
    turned = made(0.7 - sample.score, sample.won)
    by_name = {each["level"]: each for each in found_in(turned, table)["groups"]}
    assert by_name["seen"]["skill"]["high"] < -0.3
    assert by_name["seen"]["auc"]["high"] < 0.5


@pytest.mark.parametrize(("leads", "won", "large"), [
    (50, 10, True), (49, 10, False), (50, 9, False), (50, 40, True), (50, 41, False),
])  # fmt: skip
def test_a_group_needs_fifty_leads_and_ten_of_each_kind(leads, won, large):
    sample = made(np.linspace(0.1, 0.9, leads), np.arange(leads) < won)
    found = found_in(sample, pa.table({"地域": ["x"] * leads}))
    assert len(found["groups"]) == large
    assert found["too_small"] == (not large)


def test_leads_whose_outcome_is_not_known_are_not_judged():
    sample, table = world()
    sample.won[200:] = np.nan
    assert found_in(sample, table)["all"]["leads"] == 200


def test_segments_that_are_named_take_the_place_of_the_others():
    sample, table = world()
    found = found_in(sample, table, Report(segments=("shop", "size")))
    assert {each["attribute"] for each in found["groups"]} <= {"shop", "size"}
    assert found["attributes"] == ["shop", "size"]
    assert [e["level"] for e in found["groups"] if e["attribute"] == "shop"] == ["28 others"]
    assert len([e for e in found["groups"] if e["attribute"] == "size"]) == 4


def test_no_more_groups_than_can_be_paid_for(monkeypatch):
    monkeypatch.setattr(segments, "MOST_GROUPS", 2)
    found = found_in(*world())
    assert [each["level"] for each in found["groups"]] == ["many", "seen"]
    assert found["too_small"] == 2


def test_named_groups_are_all_there_whether_features_or_not():
    sample, table = world()
    table = table.append_column("gender", pa.array(["f"] * 20 + ["m"] * 375 + [None] * 5))
    found = segments.named(sample, table, Report(groups=("gender", "size")), seed=0)
    named = [(each["attribute"], each["level"], each["leads"]) for each in found["groups"]]
    assert named[:3] == [("gender", "m", 375), ("gender", "f", 20), ("gender", None, 5)]
    assert len(named) == 7
    m, f, _ = found["groups"][:3]
    assert m["auc"]["low"] > 0.5
    assert np.isnan(f["auc"]["value"])
    assert 0 <= f["handed_off"]["low"] <= f["handed_off"]["value"] <= f["handed_off"]["high"] <= 1
    assert segments.named(sample, table, PLAIN, seed=0) == {"attributes": [], "groups": []}


def test_a_group_without_any_win_has_counts_and_no_figures():
    sample = made(np.linspace(0, 1, 60), np.zeros(60))
    [group] = segments.named(sample, pa.table({"a": ["x"] * 60}), Report(groups=("a",)), seed=0)[
        "groups"
    ]
    assert (group["leads"], group["won"], group["share_won"]["value"]) == (60, 0, 0)
    assert np.isnan([group["found"]["value"], group["auc"]["value"], group["skill"]["value"]]).all()


def test_months_are_those_of_the_judging_and_young_ones_have_no_outcome():
    moments = np.array([clock("2026-01-31 23:59")] * 100 + [clock("2026-02-01 00:00")] * 60)
    won = np.array([1.0, 0.0] * 50 + [np.nan] * 60)
    found = segments.by_month(made(np.tile([0.8, 0.4], 80), won, as_of=moments), seed=0)
    assert [each["month"] for each in found] == ["2026-01", "2026-02"]
    old, young = found
    assert (old["leads"], old["matured"], old["won"]) == (100, 100, 50)
    assert old["auc"]["value"] == 1
    assert old["calibration_ratio"]["value"] == pytest.approx(1.2)
    assert (young["leads"], young["matured"], young["won"]) == (60, 0, 0)
    assert young["handed_off"]["value"] == 0.5
    assert np.isnan([young["mean_score"], young["auc"]["value"]]).all()
    assert segments.by_month(made([], [], as_of=np.empty(0, np.int64)), seed=0) == []


def test_a_group_that_the_table_has_not_is_refused_by_name():
    segments.check(Report(groups=("a",), segments=("b",)), ["lead_id", "a", "b"])
    for wanted, key in [
        (Report(groups=("a", "国")), "groups"),
        (Report(segments=("国",)), "segments"),
    ]:
        with pytest.raises(ConfigError) as refused:
            segments.check(wanted, ["lead_id", "a", "country"])
        assert str(refused.value) == (
            f"report.{key} names 国, which the leads table has not: its columns are lead_id, a, "
            "country; name one of them, or drop it"
        )
