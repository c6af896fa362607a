"""A backlog through the disk: the very answers of one in memory, whatever becomes of the run."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from features.findings import ContractError
from features.history import DAY_US
from serving.backlog import OWN_BYTES, score_files
from tests.factories import TIME
from tests.scorers import AS_OF_US, EPOCH_US, small_scorer
from training.handoff import best_fifth_rule

ROWS = 300
PLENTY = 1 << 40
LITTLE = OWN_BYTES + 60_000
"""So that the tables below go through some shares."""


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    fitted = small_scorer(1)
    fitted = replace(fitted, rule=best_fifth_rule(np.array(fitted.reference["scores"])))
    return fitted.save(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def tables():
    rng = np.random.default_rng(5)
    ids = [f"L{row}" for row in rng.permutation(ROWS)]
    leads = pa.table(
        {
            "lead_id": ids,
            "created_at": pa.array(EPOCH_US + rng.integers(0, 20, ROWS) * DAY_US, TIME),
            "employees": pa.array(rng.integers(1, 500, ROWS), mask=rng.random(ROWS) < 0.2),
            "industry": rng.choice(["finance", "製造業", "fishing"], ROWS),
            "customer_of_partner": rng.random(ROWS) < 0.5,
        }
    )
    count = ROWS * 8
    kinds = ["document_request", "inquiry", "seminar_attended", "web_visit", "unheard_of"]
    events = pa.table(
        {
            "lead_id": rng.choice([*ids, "stranger"], count),
            "event_id": [f"E{number}" for number in range(count)],
            "occurred_at": pa.array(EPOCH_US + rng.integers(0, 30 * DAY_US, count), TIME),
            "event_type": rng.choice(kinds, count),
            "channel": pa.array(rng.choice(["web", "event"], count), mask=rng.random(count) < 0.3),
            "value": pa.array(rng.normal(size=count), mask=rng.random(count) < 0.5),
        }
    )
    return leads, events


@pytest.fixture
def run(scorer, tmp_path):
    """Score tables in memory or through the disk; gives the answers and the summary."""

    def score(leads, events, *, memory=LITTLE, kind="parquet", output="scores.parquet", **options):
        paths = [
            write(tmp_path / f"{name}.{kind}", table)
            for name, table in (("leads", leads), ("events", events))
        ]
        options = {"as_of": AS_OF_US} | options
        summary = score_files(scorer, *paths, tmp_path / output, memory=memory, **options)
        return pq.read_table(tmp_path / output), summary

    return score


def write(path, table):
    if isinstance(table, Path):
        return table
    if path.suffix == ".csv":
        pa_csv.write_csv(table, path)
    else:
        pq.write_table(table, path, row_group_size=101)
    return path


def manifest(folder):
    return json.loads((folder / "scores.parquet.manifest.json").read_text("utf-8"))


def same(run, leads, events, **options):
    """Run both ways and compare answers, figures and findings."""
    expected, whole = run(leads, events, memory=PLENTY, **options)
    table, shared = run(leads, events, **options)
    assert table.equals(expected)
    assert (shared.rows, shared.decisions) == (whole.rows, whole.decisions)
    assert set(shared.findings) == set(whole.findings)
    return table


@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize(
    "options", [{}, {"reasons": True, "language": "ja"}, {"capacity": 11, "reasons": True}]
)
def test_the_answers_are_those_of_a_run_in_memory(run, tables, tmp_path, kind, options):
    same(run, *tables, kind=kind, **options)
    said = manifest(tmp_path)
    assert said["shares"] > 3
    assert said["temporary_bytes"] > 0
    assert (said["rows_in"], said["rows_out"], said["rows_rejected"]) == (ROWS, ROWS, {})
    assert not list(tmp_path.glob(".*"))


def test_a_lead_may_stand_several_times_at_moments_of_its_own(run, tables):
    leads, events = tables
    again = pa.concat_tables([leads, leads.slice(40, 90), leads.slice(0, 3)])
    moments = EPOCH_US + (np.arange(len(again)) % 29 + 1) * DAY_US
    same(run, again.append_column("at", pa.array(moments, TIME)), events, as_of="at", capacity=30)


def test_leads_without_an_event_and_events_without_a_lead(run, tables):
    leads, events = tables
    same(run, leads, events.slice(0, 0))
    same(run, leads.slice(0, 3), events)


def test_all_events_may_be_of_one_lead(run, tables):
    leads, events = tables
    one = pa.array([leads["lead_id"][7].as_py()] * len(events))
    same(run, leads, events.set_column(0, "lead_id", one))


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_ids_and_codes_mean_what_they_mean_in_the_whole_column(run, tables, kind):
    """Whole numbers as text or as floats are one id; a code with a leading zero makes all text."""
    leads, events = tables
    number = {name: float(at) for at, name in enumerate(leads["lead_id"].to_pylist())}
    ids = [number.get(name, 9_999.0) for name in events["lead_id"].to_pylist()]
    codes = pa.array([f"{at % 50}.50" if at else "x" for at in range(ROWS)])
    leads = leads.set_column(0, "lead_id", pa.array(list(number.values())))
    leads = leads.set_column(3, "industry", codes)
    table = same(run, leads, events.set_column(0, "lead_id", pa.array(ids)), kind=kind)
    assert table["lead_id"][:3].to_pylist() == ["0", "1", "2"]
    mixed = pa.array(["ACME", *(f"{at}.0" for at in range(1, ROWS))])
    table = same(run, leads.set_column(0, "lead_id", mixed), events, kind=kind)
    assert table["lead_id"][:3].to_pylist() == ["ACME", "1.0", "2.0"]


def broken(tables):
    """Give the tables with faults of many kinds, spread over the rows."""
    leads, events = tables
    twice = pa.concat_tables([leads, leads.slice(0, 2), leads.slice(200, 1)])
    values = events["event_id"].to_pylist()
    values[900] = values[20]
    ids = events["lead_id"].to_pylist()
    ids[900] = ids[20]
    when = events["occurred_at"].to_pylist()
    when[5] = when[1005] = None
    events = events.set_column(1, "event_id", pa.array(values))
    events = events.set_column(0, "lead_id", pa.array(ids))
    return twice, events.set_column(2, "occurred_at", pa.array(when, TIME))


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_what_is_wrong_is_told_as_in_memory(run, tables, tmp_path, kind):
    found = []
    for memory in (PLENTY, LITTLE):
        with pytest.raises(ContractError) as error:
            run(*broken(tables), memory=memory, kind=kind)
        found.append(set(error.value.findings))
    assert found[0] == found[1]
    assert {finding.rule for finding in found[0]} >= {
        "repeated_lead",
        "conflicting_event",
        "missing_time",
    }
    assert not list(tmp_path.glob("*scores*"))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_bad_rows_are_set_aside_as_in_memory(run, tables, tmp_path, kind):
    aside = tmp_path / "aside.csv"
    options = {"reject_file": aside, "max_rejected_share": 0.02, "kind": kind}
    lines = []
    for memory in (PLENTY, LITTLE):
        run(*broken(tables), memory=memory, **options)
        lines.append(sorted(aside.read_text("utf-8-sig").splitlines()))
    assert lines[0] == lines[1]
    assert len(lines[0]) == 1 + 3 + 3
    said = manifest(tmp_path)
    assert (said["rows_in"], said["rows_out"]) == (ROWS + 3, ROWS)
    assert said["rows_rejected"] == {"leads": 3, "events": 3}
    same(run, *broken(tables), **options)
    with pytest.raises(ContractError, match="too_many_rejects"):
        run(*broken(tables), **options | {"max_rejected_share": 0.0001})


def test_rows_torn_in_a_csv_are_named_once(run, tables, tmp_path):
    found = []
    for memory in (PLENTY, LITTLE):
        write(tmp_path / "leads.csv", tables[0])
        write(tmp_path / "torn.csv", tables[1])
        with (tmp_path / "torn.csv").open("a") as file:
            file.write("only,two\n")
        with pytest.raises(ContractError) as error:
            run(tables[0], tmp_path / "torn.csv", memory=memory, kind="csv")
        found.append(error.value.findings)
    assert set(found[0]) == set(found[1])
    assert [(one.rule, one.rows) for one in found[1] if one.severity == "error"] == [
        ("ragged_row", 1)
    ]
