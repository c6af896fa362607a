"""What labels cost: the log loss of each label strategy over an oracle that knows every label.

    python benchmarks/labels.py [--seeds 10] [--leads 8000 1500] [--scenarios growth …]

Worlds are simulated with known truth. A recipe (the blend, no half-life, no calibration) learns
from what was known 60 days before the world's end, by four kinds of labels: all of them (the
oracle), only matured rows, IPCW, and delayed-feedback EM. Each is judged on the leads created
after that moment, by the expected log loss under their true probabilities.

In the last world deals began to close only lately, so its leads are split by their number instead:
every fifth one judges, at moments of the last 90 days. IPCW and EM are there what `leadqual train`
would ship: the recipe that the rolling origin chooses with IPCW, its calibration, and the level of
the newest leads, each by its own labels. The oracle and the matured rows alone are the bare recipe:
neither knows a level, and there is hardly a matured win to calibrate by.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from joblib import Parallel, delayed
from scipy.special import expit, xlogy
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # training.py beside this hides it

from features.history import DAY_US
from features.readers import read_tables
from training.choosing import TrainingRows, choose, training_rows
from training.config import Config
from training.crm import from_tables
from training.judging import judge
from training.recipes import Recipe
from training.shipping import ship
from training.simulator import NOW_US, World, simulate
from training.study import Study, prepare

Float64 = npt.NDArray[np.float64]

SCENARIOS = ("stationary", "growth", "drift", "slow-wins", "rare")
AFTER = "new-product"
"""Deals began to close only recently: judged by the calibration ratio."""
EACH = 5
STRATEGIES = ("oracle", "matured only", "ipcw", "em")
DAYS_AFTER, DAYS_OF_NEW_WORLD = 60, 90
BAR_IPCW, BAR_RATIO, BAR_NEW, BAR_OLD = 0.65, (0.9, 1.1), (0.5, 2.0), 0.1


def main() -> None:
    """Print a line a world and strategy, then the sums against their bars."""
    options = _options()
    print(
        f"{'scenario':12} {'leads':>6}  excess log loss x 1000 over the oracle (mean score / true)"
    )
    found: dict[tuple[str, int, int], Figures] = {}
    with Parallel(n_jobs=os.cpu_count(), backend="multiprocessing") as parallel:
        for scenario, leads in product((AFTER, *options.scenarios), options.leads):
            worlds = [(scenario, leads, seed) for seed in range(options.seeds)]
            done = parallel(delayed(_quietly)(*world) for world in worlds)
            found |= dict(zip(worlds, done, strict=True))
            print(_line(scenario, leads, done), flush=True)
    sys.exit(_verdict(found, options.scenarios))


Figures = dict[str, tuple[float, float]]
"""By strategy: expected log loss, and mean score over mean true probability."""


def _quietly(scenario: str, leads: int, seed: int) -> Figures:
    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _one(scenario, leads, seed)


def _one(scenario: str, leads: int, seed: int) -> Figures:
    world = simulate(leads, 18, seed, scenario)
    later = _study(world.leads, world.events, world.outcomes, NOW_US)
    snapshots = later.snapshots
    if scenario == AFTER:
        study = _study(*_without_each_fifth(world), NOW_US)
        choice = choose(study)
        recipe = choice.recipe
        recent = snapshots.as_of_us > NOW_US - DAYS_OF_NEW_WORLD * DAY_US
        new = recent & (snapshots.lead % EACH == 0)
    else:
        until = NOW_US - DAYS_AFTER * DAY_US
        study, recipe = _study(world.leads, world.events, world.outcomes, until), Recipe("blend")
        new = later.crm.leads.created_us[snapshots.lead] > until
    truth = world.truth.to_pandas().set_index(["lead_id", "age_days"]).sort_index()
    soft = replace(study, config=Config.model_validate({"label": {"strategy": "em"}}))
    rows = training_rows(study, study.everything(), recipe)
    known = rows.known
    everything = _true(truth, study, "won_within_horizon")
    there = np.isfinite(everything)
    labelled = replace(known, won=np.where(there, everything, 0.0), weight=there.astype(float))
    every = replace(rows, known=labelled)
    matured = replace(rows, known=replace(known, weight=known.matured.astype(float)))
    em = training_rows(soft, soft.everything(), recipe)
    fits = dict(zip(STRATEGIES, (every, matured, rows, em), strict=True))
    probability = _true(truth, later, "probability")
    new &= np.isfinite(probability)
    Z = later.matrix(rows.spec, later.snapshots.rows(new))
    scores = {name: _scores(each, recipe, Z) for name, each in fits.items()}
    if scenario == AFTER:
        cuts = judge(study, choice).scored
        for name, each in (("ipcw", study), ("em", soft)):
            scores[name] = ship(each, choice, cuts).scorer.probability(Z)
    return {name: _judged(score, probability[new]) for name, score in scores.items()}


def _without_each_fifth(world: World) -> tuple[pa.Table, pa.Table, pa.Table]:
    kept = np.arange(len(world.leads)) % EACH != 0
    ids = world.leads["lead_id"].filter(pa.array(kept)).combine_chunks()
    tables = (world.leads, world.events, world.outcomes)
    leads, events, outcomes = (t.filter(pc.is_in(t["lead_id"], ids)) for t in tables)
    return leads, events, outcomes


def _scores(rows: TrainingRows, recipe: Recipe, Z: npt.NDArray[np.float32]) -> Float64:
    learned = rows.known.won[rows.known.weight > 0]
    if len(np.unique(learned)) < 2:  # such as no matured win at all
        return np.full(len(Z), learned.mean())
    return expit(rows.fit(recipe.mix, 0).log_odds(Z))


def _judged(score: Float64, p: Float64) -> tuple[float, float]:
    score = np.clip(score, 1e-9, 1 - 1e-9)
    loss = -(xlogy(p, score) + xlogy(1 - p, 1 - score)).mean()
    return float(loss), float(score.mean() / p.mean())


def _study(leads: pa.Table, events: pa.Table, outcomes: pa.Table, until_us: int) -> Study:
    import tempfile  # noqa: PLC0415

    import pyarrow.parquet as pq  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.parquet" for name in ("leads", "events", "outcomes")]
        for path, table in zip(paths, (leads, events, outcomes), strict=True):
            pq.write_table(table, path)
        tables = read_tables(*paths, until_us=until_us)
    return prepare(from_tables(tables), Config())


def _true(truth: pd.DataFrame, study: Study, column: str) -> Float64:
    """Look up the truth of snapshots; NaN where a lead had closed before it was recorded."""
    ids = np.array(study.crm.table["lead_id"].to_pylist())[study.snapshots.lead]
    ages = study.snapshots.age_days.astype(np.int16)
    index = pd.MultiIndex.from_arrays([ids, ages])
    return truth[column].reindex(index).to_numpy(np.float64, na_value=np.nan)


def _line(scenario: str, leads: int, seeds: list[Figures]) -> str:
    cells = []
    for name in STRATEGIES:
        excess = np.mean([1000 * (f[name][0] - f["oracle"][0]) for f in seeds])
        ratio = np.mean([f[name][1] for f in seeds])
        cells.append(f"{name} {excess:6.1f} ({ratio:.2f})")
    return f"{scenario:12} {leads:>6}  " + "   ".join(cells)


def _excess(found: dict[tuple[str, int, int], Figures], name: str) -> Iterator[float]:
    for (scenario, _, _), figures in found.items():
        if scenario != AFTER:
            yield figures[name][0] - figures["oracle"][0]


def _verdict(found: dict[tuple[str, int, int], Figures], scenarios: list[str]) -> int:
    matured, ipcw, em = (np.array(list(_excess(found, name))) for name in STRATEGIES[1:])
    share = ipcw.sum() / matured.sum()
    error = float((em - ipcw).std(ddof=1) * np.sqrt(len(em))) if len(em) > 1 else 0.0
    ratios = {
        name: np.mean([f["ipcw"][1] for (s, _, _), f in found.items() if s == name])
        for name in {"stationary", "growth"} & set(scenarios)
    }
    new, old = (
        float(np.mean([f[name][1] for (s, _, _), f in found.items() if s == AFTER]))
        for name in ("ipcw", "matured only")
    )
    checks = {
        f"summed excess of IPCW / matured only {share:.2f} (bar {BAR_IPCW})": share <= BAR_IPCW,
        f"summed excess of EM - IPCW {em.sum() - ipcw.sum():.4f} (bar {error:.4f})": (
            em.sum() <= ipcw.sum() + error
        ),
        **{
            f"mean score / true, {name} {ratio:.2f} (bar {BAR_RATIO})": (
                BAR_RATIO[0] <= ratio <= BAR_RATIO[1]
            )
            for name, ratio in ratios.items()
        },
        f"{AFTER}: mean score / true {new:.2f} (bar {BAR_NEW}), matured only {old:.2f} "
        f"(below {BAR_OLD})": BAR_NEW[0] <= new <= BAR_NEW[1] and old < BAR_OLD,
    }
    for text, holds in checks.items():
        print(f"{'PASS' if holds else 'MISSED':6} {text}")
    return int(not all(checks.values()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--leads", type=int, nargs="+", default=[8_000, 1_500])
    parser.add_argument("--scenarios", nargs="+", default=list(SCENARIOS))
    return parser.parse_args()


if __name__ == "__main__":
    main()
