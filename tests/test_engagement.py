"""The kernel against hand-written numbers, against the reference, and under the laws."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.history import DAY_US, History, from_rows
from features.matrix import FeatureSpec, Leads, matrix
from tests.factories import AS_OF_US, at, clock, event, features_of
from tests.reference import Event, differences, engagement

SPEC = FeatureSpec(types=("inquiry", "web_visit"), channels=("mail", "web"))
INQUIRY, WEB_VISIT, OTHER_TYPE = 0, 1, 2
MAIL, WEB, OTHER_CHANNEL = 0, 1, 2
NAN = math.nan
HOUR_US = DAY_US // 24
WEEK_US = 7 * DAY_US
WINDOWS = {"1d": 1, "7d": 7, "30d": 30, "90d": 90}


# Literal tables


def test_every_feature_of_a_small_history() -> None:
    """Six events on paper; as_of is Tuesday, 2026-09-01 12:00."""
    events = [
        Event(clock("2026-05-03 10:00"), clock("2026-05-03 10:00"), "trade_fair", "booth", 4.0),
        Event(clock("2026-08-04 10:00"), clock("2026-08-04 10:00"), "web_visit", "web", 1.5),
        Event(clock("2026-08-04 22:00"), clock("2026-08-04 22:00"), "web_visit", "web"),
        Event(clock("2026-08-28 12:00"), clock("2026-08-28 12:00"), "inquiry", "mail", 2.0),
        Event(clock("2026-08-30 12:00"), clock("2026-08-30 12:00"), "call", "phone", 99.0),
        Event(clock("2026-09-01 06:00"), clock("2026-09-01 06:00"), "web_visit"),
    ]
    ages = [121 + 2 / 24, 28 + 2 / 24, 27 + 14 / 24, 4, 0.25]
    gaps = [93, 0.5, 23 + 14 / 24, 3.75]
    mean = sum(gaps) / 4
    expected = {
        "count_inquiry_1d": 0,
        "count_inquiry_7d": 1,
        "count_inquiry_30d": 1,
        "count_inquiry_90d": 1,
        "count_inquiry_all": 1,
        "days_since_inquiry": 4,
        "share_inquiry": 0.2,
        "count_web_visit_1d": 1,
        "count_web_visit_7d": 1,
        "count_web_visit_30d": 3,
        "count_web_visit_90d": 3,
        "count_web_visit_all": 3,
        "days_since_web_visit": 0.25,
        "share_web_visit": 0.6,
        "count_other_1d": 0,
        "count_other_7d": 0,
        "count_other_30d": 0,
        "count_other_90d": 0,
        "count_other_all": 1,
        "days_since_other": 121 + 2 / 24,
        "share_other": 0.2,
        "channel_mail": 1,
        "channel_web": 2,
        "channel_other": 1,
        "events_1d": 1,
        "events_7d": 2,
        "events_30d": 4,
        "events_90d": 4,
        "events_all": 5,
        "trend_1d_of_7d": 0.5,
        "trend_7d_of_30d": 0.5,
        "trend_30d_of_90d": 1,
        "trend_90d_of_all": 0.8,
        "engagement_half_life_2d": sum(0.5 ** (age / 2) for age in ages),
        "engagement_half_life_7d": sum(0.5 ** (age / 7) for age in ages),
        "engagement_half_life_30d": sum(0.5 ** (age / 30) for age in ages),
        "days_since_last_event": 0.25,
        "days_since_first_event": 121 + 2 / 24,
        "gap_mean_days": mean,
        "gap_sd_days": math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / 3),
        "gap_max_days": 93,
        "distinct_types": 3,
        "active_days": 4,
        "active_days_30d": 3,
        "value_sum": 7.5,
        "value_sum_30d": 3.5,
        "value_max": 4,
        "first_type": OTHER_TYPE,
        "last_type": WEB_VISIT,
        "first_channel": OTHER_CHANNEL,
        "last_channel": NAN,
        "weekday_share": 0.8,
        "working_hours_share": 0.4,
        "days_since_created": 130.5,
        "as_of_weekday": 1,
        "as_of_hour": 12,
    }
    got = features_of(SPEC, events, created_us=clock("2026-04-24 00:00"))
    assert differences(got, expected) == {}
    assert list(got) == list(expected)


def test_a_lead_without_events_has_counts_of_nothing_and_no_ages() -> None:
    got = features_of(SPEC, [], created_us=at(3))
    zero = {
        name
        for name in SPEC.names
        if name.startswith(("count_", "channel_", "events_", "engagement_half_life_", "value_sum"))
        or name in {"distinct_types", "active_days", "active_days_30d"}
    }
    clocked = {"days_since_created": 3, "as_of_weekday": 1, "as_of_hour": 12}
    expected = {name: clocked.get(name, 0 if name in zero else NAN) for name in SPEC.names}
    assert differences(got, expected) == {}
    assert sum(map(math.isnan, got.values())) == 3 * 2 + 4 + 3 + 2 + 1 + 4 + 2


@pytest.mark.parametrize(("window", "days"), WINDOWS.items())
@pytest.mark.parametrize("family", ["count_inquiry", "events"])
def test_a_window_is_open_at_its_start_and_closed_at_as_of(family, window, days) -> None:
    def seen(moment: int) -> float:
        return features_of(SPEC, [Event(moment, moment, "inquiry")])[f"{family}_{window}"]

    assert seen(at(days)) == 0
    assert seen(at(days, plus_us=1)) == 1
    assert seen(at(0)) == 1
    assert seen(at(0, plus_us=1)) == 0


@pytest.mark.parametrize(("name", "within"), [("active_days_30d", 1), ("value_sum_30d", 2.5)])
def test_the_thirty_days_of_single_features_are_the_same_window(name, within) -> None:
    def seen(moment: int) -> float:
        return features_of(SPEC, [Event(moment, moment, "inquiry", None, 2.5)])[name]

    assert seen(at(30)) == 0
    assert seen(at(30, plus_us=1)) == within
    assert seen(at(0)) == within
    assert seen(at(0, plus_us=1)) == 0


def test_counts_by_window() -> None:
    got = features_of(SPEC, [event(age) for age in (0, 0.5, 1, 6.9, 7, 29, 30, 89, 90, 400)])
    counts = [got[f"count_web_visit_{window}"] for window in (*WINDOWS, "all")]
    totals = [got[f"events_{window}"] for window in (*WINDOWS, "all")]
    assert counts == totals == [2, 4, 6, 8, 10]
    assert [got[f"count_inquiry_{window}"] for window in (*WINDOWS, "all")] == [0] * 5


def test_windows_are_those_of_the_spec() -> None:
    spec = FeatureSpec(types=(), channels=(), windows_days=(0.5, 14.0), half_lives_days=())
    got = features_of(spec, [event(age) for age in (0.25, 0.5, 13, 14)])
    assert [got[f"events_{window}"] for window in ("0.5d", "14d", "all")] == [1, 3, 4]
    assert got["trend_0.5d_of_14d"] == pytest.approx(1 / 3)


def test_trends_are_ratios_of_windows() -> None:
    got = features_of(SPEC, [event(age) for age in (0.5, 3, 3, 3, 20, 60, 60, 60, 200, 200)])
    assert got["trend_1d_of_7d"] == 0.25
    assert got["trend_7d_of_30d"] == pytest.approx(0.8)
    assert got["trend_30d_of_90d"] == 0.625
    assert got["trend_90d_of_all"] == pytest.approx(0.8)


def test_a_trend_of_an_empty_window_is_missing() -> None:
    got = features_of(SPEC, [event(60)])
    assert math.isnan(got["trend_1d_of_7d"])
    assert math.isnan(got["trend_7d_of_30d"])
    assert got["trend_30d_of_90d"] == 0
    assert got["trend_90d_of_all"] == 1


def test_recency_and_share_by_type() -> None:
    got = features_of(SPEC, [event(9, "inquiry"), event(5, "inquiry"), event(2), event(20, "fax")])
    assert [got[f"days_since_{kind}"] for kind in ("inquiry", "web_visit", "other")] == [5, 2, 20]
    assert [got[f"share_{kind}"] for kind in ("inquiry", "web_visit", "other")] == [0.5, 0.25, 0.25]


def test_a_type_that_never_happened_has_a_share_of_zero_but_no_age() -> None:
    got = features_of(SPEC, [event(2)])
    assert got["share_inquiry"] == 0
    assert math.isnan(got["days_since_inquiry"])


def test_engagement_halves_with_every_half_life() -> None:
    got = features_of(SPEC, [event(0), event(2), event(4), event(60)])
    assert got["engagement_half_life_2d"] == pytest.approx(1.75 + 0.5**30)
    assert got["engagement_half_life_30d"] == pytest.approx(
        1 + 0.5 ** (1 / 15) + 0.5 ** (2 / 15) + 0.25
    )


def test_tempo() -> None:
    got = features_of(SPEC, [event(10), event(7), event(1)])
    assert got["gap_mean_days"] == 4.5
    assert got["gap_sd_days"] == pytest.approx(math.sqrt(4.5))
    assert got["gap_max_days"] == 6


@pytest.mark.parametrize(
    ("ages", "mean", "spread", "longest"),
    [([5], NAN, NAN, NAN), ([5, 2], 3, NAN, 3), ([5, 5, 5], 0, 0, 0), ([6, 4, 2], 2, 0, 2)],
)
def test_tempo_of_a_few_events(ages, mean, spread, longest) -> None:
    got = features_of(SPEC, [event(age) for age in ages])
    names = ("gap_mean_days", "gap_sd_days", "gap_max_days")
    assert (
        differences(
            {name: got[name] for name in names},
            dict(zip(names, (mean, spread, longest), strict=True)),
        )
        == {}
    )


@pytest.mark.parametrize("gap_days", [0.1, 1.1, 7, 31 / 3])
def test_equal_gaps_have_no_spread_at_all(gap_days) -> None:
    gap_us = round(gap_days * DAY_US)
    events = [Event(AS_OF_US - k * gap_us, AS_OF_US - k * gap_us) for k in range(40)]
    assert features_of(SPEC, events)["gap_sd_days"] == 0


def test_active_days_are_days_of_the_calendar() -> None:
    moments = [clock("2026-08-30 23:59"), clock("2026-08-31 00:00"), clock("2026-08-31 23:59")]
    got = features_of(SPEC, [Event(moment, moment) for moment in moments])
    assert (got["active_days"], got["active_days_30d"]) == (2, 2)


def test_a_day_cut_by_the_window_is_active_by_its_later_part() -> None:
    """The window of 30 days starts on 2026-08-02 at 12:00."""
    moments = [clock("2026-08-02 11:00"), clock("2026-08-02 13:00"), clock("2026-08-02 14:00")]
    got = features_of(SPEC, [Event(moment, moment) for moment in moments])
    assert (got["active_days"], got["active_days_30d"]) == (1, 1)


def test_values() -> None:
    got = features_of(
        SPEC,
        [
            event(40, value=10.0),
            event(20, value=-3.0),
            event(5),
            event(3, value=NAN),
            event(2, value=math.inf),
        ],
    )
    assert (got["value_sum"], got["value_sum_30d"], got["value_max"]) == (7, -3, 10)


def test_values_below_zero_have_a_maximum() -> None:
    got = features_of(SPEC, [event(4, value=-3.0), event(3, value=-1.0), event(2, value=-2.0)])
    assert (got["value_sum"], got["value_max"]) == (-6, -1)


def test_without_values_the_sum_is_zero_and_the_maximum_missing() -> None:
    got = features_of(SPEC, [event(40), event(20)])
    assert (got["value_sum"], got["value_sum_30d"]) == (0, 0)
    assert math.isnan(got["value_max"])


def test_channels() -> None:
    got = features_of(
        SPEC,
        [event(5, channel="mail"), event(4), event(3, channel="web"), event(2, channel="fax")],
    )
    assert [got[f"channel_{name}"] for name in ("mail", "web", "other")] == [1, 1, 1]
    assert (got["first_channel"], got["last_channel"]) == (MAIL, OTHER_CHANNEL)


def test_first_and_last_of_an_event_without_channel_are_missing() -> None:
    got = features_of(SPEC, [event(5), event(4, channel="web"), event(3)])
    assert math.isnan(got["first_channel"])
    assert math.isnan(got["last_channel"])


def test_first_and_last_type() -> None:
    got = features_of(SPEC, [event(5, "inquiry"), event(4, "fax"), event(3)])
    assert (got["first_type"], got["last_type"], got["distinct_types"]) == (INQUIRY, WEB_VISIT, 3)


def test_events_of_one_moment_go_by_the_alphabet() -> None:
    got = features_of(SPEC, [event(5), event(5, "inquiry"), event(5, "fax")])
    assert (got["first_type"], got["last_type"]) == (OTHER_TYPE, WEB_VISIT)


@pytest.mark.parametrize(
    ("moment", "weekday", "working"),
    [
        ("2026-08-28 08:59", 1, 0),
        ("2026-08-28 09:00", 1, 1),
        ("2026-08-28 17:59", 1, 1),
        ("2026-08-28 18:00", 1, 0),
        ("2026-08-28 23:59", 1, 0),
        ("2026-08-29 00:00", 0, 0),
        ("2026-08-29 12:00", 0, 0),
        ("2026-08-30 12:00", 0, 0),
        ("2026-08-31 00:00", 1, 0),
        ("1969-12-31 12:00", 1, 1),
        ("1969-12-28 12:00", 0, 0),
    ],
)
def test_weekdays_and_working_hours(moment, weekday, working) -> None:
    got = features_of(SPEC, [Event(clock(moment), clock(moment))])
    assert (got["weekday_share"], got["working_hours_share"]) == (weekday, working)


@pytest.mark.parametrize(
    ("moment", "weekday", "hour"),
    [
        ("2026-08-30 23:59", 6, 23),
        ("2026-08-31 00:00", 0, 0),
        ("2026-09-01 12:59", 1, 12),
        ("2026-09-05 06:00", 5, 6),
        ("1969-12-31 23:59", 2, 23),
    ],
)
def test_weekday_and_hour_of_as_of(moment, weekday, hour) -> None:
    got = features_of(SPEC, [], as_of_us=clock(moment))
    assert (got["as_of_weekday"], got["as_of_hour"]) == (weekday, hour)


def test_events_of_the_sales_process_are_passed_over() -> None:
    quiet = features_of(SPEC, [event(9), event(5, "inquiry")])
    worked = [event(9), event(5, "inquiry"), event(12, "call"), event(3, "visit", "web", 8.0)]
    assert differences(features_of(SPEC, worked), quiet) == {}


def test_an_event_counts_from_the_moment_it_was_known() -> None:
    def seen(known_us: int) -> tuple[float, float]:
        late = Event(at(5), known_us, "inquiry")
        got = features_of(SPEC, [event(9), late, event(1)])
        return got["count_inquiry_all"], got["events_all"]

    assert seen(at(0)) == (1, 3)
    assert seen(at(0, plus_us=1)) == (0, 2)


def test_an_event_known_in_advance_counts_from_the_moment_it_happens() -> None:
    planned = Event(at(0, plus_us=1), at(20), "inquiry")
    assert features_of(SPEC, [event(9), planned])["events_all"] == 1
    got = features_of(SPEC, [event(9), planned], as_of_us=at(0, plus_us=1))
    assert (got["events_all"], got["count_inquiry_1d"]) == (2, 1)


# The kernel and the reference

TYPES = ("call", "fax", "inquiry", "other", "web_visit", "問い合わせ")
CHANNELS = (None, None, "fax", "mail", "web", "展示会")
SPECS = (
    SPEC,
    FeatureSpec(types=("web_visit", "問い合わせ"), channels=("展示会",), windows_days=(0.5, 14.0)),
    FeatureSpec(types=("call", "inquiry"), channels=(), sales=(), windows_days=(7.0,)),
    FeatureSpec(types=(), channels=(), sales=("fax",), half_lives_days=(1.0,)),
)
BOUNDARIES = [
    *(round(days * DAY_US) + off for days in (0.5, 1, 7, 14, 30, 90) for off in (-1, 0, 1)),
    *(0, 1, -1, -DAY_US),
    *(
        days * DAY_US + hours * HOUR_US + off  # at 0, 9 and 18 h
        for days in (0, 3, 30)
        for hours in (12, 3, -6)
        for off in (-1, 0, 1)
    ),
]
AGES = st.sampled_from(BOUNDARIES) | st.integers(-3 * DAY_US, 400 * DAY_US)
VALUES = (
    st.none() | st.just(NAN) | st.sampled_from([0.0, -1.0, 2.5]) | st.floats(-1e6, 1e6, width=32)
)


@st.composite
def an_event(draw: st.DrawFn) -> Event:
    age = draw(AGES)
    known = draw(st.sampled_from([age, age, age, 0, 1, -1, age - DAY_US, age + DAY_US]))
    return Event(
        AS_OF_US - age,
        AS_OF_US - known,
        draw(st.sampled_from(TYPES)),
        draw(st.sampled_from(CHANNELS)),
        draw(VALUES),
    )


@st.composite
def a_history(draw: st.DrawFn, most: int = 20) -> list[Event]:
    events = draw(st.lists(an_event(), max_size=most))
    again = draw(st.lists(st.sampled_from(events), max_size=3)) if events else []
    return events + again


MOMENTS = st.sampled_from([0, 1, -1, HOUR_US, -7 * DAY_US, 30 * DAY_US]) | st.integers(
    -100 * DAY_US, 100 * DAY_US
)


def computed(
    spec: FeatureSpec, history: History, row: list[int], as_of: list[int], created: int = AS_OF_US
) -> np.ndarray:
    n = history.segments
    leads = Leads(np.full(n, created), {}, history, np.arange(n))
    return matrix(spec, leads, np.array(row, np.int64), np.array(as_of, np.int64))


def bits(values: np.ndarray) -> bytes:
    return values.tobytes()


@settings(max_examples=250, deadline=None)
@given(
    spec=st.sampled_from(SPECS),
    leads=st.lists(a_history(), min_size=1, max_size=3),
    offsets=st.lists(MOMENTS, min_size=1, max_size=3),
    created_age=st.integers(-DAY_US, 500 * DAY_US),
)
def test_the_kernel_equals_the_reference(spec, leads, offsets, created_age) -> None:
    created = AS_OF_US - created_age
    row = [lead for lead in range(len(leads)) for _ in offsets]
    as_of = [AS_OF_US + offset for _ in leads for offset in offsets]
    got = computed(spec, from_rows(leads), row, as_of, created)
    for values, lead, moment in zip(got, row, as_of, strict=True):
        expected = engagement(spec, leads[lead], created, moment)
        assert differences(dict(zip(spec.names, values.tolist(), strict=True)), expected) == {}


def test_the_kernel_equals_the_reference_on_many_events() -> None:
    rng = np.random.default_rng(5)
    leads = [
        [
            Event(
                AS_OF_US - int(age),
                AS_OF_US - int(age) + int(delay),
                str(rng.choice(TYPES)),
                str(rng.choice(["fax", "mail", "web"])),
                float(np.float32(rng.normal())),
            )
            for age, delay in zip(
                rng.integers(-30 * DAY_US, 400 * DAY_US, n),
                rng.choice([0, 0, DAY_US], n),
                strict=True,
            )
        ]
        for n in (0, 1, 2, 500, 40, 0)
    ]
    got = computed(SPEC, from_rows(leads), list(range(len(leads))), [AS_OF_US] * len(leads))
    for values, events in zip(got, leads, strict=True):
        expected = engagement(SPEC, events, AS_OF_US, AS_OF_US)
        assert differences(dict(zip(SPEC.names, values.tolist(), strict=True)), expected) == {}


# Laws


@st.composite
def two_futures(draw: st.DrawFn) -> tuple[list[Event], list[Event]]:
    """Draw two histories that are the same up to `AS_OF` in what happened and was known by then."""
    events = draw(a_history())
    past = [one for one in events if max(one.occurred_us, one.known_us) <= AS_OF_US]
    later = st.builds(
        lambda one, after, which: one._replace(**dict.fromkeys(which, AS_OF_US + after)),
        an_event(),
        st.sampled_from([1, DAY_US]) | st.integers(1, 400 * DAY_US),
        st.sampled_from([("occurred_us",), ("known_us",), ("occurred_us", "known_us")]),
    )
    futures = [draw(st.lists(later, max_size=8)) for _ in range(2)]
    return past + futures[0], futures[1] + past


@settings(max_examples=150, deadline=None)
@given(spec=st.sampled_from(SPECS), histories=two_futures())
def test_law_1_what_comes_after_as_of_changes_nothing(spec, histories) -> None:
    one, other = (computed(spec, from_rows([events]), [0], [AS_OF_US]) for events in histories)
    assert bits(one) == bits(other)


@settings(max_examples=150, deadline=None)
@given(spec=st.sampled_from(SPECS), events=a_history(), random=st.randoms(use_true_random=False))
def test_law_2_the_order_of_events_changes_nothing(spec, events, random) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)
    one, other = (computed(spec, from_rows([es]), [0], [AS_OF_US]) for es in (events, shuffled))
    assert bits(one) == bits(other)


@settings(max_examples=150, deadline=None)
@given(
    spec=st.sampled_from(SPECS), events=a_history(), offset=MOMENTS, weeks=st.integers(-900, 900)
)
def test_law_7_a_shift_by_whole_weeks_changes_nothing(spec, events, offset, weeks) -> None:
    shift = weeks * WEEK_US
    moved = [
        one._replace(occurred_us=one.occurred_us + shift, known_us=one.known_us + shift)
        for one in events
    ]
    moment = AS_OF_US + offset
    here = computed(spec, from_rows([events]), [0], [moment], at(12))
    there = computed(spec, from_rows([moved]), [0], [moment + shift], at(12) + shift)
    assert bits(here) == bits(there)
