"""Judging: the chosen recipe and the baselines on the leads after the later cuts; no figures."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.history import Float32, Int64
from features.matrix import FeatureSpec, records
from training import baselines
from training.calibration import Calibration
from training.choosing import (
    Choice,
    Scored,
    TrainingRows,
    held_out,
    in_parallel,
    joined,
    newest,
    probability,
    training_rows,
)
from training.origins import Origin
from training.recipes import Recipe
from training.study import Study

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """Out-of-time probabilities on the judging cuts, of recipe and baselines, row for row."""

    scored: tuple[Scored, ...]
    row: Int64
    model: Float64
    baselines: dict[str, Float64]


def judge(study: Study, choice: Choice) -> Judged:
    """Fit the recipe and the baselines at the later cuts, and score the leads after them."""
    tasks = [(cut, choice.recipe, choice.calibration) for cut in study.judging]
    found = in_parallel(study, _judge_cut, tasks)
    scored, beside = [each[0] for each in found], [each[1] for each in found]
    names = beside[0] if beside else {}
    return Judged(
        tuple(scored),
        joined(scored).row,
        probability(scored, choice.calibration),
        {name: np.concatenate([each[name] for each in beside]) for name in names},
    )


def _judge_cut(
    study: Study, cut: Origin, recipe: Recipe, calibration: Calibration
) -> tuple[Scored, dict[str, Float64]]:
    rows = training_rows(study, cut, recipe)
    row = np.flatnonzero(cut.test)
    Z = study.matrix(rows.spec, study.snapshots.rows(row))
    fitted = rows.fit(recipe.mix, study.seed)
    young = held_out(study, cut, recipe, newest(study, cut, rows, fitted), calibration, rows=rows)
    scored = Scored(row, fitted.log_odds(Z), young)
    return scored, _baselines(study, rows, Z, cut, row)


def _baselines(
    study: Study, rows: TrainingRows, Z: Float32, cut: Origin, row: Int64
) -> dict[str, Float64]:
    """Probabilities of the baselines for the leads after a cut, learned from the rows before it."""
    X, spec, won, weight = rows.X, rows.spec, rows.known.won, rows.known.weight
    at = {name: column for column, name in enumerate(spec.names)}
    codes = [column for column, feature in enumerate(spec.features) if feature.category]
    last = at.get("days_since_last_event")
    found = {"base_rate": baselines.base_rate(won, weight)(len(Z))}
    if last is not None:
        found["recency"] = baselines.recency(X[:, last], won, weight)(Z[:, last])
    kinds = [t for t in spec.types if {f"count_{t}_all", f"days_since_{t}"} <= at.keys()]
    counts, since = [at[f"count_{t}_all"] for t in kinds], [at[f"days_since_{t}"] for t in kinds]
    points = baselines.points(X[:, counts], X[:, since], kinds, won, weight)
    found["points"] = points(Z[:, counts], Z[:, since])
    found["odoo"] = _odoo(study, spec, cut, row)
    found["logistic"] = baselines.logistic(X, won, weight, codes)(Z)
    return found


def _odoo(study: Study, spec: FeatureSpec, cut: Origin, row: Int64) -> Float64:
    """Odoo's naive Bayes, from the leads closed by the cut."""
    chosen = [a for a in spec.attributes if a.kind == "category"]
    outcomes, leads = study.crm.outcomes, study.crm.leads

    def codes(lead: Int64, as_of_us: Int64) -> Int64:
        encoded = records(chosen, leads, lead, as_of_us)
        return np.where(np.isnan(encoded), -1, encoded).astype(np.int64)

    trained = np.unique(study.snapshots.lead[cut.train])
    closed = (outcomes.known_us <= cut.cut_us) & np.isin(outcomes.lead, trained)
    learned = codes(outcomes.lead[closed], outcomes.closed_us[closed] - 1)  # not what it wrote
    predict = baselines.odoo(learned, outcomes.won[closed])
    return predict(codes(study.snapshots.lead[row], study.snapshots.as_of_us[row]))
