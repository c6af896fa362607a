"""The parts of the training report's page: words of the first screen and plots; no figures."""

from collections.abc import Mapping
from typing import Any

from training.report import glance, plots

EMPTY: dict[str, Any] = {
    "outlook": {
        "share": None,
        "weeks_inside": 0.8,
        "interval": 0.95,
        **{
            name: {"value": None, "low": None, "high": None}
            for name in ("hand_offs_per_week", "share_won", "wins_per_week", "one_more")
        },
    },
    "changes": {"share": None, "of_the_rule": False, "orders": []},
    "gain": {"curves": {}, "rule_share": None},
    "months": [],
    "shifts": [],
    "segments": {"groups": [], "all": None, "attributes": [], "left_out": [], "too_small": 0},
    "groups": {"attributes": [], "groups": []},
    "insight": [],
    "card": None,
    "another_rule": False,
}
"""What reports of earlier versions have not."""
LEAST_WINS_DRAWN = 10
OF_A_CONCEPT, OF_ENGAGEMENT, OF_RECORD = 2, 8, 12
OF_AGES = (
    ("age_auc", "auc", "AUC", 0.5),
    ("age_ratio", "calibration_ratio", "mean score / share won", 1.0),
)
LEVELS_SHOWN = 8
SEGMENTS_SHOWN = 15


def parts(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give all that the page's template asks for."""
    report = {**EMPTY, **values}
    return {
        "report": report,
        "undated": "undated_order" in report["data"],
        "cards": glance.cards(report),
        "verdicts": [
            glance.verdict(order, report["origins"]["kind"])
            for order in report["changes"]["orders"]
        ],
        "one_more": glance.more(report),
        "name_of": glance.name,
        "drawn": _drawn(report),
        "insight": _insight(report["insight"]),
        "least_wins": LEAST_WINS_DRAWN,
        "levels_shown": LEVELS_SHOWN,
        "segments_shown": SEGMENTS_SHOWN,
    }


def _drawn(report: Mapping[str, Any]) -> dict[str, str]:
    test = report["test"]
    beside = {name: test["baselines"][name] for name in test["baselines"] if name in glance.ORDERS}
    months = [month for month in report["months"] if month["matured"]]
    drawn = {
        "reliability": plots.reliability(test["reliability"]),
        "gain": plots.gain(report["gain"]["curves"], report["gain"]["rule_share"]),
        "capture": ""
        if report["another_rule"]  # the figures are at the capacity of the rule before
        else plots.beside(
            ["model", *beside],
            [one["capture_at_capacity"] for one in (test["model"], *beside.values())],
            "wins among the leads taken",
        ),
        "month": plots.shares(
            [month["month"] for month in months],
            [month["share_won"] for month in months],
            [month["mean_score"] for month in months],
        ),
        "month_auc": plots.figures(
            [month["month"] for month in months], [month["auc"] for month in months], "AUC", 0.5
        ),
    }
    dated = () if "undated_order" in report["data"] else (_of_weeks, _of_days)
    return drawn | {name: svg for draw in dated for name, svg in draw(report).items()}


def _of_weeks(report: Mapping[str, Any]) -> dict[str, str]:
    curve = report["rule"].get("curve", [])
    now = report["outlook"]["hand_offs_per_week"]["value"]
    found = {"share_won": plots.against_week(curve, "won_share", "share won", now, share=True)}
    if curve and isinstance(curve[0]["wins_per_week"], Mapping):  # earlier versions: no interval
        found["wins"] = plots.against_week(curve, "wins_per_week", "wins a week", now, share=False)
    return found


def _of_days(report: Mapping[str, Any]) -> dict[str, str]:
    told = report["label"]
    ages = [age for age in report["test"]["by_age"] if age["won_leads"] >= LEAST_WINS_DRAWN]
    found = {"maturity": plots.maturity(told["maturity_curve"], told["horizon_days"])}
    if len(ages) > 1:
        names = [f"{age['age_days']:g} d" for age in ages]
        for name, key, label, level in OF_AGES:
            figures = [age["figures"][key] for age in ages]
            found[name] = plots.figures(names, figures, label, level)
    return found


def _insight(found: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Choose what is shown: the record's attributes, and few features of each concept."""
    engagement: list[dict[str, Any]] = []
    for each in found:
        alike = sum(other["concept"] == each["concept"] for other in engagement)
        same = any(_parts_leads(other) == _parts_leads(each) for other in engagement)
        if each["attribute"] is None and alike < OF_A_CONCEPT and not same:
            engagement.append(each)
    record = [each for each in found if each["attribute"] is not None]
    return {"record": record[:OF_RECORD], "engagement": engagement[:OF_ENGAGEMENT]}


def _parts_leads(each: Mapping[str, Any]) -> set[tuple[int, int]]:
    """Tell features that part the leads alike, whatever they are called."""
    return {(level["leads"], level["won"]) for level in each["levels"]}
