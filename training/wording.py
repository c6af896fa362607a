"""What a reason says, in English and Japanese; what to say is not decided here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from features.catalogue import Feature, display_name
from features.history import DAY_US
from features.moments import from_us, iso

LANGUAGES = ("en", "ja")
LONGEST_VALUE = 60
"""Characters of an attribute's value that a text shows."""

SUBJECTS: dict[str, tuple[str, str]] = {
    "recency": ("The time since the last activities", "最後の活動からの経過"),
    "volume": ("The amount of activity", "活動の量"),
    "interest": ("The kind of activity", "活動の内容"),
    "momentum": ("The pace of activity", "活動のペース"),
    "value": ("The size of the recorded values", "活動の値"),
    "channel": ("The choice of channels", "接触チャネル"),
    "timing": ("The timing", "時期"),
    "profile": ("The profile of the lead", "リードの属性"),
}
"""What speaks, by concept."""

VERDICTS = {
    "up": ("speaks for a win", "受注しやすい傾向と関連しています"),
    "down": ("speaks against a win", "受注しにくい傾向と関連しています"),
}
NOTHING_YET = ("no activity so far", "活動はまだありません")
NOTHING_SINCE = ("nothing since", "その後の活動なし")
UNKNOWN = ("not known", "不明")
YES_NO = (("no", "いいえ"), ("yes", "はい"))
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
WEEKDAYS = (
    ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    tuple("月火水木金土日"),
)


@dataclass(frozen=True)
class Activity:
    """Evidence: how often an event type was seen and when last; None where it never was."""

    event_type: str
    count: int
    last_us: int | None

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        last = None if self.last_us is None else iso(self.last_us)
        return {"event_type": self.event_type, "count": self.count, "last_at": last}


@dataclass(frozen=True)
class Record:
    """Evidence: what the lead's record says; `value` is None where it says nothing."""

    attribute: str
    value: str | float | bool | None

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {"attribute": self.attribute, "value": self.value}


@dataclass(frozen=True)
class Measure:
    """Evidence: a feature's value, a name where it stands for one; None where it is missing."""

    feature: Feature
    value: str | float | None

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {"feature": self.feature.name, "value": self.value}


Evidence = Activity | Record | Measure


def sentence(
    concept: str,
    direction: str,
    evidence: Sequence[Evidence],
    *,
    as_of_us: int,
    latest_us: int | None,
    language: str,
) -> str:
    """Say in one sentence what speaks for or against a win, and with which evidence.

    Parameters
    ----------
    concept, direction : str
        Keys of `SUBJECTS` and `VERDICTS`.
    evidence : sequence of Activity, Record or Measure
    as_of_us : int
        The moment of judging; dates are in UTC, with the year where it is another one.
    latest_us : int or None
        The time of the last event seen, of any type.
    language : str
        Another one than those of `LANGUAGES` is taken as English.

    Examples
    --------
    >>> day = 86_400_000_000
    >>> seminar = Activity("seminar_attended", 1, 10 * day)
    >>> sentence("interest", "up", [seminar], as_of_us=12 * day, latest_us=10 * day, language="en")
    'The kind of activity speaks for a win: seminar attendance on 11 Jan, nothing since.'
    >>> sentence(
    ...     "profile", "down", [Record("size", None)], as_of_us=0, latest_us=None, language="ja"
    ... )
    'リードの属性は、受注しにくい傾向と関連しています:size = 不明。'
    """
    at = LANGUAGES.index(language) if language in LANGUAGES else 0
    ago = concept == "recency"
    parts = [_part(item, as_of_us, at, ago=ago) for item in evidence] or [NOTHING_YET[at]]
    if _quiet_since(evidence, as_of_us, latest_us) and not ago:
        parts.append(NOTHING_SINCE[at])
    subject, verdict = SUBJECTS[concept][at], VERDICTS[direction][at]
    if at:
        return f"{subject}は、{verdict}:{'、'.join(parts)}。"
    return f"{subject} {verdict}: {', '.join(parts)}."


def _quiet_since(evidence: Sequence[Evidence], as_of_us: int, latest_us: int | None) -> bool:
    """Tell whether the evidence ends with the last event of all, a day or more ago."""
    shown = [item.last_us for item in evidence if isinstance(item, Activity)]
    return latest_us is not None and latest_us in shown and as_of_us - latest_us >= DAY_US


def _part(item: Evidence, as_of_us: int, at: int, *, ago: bool) -> str:
    if isinstance(item, Activity):
        return _activity_ago(item, as_of_us, at) if ago else _activity_on(item, as_of_us, at)
    if isinstance(item, Record):
        return f"{item.attribute} = {_shown(item.value, at)}"
    meaning = (item.feature.english, item.feature.japanese)[at]
    return f"{meaning} = {_measured(item, at)}"


def _activity_on(item: Activity, as_of_us: int, at: int) -> str:
    name = display_name(item.event_type)[at]
    if item.last_us is None:
        return _never(name, at)
    day = _day(_moment(item.last_us), _moment(as_of_us), at)
    if at:
        return f"{day}に{name}" + (f"(計{item.count}回)" if item.count > 1 else "")
    return f"{name} on {day}" + (f" ({item.count} in all)" if item.count > 1 else "")


def _activity_ago(item: Activity, as_of_us: int, at: int) -> str:
    name = display_name(item.event_type)[at]
    if item.last_us is None:
        return _never(name, at)
    days = (as_of_us - item.last_us) // DAY_US
    if at:
        return f"{name}は{days}日前" if days else f"{name}は24時間以内"
    when = f"{days} day{'s' if days > 1 else ''} ago" if days else "within 24 hours"
    return f"{name} {when}"


def _never(name: str, at: int) -> str:
    return f"{name}はまだなし" if at else f"no {name} so far"


@lru_cache(maxsize=1_024)
def _moment(moment_us: int) -> datetime:
    """Remember the moment of judging, which all of a backlog share."""
    return from_us(moment_us)


def _day(moment: datetime, now: datetime, at: int) -> str:
    year = moment.year != now.year
    if at:
        return (f"{moment.year}年" if year else "") + f"{moment.month}月{moment.day}日"
    return f"{moment.day} {MONTHS[moment.month - 1]}" + (f" {moment.year}" if year else "")


def _measured(item: Measure, at: int) -> str:
    value = item.value
    if isinstance(value, float) and not math.isnan(value):
        if item.feature.unit == "weekday":
            return WEEKDAYS[at][int(value) % 7]
        if item.feature.unit == "share":
            return f"{value:.0%}"
    return _shown(value, at)


def _shown(value: str | float | bool | None, at: int) -> str:
    if value is None:
        return UNKNOWN[at]
    if isinstance(value, bool):
        return YES_NO[value][at]
    if isinstance(value, str):
        return value if len(value) <= LONGEST_VALUE else value[: LONGEST_VALUE - 1] + "…"
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.3g}"
