"""Judging: the chosen recipe and the baselines on the leads after the later cuts; figures are made of it elsewhere."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.attributes import encode
from features.history import Float32, Int64
from features.matrix import FeatureSpec
from training import baselines
from training.choosing import Choice, Scored, fit_rows, in_parallel, rows_of
from training.labels import Labels
from training.origins import Origin
from training.recipes import Recipe
from training.study import Study

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """Out-of-time probabilities on the judging cuts, of the chosen recipe and of the baselines, row for row."""

    scored: tuple[Scored, ...]
    row: Int64
    model: Float64
    baselines: dict[str, Float64]


def judge(study: Study, choice: Choice) -> Judged:
    """Fit the chosen recipe at the later cuts and score the leads after them, beside the baselines."""
    found = in_parallel(study, _judge_cut, [(cut, choice.recipe) for cut in study.judging])
    scored, beside = [each[0] for each in found], [each[1] for each in found]
    rows = np.concatenate([s.row for s in scored]) if scored else np.empty(0, np.int64)
    log_odds = np.concatenate([s.log_odds for s in scored]) if scored else np.empty(0)
    names = beside[0] if beside else {}
    return Judged(
        tuple(scored),
        rows,
        choice.calibration.probability(log_odds),
        {name: np.concatenate([each[name] for each in beside]) for name in names},
    )


def _judge_cut(study: Study, cut: Origin, recipe: Recipe) -> tuple[Scored, dict[str, Float64]]:
    row, test, train, spec, learned = rows_of(study, cut)
    X, Z = study.matrix(spec, train), study.matrix(spec, test)
    estimator = fit_rows(study, X, learned, train, cut.cut_us, recipe, spec)
    return Scored(row, estimator.log_odds(Z)), _baselines(study, spec, X, learned, Z, cut, row)


def _baselines(
    study: Study,
    spec: FeatureSpec,
    X: Float32,
    learned: Labels,
    Z: Float32,
    cut: Origin,
    row: Int64,
) -> dict[str, Float64]:
    """Probabilities of the baselines for the leads after a cut, learned from the rows before it."""
    won, weight = learned.won, learned.weight
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
    codes = encode(study.crm.leads.columns, chosen, len(study.crm.leads))
    codes = np.where(np.isnan(codes), -1, codes).astype(np.int64)
    outcomes = study.crm.outcomes
    trained = np.unique(study.snapshots.lead[cut.train])
    closed = (outcomes.known_us <= cut.cut_us) & np.isin(outcomes.lead, trained)
    predict = baselines.odoo(codes[outcomes.lead[closed]], outcomes.won[closed])
    return predict(codes[study.snapshots.lead[row]])
