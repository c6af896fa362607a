"""Public data through `leadqual train` and `leadqual score`: figures on rows that came later.

    python benchmarks/real_data.py --data FOLDER [--only cdnow …]

FOLDER holds tables in the data contract, a folder each (docs/results.md says where they come from):
``cdnow``, ``hubspot_freemium``, ``x_education``, and ``tasks`` with folders that hold ``task.json``
(split, horizon_days, ages), ``train/`` and ``test/`` (``leads_AGE.parquet`` with a column as_of,
``events.parquet``) and ``truth.parquet``.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # training.py beside this hides it

from training.evaluation import figures

LEADQUAL = Path(sys.executable).with_name("leadqual")
EXCLUDE = {
    "bank_marketing": ["duration", "campaign"],
    "x_education": [
        *("last_activity", "tags", "lead_quality", "lead_profile", "last_notable_activity"),
        *("asymmetrique_activity_index", "asymmetrique_profile_index"),
        *("asymmetrique_activity_score", "asymmetrique_profile_score"),
    ],
}
"""Columns that are filled with the outcome or after it."""
DAY_US = 86_400_000_000
HELD_OUT = 0.3

Judged = tuple[list[str], npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""Ids of leads, 1 or 0 for won, and scores, row for row."""


def main() -> None:
    """Print a line a task."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path)
    options.add_argument("--only", nargs="+")
    given = options.parse_args()
    if given.data is None:
        print("real_data.py needs --data FOLDER with the public tables: docs/results.md says where")
        return
    print(f"{'task':28} {'rows':>6}  AUC, Brier score, log loss, mean score / share won")
    for name, judge in _protocols(given.data).items():
        if given.only is None or name in given.only:
            with tempfile.TemporaryDirectory() as out:
                for label, judged in judge(Path(out)):
                    print(_line(label, judged), flush=True)


Protocol = Callable[[Path], Iterator[tuple[str, Judged]]]


def _protocols(data: Path) -> dict[str, Protocol]:
    tasks = sorted(path.parent for path in data.glob("tasks/*/task.json"))
    found: dict[str, Protocol] = {task.name: partial(_task, task) for task in tasks}
    known = {"cdnow": _cdnow, "hubspot_freemium": _hubspot, "x_education": _x_education}
    return found | {
        name: partial(judge, data / name) for name, judge in known.items() if (data / name).is_dir()
    }


def _line(label: str, judged: Judged) -> str:
    ids, won, score = judged
    lead = pd.Series(ids).astype("category").cat.codes.to_numpy().astype(np.int64)
    found = figures(score, won, lead, np.zeros(len(won), np.int64), seed=0)
    cells = [found.auc, found.brier, found.log_loss, found.calibration_ratio]
    shown = "  ".join(f"{f.value:.4f} ({f.low:.4f}-{f.high:.4f})" for f in cells)
    return f"{label:28} {len(score):6,}  {shown}"


def _task(task: Path, out: Path) -> Iterator[tuple[str, Judged]]:
    """Learn from an export at the split; judge leads created later, at some ages."""
    facts = json.loads((task / "task.json").read_text())
    truth = pq.read_table(task / "truth.parquet")
    _train(
        out, task / "train", "--until", facts["split"], "--horizon-days", facts["horizon_days"],
        exclude=EXCLUDE.get(task.name, []),
    )  # fmt: skip
    events = task / "test/events.parquet"
    scores = [
        _scores(out, task / f"test/leads_{age}.parquet", events, "as_of") for age in facts["ages"]
    ]
    yield task.name, (truth["lead_id"].to_pylist(), _numbers(truth["y"]), np.concatenate(scores))


def _cdnow(data: Path, out: Path) -> Iterator[tuple[str, Judged]]:
    """Hold customers out; judge them at the published moment, by their next purchases."""
    leads, outcomes = (
        pq.read_table(data / "leads.parquet"),
        pq.read_table(data / "outcomes.parquet"),
    )
    held_out = np.random.default_rng(0).random(len(leads)) < HELD_OUT
    _split(leads, outcomes, held_out, out)
    _train(out, out, "--until", "1998-06-30T23:59:59Z", "--horizon-days", 273, events=data)
    yield "cdnow", _judge(out, data, outcomes, "1997-09-30T23:59:59Z")


def _x_education(data: Path, out: Path) -> Iterator[tuple[str, Judged]]:
    """Learn from attributes without dates; the last fifth by number judges."""
    leads, outcomes = (
        pq.read_table(data / "leads.parquet"),
        pq.read_table(data / "outcomes.parquet"),
    )
    leads = leads.take(pc.sort_indices(leads["lead_number"]))
    later = np.arange(len(leads)) >= len(leads) - len(leads) // 5
    _split(leads, outcomes, later, out)
    split = '[split]\nundated = true\norder_by = "lead_number"\n'
    _train(out, out, events=data, exclude=EXCLUDE["x_education"], config=split)
    yield "x_education", _judge(out, data, outcomes, "2026-01-01T00:00:00Z")


def _hubspot(data: Path, out: Path) -> Iterator[tuple[str, Judged]]:
    """Judge the open leads at each month by what was learned until then."""
    leads, outcomes = (
        pq.read_table(data / "leads.parquet"),
        pq.read_table(data / "outcomes.parquet"),
    )
    closed = dict(zip(_column(outcomes, "lead_id"), _column(outcomes, "closed_at"), strict=True))
    for month in pd.date_range("2019-12-01", "2020-07-01", freq="MS", tz="UTC"):
        still = [not closed.get(i) or closed[i] > month for i in _column(leads, "lead_id")]
        pq.write_table(leads.filter(pa.array(still)), out / "test.parquet")
        _train(out, data, "--until", month.isoformat(), "--horizon-days", 30, "--allow-weak")
        until = month + pd.Timedelta(days=30)
        soon = outcomes.filter(pc.less_equal(outcomes["closed_at"], pa.scalar(until)))
        yield f"hubspot_freemium {month:%Y-%m}", _judge(out, data, soon, month.isoformat())


def _tables(data: Path) -> tuple[pa.Table, pa.Table]:
    leads, outcomes = (pq.read_table(data / f"{name}.parquet") for name in ("leads", "outcomes"))
    return leads, outcomes


def _judge(out: Path, data: Path, outcomes: pa.Table, as_of: str) -> Judged:
    wins = outcomes.filter(pc.equal(outcomes["outcome"], "won"))
    won = set(_column(wins, "lead_id"))
    ids = _column(pq.read_table(out / "test.parquet"), "lead_id")
    score = _scores(out, out / "test.parquet", data / "events.parquet", as_of)
    return ids, np.array([float(i in won) for i in ids]), score


def _split(leads: pa.Table, outcomes: pa.Table, held_out: npt.NDArray[np.bool_], out: Path) -> None:
    pq.write_table(leads.filter(pa.array(held_out)), out / "test.parquet")
    learned = leads.filter(pa.array(~held_out))
    pq.write_table(learned, out / "leads.parquet")
    known = pc.is_in(outcomes["lead_id"], learned["lead_id"].combine_chunks())
    pq.write_table(outcomes.filter(known), out / "outcomes.parquet")


def _train(
    out: Path,
    tables: Path,
    *options: object,
    events: Path | None = None,
    exclude: list[str] | None = None,
    config: str = "",
) -> None:
    stated = f"{config}[features]\nexclude = {json.dumps(exclude or [])}\n"
    (out / "leadqual.toml").write_text(stated)
    _run(
        "train",
        "--leads", tables / "leads.parquet",
        "--events", (events or tables) / "events.parquet",
        "--outcomes", tables / "outcomes.parquet",
        "--config", out / "leadqual.toml", "--output", out / "model", *options,
    )  # fmt: skip


def _scores(out: Path, leads: Path, events: Path, as_of: str) -> npt.NDArray[np.float64]:
    _run(
        "score", "--model", out / "model", "--leads", leads, "--events", events,
        "--as-of", as_of, "--output", out / "scores.parquet",
    )  # fmt: skip
    return _numbers(pq.read_table(out / "scores.parquet")["score"])


def _column(table: pa.Table, name: str) -> list[Any]:
    return table[name].to_pylist()


def _numbers(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    return column.cast(pa.float64()).to_numpy()


def _run(*arguments: object) -> None:
    done = subprocess.run([LEADQUAL, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"leadqual {arguments[0]} ended with {done.returncode}:\n{done.stderr}")


if __name__ == "__main__":
    main()
