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
    "segments": {"groups": [], "all": None, "attributes": [], "left_out": [], "too_small": 0},
    "groups": {"attributes": [], "groups": []},
    "insight": [],
    "card": None,
    "another_rule": False,
}
"""What reports of earlier versions have not."""
LEAST_WINS_DRAWN = 10
OF_A_CONCEPT, OF_ENGAGEMENT, OF_RECORD = 2, 8, 12
LEVELS_SHOWN = 8
SEGMENTS_SHOWN = 15


def parts(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give all that the page's template asks for."""
    report = {**EMPTY, **values}
    return {
        "report": report,
        "undated": "undated_order" in report["data"],
        "cards": glance.cards(report),
        "verdicts": [glance.verdict(order) for order in report["changes"]["orders"]],
        "one_more": glance.more(report),
        "name_of": glance.name,
        "drawn": _drawn(report),
        "insight": _insight(report["insight"]),
        "least_wins": LEAST_WINS_DRAWN,
        "levels_shown": LEVELS_SHOWN,
        "segments_shown": SEGMENTS_SHOWN,
    }


def _drawn(report: Mapping[str, Any]) -> dict[str, str]:
    test, curve = report["test"], report["rule"].get("curve", [])
    months = [month for month in report["months"] if month["matured"]]
    by_age = [age for age in test["by_age"] if age["won_leads"] >= LEAST_WINS_DRAWN]
    known = {name: test["baselines"][name] for name in glance.ORDERS if name in test["baselines"]}
    beside = {"model": test["model"], **known}
    now = report["outlook"]["hand_offs_per_week"]["value"]
    undated = "undated_order" in report["data"]
    ages = [f"{age['age_days']:g} d" for age in by_age]
    of_months = [each["month"] for each in months]
    several = len(ages) > 1
    return {
        "reliability": plots.reliability(test["reliability"]),
        "gain": plots.gain(report["gain"]["curves"], report["gain"]["rule_share"]),
        "capture": plots.beside(
            list(beside),
            [figures["capture_at_capacity"] for figures in beside.values()],
            "wins among the leads taken",
        ),
        "share_won": plots.against_week(curve, "won_share", "share won", now, share=True),
        "wins": plots.against_week(curve, "wins_per_week", "wins a week", now, share=False)
        if curve and isinstance(curve[0]["wins_per_week"], Mapping)
        else "",
        "maturity": ""
        if undated
        else plots.maturity(report["label"]["maturity_curve"], report["label"]["horizon_days"]),
        "month": plots.shares(
            of_months,
            [each["share_won"] for each in months],
            [each["mean_score"] for each in months],
        ),
        "month_auc": plots.figures(of_months, [m["auc"] for m in months], "AUC", 0.5),
        "age_auc": plots.figures(ages, [a["figures"]["auc"] for a in by_age], "AUC", 0.5)
        if several
        else "",
        "age_ratio": plots.figures(
            ages,
            [a["figures"]["calibration_ratio"] for a in by_age],
            "mean score / share won",
            1.0,
        )
        if several
        else "",
    }


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
