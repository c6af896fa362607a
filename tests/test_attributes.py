"""Columns of the leads table as numbers, the same from a table and from a request."""

import math
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.attributes import Attribute, Column, encode, learn
from features.contract import Finding

NAN = math.nan
EMPLOYEES = Attribute("employees", "number")
EXPORTER = Attribute("exporter", "boolean")
INDUSTRY = Attribute("industry", "category", ("製造業", "小売業", "retail"))


def encoded(column: Column, attribute: Attribute) -> list[float]:
    out = encode({attribute.name: column}, (attribute,), len(column))
    assert out.shape == (len(column), 1)
    assert out.dtype == np.float32
    return [float(value) for value in out[:, 0]]


def same(got: list[float], expected: list[float]) -> bool:
    """Compare to the last digit, NaN being NaN."""
    return bool(np.array_equal(np.array(got), np.array(expected, np.float32), equal_nan=True))


def learned(**columns: object) -> tuple[dict[str, Attribute], dict[str, Finding]]:
    attributes, findings = learn(pa.table(columns))
    return {one.name: one for one in attributes}, {one.column: one for one in findings}


def left_out(column: object) -> Finding:
    attributes, findings = learned(suspect=column)
    assert attributes == {}
    finding = findings["suspect"]
    assert (finding.table, finding.column, finding.severity) == ("leads", "suspect", "note")
    return finding


# Encoding


@pytest.mark.parametrize(
    ("attribute", "values", "expected"),
    [
        (EMPLOYEES, [3, 0, -1.5, None, NAN], [3, 0, -1.5, NAN, NAN]),
        (EMPLOYEES, ["3", " 4.5 ", "1e3", "many", "", "nan", "inf"], [3, 4.5, 1000] + [NAN] * 4),
        (EMPLOYEES, [True, False], [1, 0]),
        (EMPLOYEES, ["true", b"3", [3], {"n": 3}, date(2026, 9, 1)], [NAN] * 5),
        (EMPLOYEES, [math.inf, -math.inf, 1e39, 10**400, "1e400"], [NAN] * 5),
        (EMPLOYEES, [Decimal("2.50"), Decimal("NaN"), Decimal("1e99")], [2.5, NAN, NAN]),
        (EMPLOYEES, [np.int64(7), np.float32(0.5), np.bool_(True)], [7, 0.5, 1]),
        (EMPLOYEES, [3.4e38, 2**53 + 1, 16_777_217], [3.4e38, 2**53, 16_777_216]),
        (EXPORTER, [True, False, None, 1, 0], [1, 0, NAN, 1, 0]),
        (EXPORTER, ["true", "FALSE", " True ", "1", "yes"], [1, 0, 1, 1, NAN]),
        (INDUSTRY, ["製造業", "小売業", "retail"], [1, 2, 3]),
        (INDUSTRY, ["建設業", "Retail", "", None, NAN], [0, 0, 0, NAN, NAN]),
    ],
)
def test_encoding(attribute, values, expected) -> None:
    assert same(encoded(values, attribute), expected)


@pytest.mark.parametrize(
    "values", [[12, 7, None], [12.0, 7.0, None], [12.0, 7.0, NAN], ["12", "7", None]]
)
def test_a_category_of_numbers_is_the_same_as_text_whole_number_and_float(values) -> None:
    assert same(encoded(values, Attribute("region", "category", ("7", "12"))), [2, 1, NAN])
    assert same(
        encoded(pa.array(values), Attribute("region", "category", ("7", "12"))), [2, 1, NAN]
    )


def test_a_category_of_booleans_is_written_as_a_csv_writes_it() -> None:
    flag = Attribute("flag", "category", ("false", "true"))
    assert encoded([True, False, "true"], flag) == [2, 1, 2]


def test_each_attribute_has_its_own_column_and_an_absent_one_is_missing() -> None:
    columns = {"exporter": [True, False], "employees": pa.array([5, 6]), "unknown": [1, 2]}
    out = encode(columns, (EMPLOYEES, INDUSTRY, EXPORTER), 2)
    assert same(out[0].tolist(), [5, NAN, 1])
    assert same(out[1].tolist(), [6, NAN, 0])


def test_no_rows_and_no_attributes() -> None:
    assert encode({"employees": []}, (EMPLOYEES,), 0).shape == (0, 1)
    assert encode({"industry": pa.chunked_array([], pa.string())}, (INDUSTRY,), 0).shape == (0, 1)
    assert encode({"employees": [1, 2]}, (), 2).shape == (2, 0)


# A column of a table and the same values in a request (the basis of law 3)

