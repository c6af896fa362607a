"""The backlog on a real Spark: the very file that the local engine writes, by one shuffle."""

import os
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.findings import ContractError, UsageError
from features.history import DAY_US
from serving import java, spark, spark_session
from serving.backlog import score_files
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

PLENTY = 1 << 40
HISTORIES = histories(a_backlog()[0])


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    return a_scorer(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def tables():
    return a_backlog()


pytestmark = pytest.mark.filterwarnings(f"ignore:{spark_session.PANDAS}:FutureWarning")


@pytest.fixture(scope="module")
def session():
    from pyspark.sql import SparkSession

    java.provide()
    os.environ["PYSPARK_PYTHON"] = sys.executable
    started = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "3")
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )
    yield started
    started.stop()


def both(scorer, folder, leads, events, **options):
    """Score with both engines: two tables and two summaries."""
    options = {"as_of": AS_OF_US, "memory": PLENTY} | options
    first = write(folder / "leads.parquet", leads)
    second = write(folder / "events.parquet", events)
    found = []
    for engine in ("local", "spark"):
        output = folder / f"{engine}.parquet"
        summary = score_files(scorer, first, second, output, engine=engine, **options)
        found.append((pq.read_table(output), summary))
    return found


def bare(findings):
    """Leave the examples out: Spark's are any rows, not the first."""
    return {replace(finding, examples=()) for finding in findings}


@pytest.mark.parametrize(
    "options", [{}, {"capacity": 11, "reasons": True, "language": "ja"}], ids=["plain", "reasons"]
)
def test_spark_writes_the_file_that_the_local_engine_writes(
    session, scorer, tables, tmp_path, options
):
    (here, local), (there, summary) = both(scorer, tmp_path, *tables, **options)
    assert there.equals(here)
    assert there.schema.equals(here.schema)
    assert summary.decisions == local.decisions
    assert bare(summary.findings) == bare(local.findings)
    assert not list(tmp_path.glob(".*"))
    assert (tmp_path / "spark.parquet.manifest.json").exists()


