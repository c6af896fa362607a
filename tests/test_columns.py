from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from features import arrow_types, columns
from features.rules import LONGEST_ID, MAX_DISTINCT


def column(values: list, kind: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind)])


def faults(checked: columns.Checked) -> list[tuple[str, list[int], tuple[str, ...]]]:
    return [(each.rule, each.rows.tolist(), each.values) for each in checked.faults]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["a", "007", "日本"], pa.string(), ["a", "007", "日本"]),
        (["a"], pa.large_string(), ["a"]),
        (["a"], pa.string_view(), ["a"]),
        (["a"], pa.dictionary(pa.int8(), pa.string()), ["a"]),
        ([7, 2**40], pa.int64(), ["7", "1099511627776"]),
        ([7], pa.uint8(), ["7"]),
        ([7.0, 1e15], pa.float64(), ["7", "1000000000000000"]),
        ([7.5, 7.0], pa.float64(), ["7.5", "7"]),
        ([Decimal("7.00")], pa.decimal128(9, 2), ["7"]),
        (["7.0", "12.0"], pa.string(), ["7", "12"]),
        (["7.0", "a"], pa.string(), ["7.0", "a"]),
        (["1.10"], pa.string(), ["1.10"]),
    ],
)
def test_ids_are_read_as_text(values: list, kind: pa.DataType, expected: list[str]):
    checked = columns.ids("lead_id", column(values, kind), required=True)
    assert checked.values is not None
    assert checked.values.type == pa.string()
    assert checked.values.to_pylist() == expected
    assert faults(checked) == []


def test_ids_that_are_empty_or_blank():
    checked = columns.ids("lead_id", column(["a", None, "", " \t", "\u3000", " b "]), required=True)
    assert checked.values is not None
    assert checked.values.to_pylist() == ["a", None, None, None, None, " b "]
    assert faults(checked) == [("missing_id", [1, 2, 3, 4], ("empty", "empty", "empty"))]


def test_an_id_that_need_not_be_there_may_be_empty():
    checked = columns.ids("event_id", column(["a", None, ""]), required=False)
    assert faults(checked) == []


def test_the_longest_id_in_characters_not_bytes():
    longest = "山" * LONGEST_ID
    checked = columns.ids("lead_id", column([longest, longest + "山"]), required=True)
    assert [(each.rule, each.rows.tolist()) for each in checked.faults] == [("long_id", [1])]


@pytest.mark.parametrize("kind", [pa.bool_(), pa.binary(), pa.list_(pa.int64())])
def test_ids_of_a_type_that_is_none(kind: pa.DataType):
    checked = columns.ids("lead_id", column([None], kind), required=True)
    assert checked.values is None
    assert [(each.rule, each.facts["got"]) for each in checked.faults] == [
        ("wrong_type", str(kind))
    ]


@pytest.mark.parametrize(
    "chunks",
    [
        pa.chunked_array([["web", "mail"], ["mail", None]]),
        pa.chunked_array([["web", "mail"], ["mail", None]], pa.large_string()),
        pa.chunked_array(
            [pa.array(part).dictionary_encode() for part in (["web", "mail"], ["mail", None])]
        ),
        column(["web", "mail", "mail", None], pa.dictionary(pa.int8(), pa.large_string())),
        pa.chunked_array([pa.DictionaryArray.from_arrays([0, 1, 1, 2], ["web", "mail", None])]),
        pa.chunked_array([["web", "mail"], ["mail", "  "]]),
    ],
)
def test_categories_are_one_dictionary(chunks: pa.ChunkedArray):
    checked = columns.categories("channel", chunks, required=False)
    assert checked.values is not None
    assert checked.values.type == pa.dictionary(pa.int32(), pa.string())
    assert checked.values.to_pylist() == ["web", "mail", "mail", None]
    assert checked.values.null_count == 1
    assert len({tuple(chunk.dictionary.to_pylist()) for chunk in checked.values.chunks}) == 1
    assert faults(checked) == []


def test_an_event_needs_a_type():
    checked = columns.categories("event_type", column(["call", None, "", " "]), required=True)
    assert faults(checked) == [("missing_type", [1, 2, 3], ("empty", "empty", "empty"))]


def test_a_blank_category_that_does_not_occur_is_no_fault():
    coded = pa.chunked_array([pa.DictionaryArray.from_arrays([0, 0], ["call", ""])])
    assert faults(columns.categories("event_type", coded, required=True)) == []


def test_the_most_categories():
    most = [f"type {n}" for n in range(MAX_DISTINCT)]
    assert faults(columns.categories("event_type", column(most), required=True)) == []
    more = columns.categories("event_type", column([*most, "one more"]), required=True)
    assert [(each.rule, dict(each.facts)) for each in more.faults] == [
        ("too_many_values", {"distinct": "65,536"})
    ]


def test_categories_that_do_not_occur_are_not_counted():
    names = pa.array([f"type {n}" for n in range(MAX_DISTINCT + 1)])
    coded = pa.chunked_array([pa.DictionaryArray.from_arrays(pa.array([5], pa.int32()), names)])
    checked = columns.categories("event_type", coded, required=True)
    assert faults(checked) == []
    assert checked.values is not None
    assert checked.values.chunk(0).dictionary.to_pylist() == ["type 5"]


