"""How long `leadqual train` takes on simulated leads, and how much memory; against one bare fit.

    python benchmarks/training.py --leads 20000 200000

prints for each number of leads the command's wall time and peak memory, its stages, and how many
times a single fit of the blend on the same snapshots it takes.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this file hides `training`

from benchmarks import results
from benchmarks.processes import DATA, ROOT, TABLES, ran, simulated
from features.readers import read_tables
from training.choosing import training_rows
from training.config import Config
from training.crm import from_tables
from training.recipes import Recipe
from training.study import prepare

MONTHS = 18
BARS = {20_000: (120.0, 4.0), 200_000: (900.0, 4.0)}
"""Seconds and GB, by leads."""


@dataclass(frozen=True)
class Trained:
    """What a run took: seconds with the start of the process, memory, stages, a bare fit."""

    leads: int
    seconds: float
    peak_gb: float
    stages: dict[str, float]
    bare_fit_seconds: float


def main() -> None:
    """Measure, print, and exit with 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA, help="a folder for simulated tables")
    parser.add_argument("--leads", type=int, nargs="+", default=list(BARS))
    options = parser.parse_args()
    done = [_trained(simulated(options.data, leads, MONTHS), leads) for leads in options.leads]
    sys.exit(_report(done))


def _trained(crm: Path, leads: int) -> Trained:
    files = {name: crm / f"{name}.parquet" for name in TABLES}
    tables = [f"--{name}={path}" for name, path in files.items()]
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        command = [sys.executable, str(ROOT / "leadqual.py"), "train", *tables]
        run = ran([*command, f"--output={model}"])
        report = json.loads((model / "report.json").read_text(encoding="utf-8"))
    return Trained(leads, run.wall, run.peak_gb, report["seconds"], _bare_fit(files))


def _bare_fit(files: dict[str, Path]) -> float:
    study = prepare(from_tables(read_tables(*files.values())), Config(), threads=2)
    rows = training_rows(study, study.everything(), Recipe("blend"))
    start = time.perf_counter()
    rows.fit("blend", 0, 2)
    return time.perf_counter() - start


def _report(done: list[Trained]) -> int:
    missed = False
    for run in done:
        seconds, gb = BARS.get(run.leads, (float("inf"), float("inf")))
        missed |= run.seconds > seconds or run.peak_gb > gb
        print(
            f"{run.leads:,} leads: {run.seconds:.1f} s (bar {seconds:g}), "
            f"{run.seconds / run.bare_fit_seconds:.1f} x one bare fit, "
            f"peak {run.peak_gb:.2f} GB (bar {gb:g})"
        )
        for name, spent in run.stages.items():
            print(f"  {name:32} {spent:7.1f} s {spent / run.seconds:5.0%}")
    results.keep("training", [asdict(run) for run in done])
    return int(missed)


if __name__ == "__main__":
    main()
