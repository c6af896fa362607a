"""Events in any order and form, grouped by lead and sorted by time."""

import math
from copy import deepcopy
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.history import NO_CHANNEL, History, from_arrow, from_rows, group
from tests.factories import TIME, at, event, make_events
from tests.reference import Event

INDEX = {"lead-1": 0, "lead-2": 1, "lead-3": 2, "stranger": -1}


def grouped(events: pa.Table, segments: int = 3) -> History:
    segment = np.array([INDEX[lead] for lead in events["lead_id"].to_pylist()], np.int64)
    return from_arrow(events, segment, segments)


def columns(history: History) -> list[bytes]:
    """Everything a history holds, to the last bit."""
    return [
        np.ascontiguousarray(column).tobytes()
        for column in (
            history.ptr,
            history.occurred_us,
            history.known_us,
            history.type_code,
            history.channel_code,
            history.value,
        )
    ] + [repr((history.types, history.channels)).encode()]


def rows(history: History) -> list[list[tuple]]:
    """The events of each segment in words."""
    channels: dict[int, str | None] = {NO_CHANNEL: None, **dict(enumerate(history.channels))}
    return [
        [
            (
                int(history.occurred_us[e]),
                int(history.known_us[e]),
                history.types[history.type_code[e]],
                channels[int(history.channel_code[e])],
                None if math.isnan(history.value[e]) else float(history.value[e]),
            )
            for e in range(history.ptr[s], history.ptr[s + 1])
        ]
        for s in range(history.segments)
    ]


def test_events_stand_by_lead_and_time() -> None:
    history = grouped(make_events({"lead-3": [3, 10], "lead-1": [5, 7, 6], "stranger": [1]}))
    assert history.segments == 3
    assert history.ptr.tolist() == [0, 3, 3, 5]
    assert history.occurred_us.tolist() == [at(7), at(6), at(5), at(10), at(3)]


def test_every_column_goes_with_its_event() -> None:
    facts = {
        "lead-2": [event(1, "inquiry", "web", 2.5, known_age_days=0.5), event(4, "fax")],
        "lead-1": [event(2, "web_visit", "mail", -1.0)],
    }
    assert rows(grouped(make_events(facts))) == [
        [(at(2), at(2), "web_visit", "mail", -1.0)],
        [(at(4), at(4), "fax", None, None), (at(1), at(0.5), "inquiry", "web", 2.5)],
        [],
    ]


def test_types_and_channels_are_coded_by_the_alphabet() -> None:
    facts = [
        event(3, "web_visit", "web"),
        event(2, "fax", "mail"),
        event(1, "問い合わせ", "展示会"),
    ]
    history = grouped(make_events({"lead-1": facts}))
    assert history.types == ("fax", "web_visit", "問い合わせ")
    assert history.channels == ("mail", "web", "展示会")
    assert history.type_code.tolist() == [1, 0, 2]
    assert history.channel_code.tolist() == [1, 0, 2]


def test_events_of_one_moment_are_ordered_by_type_channel_value_and_when_known() -> None:
    ordered = [
        event(5, "fax", "web", 9.0),
        event(5, "inquiry", "mail", 1.0, known_age_days=3),
        event(5, "inquiry", "mail", 1.0, known_age_days=2),
        event(5, "inquiry", "mail", 2.0),
        event(5, "inquiry", "web", 0.0),
        event(5, "inquiry", None, 0.0),
    ]
    assert rows(from_rows([ordered[::-1]])) == [[tuple(one) for one in ordered]]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (event(6), event(5)),
        (event(5, "fax"), event(5, "inquiry")),
        (event(5, channel="mail"), event(5, channel="web")),
        (event(5, channel="mail"), event(5)),
        (event(5, value=1.0), event(5, value=2.0)),
        (event(5, known_age_days=3), event(5, known_age_days=2)),
    ],
)
def test_two_events_that_differ_in_one_thing_come_in_one_order(first, second) -> None:
    expected = [[tuple(first), tuple(second)]]
    assert rows(from_rows([[first, second]])) == expected
    assert rows(from_rows([[second, first]])) == expected


def test_an_event_recorded_before_it_happened_was_known_when_it_happened() -> None:
    facts = {"lead-1": [Event(at(3), at(5)), Event(at(2), at(1))]}
    assert grouped(make_events(facts)).known_us.tolist() == [at(3), at(1)]


def test_without_recorded_at_an_event_was_known_when_it_happened() -> None:
    events = make_events({"lead-1": [Event(at(3), at(1))]})
    no_record = events.set_column(5, "recorded_at", pa.array([None], TIME))
    assert grouped(no_record).known_us.tolist() == [at(3)]
    assert grouped(events.drop_columns("recorded_at")).known_us.tolist() == [at(3)]


def test_columns_that_are_not_there() -> None:
    events = make_events({"lead-1": [3, 9]}).drop_columns(["channel", "value", "recorded_at"])
    history = grouped(events)
    assert history.channels == ()
    assert history.channel_code.tolist() == [NO_CHANNEL] * 2
    assert history.value.tolist() == []
    assert history.occurred_us.tolist() == [at(9), at(3)]


@pytest.mark.parametrize("segments", [0, 2])
def test_no_events_at_all(segments) -> None:
    empty = from_rows([[]] * segments)
    assert (empty.segments, empty.ptr.tolist()) == (segments, [0] * (segments + 1))
    assert columns(grouped(make_events({}), segments)) == columns(empty)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300, None])
