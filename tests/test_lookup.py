import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.lookup import first_rows

IDS = st.none() | st.text(st.sampled_from("ab0é名"), max_size=12) | st.integers(0, 99).map(str)


def reference(ids, among):
    first: dict[str, int] = {}
    for row, name in enumerate(among):
        if name is not None:
            first.setdefault(name, row)
    return [first.get(name, -1) for name in ids]


@settings(max_examples=200, deadline=None)
@given(ids=st.lists(IDS, max_size=20), among=st.lists(IDS, max_size=20), cut=st.integers(0, 20))
def test_ids_are_found_as_a_dictionary_finds_them(ids, among, cut):
    chunks = pa.chunked_array([ids[:cut], ids[cut:]], pa.string())
    known = pa.chunked_array([among[cut:], among[:cut]], pa.string())
    expected = reference(ids, among[cut:] + among[:cut])
    assert first_rows(chunks, known, threads=1).tolist() == expected
    assert first_rows(chunks.dictionary_encode(), known, threads=1).tolist() == expected
    wide = chunks.cast(pa.large_string())
    assert first_rows(wide, known.cast(pa.large_string()), threads=1).tolist() == expected
    assert first_rows(chunks[cut // 2 :], known, threads=1).tolist() == expected[cut // 2 :]


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 15, 16, 17, 200])
def test_ids_that_differ_in_one_byte_are_different(length):
    names = ["x" * at + "y" + "x" * (length - at - 1) for at in range(length)] + ["x" * length]
    ids = pa.chunked_array([names])
    assert first_rows(ids, ids[::-1], threads=1).tolist() == list(range(length, -1, -1))
    assert first_rows(pa.chunked_array([["x" * (length + 1)]]), ids, threads=1).tolist() == [-1]


def test_many_ids_by_many_threads():
    among = pa.chunked_array([[f"L-{i:07}" for i in range(50_000)]])
    ids = pa.chunked_array([[f"L-{i * 7 % 60_000:07}" for i in range(60_000)]] * 40)
    found = first_rows(ids, among, threads=4)
    sought = [i * 7 % 60_000 for i in range(60_000)] * 40
    assert found.tolist() == [i if i < 50_000 else -1 for i in sought]
