from datetime import UTC, datetime

import pyarrow as pa
import pytest

from features import relations


def ids(*chunks: list[str | None]) -> pa.ChunkedArray:
    return pa.chunked_array(chunks, pa.string())


def outcomes(*rows: tuple[str, int, str, float | None]) -> pa.Table:
    columns = dict(
        zip(("lead_id", "closed_at", "outcome", "amount"), zip(*rows, strict=True), strict=True)
    )
    days = pa.array([datetime(2026, 1, day, tzinfo=UTC) for day in columns["closed_at"]])
    return pa.table({**columns, "closed_at": days})


def events(*rows: tuple[str | None, str]) -> pa.Table:
    event_id, event_type = zip(*rows, strict=True)
    return pa.table({"event_id": event_id, "event_type": pa.array(event_type).dictionary_encode()})


def test_the_first_row_of_a_lead_counts():
    leads = ids(["b", "a"], [None, "b", "c"])
    assert relations.rows_of(ids(["c", "b"], ["x", None, "a"]), leads).tolist() == [4, 0, -1, -1, 1]


@pytest.mark.parametrize("sought", [["b"] * 9 + ["x"] * 5 + ["a"], ["a", "b", "x"] * 5])
def test_lookups_in_runs_and_on_several_threads_are_the_same(
    monkeypatch: pytest.MonkeyPatch, sought: list[str | None]
):
    monkeypatch.setattr(relations, "BLOCK_ROWS", 2)
    place = {"a": 1, "b": 0, "x": -1}
    found = relations.rows_of(ids(sought[:4], sought[4:]), ids(["b", "a"]))
    assert found.tolist() == [place[str(each)] for each in sought]


def test_no_rows():
    assert relations.rows_of(ids(), ids(["a"])).tolist() == []
    assert relations.rows_of(ids(["a"]), ids()).tolist() == [-1]


def test_an_event_that_conflicts_twice_conflicts_once_and_is_repeated_once():
    table = events(
        ("e", "call"), ("e", "visit"), ("e", "visit"), ("e", "call"), (None, "call"), (None, "call")
    )
    faults, repeated = relations.repeated_events(table)
    assert [(each.rule, each.rows.tolist()) for each in faults] == [
        ("conflicting_event", [1]),
        ("repeated_event", [2, 3]),
    ]
    assert repeated.tolist() == [2, 3]


def test_outcomes_that_differ_in_any_column_are_not_repeated():
    table = outcomes(
        ("L", 1, "won", 5.0),
        ("L", 2, "won", None),
        ("L", 2, "won", 5.0),
        ("L", 1, "lost", 5.0),
        ("M", 1, "won", 5.0),
    )
    assert relations.repeated_outcomes(table)[1].tolist() == []


def test_missing_amounts_are_the_same():
    table = outcomes(("L", 1, "won", None), ("M", 1, "won", None), ("L", 1, "won", None))
    assert relations.repeated_outcomes(table)[1].tolist() == [2]


@pytest.mark.parametrize("lead_id", [["a", "b", "c"], ["c", "a", "b"], ["a", None, None]])
def test_leads_that_all_differ(lead_id: list[str | None]):
    assert list(relations.repeated_leads(pa.table({"lead_id": ids(lead_id)}))) == []


def test_leads_that_stood_there_before():
    table = pa.table({"lead_id": ids(["b", "a"], ["b", "c", "b", "c"])})
    (fault,) = relations.repeated_leads(table)
    assert (fault.rows.tolist(), fault.values) == ([2, 4, 5], ("b", "b", "c"))