def test_a_value_that_is_no_number_for_float32_is_missing(value) -> None:
    facts = [event(3, value=value), event(2, value=3e38)]
    for history in (grouped(make_events({"lead-1": facts}), 1), from_rows([facts])):
        assert np.isnan(history.value).tolist() == [True, False]


def test_times_of_any_zone_and_unit_are_the_same_moments() -> None:
    events = make_events({"lead-1": [9, 3]})
    tokyo = timezone(timedelta(hours=9))
    moments = [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at(age)) for age in (9, 3)]
    there = pa.array(
        [moment.astimezone(tokyo) for moment in moments], pa.timestamp("ms", "Asia/Tokyo")
    )
    assert grouped(events.set_column(1, "occurred_at", there)).occurred_us.tolist() == [
        at(9),
        at(3),
    ]


def test_the_form_of_a_text_column_changes_nothing() -> None:
    facts = {"lead-1": [event(3, "web_visit", "web"), event(2, "fax"), event(1, "inquiry", "mail")]}
    events = make_events(facts)
    expected = columns(grouped(events))
    for form in (pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())):
        cast = events.set_column(2, "event_type", events["event_type"].cast(pa.string()).cast(form))
        assert columns(grouped(cast)) == expected
    other_order = pa.DictionaryArray.from_arrays(
        pa.array([2, 1, 0], pa.int8()), ["inquiry", "fax", "web_visit"]
    )
    assert columns(grouped(events.set_column(2, "event_type", other_order))) == expected


def test_a_column_in_chunks_with_their_own_dictionaries() -> None:
    facts = [event(3, "web_visit", "web"), event(2, "fax"), event(1, "inquiry", "mail")]
    chunks = pa.concat_tables([make_events({"lead-1": [fact]}) for fact in facts])
    assert chunks["event_type"].num_chunks == 3
    assert columns(grouped(chunks)) == columns(grouped(make_events({"lead-1": facts})))


def test_a_dictionary_of_small_indices_may_be_full() -> None:
    names = [f"type {i:03}" for i in range(128)]
    full = pa.DictionaryArray.from_arrays(pa.array(range(128), pa.int8()), names)
    events = make_events({"lead-1": [500 - i for i in range(128)]})
    history = grouped(events.set_column(2, "event_type", full))
    assert [history.types[code] for code in history.type_code] == names


def test_an_event_without_a_type_is_refused() -> None:
    events = make_events({"lead-1": [event(3), event(2)]})
    broken = events.set_column(2, "event_type", pa.array(["fax", None]))
    with pytest.raises(ValueError, match="event_type is missing in 1 of 2 events"):
        grouped(broken)


def test_more_types_than_codes_are_refused() -> None:
    n = NO_CHANNEL + 1
    events = pa.table({"occurred_at": pa.array([0] * n, TIME), "event_type": map(str, range(n))})
    with pytest.raises(ValueError, match="65536 different event types"):
        from_arrow(events, np.zeros(n, np.int64), 1)


@st.composite
def facts_of_leads(draw: st.DrawFn) -> dict[str, list[Event]]:
    one = st.builds(
        lambda age, late, kind, channel, value: Event(
            at(age), at(age - late), kind, channel, value
        ),
        st.integers(0, 3) | st.floats(0, 400),
        st.sampled_from([0, 1]),
        st.sampled_from(["fax", "inquiry", "web_visit"]),
        st.sampled_from([None, "mail", "web"]),
        st.none() | st.floats(-9, 9, width=32),
    )
    return {lead: draw(st.lists(one, max_size=8)) for lead in INDEX}


@settings(max_examples=100, deadline=None)
@given(facts=facts_of_leads(), random=st.randoms(use_true_random=False))
def test_law_2_rows_in_any_order_give_the_same_history(facts, random) -> None:
    events = make_events(facts)
    order = list(range(len(events)))
    random.shuffle(order)
    assert columns(grouped(events.take(pa.array(order, pa.int64())))) == columns(grouped(events))


@settings(max_examples=100, deadline=None)
@given(facts=facts_of_leads())
def test_a_table_and_python_rows_give_the_same_history(facts) -> None:
    known = {lead: events for lead, events in facts.items() if lead != "stranger"}
    assert rows(from_rows(known.values())) == rows(grouped(make_events(facts)))
    assert columns(from_rows(known.values())) == columns(grouped(make_events(known)))


@settings(max_examples=50, deadline=None)
@given(facts=facts_of_leads())
def test_law_5_inputs_are_not_mutated(facts) -> None:
    kept = deepcopy(facts)
    from_rows(facts.values())
    assert repr(facts) == repr(kept)
    segment = np.array([1, 0, -1, 0])
    given_columns = [
        np.array([4, 3, 2, 1]),
        np.array([4, 5, 2, 1]),
        np.array([0, 0, 1, 1], np.uint16),
        np.array([0, NO_CHANNEL, 0, 0], np.uint16),
        np.array([1, np.nan, 2, 3], np.float32),
    ]
    before = [column.tobytes() for column in (segment, *given_columns)]
    for column in (segment, *given_columns):
        column.flags.writeable = False
    group(segment, *given_columns, segments=2, types=("a", "b"), channels=("c",))
    assert [column.tobytes() for column in (segment, *given_columns)] == before