def test_folders_of_parts_with_any_names_and_ids_of_another_type(session, scorer, tables, tmp_path):
    """Ids are numbers in one table and text in the other, and a lead stands several times."""
    leads, events = tables
    number = {name: at for at, name in enumerate(leads["lead_id"].to_pylist())}
    ids = [str(number.get(name, 9_999)) for name in events["lead_id"].to_pylist()]
    leads = leads.set_column(0, "lead_id", pa.array(list(number.values())))
    leads = pa.concat_tables([leads, leads.slice(7, 60)])
    moments = EPOCH_US + (np.arange(len(leads)) % 29 + 1) * DAY_US
    leads = leads.append_column("at", pa.array(moments, TIME))
    events = events.set_column(0, "lead_id", pa.array(ids))
    for name, table in (("leads", leads), ("events", events)):
        (tmp_path / name).mkdir()
        for at, part in enumerate(("b 1", "a%20é", "製造+")):
            third = table.slice(at * (len(table) // 3), len(table) // 3 if at < 2 else None)
            write(tmp_path / name / f"{part}.parquet", third)
    (here, _), (there, _) = both(
        scorer, tmp_path, tmp_path / "leads", tmp_path / "events", as_of="at"
    )
    assert len(here) == ROWS + 60
    assert there.equals(here)


def test_a_lead_with_more_events_than_a_batch_is_scored_whole(
    session, scorer, tables, tmp_path, monkeypatch
):
    leads, events = tables
    monkeypatch.setitem(
        spark_session.SETTINGS, "spark.sql.execution.arrow.maxRecordsPerBatch", "50"
    )
    monkeypatch.setattr(spark, "ROWS_AT_ONCE", 120)
    one = pa.array([leads["lead_id"][7].as_py()] * 2_000 + events["lead_id"][2_000:].to_pylist())
    (here, _), (there, _) = both(scorer, tmp_path, leads, events.set_column(0, "lead_id", one))
    assert there.equals(here)


def test_what_is_wrong_is_told_as_by_the_local_engine(session, scorer, tables, tmp_path):
    leads, events = tables
    when = events["occurred_at"].to_pylist()
    when[5] = when[1005] = None
    ids = [f"e{at}" for at in range(len(events))]
    ids[900] = ids[40] = ids[3]
    ids[901] = ids[4]
    events = events.set_column(events.column_names.index("event_id"), "event_id", pa.array(ids))
    paths = (
        write(tmp_path / "leads.parquet", pa.concat_tables([leads, leads.slice(0, 2)])),
        write(
            tmp_path / "events.parquet",
            events.set_column(2, "occurred_at", pa.array(when, TIME)),
        ),
    )
    found = []
    for engine in ("local", "spark"):
        with pytest.raises(ContractError) as error:
            score_files(
                scorer, paths[0], paths[1], tmp_path / "s.parquet", as_of=AS_OF_US, engine=engine
            )
        found.append(bare(one for one in error.value.findings if one.severity == "error"))
    assert found[0] == found[1]
    assert {one.rule: one.rows for one in found[1]} == {
        "repeated_lead": 2,
        "missing_time": 2,
        "conflicting_event": 3,
    }
    assert not list(tmp_path.glob("s.parquet*"))


def test_what_spark_does_not_do_is_said(session, scorer, tables, tmp_path):
    leads, events = (write(tmp_path / f"{n}.parquet", t) for n, t in zip("le", tables, strict=True))
    text = write(tmp_path / "l.csv", tables[0])
    spark_of = partial(score_files, scorer, as_of=AS_OF_US, engine="spark")
    with pytest.raises(UsageError, match=r"reads Parquet files .*--leads .*l\.csv is none"):
        spark_of(text, events, tmp_path / "s.parquet")
    with pytest.raises(UsageError, match="--reject-file"):
        spark_of(leads, events, tmp_path / "s.parquet", reject_file=tmp_path / "r.csv")
    with pytest.raises(UsageError, match="--resume is not for --engine spark"):
        spark_of(leads, events, tmp_path / "s.parquet", resume=True)


@pytest.mark.parametrize("history", HISTORIES)
def test_with_a_history_of_attributes_spark_writes_the_same_file(
    session, scorer, tables, tmp_path, monkeypatch, history
):
    monkeypatch.setattr(spark, "ROWS_AT_ONCE", 500)
    leads, events = tables
    if history == "not in the leads table":
        leads = leads.drop_columns(["customer_of_partner"])
    model = with_profiles(scorer, employees=0.2, industry=0.9).save(tmp_path / "model")
    changes = write(tmp_path / "changes.parquet", a_history(HISTORIES[history]))
    (here, local), (there, summary) = both(model, tmp_path, leads, events, changes=changes)
    assert there.equals(here)
    assert bare(summary.findings) == bare(local.findings)
    moved = [
        {one for one in found if one.rule.endswith("moved")}
        for found in (local.findings, summary.findings)
    ]
    assert moved[0] == moved[1] != set()


def test_data_frames_with_a_history_are_scored_by_one_shuffle_of_events(
    session, scorer, tables, tmp_path
):
    changes = a_history(HISTORIES["the table is of today"])
    paths = [
        write(tmp_path / f"{name}.parquet", table)
        for name, table in zip("lec", (*tables, changes), strict=True)
    ]
    score_files(
        scorer, paths[0], paths[1], tmp_path / "s.parquet", as_of=AS_OF_US, changes=paths[2]
    )
    frames = [session.read.parquet(str(path)) for path in paths]
    answers = spark.score(frames[0], frames[1], AS_OF_US, scorer, changes=frames[2])
    plan = answers._jdf.queryExecution().executedPlan().toString()
    assert plan.count("Exchange") == 1, plan
    local = pq.read_table(tmp_path / "s.parquet")
    scores = dict(zip(local["lead_id"].to_pylist(), local["score"].to_pylist(), strict=True))
    assert {row["lead_id"]: row["score"] for row in answers.collect()} == scores
    assert {
        row["lead_id"]: row["score"]
        for row in spark.score(frames[0], frames[1], AS_OF_US, scorer).collect()
    } != scores


def test_data_frames_are_scored_in_whatever_job_they_belong_to(session, scorer, tables, tmp_path):
    paths = [write(tmp_path / f"{n}.parquet", t) for n, t in zip("le", tables, strict=True)]
    score_files(scorer, paths[0], paths[1], tmp_path / "local.parquet", as_of=AS_OF_US)
    leads, events = (session.read.parquet(str(path)) for path in paths)
    scorer.save(tmp_path / "model")
    answers = spark.score(leads, events, AS_OF_US, str(tmp_path / "model"))
    got = {row["lead_id"]: row for row in answers.collect()}
    local = pq.read_table(tmp_path / "local.parquet").to_pylist()
    assert len(got) == len(local)
    for row in local:
        there = got[row["lead_id"]].asDict()
        assert {n: there[n] for n in row if n != "as_of"} == {
            n: row[n] for n in row if n != "as_of"
        }


def test_the_plan_shuffles_once(session, scorer, tables, tmp_path):
    paths = [write(tmp_path / f"{n}.parquet", t) for n, t in zip("le", tables, strict=True)]
    leads, events = (session.read.parquet(str(path)) for path in paths)
    answers = spark.score(leads, events, AS_OF_US, scorer)
    plan = answers._jdf.queryExecution().executedPlan().toString()
    assert plan.count("Exchange") == 1, plan
    assert plan.count("MapInArrow") == 1


def test_a_row_that_breaks_the_contract_makes_the_job_fail_with_its_error(
    session, scorer, tables, tmp_path
):
    leads, events = tables
    twice = write(tmp_path / "l.parquet", pa.concat_tables([leads, leads.slice(0, 1)]))
    frames = [session.read.parquet(str(p)) for p in (twice, write(tmp_path / "e.parquet", events))]
    with pytest.raises(Exception, match="repeated_lead in 1 row"):
        spark.score(frames[0], frames[1], AS_OF_US, scorer).count()
    with pytest.raises(ContractError, match="missing_column"):
        spark.score(frames[0].drop("created_at"), frames[1], AS_OF_US, scorer)
    fractions = frames[1].withColumn("lead_id", frames[1]["value"])
    with pytest.raises(UsageError, match="lead ids in events are fractions"):
        spark.score(frames[0], fractions, AS_OF_US, scorer)


def keyed(*keys):
    return [pa.record_batch({spark.KEY: pa.array(part, pa.int64())}) for part in keys]


@pytest.mark.parametrize(
    ("batches", "parts"),
    [
        (keyed([1, 1, 2], [2, 3]), [[1, 1], [2, 2], [3]]),
        (keyed([1], [1], [1, 1, 2]), [[1, 1, 1, 1], [2]]),
        (keyed([1, 1, 1, 1], [1]), [[1, 1, 1, 1, 1]]),
        (keyed([1]), [[1]]),
        ([], []),
    ],
)
def test_the_last_lead_is_kept_back_until_it_is_whole(monkeypatch, batches, parts):
    monkeypatch.setattr(spark, "ROWS_AT_ONCE", 3)
    got = [part[spark.KEY].to_pylist() for part in spark.whole_leads(batches)]
    assert got == parts
