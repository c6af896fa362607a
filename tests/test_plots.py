"""Plots are text that follows the page: no fonts, no network, no clashing ids, always the same."""

import re

import pytest

from training.report import plots

FIGURE = {"value": 0.7, "low": 0.6, "high": 0.8}
UNKNOWN = {"value": None, "low": None, "high": None}
BINS = [
    {"mean_score": 0.1, "share_won": 0.12, "low": 0.05, "high": 0.2},
    {"mean_score": 0.4, "share_won": 0.35, "low": 0.2, "high": 0.5},
]
GAIN = {
    "shares": [0.0, 0.5, 1.0],
    "value": [0.0, 0.8, 1.0],
    "low": [0, 0.7, 1],
    "high": [0, 0.9, 1],
}
POINTS = [
    {"per_week": week, "won_share": FIGURE, "wins_per_week": {"value": 1.0, "low": 0.5, "high": 2}}
    for week in (1.0, 2.0)
]
DRAWN = {
    "reliability": lambda: plots.reliability(BINS),
    "shares": lambda: plots.shares(["2026-01", "2026-02"], [FIGURE, UNKNOWN], [0.6, None]),
    "gain": lambda: plots.gain({"model": GAIN, "points": GAIN}, 0.2),
    "share won": lambda: plots.against_week(POINTS, "won_share", "share won", 1.5, share=True),
    "wins": lambda: plots.against_week(POINTS, "wins_per_week", "wins", None, share=False),
    "maturity": lambda: plots.maturity([(1.0, 0.1), (30.0, 1.0)], 30),
    "figures": lambda: plots.figures(["0 d", "7 d"], [FIGURE, UNKNOWN], "AUC", 0.5),
    "beside": lambda: plots.beside(["model", "base_rate"], [FIGURE, FIGURE], "wins"),
    "per week": lambda: plots.per_week(["2026-01-05"], [3], 4),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_plot_is_text_without_fonts_and_follows_the_page(name):
    svg = DRAWN[name]()
    assert svg.startswith("<svg")
    assert len(re.findall("<text", svg)) > 3
    assert "currentColor" in svg
    assert "var(--line" in svg
    for unwanted in ("http", "url(", "font-family", "<style", "<script", plots.INK):
        assert unwanted not in svg
    used = set(re.findall(r'xlink:href="#([^"]+)"', svg))
    assert set(re.findall(r' id="([^"]+)"', svg)) == used
    assert DRAWN[name]() == svg


def test_what_has_nothing_to_show_is_not_drawn():
    assert plots.reliability([]) == ""
    assert plots.shares(["a"], [UNKNOWN], [0.1]) == ""
    assert plots.gain({}, 0.2) == ""
    assert plots.gain({"model": {"shares": [], "value": [], "low": [], "high": []}}, None) == ""
    assert plots.against_week(POINTS[:1], "won_share", "share won", 1.0, share=True) == ""
    assert plots.maturity([], 30) == ""
    assert plots.figures(["a"], [UNKNOWN], "AUC", 0.5) == ""
    assert plots.beside(["model"], [UNKNOWN], "wins") == ""


def test_no_more_names_stand_under_an_axis_than_fit():
    weeks = [f"2026-{month:02}-05" for month in range(1, 13)]
    assert len(re.findall(r">2026-\d\d-05<", plots.per_week(weeks, [1] * 12, None))) == 4
    days = [f"{day} d" for day in range(12)]
    assert len(re.findall(r">\d+ d<", plots.figures(days, [FIGURE] * 12, "AUC", 0.5))) == 4
    assert len(re.findall(r">\d+ d<", plots.figures(days[:5], [FIGURE] * 5, "AUC", 0.5))) == 5


def test_the_rule_and_the_horizon_are_marked():
    assert ">the rule<" in DRAWN["gain"]()
    assert ">the rule<" not in plots.gain({"model": GAIN}, None)
    assert ">horizon 30 d<" in DRAWN["maturity"]()
    assert ">capacity 4<" in DRAWN["per week"]()
    assert ">100 %<" in DRAWN["gain"]()
