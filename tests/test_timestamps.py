from datetime import date

import pyarrow as pa
import pytest

from features.timestamps import read_times


def column(values: list, kind: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])


def utc(times) -> list[str | None]:
    return [None if time is None else time.isoformat() for time in times.utc.to_pylist()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T09:30:00Z", "2026-01-31T09:30:00+00:00"),
        ("2026-01-31 09:30:00+09:00", "2026-01-31T00:30:00+00:00"),
        ("2026-01-31T09:30+09", "2026-01-31T00:30:00+00:00"),
        ("2026-01-31T09:30:00-0530", "2026-01-31T15:00:00+00:00"),
        ("2026-01-31T09:30:00.25Z", "2026-01-31T09:30:00.250000+00:00"),
        ("2026-01-31T09:30:00.123456789Z", "2026-01-31T09:30:00.123456+00:00"),
        ("2026-01-31T09:30:00z", "2026-01-31T09:30:00+00:00"),
        ("2026-01-31 09:30:00 UTC", "2026-01-31T09:30:00+00:00"),
        ("  2026-01-31T09:30:00Z ", "2026-01-31T09:30:00+00:00"),
    ],
)
def test_text_with_a_zone(text: str, expected: str):
    times = read_times(column([text]), None)
    assert utc(times) == [expected]
    assert times.utc.type == pa.timestamp("us", "UTC")


@pytest.mark.parametrize(
    "text",
    [
        "soon",
        "31.01.2026",
        "2026-02-30",
        "2026-01-31T25:00:00Z",
        "1712120310000",
        "20260131",
        "2026",
    ],
)
def test_text_that_is_no_time(text: str):
    times = read_times(column(["2026-01-31T09:30:00Z", text]), "UTC")
    assert utc(times) == ["2026-01-31T09:30:00+00:00", None]
    assert times.unreadable.tolist() == [1]


def test_zones_may_be_mixed_and_only_times_without_one_need_the_zone_given():
    mixed = column(["2026-01-31T09:00:00+09:00", "2026-01-31T09:00:00", "2026-01-31", None, " "])
    told = read_times(mixed, "Asia/Tokyo")
    assert utc(told) == [
        "2026-01-31T00:00:00+00:00",
        "2026-01-31T00:00:00+00:00",
        "2026-01-30T15:00:00+00:00",
        None,
        None,
    ]
    assert told.zoneless.tolist() == []
    untold = read_times(mixed, None)
    assert untold.zoneless.tolist() == [1, 2]
    assert untold.unreadable.tolist() == []
    assert utc(untold) == ["2026-01-31T00:00:00+00:00", None, None, None, None]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_arrow_timestamps_of_any_unit_and_zone(unit: str):
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    stamps = pa.array([1_000 * per_second, None]).cast(pa.timestamp(unit, "Asia/Tokyo"))
    assert utc(read_times(pa.chunked_array([stamps]), None)) == ["1970-01-01T00:16:40+00:00", None]


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64(), pa.timestamp("ms")])
def test_dates_and_arrow_timestamps_without_a_zone_are_local(kind: pa.DataType):
    days = column([date(2026, 1, 31), None]).cast(kind)
    assert utc(read_times(days, "Asia/Tokyo")) == ["2026-01-30T15:00:00+00:00", None]
    assert read_times(days, None).zoneless.tolist() == [0]


def test_both_ends_of_the_range():
    texts = [
        "1969-12-31T23:59:59.999999Z",
        "1970-01-01T00:00:00Z",
        "2199-12-31T23:59:59.999999Z",
        "2200-01-01T00:00:00Z",
    ]
    times = read_times(column(texts), None)
    assert times.outside.tolist() == [0, 3]
    assert utc(times) == [
        None,
        "1970-01-01T00:00:00+00:00",
        "2199-12-31T23:59:59.999999+00:00",
        None,
    ]


def test_a_time_too_large_for_microseconds_is_out_of_range_too():
    times = read_times(column([10**18, 0], pa.timestamp("s", "UTC")), None)
    assert times.outside.tolist() == [0]
    assert utc(times) == [None, "1970-01-01T00:00:00+00:00"]


def test_out_of_range_among_times_of_mixed_zones():
    times = read_times(
        column(["1066-10-14", "2026-01-31T00:00:00Z", "2999-01-01T00:00:00Z"]), "UTC"
    )
    assert times.outside.tolist() == [0, 2]


def test_where_the_clocks_change_the_first_or_the_next_local_time_is_taken():
    local = column(["2026-10-25T02:30:00", "2026-03-29T02:30:00", "2026-07-01T02:30:00"])
    times = read_times(local, "Europe/Berlin")
    assert utc(times) == [
        "2026-10-25T00:30:00+00:00",
        "2026-03-29T01:00:00+00:00",
        "2026-07-01T00:30:00+00:00",
    ]
    assert times.changed.tolist() == [0, 1]


def test_numbers_are_no_times():
    times = read_times(column([1_700_000_000, None]), "UTC")
    assert times.unreadable.tolist() == [0]
    assert utc(times) == [None, None]


def test_a_column_without_a_type_is_missing_everywhere():
    times = read_times(column([None, None]), None)
    assert utc(times) == [None, None]
    assert times.unreadable.tolist() == []


@pytest.mark.parametrize("kind", [pa.string(), pa.timestamp("ns", "UTC"), pa.date32()])
def test_no_rows(kind: pa.DataType):
    assert utc(read_times(pa.chunked_array([], kind), "UTC")) == []


def test_rows_are_counted_over_chunks():
    chunks = pa.chunked_array([["2026-01-31T00:00:00Z"], ["soon"], ["2026-01-31T00:00:00Z", "now"]])
    assert read_times(chunks, None).unreadable.tolist() == [1, 3]


def test_text_as_a_dictionary():
    texts = pa.chunked_array([pa.array(["2026-01-31T00:00:00Z", "soon"]).dictionary_encode()])
    times = read_times(texts, None)
    assert utc(times) == ["2026-01-31T00:00:00+00:00", None]
    assert times.unreadable.tolist() == [1]


@pytest.mark.parametrize("seconds", [-1, 7_258_118_400])
def test_the_first_times_out_of_range(seconds: int):
    assert read_times(column([seconds], pa.timestamp("s", "UTC")), None).outside.tolist() == [0]
