"""The registered model as MLflow runs it: in Python, behind its own server, and inside Spark."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.history import from_rows
from features.matrix import Leads
from serving import java
from tests.scorers import AS_OF_US, EPOCH_US, small_leads, small_scorer
from training import registry, tracking

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
LEADS = 60
START_SECONDS, SPARK_SECONDS, STOP_SECONDS = 150, 240, 10
"""Far more than it takes: tests share a machine."""

SPARK = """
import sys
import mlflow
from pyspark.sql import SparkSession, functions as F

uri, folder = sys.argv[1:]
mlflow.set_tracking_uri(uri)
spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.sql.session.timeZone", "Asia/Tokyo")
    .config("spark.sql.execution.arrow.maxRecordsPerBatch", "7")
    .getOrCreate()
)

def keep(answer, name):
    answer.select("of.*").toPandas().to_parquet(f"{folder}/{name}.parquet")

score = mlflow.pyfunc.spark_udf(spark, "models:/leads/1", env_manager="local")
rows = spark.read.parquet(f"{folder}/strings.parquet").repartition(2)
needed, optional = ["lead_id", "created_at", "as_of"], ["attributes", "events"]
keep(rows.select(score(*needed, *optional).alias("of")), "of_strings")
keep(rows.select(score(*needed).alias("of")), "without_history")
iso = "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX"

def as_json(column):
    return F.to_json(column, {"timestampFormat": iso})

rows = spark.read.parquet(f"{folder}/tables.parquet").repartition(2)
times = [F.date_format(name, iso) for name in ("created_at", "as_of")]
objects = [as_json(name) for name in ("attributes", "events")]
keep(rows.select(score("lead_id", *times, *objects).alias("of")), "of_tables")
spark.stop()
"""


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    return small_scorer(1).save(tmp_path_factory.mktemp("artifact") / "model")


@pytest.fixture(scope="module")
def uri(tmp_path_factory, scorer):
    """A registry whose model `leads` has one version."""
    folder = tmp_path_factory.mktemp("registered")
    scorer.save(folder / "model")
    address = f"sqlite:///{folder}/mlflow.db"
    registry.register(folder / "model", "leads", uri=address)
    return address


@pytest.fixture(scope="module")
def asked():
    """Leads and their moments; one of them is asked about before it was created."""
    as_of = np.full(LEADS, AS_OF_US)
    as_of[3] = EPOCH_US - 1
    return small_leads(5, LEADS), as_of


def test_python_scores_raw_leads_as_the_scorer_does(uri, scorer, asked):
    with tracking.connected(uri):
        model = tracking.mlflow().pyfunc.load_model("models:/leads/1")
        answer = model.predict(raw(*asked))
        with pytest.raises(ValueError, match=r"lead 'lead-1' cannot be read.* no time zone"):
            model.predict(raw(*asked).assign(as_of="2026-01-01 09:00"))
    agrees(answer, scorer.score(*asked))
    assert answer["decision"][3] == "abstain"
    assert answer["grade"][3] == ""
    assert {"hand_off", "nurture"} <= set(answer["decision"])


def test_mlflows_server_scores_raw_leads_as_the_scorer_does(uri, scorer, asked, tmp_path):
    rows = raw(*asked)
    with served(uri, tmp_path / "server.log") as ask:
        status, answer = ask({"dataframe_split": rows.to_dict("split", index=False)})
        assert status == 200, answer
        agrees(pd.DataFrame(answer["predictions"]), scorer.score(*asked))

        _, bare = ask(
            {"dataframe_records": rows[["lead_id", "created_at", "as_of"]].to_dict("records")}
        )
        agrees(pd.DataFrame(bare["predictions"]), scorer.score(*without_history(asked)))

        status, refused = ask({"dataframe_records": [{"lead_id": "lead-1", "as_of": "2026-01-01"}]})
        assert status == 400
        assert "created_at" in refused["message"]


@pytest.mark.spark
def test_spark_scores_raw_leads_as_the_scorer_does_on_the_java_of_the_wheel(
    uri, scorer, asked, tmp_path
):
    raw(*asked).to_parquet(tmp_path / "strings.parquet")
    pq.write_table(typed(*asked), tmp_path / "tables.parquet")
    run_in_spark(uri, tmp_path)

    expected = scorer.score(*asked)
    agrees(in_order(tmp_path / "of_strings.parquet"), expected)
    agrees(in_order(tmp_path / "of_tables.parquet"), expected)
    bare = scorer.score(*without_history(asked))
    agrees(in_order(tmp_path / "without_history.parquet"), bare)


def run_in_spark(uri, folder):
    """Run the program on the wheel's Java, in a process group that is ended whole."""
    of_the_wheel = {"PATH": ""}
    java.provide(of_the_wheel)
    environment = {
        **os.environ,
        **of_the_wheel,
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYSPARK_PYTHON": sys.executable,
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", SPARK, uri, str(folder)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=SPARK_SECONDS)
    finally:
        end(process)
    assert process.returncode == 0, said.decode()


def end(process):
    """End a process with all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(STOP_SECONDS)


@contextmanager
def served(uri, log):
    """Run MLflow's own server of the model on loopback; gives what asks it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",  # it looks for uvicorn there
        "PYTHONPATH": str(ROOT),
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    options = ["-m", "models:/leads/1", "--env-manager", "local", "--host", "127.0.0.1"]
    with log.open("wb") as said:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "models", "serve", *options, "--port", str(port)],
            env=environment,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            give_up = time.monotonic() + START_SECONDS
            while not answers(port):
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < give_up, log.read_text()
                time.sleep(0.5)
            yield partial(asks, port)
        finally:
            end(server)