def test_a_type_may_be_a_number_but_no_list():
    checked = columns.categories("event_type", column([3, 3]), required=True)
    assert checked.values is not None
    assert checked.values.to_pylist() == ["3", "3"]
    refused = columns.categories("event_type", column([[3]]), required=True)
    assert (refused.values, refused.faults[0].rule) == (None, "wrong_type")


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1.5, -2.0], pa.float64(), [1.5, -2.0]),
        ([1, -2], pa.int8(), [1.0, -2.0]),
        ([0.5], pa.float16(), [0.5]),
        ([Decimal("1.25")], pa.decimal128(9, 2), [1.25]),
        ([True, False], pa.bool_(), [1.0, 0.0]),
        (["1", "-2.5", "+3", "1e3"], pa.string(), [1.0, -2.5, 3.0, 1000.0]),
        ([" 1 ", "１２"], pa.string(), [1.0, 12.0]),
    ],
)
def test_numbers(values: list, kind: pa.DataType, expected: list[float]):
    checked = columns.numbers("value", column(values, kind))
    assert checked.values is not None
    assert checked.values.type == pa.float64()
    assert checked.values.to_pylist() == expected
    assert faults(checked) == []


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_missing_number_is_no_fault(missing: float | None):
    checked = columns.numbers("value", column([1.0, missing], pa.float64()))
    assert checked.values is not None
    assert np.isnan(checked.values.to_numpy()[1])
    assert faults(checked) == []


def test_text_that_is_no_number():
    texts = column(["1", "x", None, "", "NA", "1_0", "12,5", "NaN", "0x1"])
    checked = columns.numbers("value", texts)
    assert faults(checked) == [("not_a_number", [1, 5, 6, 8], ("x", "1_0", "12,5"))]
    assert checked.values is not None
    assert np.isnan(checked.values.to_numpy()[1:]).all()


@pytest.mark.parametrize("values", [[1.0, float("inf"), -float("inf")], ["1", "inf", "-1e999"]])
def test_infinite_numbers(values: list):
    checked = columns.numbers("value", column(values))
    assert [(each.rule, each.rows.tolist()) for each in checked.faults] == [("not_finite", [1, 2])]


def test_times_are_no_numbers():
    checked = columns.numbers("value", column([1], pa.timestamp("us", "UTC")))
    assert (checked.values, checked.faults[0].rule) == (None, "wrong_type")


def test_outcomes_in_any_case():
    checked = columns.outcomes("outcome", column(["won", " Lost", "WON\t", "open", None, ""]))
    assert checked.values is not None
    assert checked.values.to_pylist() == ["won", "lost", "won", None, None, None]
    assert faults(checked) == [("unknown_outcome", [3, 4, 5], ("open", "empty", "empty"))]


def test_reasons_to_suppress_are_text_or_lists():
    texts = columns.suppressions("suppress", column(["customer", " ", None])).values
    lists = columns.suppressions("suppress", column([["customer", "競合"], None])).values
    assert texts is not None
    assert lists is not None
    assert texts.to_pylist() == ["customer", None, None]
    assert lists.to_pylist() == [["customer", "競合"], None]


@pytest.mark.parametrize(
    ("texts", "kind", "values"),
    [
        (["1", None, "-2"], pa.int64(), [1, None, -2]),
        (["1", "2.5"], pa.float64(), [1.0, 2.5]),
        (["1", "NA", "null", "N/A"], pa.int64(), [1, None, None, None]),
        (["true", "False"], pa.bool_(), [True, False]),
        (["0150", "1000"], pa.string(), ["0150", "1000"]),
        (["0", "0.5"], pa.float64(), [0.0, 0.5]),
        (["1", "x"], pa.string(), ["1", "x"]),
        (["NA", "x"], pa.string(), ["NA", "x"]),
        (["NA", None], pa.string(), ["NA", None]),
        ([None, None], pa.string(), [None, None]),
    ],
)
def test_an_attribute_of_a_csv_has_the_type_of_all_its_text(
    texts: list, kind: pa.DataType, values: list
):
    checked = columns.attributes("size", column(texts, pa.string()), read=arrow_types.typed)
    assert checked.values is not None
    assert checked.values.type == kind
    assert checked.values.to_pylist() == values


@pytest.mark.parametrize("text", ["2026-01-31T00:00:00Z", "2026-01-31"])
def test_an_attribute_of_times_is_told_from_text(text: str):
    checked = columns.attributes("since", column([text, None]), read=arrow_types.typed)
    assert checked.values is not None
    assert pa.types.is_timestamp(checked.values.type)


def test_an_attribute_with_a_type_stays_as_it_is():
    given = column(["1", "2"])
    assert columns.attributes("size", given, read=lambda given: given).values is given


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
def test_an_attribute_must_be_finite(kind: pa.DataType):
    checked = columns.attributes(
        "size", column([1.0, float("inf"), None], kind), read=lambda given: given
    )
    assert faults(checked) == [("not_finite", [1], ("inf",))]


def test_which_types_an_attribute_may_have():
    kinds = [pa.string(), pa.large_string(), pa.int8(), pa.float64(), pa.bool_(), pa.date32()]
    assert all(arrow_types.is_attribute(kind) for kind in kinds)
    assert arrow_types.is_attribute(pa.dictionary(pa.int8(), pa.string()))
    others = [pa.list_(pa.int64()), pa.struct([("a", pa.int64())]), pa.binary()]
    assert not any(arrow_types.is_attribute(kind) for kind in others)
