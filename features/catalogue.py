"""Every feature: name, unit, window, concept and meaning; how it is computed stands elsewhere."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from features.attributes import Attribute

OTHER = "other"
"""The type or channel that stands for all that have no feature of their own."""

TAKEN_TYPES = frozenset({OTHER, "first_event", "last_event", "created"})
"""Event types whose features would bear the name of another one: they are counted in `OTHER`."""

CONCEPTS: dict[str, tuple[str, str]] = {
    "recency": ("How recently the lead was active", "直近の活動"),
    "volume": ("How much the lead has engaged", "活動の量"),
    "interest": ("What the lead was interested in", "関心の内容"),
    "momentum": ("Whether engagement is rising or falling", "活動の勢い"),
    "value": ("The values recorded with the activities", "活動の値"),
    "channel": ("Through which channels the lead engages", "接触チャネル"),
    "timing": ("Age of the lead and the time of its activity", "リードの経過時間と時間帯"),
    "profile": ("Who the lead is", "リードの属性"),
}
"""The groups that reasons speak of, in English and Japanese."""


@dataclass(frozen=True)
class EventType:
    """An event type that has a meaning here.

    Attributes
    ----------
    english, japanese : str
        Its plain name.
    channel : str
        The one it comes through by nature; an event's own stays as it was sent.
    checked : bool
        Machines make such events as well: the service marks those that look it as unverified.
        Events of other types are verified.
    """

    english: str
    japanese: str
    channel: str = ""
    checked: bool = False


EVENT_TYPES: dict[str, EventType] = {
    "web_visit": EventType("web visit", "ウェブ訪問", "web"),
    "newsletter_signup": EventType("newsletter sign-up", "メルマガ登録", "web"),
    "newsletter_open": EventType("newsletter open", "メルマガ開封", "email", checked=True),
    "newsletter_click": EventType("newsletter click", "メルマガのクリック", "email", checked=True),
    "document_request": EventType("document request", "資料請求", "form"),
    "form_submit": EventType("form submission", "フォーム送信", "form"),
    "seminar_registration": EventType("seminar registration", "セミナー申込", "web"),
    "seminar_attended": EventType("seminar attendance", "セミナー参加", "event"),
    "card_exchange": EventType("business-card exchange", "名刺交換", "event"),
    "inquiry": EventType("inbound inquiry", "問い合わせ", "form"),
    "call": EventType("sales call", "架電", "phone"),
    "appointment": EventType("appointment", "アポイント", "phone"),
    "visit": EventType("sales visit", "訪問", "onsite"),
    "closing_attempt": EventType("closing attempt", "クロージング", "onsite"),
    OTHER: EventType("other activity", "その他の活動"),
}
"""Event types with a plain name in English and Japanese; others go by their own name."""

UNVERIFIED = "_unverified"
"""What follows the type of an event that a machine made: it counts as a type of its own."""

WINDOWS_DAYS = (1.0, 7.0, 30.0, 90.0)
HALF_LIVES_DAYS = (2.0, 7.0, 30.0)

SALES_TYPES = ("call", "appointment", "visit", "closing_attempt")
"""Event types of the sales process: they end a lead's snapshots and are no features by default."""


@dataclass(frozen=True)
class Feature:
    """One column of the feature matrix.

    Attributes
    ----------
    name, unit, concept : str
        `concept` is a key of `CONCEPTS`.
    window : str
        The time before as_of that it looks at, such as ``"7 d"`` or ``"all"``.
    english, japanese : str
        What it means.
    category : bool
        Whether the number is a code without order.
    """

    name: str
    unit: str
    window: str
    concept: str
    english: str
    japanese: str
    category: bool = False


# fmt: off
SINGLES: tuple[Feature, ...] = (
    Feature("days_since_last_event", "days", "all", "recency",
            "days since the last activity", "最後の活動からの日数"),
    Feature("days_since_first_event", "days", "all", "timing",
            "days since the first activity", "最初の活動からの日数"),
    Feature("gap_mean_days", "days", "all", "momentum",
            "mean days between activities", "活動間隔の平均日数"),
    Feature("gap_sd_days", "days", "all", "momentum",
            "spread of the days between activities", "活動間隔のばらつき"),
    Feature("gap_max_days", "days", "all", "momentum",
            "longest silence between activities", "最長の無活動日数"),
    Feature("distinct_types", "types", "all", "volume",
            "kinds of activity", "活動の種類数"),
    Feature("active_days", "days", "all", "volume",
            "days with activity", "活動した日数"),
    Feature("active_days_30d", "days", "30 d", "volume",
            "days with activity, last 30 days", "直近30日に活動した日数"),
    Feature("value_sum", "value", "all", "value",
            "sum of the recorded values", "値の合計"),
    Feature("value_sum_30d", "value", "30 d", "value",
            "sum of the recorded values, last 30 days", "直近30日の値の合計"),
    Feature("value_max", "value", "all", "value",
            "largest recorded value", "値の最大"),
    Feature("first_type", "code", "all", "interest",
            "kind of the first activity", "最初の活動の種類", True),
    Feature("last_type", "code", "all", "interest",
            "kind of the last activity", "最後の活動の種類", True),
    Feature("first_channel", "code", "all", "channel",
            "channel of the first activity", "最初のチャネル", True),
    Feature("last_channel", "code", "all", "channel",
            "channel of the last activity", "最後のチャネル", True),
    Feature("weekday_share", "share", "all", "timing",
            "share of activities from Monday to Friday", "平日の活動の割合"),
    Feature("working_hours_share", "share", "all", "timing",
            "share of activities on weekdays from 9 to 18 h (UTC)", "平日9~18時(UTC)の活動の割合"),
    Feature("days_since_created", "days", "all", "timing",
            "days since the lead was created", "リード作成からの日数"),
    Feature("as_of_weekday", "weekday", "now", "timing",
            "weekday of judging, Monday is 0", "判定の曜日(月曜=0)"),
    Feature("as_of_hour", "hour", "now", "timing",
            "hour of judging (UTC)", "判定の時刻(UTC)"),
)
# fmt: on
"""The features that stand once, in the order in which the kernel writes them."""


