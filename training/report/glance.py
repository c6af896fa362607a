"""The first screen of the report, what a sales director asks, in words; its numbers are given."""

from typing import Any

from training.report.wording import amount, percent, span

NOT_YET = "–"
ORDERS = {
    "points": "the points rule",
    "recency": "the latest activity",
    "odoo": "Odoo's naive Bayes",
    "logistic": "a plain logistic regression",
    "base_rate": "no order at all",
}
"""How else leads could be picked, in plain words."""


def cards(report: dict[str, Any]) -> list[dict[str, str]]:
    """Give the big figures, each with what it is and how sure it is.

    Returns
    -------
    list of dict
        ``title``, ``big``, ``small``.
    """
    undated = "undated_order" in report["data"]
    return [
        _hand_offs(report, undated=undated),
        _share_won(report, undated=undated),
        *([] if undated else [_wins(report)]),
        _promise(report["rule"]),
        *([_today(report)] if report["changes"]["orders"] else []),
    ]


def more(report: dict[str, Any]) -> str:
    """Say what one more lead a week would bring; empty where it is not known."""
    found = report["outlook"]["one_more"]
    if found["value"] is None or "undated_order" in report["data"]:
        return ""
    return (
        f"Of the leads just below the rule's bar {percent(found)} were won: one more lead a week "
        f"brings about {found['value']:.2f} wins a week."
    )


def verdict(order: dict[str, Any], kind: str) -> str:
    """Say whether the model picked better than another order did, the same number of leads.

    `kind` is that of the split, "time" or "hash".
    """
    gap = order["more_won"]
    other = ORDERS.get(order["against"], order["against"].replace("_", " "))
    which = "later" if kind == "time" else "held-out"
    facts = (
        f"Of {order['leads']:,} {which} leads the {order['handed_off']:,} best were handed off: "
        f"{order['model']['won']:,} of the model's were won, {order['other']['won']:,} of those "
        f"that {other} picks"
    )
    if gap["low"] > 0:
        return f"{facts}. That is better, beyond chance ({_signed(gap)})."
    if gap["high"] < 0:
        return f"{facts}. That is worse, beyond chance ({_signed(gap)})."
    return f"{facts}. That may be chance ({_signed(gap)})."


def name(order: str) -> str:
    """Name another way to pick leads, at the start of a line."""
    plain = ORDERS.get(order, order.replace("_", " "))
    return plain[:1].upper() + plain[1:]


def _hand_offs(report: dict[str, Any], *, undated: bool) -> dict[str, str]:
    found = report["outlook"]
    if undated:
        share = found["share"]
        big = NOT_YET if share is None else amount(100 * share)
        return {"title": "Of 100 leads, go to sales", "big": big, "small": "the best ones"}
    weekly = found["hand_offs_per_week"]
    if weekly["value"] is None:
        return {"title": "Leads for sales, a week", "big": NOT_YET, "small": "too little history"}
    inside = f"{round(10 * found['weeks_inside'])} of 10 weeks: {weekly['low']:.0f} to "
    return {
        "title": "Leads for sales, a week",
        "big": amount(weekly["value"]),
        "small": f"{inside}{weekly['high']:.0f}",
    }


def _share_won(report: dict[str, Any], *, undated: bool) -> dict[str, str]:
    found = report["outlook"]["share_won"]
    within = "" if undated else f"within {report['label']['horizon_days']} days; "
    if found["value"] is None:
        return {"title": "Of them will close", "big": NOT_YET, "small": "no outcomes to tell by"}
    return {
        "title": "Of them will close",
        "big": percent(found["value"]),
        "small": f"{within}{percent(found['low'])} to {percent(found['high'])}",
    }


def _wins(report: dict[str, Any]) -> dict[str, str]:
    found = report["outlook"]["wins_per_week"]
    if found["value"] is None:
        return {"title": "Wins from them, a week", "big": NOT_YET, "small": "none to tell by"}
    return {
        "title": "Wins from them, a week",
        "big": amount(found["value"]),
        "small": f"{span(found)} on average",
    }


def _promise(rule: dict[str, Any]) -> dict[str, str]:
    title, given = "What is promised", rule["promise"]
    if not rule["stated"]:
        return {"title": title, "big": "Nothing yet", "small": "no hand-off rule is stated"}
    if not rule["feasible"]:
        return {"title": title, "big": "Cannot be kept", "small": "nothing is handed off"}
    if rule["kind"] == "capacity":
        small = f"leads a week, in {percent(given['confidence'])} of the weeks"
        return {"title": title, "big": f"At most {rule['capacity_per_week']}", "small": small}
    if rule["kind"] == "precision":
        small = f"of them close, with {percent(given['confidence'])} confidence"
        return {"title": title, "big": f"At least {percent(given['precision'])}", "small": small}
    worth = f"a win is worth {rule['value']:g}, a hand-off costs {rule['cost']:g}"
    return {"title": title, "big": "It pays", "small": worth}


def _today(report: dict[str, Any]) -> dict[str, str]:
    order = report["changes"]["orders"][0]
    gap = order["more_won"]
    word = "Better" if gap["low"] > 0 else "Worse" if gap["high"] < 0 else "No clear difference"
    other = ORDERS.get(order["against"], order["against"])
    return {
        "title": f"Against {other}",
        "big": word,
        "small": f"{order['model']['won']:,} wins instead of {order['other']['won']:,} from "
        f"{order['handed_off']:,} leads",
    }


def _signed(gap: dict[str, float]) -> str:
    low, high = (f"{gap[bound]:+.0f}".replace("-", "−") for bound in ("low", "high"))
    return f"95 % interval of the difference: {low} to {high} wins"