NUMBERS = {
    "int8": (pa.int8(), st.integers(-128, 127)),
    "int64": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "uint64": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "float16": (pa.float16(), st.floats(width=16)),
    "float32": (pa.float32(), st.floats(width=32)),
    "float64": (pa.float64(), st.floats()),
    "decimal": (pa.decimal128(20, 4), st.decimals(-(10**15), 10**15, places=4)),
    "boolean": (pa.bool_(), st.booleans()),
}
TEXTS = st.sampled_from(["製造業", "小売業", "建設業", "retail", "", " 3 ", "1e400", "true", "nan"])
FORMS = [
    *(pytest.param(*form, id=name) for name, form in NUMBERS.items()),
    *(
        pytest.param(kind, TEXTS | st.text(max_size=3), id=str(kind))
        for kind in (pa.string(), pa.large_string(), pa.string_view())
    ),
    pytest.param(pa.date32(), st.dates(), id="date"),
    pytest.param(pa.timestamp("us", "UTC"), st.just(datetime(2026, 9, 1, tzinfo=UTC)), id="time"),
    pytest.param(pa.list_(pa.int64()), st.lists(st.integers(0, 9), max_size=2), id="list"),
    pytest.param(pa.null(), st.none(), id="empty"),
]


@pytest.mark.parametrize(("kind", "values"), FORMS)
def test_a_column_is_encoded_as_its_values_are(kind, values) -> None:
    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.none() | values, max_size=6))
    def law(given_values) -> None:
        array = pa.array(given_values, kind)
        forms = [array, pa.chunked_array([array[:2], array[2:]]), pa.chunked_array([array])]
        if not (pa.types.is_nested(kind) or kind in (pa.float16(), pa.null())):
            forms.append(array.dictionary_encode())
            forms.append(pa.chunked_array([form.dictionary_encode() for form in forms[1].chunks]))
        for attribute in (EMPLOYEES, EXPORTER, INDUSTRY):
            one_by_one = [encoded([value], attribute)[0] for value in array.to_pylist()]
            for form in forms:
                assert same(encoded(form, attribute), one_by_one)

    law()


def test_a_dictionary_of_small_indices_may_be_full() -> None:
    levels = tuple(f"level {i:03}" for i in range(128))
    full = pa.DictionaryArray.from_arrays(pa.array([*range(128), None], pa.int8()), list(levels))
    got = encoded(full, Attribute("grade", "category", levels))
    assert same(got, [*range(1, 129), NAN])


def test_law_5_columns_are_not_mutated() -> None:
    values = [1.0, math.inf, NAN, None]
    array = np.array([1.0, math.inf, math.nan])
    encoded(values, EMPLOYEES)
    encoded(array, EMPLOYEES)
    encoded(pa.array(array), EMPLOYEES)
    assert repr(values) == "[1.0, inf, nan, None]"
    assert repr(array.tolist()) == "[1.0, inf, nan]"


# Learning


def test_numbers_booleans_and_categories_are_features() -> None:
    attributes, findings = learned(
        employees=[10, 20, None, 10] * 10,
        revenue=[float(i) / 3 for i in range(40)],
        price=[Decimal("1.5"), Decimal("2.5")] * 20,
        exporter=[True, False, True, None] * 10,
        industry=["製造業", "小売業", "製造業", None] * 10,
        region=pa.array(["north", "south"] * 20).dictionary_encode(),
    )
    assert findings == {}
    assert attributes == {
        "employees": EMPLOYEES,
        "revenue": Attribute("revenue", "number"),
        "price": Attribute("price", "number"),
        "exporter": EXPORTER,
        "industry": Attribute("industry", "category", ("小売業", "製造業")),
        "region": Attribute("region", "category", ("north", "south")),
    }


def test_attributes_stand_in_the_order_of_the_table() -> None:
    attributes, _ = learn(pa.table({name: [1, 2, 2] for name in "zxay"}))
    assert [attribute.name for attribute in attributes] == list("zxay")


def test_levels_on_fewer_than_one_in_fifty_leads_are_pooled() -> None:
    industry = ["common"] * 180 + ["enough"] * 4 + ["rare"] * 3 + ["rarer"] * 2 + [None] * 11
    attributes, _ = learned(industry=industry)
    assert attributes["industry"].levels == ("common", "enough")
    assert encoded(["common", "rare", "never seen", None], attributes["industry"])[:3] == [1, 0, 0]


@pytest.mark.parametrize(("leads", "kept"), [(20, ("big", "small")), (19, ("big",))])
def test_twenty_leads_are_enough_for_a_level_of_a_large_table(leads, kept) -> None:
    attributes, _ = learned(industry=["big"] * 5000 + ["small"] * leads)
    assert attributes["industry"].levels == kept


