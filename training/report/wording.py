"""How the report's page writes numbers; which numbers is not here."""

from collections.abc import Mapping

Number = float | None
Figure = Mapping[str, float | None]


def percent(value: Figure | Number) -> str:
    """Write a share, with its interval where it has one; one decimal below 10 %.

    >>> percent(0.0512), percent(0.512), percent(None)
    ('5.1 %', '51 %', '–')
    >>> percent({"value": 0.28, "low": 0.177, "high": 0.401})
    '28 % (18–40)'
    """
    middle = value.get("value") if isinstance(value, Mapping) else value
    if middle is None:
        return "–"
    digits = 1 if 0 < middle < 0.1 else 0
    text = f"{100 * middle:.{digits}f} %"
    if not isinstance(value, Mapping) or value["low"] is None or value["high"] is None:
        return text
    return f"{text} ({100 * value['low']:.{digits}f}–{100 * value['high']:.{digits}f})"


def short(value: Figure | Number) -> str:
    """Write a figure with two decimals, and its interval.

    >>> short({"value": 0.7123, "low": 0.66, "high": 0.759}), short(None), short(-0.004)
    ('0.71 (0.66–0.76)', '–', '0.00')
    >>> short({"value": -0.1, "low": -0.24, "high": 0.04})
    '−0.10 (−0.24 to 0.04)'
    """
    middle = value.get("value") if isinstance(value, Mapping) else value
    if middle is None:
        return "–"
    if not isinstance(value, Mapping) or value["low"] is None or value["high"] is None:
        return _signed(middle)
    between = " to " if value["low"] < 0 else "–"
    return f"{_signed(middle)} ({_signed(value['low'])}{between}{_signed(value['high'])})"


def _signed(value: float) -> str:
    return f"{value:z.2f}".replace("-", "−")


def amount(value: float) -> str:
    """Write a number of leads: with one decimal below 10.

    >>> amount(6.86), amount(48.97)
    ('6.9', '49')
    """
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def span(value: Figure) -> str:
    """Write the bounds of a number of leads.

    >>> span({"value": 1.9, "low": 1.2, "high": 12.4})
    '1.2 to 12'
    """
    low, high = value["low"], value["high"]
    return "–" if low is None or high is None else f"{amount(low)} to {amount(high)}"
