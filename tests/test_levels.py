"""Values of a column as few named groups: nothing is lost, nothing runs over."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.report.levels import MOST_LEVELS, of_codes, of_column, of_numbers


def column(values, kind=None):
    return pa.chunked_array([pa.array(values, kind)])


def test_text_stands_most_frequent_first_and_equals_by_name():
    found = of_column(column(["b", "製造業", "b", "a", "製造業", "b", None]))
    assert found.names == ("b", "製造業", "a", None)
    assert found.code.tolist() == [0, 1, 0, 2, 1, 0, 3]
    assert found.distinct == 3


@pytest.mark.parametrize(
    ("values", "pooled"), [(12, None), (13, "1 others"), (1_000, "988 others")]
)
def test_beyond_twelve_the_rare_ones_stand_together(values, pooled):
    texts = [f"v{k}" for k in range(values)] + [f"v{k}" for k in range(5)]
    found = of_column(column([*texts, None]))
    assert len(found.names) == min(values, MOST_LEVELS) + (pooled is not None) + 1
    assert found.names[:5] == ("v0", "v1", "v2", "v3", "v4")
    assert pooled is None or found.names[-2] == pooled
    assert found.names[-1] is None
    assert found.code[-1] == len(found.names) - 1
    assert found.distinct == values


def test_a_dictionary_a_boolean_and_a_list_are_grouped_like_text():
    assert of_column(column(["x", "y", "x"]).dictionary_encode()).names == ("x", "y")
    assert of_column(column([True, False, True])).names == ("true", "false")
    assert of_column(column([[1], [2], [1]])).names == ("[1]", "[2]")


def test_few_numbers_stand_for_themselves_and_many_by_quarters():
    assert of_column(column([3, 1, 3])).names == ("3", "1")
    many = of_column(column([*range(100), None]))
    assert many.names == ("up to 24", "above 24 to 49", "above 49 to 74", "above 74", None)
    assert np.bincount(many.code).tolist() == [25, 25, 25, 25, 1]


def test_numbers_that_are_not_finite_are_not_known():
    found = of_column(column([*np.arange(40.0), np.nan, np.inf]))
    assert found.names[-1] is None
    assert (found.code == len(found.names) - 1).sum() == 2


def test_a_number_that_most_leads_share_leaves_no_empty_group():
    mostly_least = of_numbers(np.array([0.0] * 90 + list(range(1, 11))))
    assert mostly_least.names == ("0", "above 0")
    mostly_most = of_numbers(np.array([9.0] * 90 + list(range(8))))
    assert mostly_most.names == ("up to 7", "above 7")
    for found in (mostly_least, mostly_most):
        assert np.bincount(found.code, minlength=2).min() > 0


def test_numbers_that_differ_in_late_digits_are_told_apart():
    assert of_numbers(np.array([1000.1, 1000.2, 1000.3])).names == ("1,000.1", "1,000.2", "1,000.3")
    close = of_numbers(2_000 + np.linspace(0, 1, 400))
    assert len(set(close.names)) == len(close.names) > 2


def test_codes_get_their_names_back():
    found = of_codes(np.array([2.0, 0.0, np.nan, 1.0]), ("finance", "製造業"))
    assert found.names == ("finance", "製造業", "others", None)
    assert found.code.tolist() == [1, 2, 3, 0]


@given(st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9)), min_size=1, max_size=60))
def test_every_row_has_a_group_that_has_a_name(values):
    numbers = np.array([np.nan if value is None else value for value in values])
    found = of_numbers(numbers)
    assert found.code.min() >= 0
    assert found.code.max() < len(found.names)
    missing = [found.names[code] is None for code in found.code]
    assert missing == np.isnan(numbers).tolist()
    order = np.argsort(numbers)[: (~np.isnan(numbers)).sum()]
    assert (np.diff(found.code[order]) >= 0).all()
