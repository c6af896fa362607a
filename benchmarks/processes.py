"""The processes that benchmarks start: leadqual itself, and parts that are measured alone."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
TABLES = ("leads", "events", "outcomes")


class Measured(NamedTuple):
    """What a process printed, its seconds with the start, and its largest memory in GB."""

    said: bytes
    wall: float
    peak_gb: float


def measured(module: str, work: str, **options: Any) -> Measured:
    """Run one part of a benchmark in a process of its own; the benchmark ends where it fails.

    It is run as a module, since a benchmark's folder would hide a package of the same name.
    """
    command = [sys.executable, "-m", f"benchmarks.{module}", "--work", work]
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, *(f"--{name}={value}" for name, value in options.items())],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{work} failed with exit code {process.returncode}")
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
