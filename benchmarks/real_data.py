"""Public data through `leadqual train` and `leadqual score`: figures on leads that came later.

    python benchmarks/real_data.py --data FOLDER

FOLDER holds one folder a task, each with ``task.json`` (split, horizon_days, ages), ``train/`` and
``test/`` (``leads_AGE.parquet`` with a column as_of, ``events.parquet``) and ``truth.parquet``.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # training.py beside this hides it

from training.evaluation import figures

LEADQUAL = Path(sys.executable).with_name("leadqual")
EXCLUDE = {"bank_marketing": ["duration", "campaign"]}


def main() -> None:
    """Print a line a task."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path)
    data = options.parse_args().data
    if data is None:
        print("real_data.py needs --data FOLDER with the public tables: docs/results.md says where")
        return
    print("task            rows   AUC                  log loss             mean score / share won")
    for task in sorted(path.parent for path in data.glob("*/task.json")):
        print(_line(task))


def _line(task: Path) -> str:
    truth = pq.read_table(task / "truth.parquet").to_pandas()
    score = np.concatenate(_scores(task))
    lead = truth["lead_id"].astype("category").cat.codes.to_numpy().astype(np.int64)
    moment = truth["as_of"].astype("int64").to_numpy()
    found = figures(score, truth["y"].to_numpy(float), lead, moment, seed=0)
    cells = [found.auc, found.log_loss, found.calibration_ratio]
    shown = "  ".join(f"{f.value:.3f} ({f.low:.3f}-{f.high:.3f})" for f in cells)
    return f"{task.name:14}  {len(score):6,}  {shown}"


def _scores(task: Path) -> list[np.ndarray]:
    facts = json.loads((task / "task.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        listed = json.dumps(EXCLUDE.get(task.name, []))
        (out / "leadqual.toml").write_text(f"[features]\nexclude = {listed}\n")
        tables = [
            f"--{name}={task}/train/{name}.parquet" for name in ("leads", "events", "outcomes")
        ]
        _run(
            "train", *tables, "--config", out / "leadqual.toml", "--until", facts["split"],
            "--horizon-days", facts["horizon_days"], "--output", out / "model",
        )  # fmt: skip
        return [_score(task, out, age) for age in facts["ages"]]


def _score(task: Path, out: Path, age: int) -> np.ndarray:
    _run(
        "score", "--model", out / "model", "--leads", task / f"test/leads_{age}.parquet",
        "--events", task / "test/events.parquet", "--as-of", "as_of",
        "--output", out / f"{age}.parquet",
    )  # fmt: skip
    return pq.read_table(out / f"{age}.parquet")["score"].to_numpy()


def _run(*arguments: object) -> None:
    subprocess.run([LEADQUAL, *map(str, arguments)], check=True, capture_output=True)


if __name__ == "__main__":
    main()