def test_at_most_sixty_levels_and_those_the_most_frequent() -> None:
    names = [f"level {i:02}" for i in range(70)]
    column = [name for i, name in enumerate(names) for _ in range(50 + i)]
    attributes, _ = learned(industry=column)
    assert attributes["industry"].levels == tuple(names[10:])


@pytest.mark.parametrize(
    ("rule", "column"),
    [
        ("left_out_id", [f"C-{i}" for i in range(40)]),
        ("left_out_id", list(range(40))),
        ("left_out_id", [float(i) for i in range(40)]),
        ("left_out_id", [*range(39), None]),
        ("left_out_constant", [5] * 40),
        ("left_out_constant", ["same"] * 40),
        ("left_out_constant", [True] * 40),
        ("left_out_constant", pa.array([None] * 40)),
        ("left_out_constant", pa.array([None] * 40, pa.string())),
        ("left_out_constant", pa.array([NAN] * 20 + [None] * 20)),
        ("left_out_free_text", [f"Called {i % 25} times about the order" for i in range(40)]),
        ("left_out_free_text", [f"{'long story ' * 5}{i % 70}" for i in range(700)]),
        ("left_out_rare_levels", [f"level {i % 130}" for i in range(260)]),
        ("left_out_time", pa.array([date(2026, 9, 1), None] * 20)),
        ("left_out_time", pa.array([datetime(2026, 9, 1, tzinfo=UTC), None] * 20)),
        ("left_out_type", [["a"], ["b"]] * 20),
        ("left_out_type", [{"a": 1}, {"a": 2}] * 20),
    ],
)
def test_what_is_no_feature_is_left_out_and_named(rule, column) -> None:
    assert left_out(column).rule == rule


def test_the_finding_shows_three_values_and_says_why() -> None:
    finding = left_out([f"C-{i}" for i in range(40)])
    assert [example.value for example in finding.examples] == ["C-0", "C-1", "C-2"]
    assert finding.mend == "Left out as a feature: every value is another one."


def test_rare_levels_are_told_with_the_number_they_miss() -> None:
    finding = left_out([f"level {i % 130}" for i in range(260)])
    assert "no value stands on 5 leads" in finding.mend


def test_a_long_value_is_shortened_in_the_finding() -> None:
    finding = left_out([f"{'長' * 1000}{i}" for i in range(40)])
    assert [example.value for example in finding.examples] == ["長" * 60] * 3


@pytest.mark.parametrize(
    "column",
    [
        [1.5, None, 1.5, 1.5],  # missing or not says something
        [*range(19)],  # too few to be called all distinct
        [i / 4 for i in range(40)],  # measured, not counted
    ],
)
def test_what_is_still_a_number(column) -> None:
    attributes, _ = learned(suspect=column)
    assert attributes == {"suspect": Attribute("suspect", "number")}


@pytest.mark.parametrize("name", ["gender", "Age", "date_of_birth", "marital", "性別"])
def test_sensitive_columns_are_left_out_unless_the_config_names_them(name) -> None:
    leads = pa.table({name: [1, 2, 2, 1]})
    attributes, findings = learn(leads)
    assert (attributes, [f.rule for f in findings]) == ((), ["left_out_sensitive"])
    assert findings[0].column == name
    attributes, findings = learn(leads, sensitive=(name,))
    assert (attributes, findings) == ((Attribute(name, "number"),), ())


def test_the_own_columns_of_the_table_and_excluded_ones_are_silently_no_features() -> None:
    leads = pa.table({name: [1, 2, 2] for name in ("lead_id", "created_at", "suppress", "a", "b")})
    attributes, findings = learn(leads, exclude=("a",))
    assert ([one.name for one in attributes], findings) == (["b"], ())


def test_learning_takes_the_chunks_of_a_table_as_one() -> None:
    one = pa.table(
        {"industry": pa.array(["a", "b", "a", "b"]).dictionary_encode(), "n": [1, 2, 2, 3]}
    )
    other = pa.table(
        {"industry": pa.array(["c", "b", "c", "a"]).dictionary_encode(), "n": [1, 2, 2, 3]}
    )
    both = pa.concat_tables([one, other])
    whole = pa.table({"industry": list("ababcbca"), "n": [1, 2, 2, 3] * 2})
    assert learn(both) == learn(whole)
    assert learn(both)[0][0].levels == ("a", "b", "c")


def test_an_empty_table_has_no_features() -> None:
    attributes, findings = learned(industry=pa.array([], pa.string()), n=pa.array([], pa.int64()))
    assert attributes == {}
    assert {finding.rule for finding in findings.values()} == {"left_out_constant"}