def answers(port):
    connection = HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def asks(port, question):
    """Ask for scores: the status and what was answered."""
    connection = HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
    try:
        kind = {"Content-Type": "application/json"}
        connection.request("POST", "/invocations", json.dumps(question), kind)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def in_order(file):
    """Read what Spark answered, in the order of the leads' numbers."""
    found = pd.read_parquet(file)
    number = found["lead_id"].str.removeprefix("lead-").astype(int)
    return found.iloc[np.argsort(number)].reset_index(drop=True)


def agrees(answer, expected):
    """Compare to the last digit; what has no score is null in JSON and in Spark."""
    for name in ("score", "percentile"):
        found = answer[name].astype("float64").to_numpy()
        np.testing.assert_array_equal(found, getattr(expected, name), err_msg=name)
    assert answer["why"].tolist() == [expected.whys[code] for code in expected.why]
    assert answer["lead_id"].tolist() == [f"lead-{row + 1}" for row in range(len(expected))]


def without_history(asked):
    """What is asked where the optional columns are left out."""
    leads, as_of = asked
    nothing = from_rows([[] for _ in range(len(leads))])
    return Leads(leads.created_us, {}, nothing, np.arange(len(leads))), as_of


def raw(leads, as_of):
    """The table that MLflow is asked with: JSON and ISO 8601."""
    return pd.DataFrame(
        {
            "lead_id": [f"lead-{row + 1}" for row in range(len(leads))],
            "created_at": [iso(time) for time in leads.created_us],
            "as_of": [iso(time) for time in as_of],
            "attributes": [json.dumps(record) for record in records(leads)],
            "events": [
                json.dumps([{**event, "occurred_at": iso(event["occurred_at"])} for event in own])
                for own in events(leads)
            ],
        }
    )


def typed(leads, as_of):
    """The same table as a CRM keeps it in Spark: times, structs and lists."""
    time = pa.timestamp("us", "UTC")
    event = pa.struct(
        {"event_type": "string", "occurred_at": time, "channel": "string", "value": "float64"}
    )
    return pa.table(
        {
            "lead_id": [f"lead-{row + 1}" for row in range(len(leads))],
            "created_at": pa.array(leads.created_us, time),
            "as_of": pa.array(as_of, time),
            "attributes": records(leads),
            "events": pa.array(events(leads), pa.list_(event)),
        }
    )


def records(leads):
    return [
        {name: column[row] for name, column in leads.columns.items()} for row in range(len(leads))
    ]


def events(leads):
    history = leads.history
    return [
        [event_of(history, e) for e in range(*history.ptr[row : row + 2])]
        for row in range(len(leads))
    ]


def event_of(history, e):
    value, channel = float(history.value[e]), int(history.channel_code[e])
    return {
        "event_type": history.types[history.type_code[e]],
        "occurred_at": int(history.occurred_us[e]),
        "channel": history.channels[channel] if channel < len(history.channels) else None,
        "value": None if np.isnan(value) else value,
    }


def iso(time_us):
    return f"{np.datetime64(int(time_us), 'us')}Z"
