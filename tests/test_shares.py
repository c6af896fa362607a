"""A backlog through the disk: the very answers of one in memory, whatever becomes of the run."""

import json
import random
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from features import partitions
from features.findings import ContractError, UsageError
from features.history import DAY_US
from features.readers import read_tables
from serving import backlog
from serving.answer_file import OutputError
from serving.backlog import OWN_BYTES, score_files
from serving.blocks import score_backlog
from serving.run_folder import run_folder
from serving.shares import Shares
from tests.backlogs import (
    ROWS,
    a_backlog,
    a_history,
    a_scorer,
    histories,
    with_profiles,
    write,
)
from tests.factories import TIME
from tests.scorers import AS_OF_US, EPOCH_US
from tests.test_answer_file import files_of_at_most

NAMES = ("leads", "events")
PLENTY = 1 << 40
LITTLE = OWN_BYTES + 60_000
"""So that the tables below go through some shares."""


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    return a_scorer(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def tables():
    return a_backlog()


@pytest.fixture(autouse=True)
def few_rows_at_once(monkeypatch):
    """Let shares be written in many parts."""
    monkeypatch.setattr(partitions, "ROWS_AT_ONCE", 250)


@pytest.fixture
def run(scorer, tmp_path):
    """Score tables in memory or through the disk; gives the answers and the summary."""

    def score(leads, events, *, memory=LITTLE, kind="parquet", output="scores.parquet", **options):
        first = write(tmp_path / f"leads.{kind}", leads)
        second = write(tmp_path / f"events.{kind}", events)
        options = {"as_of": AS_OF_US} | options
        summary = score_files(scorer, first, second, tmp_path / output, memory=memory, **options)
        return pq.read_table(tmp_path / output), summary

    return score


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


def test_an_id_that_stands_for_events_of_several_leads_is_found_on_disk(run, tables, tmp_path):
    leads, events = tables
    values, ids = events["event_id"].to_pylist(), events["lead_id"].to_pylist()
    for row in (30, 31, 700, 701, 1500, 2000):  # of several leads; the first of them stays
        values[row] = "again"
    values[701], ids[701] = values[700], ids[700]
    values[50] = values[60] = ""
    events = events.set_column(1, "event_id", pa.array(values))
    events = events.set_column(0, "lead_id", pa.array(ids))
    found = []
    for memory in (PLENTY, LITTLE):
        with pytest.raises(ContractError) as error:
            run(leads, events, memory=memory)
        found.append(next(one for one in error.value.findings if one.rule == "conflicting_event"))
    assert found[0] == found[1]
    assert found[1].rows == 5
    same(run, leads, events, reject_file=tmp_path / "aside.csv", max_rejected_share=0.1)


def again(scorer, folder, **options):
    """Score the tables that stand in a folder through the disk."""
    score_files(
        scorer,
        folder / "leads.parquet",
        folder / "events.parquet",
        folder / "scores.parquet",
        as_of=AS_OF_US,
        memory=LITTLE,
        **options,
    )


def no_more_after(monkeypatch, calls):
    """Let a run be broken off, as by ctrl-c, when so many shares are scored."""
    asked = []
    score = score_backlog

    def scored(*given, **options):
        asked.append(1)
        if len(asked) > calls:
            raise KeyboardInterrupt
        return score(*given, **options)

    monkeypatch.setattr(backlog, "score_backlog", scored)
    return asked


@pytest.mark.parametrize("done", [0, 3])
def test_a_run_that_was_broken_off_is_taken_up_where_it_stood(
    run, tables, tmp_path, monkeypatch, done
):
    expected, whole = run(*tables, memory=PLENTY, reasons=True)
    (tmp_path / "scores.parquet").unlink()
    with monkeypatch.context() as patch:
        no_more_after(patch, done)
        with pytest.raises(KeyboardInterrupt):
            run(*tables, reasons=True, threads=1)
    assert not (tmp_path / "scores.parquet").exists()
    asked = no_more_after(monkeypatch, 10**6)
    table, summary = run(*tables, reasons=True, resume=True)
    assert table.equals(expected)
    assert set(summary.findings) == set(whole.findings)
    assert len(asked) == manifest(tmp_path)["shares"] - done
    assert not list(tmp_path.glob(".*"))


def test_without_being_told_to_a_run_starts_anew(run, tables, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        no_more_after(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            run(*tables, threads=1)
    asked = no_more_after(monkeypatch, 10**6)
    same(run, *tables)
    assert len(asked) == manifest(tmp_path)["shares"] + 1  # and once in memory


def test_a_run_is_not_taken_up_on_other_tables_with_another_model_or_moment(
    run, tables, tmp_path, monkeypatch, scorer
):
    leads, events = tables
    with monkeypatch.context() as patch:
        no_more_after(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            run(leads, events, threads=1)
    with pytest.raises(UsageError, match=r"--resume: leads is not what .*leads\.parquet"):
        run(leads.slice(1), events, resume=True)
    with pytest.raises(UsageError, match=r"--resume: as_of is not what .*then .*, now"):
        run(leads, events, resume=True, as_of=AS_OF_US + 1)
    other = replace(scorer, version="2")
    for name, table in (("leads", leads), ("events", events)):
        write(tmp_path / f"{name}.parquet", table)
    with pytest.raises(UsageError, match=r"--resume: model is not what .*leadqual/2 sha256"):
        again(other, tmp_path, resume=True)
    run(leads, events, resume=True)
    assert not list(tmp_path.glob(".*"))


def test_two_runs_into_one_output_are_refused(run, tables, tmp_path):
    with run_folder(tmp_path / "scores.parquet"), pytest.raises(UsageError, match="another run"):
        run(*tables)
    same(run, *tables)


def test_a_table_that_changes_while_it_is_read_is_told(run, tables, tmp_path, monkeypatch):
    def split(*given, **options):
        write(tmp_path / "events.parquet", tables[1].slice(0, 5))
        return divided(*given, **options)

    divided = partitions.split
    monkeypatch.setattr(partitions, "split", split)
    with pytest.raises(UsageError, match=r"events\.parquet changed while it was read"):
        run(*tables)
    assert not list(tmp_path.glob(".*"))


def test_a_disk_that_is_full_at_once_leaves_nothing(run, tables, tmp_path, scorer):
    run(*tables, memory=PLENTY)
    before = (tmp_path / "scores.parquet").read_bytes()
    with files_of_at_most(4_000), pytest.raises(OutputError, match=r"make room, and run again$"):
        again(scorer, tmp_path)
    assert (tmp_path / "scores.parquet").read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_a_disk_that_is_full_later_says_how_to_go_on(run, tables, tmp_path, scorer, monkeypatch):
    expected, _ = run(*tables, memory=PLENTY)
    merged = Shares.merged

    def full(self, capacity):
        with files_of_at_most(900):
            yield from merged(self, capacity)

    with monkeypatch.context() as patch:
        patch.setattr(Shares, "merged", full)
        with pytest.raises(OutputError, match=r"run again with --resume, which .*scores\.parquet"):
            again(scorer, tmp_path)
    again(scorer, tmp_path, resume=True)
    assert pq.read_table(tmp_path / "scores.parquet").equals(expected)
    assert not list(tmp_path.glob(".*"))


def test_killed_at_any_moment_it_goes_on_to_the_same_answers(tables, tmp_path, scorer):
    """Ten times, at moments drawn from the time an undisturbed run takes."""
    scorer.save(tmp_path / "model")
    paths = [write(tmp_path / f"{n}.parquet", t) for n, t in zip(NAMES, tables, strict=True)]
    started = time.monotonic()
    code = scored_elsewhere(tmp_path, paths, "calm.parquet")
    usual = time.monotonic() - started
    assert code == 0
    rng, killed = random.Random(8), 0
    for _ in range(10):
        killed += scored_elsewhere(tmp_path, paths, "out.parquet", rng.uniform(0.4, 1) * usual) != 0
    assert killed
    assert scored_elsewhere(tmp_path, paths, "out.parquet") == 0
    assert pq.read_table(tmp_path / "out.parquet").equals(pq.read_table(tmp_path / "calm.parquet"))
    assert not list(tmp_path.glob(".*"))


def scored_elsewhere(folder, paths, output, seconds=None):
    """Score in a process of its own, which is killed after so many seconds; give its exit code."""
    call = (
        "from pathlib import Path; from serving.backlog import score_files\n"
        "from training.scorer import LeadScorer\n"
        f"scorer = LeadScorer.load(Path({str(folder / 'model')!r}))\n"
        f"score_files(scorer, *{[str(path) for path in paths]!r}, Path({str(folder / output)!r}), "
        f"as_of={AS_OF_US}, memory={LITTLE}, reasons=True, resume=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", call])
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait(30)


HISTORIES = histories(a_backlog()[0])


@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize("history", HISTORIES)
def test_with_a_history_of_attributes_the_answers_are_those_of_a_run_in_memory(
    run, tables, tmp_path, history, kind
):
    leads, events = tables
    if history == "not in the leads table":
        leads = leads.drop_columns(["customer_of_partner"])
    changes = write(tmp_path / f"changes.{kind}", a_history(HISTORIES[history]))
    same(run, leads, events, changes=changes, kind=kind, reasons=True)
    assert manifest(tmp_path)["shares"] > 3


def test_what_the_histories_of_these_tests_are_read_as(tables, tmp_path):
    """Each stands for what it is named after."""
    leads, events = (write(tmp_path / f"{n}.csv", t) for n, t in zip("le", tables, strict=True))
    read = {}
    for at, (name, rows) in enumerate(HISTORIES.items()):
        changes = write(tmp_path / f"{at}.csv", a_history(rows))
        (timeline,) = read_tables(leads, events, changes=changes).changes.values()
        read[name] = (timeline.before is not None, str(timeline.values.type))
    assert read == {
        "all begin with their lead": (True, "int64"),
        "the table is of today": (False, "double"),
        "few begin late, in a table of today": (False, "int64"),
        "the table is older": (True, "int64"),
        "of one lead": (True, "string"),
        "not in the leads table": (True, "bool"),
        "numbers, and text of one lead": (False, "string"),
        "codes with a leading zero": (True, "string"),
    }


def test_a_lead_with_moments_of_its_own_sees_its_history_at_each(run, tables, tmp_path):
    leads, events = tables
    again = pa.concat_tables([leads, leads.slice(40, 90)])
    moments = EPOCH_US + (np.arange(len(again)) % 29 + 1) * DAY_US
    again = again.append_column("at", pa.array(moments, TIME))
    changes = write(tmp_path / "c.parquet", a_history(HISTORIES["the table is older"]))
    same(run, again, events, as_of="at", changes=changes)


def odd_history(leads):
    """Give changes with all that is found in them, spread over the leads."""
    rows = [*HISTORIES["the table is of today"]]
    for lead in leads["lead_id"].to_pylist()[:40]:
        rows += [(lead, 25, "employees", "1"), (lead, 25, "employees", "2")]
        rows += [(lead, 26, "employees", "1"), (lead, 26, "employees", "1.0")]
        rows += [(lead, 25, "suppress", "won"), (lead, 25, "created_at", "2026-01-01")]
    rows.append((leads["lead_id"][90].as_py(), 400, "employees", "many"))
    return [*rows, ("stranger", 25, "employees", "1"), (None, 25, "employees", "1")]


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_what_is_odd_in_histories_is_told_as_in_memory(run, tables, tmp_path, kind):
    changes = write(tmp_path / f"changes.{kind}", a_history(odd_history(tables[0])))
    options = {"kind": kind, "changes": changes, "now_us": EPOCH_US + 100 * DAY_US}
    found = []
    for memory in (PLENTY, LITTLE):
        with pytest.raises(ContractError) as error:
            run(*tables, memory=memory, **options)
        found.append(set(error.value.findings))
    assert found[0] == found[1]
    assert {finding.rule: finding.rows for finding in found[0] if finding.table == "changes"} == {
        "missing_id": 1,
        "time_after_now": 1,
        "unknown_lead": 1,
        "reserved_attribute": 80,
        "conflicting_change": 80,
        "late_history": found_late(tables[0]),
    }
    options |= {"reject_file": tmp_path / "aside.csv", "max_rejected_share": 0.02}
    lines = []
    for memory in (PLENTY, LITTLE):
        _, summary = run(*tables, memory=memory, **options)
        lines.append((tmp_path / "aside.csv").read_text("utf-8-sig"))
    assert lines[0] == lines[1]
    (conflicting,) = [one for one in summary.findings if one.rule == "conflicting_change"]
    assert conflicting.rows == 40, "without the text that is set aside, 1 and 1.0 are one"
    same(run, *tables, **options)


def found_late(leads):
    """Count leads with employees in the table and no change at their creation."""
    begun = {row[0] for row in HISTORIES["all begin with their lead"]}
    pairs = zip(leads["lead_id"].to_pylist(), leads["employees"].to_pylist(), strict=True)
    return sum(lead not in begun and said is not None for lead, said in pairs)


def test_with_a_history_a_run_that_was_broken_off_is_taken_up(run, tables, tmp_path, monkeypatch):
    history = HISTORIES["few begin late, in a table of today"]
    changes = write(tmp_path / "c.csv", a_history(history))
    expected, whole = run(*tables, memory=PLENTY, changes=changes)
    with monkeypatch.context() as patch:
        no_more_after(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            run(*tables, threads=1, changes=changes)
    asked = no_more_after(monkeypatch, 10**6)
    table, summary = run(*tables, resume=True, changes=changes)
    assert table.equals(expected)
    assert set(summary.findings) == set(whole.findings)
    assert len(asked) == manifest(tmp_path)["shares"] - 2


def test_what_looks_otherwise_than_usual_is_told_as_in_memory(scorer, tables, tmp_path):
    """Of few leads a share, and of a value that stands on one lead of most shares."""
    model = with_profiles(scorer, employees=0.2, industry=0.9, customer_of_partner=1.0)
    leads, events = (write(tmp_path / f"{n}.csv", t) for n, t in zip("le", tables, strict=True))
    rows = [(lead, 25, "customer_of_partner", "yes") for lead in tables[0]["lead_id"].to_pylist()]
    changes = write(tmp_path / "c.csv", a_history(rows))
    found = []
    for memory in (PLENTY, LITTLE):
        summary = score_files(
            model, leads, events, tmp_path / "scores.parquet",
            as_of=AS_OF_US, memory=memory, changes=changes,
        )  # fmt: skip
        found.append(summary.findings)
    assert set(found[0]) == set(found[1])
    told = {one.column: one for one in found[1] if one.rule.endswith("moved")}
    assert {column: one.rule for column, one in told.items()} == {
        "employees": "values_moved",
        "industry": "missing_share_moved",
    }
    counted = pc.value_counts(tables[0]["employees"].drop_null()).to_pylist()
    odd = {each["values"]: each["counts"] for each in counted if each["values"] > 9}
    assert told["employees"].rows == sum(odd.values())
    most = max(odd.values())
    assert told["employees"].examples[0].value == f"{most} rows"
    (kind,) = [one for one in found[1] if one.rule == "other_kind"]
    assert (kind.table, kind.column, kind.rows) == ("changes", "customer_of_partner", ROWS)


def test_values_of_another_kind_are_told_as_in_memory(run, tables):
    leads, events = tables
    words = pa.array([f"about {500 - row % 90:03}" for row in range(ROWS)])
    leads = leads.set_column(2, "employees", words)
    found = [run(leads, events, memory=memory)[1].findings for memory in (PLENTY, LITTLE)]
    assert set(found[0]) == set(found[1])
    (kind,) = [one for one in found[1] if one.rule == "other_kind"]
    assert (kind.table, kind.rows, [str(case) for case in kind.examples]) == (
        "leads", ROWS, ["about 411", "about 412", "about 413"],
    )  # fmt: skip


def test_a_table_that_is_not_found_does_not_cost_what_was_done(run, tables, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        no_more_after(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            run(*tables, threads=1)
    with pytest.raises(ContractError, match="no_such_file"):
        run(tmp_path / "mistyped.parquet", tables[1], resume=True)
    asked = no_more_after(monkeypatch, 10**6)
    run(*tables, resume=True)
    assert len(asked) == manifest(tmp_path)["shares"] - 2


def test_a_run_on_one_database_is_not_taken_up_on_another(scorer, tables, tmp_path, monkeypatch):
    def url(name, rows):
        engine = sa.create_engine(f"sqlite:///{tmp_path / name}")
        for table, content in zip(NAMES, tables, strict=True):
            frame = content.slice(0, rows).to_pandas()
            frame.to_sql(table, engine, index=False)
        return f"sqlite:///{tmp_path / name}"

    one, other = url("one.db", 300), url("other.db", 200)
    score = partial(score_files, scorer, as_of=AS_OF_US, memory=0, timezone="UTC")
    with monkeypatch.context() as patch:
        no_more_after(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            score(f"{one}#leads", f"{one}#events", tmp_path / "s.parquet", threads=1)
    with pytest.raises(UsageError, match=r"--resume: events is not what .*other\.db#events"):
        score(f"{other}#leads", f"{other}#events", tmp_path / "s.parquet", resume=True)
    score(f"{one}#leads", f"{one}#events", tmp_path / "s.parquet", resume=True)
    assert pq.read_table(tmp_path / "s.parquet")["lead_id"].equals(tables[0]["lead_id"])


def test_text_of_any_kind_is_split(run, tables):
    leads, events = tables
    view = [events.schema.field(0).with_type(pa.string_view()), *list(events.schema)[1:]]
    large = leads.set_column(3, "industry", leads["industry"].cast(pa.large_string()))
    same(run, large, events.cast(pa.schema(view)))


def test_no_leads_are_an_error_and_no_events_a_note_however_they_are_read(run, tables):
    leads, events = tables
    with pytest.raises(ContractError, match="no_leads"):
        run(leads.slice(0, 0), events, memory=0)
    same(run, leads, events.slice(0, 0))


def test_where_too_much_is_bad_nothing_is_said_to_be_set_aside(run, tables, tmp_path):
    options = {"reject_file": tmp_path / "aside.csv", "max_rejected_share": 0.0001}
    found = []
    for memory in (PLENTY, LITTLE):
        with pytest.raises(ContractError) as error:
            run(*broken(tables), memory=memory, **options)
        found.append(set(error.value.findings))
    assert found[0] == found[1]


def test_leads_without_dates_are_all_scored_however_many_there_are(scorer, tmp_path):
    undated = replace(scorer, card=replace(scorer.card, config={"split": {"undated": True}}))
    many = 12_000
    leads = pa.table({"lead_id": [f"L{row}" for row in range(many)], "industry": ["x"] * many})
    events = pa.table({"lead_id": ["L1"], "event_type": ["inquiry"]})
    paths = [
        write(tmp_path / f"{n}.parquet", t) for n, t in zip("le", (leads, events), strict=True)
    ]
    answers = []
    for memory in (PLENTY, 0):
        score_files(
            undated, paths[0], paths[1], tmp_path / "s.parquet", as_of=AS_OF_US, memory=memory
        )
        answers.append(pq.read_table(tmp_path / "s.parquet"))
    assert answers[0].equals(answers[1])
    assert answers[0]["score"].null_count == 0
