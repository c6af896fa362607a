"""`leadqual train` on 20,000 simulated leads: wall time, each stage, one bare fit."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this file hides `training`

from features.readers import read_tables
from training.choosing import training_rows
from training.config import Config
from training.crm import from_tables
from training.recipes import Recipe
from training.simulator import simulate, write
from training.study import prepare

BAR_SECONDS = 120


def main() -> None:
    """Print the seconds of the command and of its stages."""
    with tempfile.TemporaryDirectory() as folder:
        crm = Path(folder)
        write(simulate(20_000, 18, 7, "stationary"), crm)
        files = {name: crm / f"{name}.parquet" for name in ("leads", "events", "outcomes")}
        options = [f"--{name}={path}" for name, path in files.items()]
        start = time.perf_counter()
        command = [str(Path(sys.executable).with_name("leadqual")), "train", *options]
        subprocess.run([*command, "--output", str(crm / "model")], check=True, capture_output=True)
        wall = time.perf_counter() - start
        report = json.loads((crm / "model" / "report.json").read_text(encoding="utf-8"))
        bare = _bare_fit(files)
    for name, seconds in report["seconds"].items():
        print(f"{name:32} {seconds:7.1f} s")
    print(
        f"{'whole command':32} {wall:7.1f} s (bar {BAR_SECONDS}), {wall / bare:.1f} x one bare fit"
    )


def _bare_fit(files: dict[str, Path]) -> float:
    study = prepare(from_tables(read_tables(*files.values())), Config(), threads=2)
    rows = training_rows(study, study.everything(), Recipe("blend"))
    start = time.perf_counter()
    rows.fit("blend", 0, 2)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