def engagement(
    types: Sequence[str],
    channels: Sequence[str],
    windows_days: Sequence[float],
    half_lives_days: Sequence[float],
) -> tuple[Feature, ...]:
    """List the features of the engagement kernel, in the order of its columns.

    Parameters
    ----------
    types, channels : sequence of str
        The learned vocabularies without `OTHER`, which is added as the last of each.
    windows_days : sequence of float
        In ascending order; "all" follows them.
    half_lives_days : sequence of float

    Examples
    --------
    >>> [feature.name for feature in engagement(["inquiry"], [], [7], [2])][:4]
    ['count_inquiry_7d', 'count_inquiry_all', 'days_since_inquiry', 'share_inquiry']
    """
    windows = [*(f"{days:g}d" for days in windows_days), "all"]
    return (
        *(feature for kind in (*types, OTHER) for feature in _of_type(kind, windows)),
        *(_of_channel(channel) for channel in (*channels, OTHER)),
        *(_total(window) for window in windows),
        *(_trend(short, long) for short, long in pairwise(windows)),
        *(_decayed(days) for days in half_lives_days),
        *SINGLES,
    )


def standard() -> tuple[Feature, ...]:
    """List the features of the standard event types, with the default windows and half-lives."""
    types = [name for name in EVENT_TYPES if name not in (*SALES_TYPES, OTHER)]
    return engagement(types, (), WINDOWS_DAYS, HALF_LIVES_DAYS)


def of_attribute(attribute: Attribute) -> Feature:
    """Describe the feature that an attribute of the lead's record becomes.

    >>> of_attribute(Attribute("employees", "number")).name
    'lead_employees'
    """
    name = attribute.name
    return Feature(
        f"lead_{name}",
        "code" if attribute.kind == "category" else attribute.kind,
        "record",
        "profile",
        f"{name} of the lead",
        f"リードの{name}",
        attribute.kind == "category",
    )


def display_name(event_type: str) -> tuple[str, str]:
    """Give the plain name of an event type in English and Japanese.

    >>> display_name("inquiry"), display_name("demo")
    (('inbound inquiry', '問い合わせ'), ('demo', 'demo'))
    >>> display_name("newsletter_click_unverified")
    ('newsletter click (unverified)', 'メルマガのクリック(未確認)')
    """
    name = event_type.removesuffix(UNVERIFIED)
    known = EVENT_TYPES.get(name)
    if known is None:
        return event_type, event_type
    if name == event_type:
        return known.english, known.japanese
    return f"{known.english} (unverified)", f"{known.japanese}(未確認)"


def _span(window: str) -> tuple[str, str, str]:
    if window == "all":
        return "all", "so far", "これまで"
    days = window.removesuffix("d")
    return f"{days} d", f"last {_days(days)}", f"直近{days}日"


def _days(number: str) -> str:
    return "1 day" if number == "1" else f"{number} days"


def _of_type(kind: str, windows: Sequence[str]) -> Iterator[Feature]:
    english, japanese = display_name(kind)
    for window in windows:
        span, en, ja = _span(window)
        yield Feature(
            f"count_{kind}_{window}",
            "events",
            span,
            "interest",
            f"{english}: count, {en}",
            f"{japanese}:{ja}の回数",
        )
    yield Feature(
        f"days_since_{kind}",
        "days",
        "all",
        "recency",
        f"{english}: days since the last",
        f"{japanese}:最後からの日数",
    )
    yield Feature(
        f"share_{kind}",
        "share",
        "all",
        "interest",
        f"{english}: share of all activities",
        f"{japanese}:全活動中の割合",
    )


def _of_channel(channel: str) -> Feature:
    return Feature(
        f"channel_{channel}",
        "events",
        "all",
        "channel",
        f"activities by {channel}",
        f"{channel}による活動の回数",
    )


def _total(window: str) -> Feature:
    span, en, ja = _span(window)
    return Feature(
        f"events_{window}", "events", span, "volume", f"activities, {en}", f"{ja}の活動の回数"
    )


def _trend(short: str, long: str) -> Feature:
    return Feature(
        f"trend_{short}_of_{long}",
        "share",
        _span(long)[0],
        "momentum",
        f"share of the activities ({_span(long)[1]}) that fall into the {_span(short)[1]}",
        f"{_span(long)[2]}の活動のうち{_span(short)[2]}の割合",
    )


def _decayed(days: float) -> Feature:
    return Feature(
        f"engagement_half_life_{days:g}d",
        "events",
        "all",
        "volume",
        f"activities, each halved every {_days(f'{days:g}')}",
        f"{days:g}日で半減する活動量",
    )
