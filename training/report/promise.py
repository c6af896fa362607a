"""What a hand-off rule promises, in a sentence; how it was fixed is not here."""

from typing import Any


def promise(rule: dict[str, Any]) -> str:
    """Say what the rule promises, or that it cannot be kept, and what to do then."""
    if not rule["stated"]:
        return (
            "No hand-off rule is stated, so the best fifth of the leads is handed off. To state "
            "what sales can work, write capacity_per_week = N under [rule] in leadqual.toml."
        )
    return {"capacity": _capacity, "precision": _precision, "value": _value}[rule["kind"]](rule)


def _capacity(rule: dict[str, Any]) -> str:
    capacity, given = rule["capacity_per_week"], rule["promise"]
    weeks = f"{100 * given['confidence']:.0f} % of the weeks"
    if not rule["feasible"]:
        return (
            f"The rule cannot be kept: with these data no threshold holds {capacity} leads a week "
            f"in {weeks}; nothing is handed off."
        )
    return (
        f"Rule: at most {capacity} new hand-offs a week in {weeks}; "
        f"{given['expected_per_week']:.1f} a week are expected."
    )


def _precision(rule: dict[str, Any]) -> str:
    given = rule["promise"]
    sure = f"with {100 * given['confidence']:.0f} % confidence"
    if not rule["feasible"]:
        return (
            "The rule cannot be kept: no threshold can promise so large a share of won hand-offs "
            f"with these data; the most that can be promised {sure} is "
            f"{100 * given['most_precision']:.1f} %. Nothing is handed off: ask for less, or wait "
            "for more outcomes."
        )
    return (
        f"Rule: at least {100 * given['precision']:.0f} % of the hand-offs will be won, {sure}; "
        f"{given['expected_per_week']:.1f} a week are expected."
    )


def _value(rule: dict[str, Any]) -> str:
    if not rule["feasible"]:
        return (
            f"The rule hands nothing off: a hand-off costs {rule['cost']:g}, no less than the "
            f"{rule['value']:g} that a won lead is worth."
        )
    return (
        f"Rule: hand off where the probability times {rule['value']:g} exceeds {rule['cost']:g}; "
        f"{rule['promise']['expected_per_week']:.1f} a week are expected."
    )
