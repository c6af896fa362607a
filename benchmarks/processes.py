"""The processes that benchmarks start: leadqual itself, and parts that are measured alone."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

ROOT = Path(__file__).parents[1]
DATA = ROOT / "bench" / "data"
"""Where simulated tables are kept for the next run; `make clean` removes them."""
HOST = "127.0.0.1"
START_SECONDS, STOP_SECONDS = 120, 20
TABLES = ("leads", "events", "outcomes")


class Measured(NamedTuple):
    """What a process printed, its seconds with the start, and its largest memory in GB."""

    said: bytes
    wall: float
    peak_gb: float


class Server(NamedTuple):
    """A server on this machine: where it listens, and the process that started it."""

    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """Return what it and all that it started have used of the processors until now."""
        first = psutil.Process(self.pid)
        used = [each.cpu_times() for each in (first, *first.children(recursive=True))]
        return sum(times.user + times.system for times in used)


def measured(module: str, work: str, **options: Any) -> Measured:
    """Run one part of a benchmark in a process of its own; the benchmark ends where it fails.

    It is run as a module, since a benchmark's folder would hide a package of the same name.
    """
    command = [sys.executable, "-m", f"benchmarks.{module}", "--work", work]
    return ran([*command, *(f"--{name}={value}" for name, value in options.items())])


def ran(command: Sequence[str]) -> Measured:
    """Run a command, and measure it; the benchmark ends where it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command[1:5])} … failed with exit code {process.returncode}")
    unit = 1e9 if sys.platform == "darwin" else 1e6  # bytes there, kilobytes elsewhere
    return Measured(said, time.perf_counter() - started, used.ru_maxrss / unit)


def leadqual(*arguments: str) -> None:
    """Run the command of this checkout."""
    subprocess.run([sys.executable, str(ROOT / "leadqual.py"), *arguments], check=True)


def simulated(folder: Path, leads: int, months: int) -> Path:
    """Simulate a CRM into a folder, unless an earlier run did."""
    crm = folder / f"crm-{leads}-leads"
    if not (crm / "leadqual.toml").exists():
        leadqual("simulate", str(crm), f"--leads={leads}", f"--months={months}")
    return crm


def trained(folder: Path) -> tuple[Path, Path]:
    """Simulate a CRM of 4,000 leads and train on it: the folders of both."""
    crm, model = simulated(folder, 4_000, 18), folder / "model"
    tables = [f"--{name}={crm / name}.parquet" for name in TABLES]
    leadqual("train", *tables, f"--config={crm / 'leadqual.toml'}", f"--output={model}")
    return crm, model


@contextmanager
def served(
    command: Sequence[str],
    ready: str,
    environment: Mapping[str, str] | None = None,
    *,
    port: int = 0,
) -> Iterator[Server]:
    """Run a server, told ``--port=…``, until it is asked no more.

    It is ready when `ready` is answered, and is ended with all that it started.
    """
    with socket.create_server((HOST, port)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [*command, f"--port={port}"],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.DEVNULL,  # lines of every request
        start_new_session=True,
    )
    try:
        _wait(f"http://{HOST}:{port}{ready}", process)
        yield Server(port, process.pid)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_SECONDS)


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        if process.poll() is not None:
            sys.exit("the server did not start")
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310  # our own
                return
        except OSError:
            time.sleep(0.2)
    sys.exit(f"the server is not ready after {START_SECONDS} s")
