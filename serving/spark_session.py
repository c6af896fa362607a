"""The Spark that a job runs on, taken or started, with the settings it needs; no job is here."""

import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

from features.findings import UsageError
from serving import java

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PANDAS = "PySpark does not yet fully support pandas"
SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
}


@contextmanager
def spark_session(folder: Path, memory: int) -> "Iterator[SparkSession]":
    """Take the Spark that runs in this process, or start one for this job.

    Where it runs is told by Spark's own settings, such as ``spark.master`` in its defaults; else
    on all cores of this machine.
    """
    warnings.filterwarnings("ignore", PANDAS)  # none is used there
    try:
        from pyspark.sql import SparkSession  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        raise UsageError(
            f"--engine spark needs Spark ({missing}): pip install 'leadqual[spark]'"
        ) from missing
    running = SparkSession.getActiveSession()
    if running is None:
        java.provide()
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # noqa: TID251
        start = {
            "spark.driver.memory": f"{memory >> 20}m",
            "spark.local.dir": str(folder.absolute()),
            "spark.log.level": "ERROR",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": str(sys.stderr.isatty()).lower(),
        }
        builder = SparkSession.builder.appName("leadqual score")
        session = reduce(lambda made, one: made.config(*one), start.items(), builder).getOrCreate()
    else:
        session = running
    before = {name: session.conf.get(name) for name in SETTINGS}
    try:
        _set(session, SETTINGS)
        yield session
    finally:
        _set(session, before)
        if running is None:
            session.stop()


def _set(session: "SparkSession", settings: "Mapping[str, str | None]") -> None:
    for name, value in settings.items():
        session.conf.set(name, value or "")
