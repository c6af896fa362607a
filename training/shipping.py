"""Shipping: the chosen recipe fitted once more on everything, with calibration and rule fixed again by the same methods."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from features.contract import Finding
from features.history import Float32
from features.matrix import FeatureSpec
from features.moments import iso
from training import handoff
from training.choosing import Choice, Scored, calibrate, fit_rows, fix_rule
from training.judging import Judged
from training.origins import Origin
from training.recipes import Estimator, Recipe
from training.scorer import Card, LeadScorer
from training.study import Study

PERCENTILE_STEPS = 1_000
LEADS_TO_FIX_A_RULE = 300


@dataclass(frozen=True)
class Fitted:
    """An estimator with the features it was fitted on."""

    spec: FeatureSpec
    estimator: Estimator
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Shipped:
    """The scorer fitted on everything, and the share of recent leads it would hand off."""

    scorer: LeadScorer
    recent_share: float
    judged_share: float


def fit(study: Study, cut: Origin, recipe: Recipe) -> Fitted:
    """Fit a recipe on the training rows of a cut."""
    spec, findings = study.spec(cut.cut_us)
    train = study.snapshots.rows(cut.train)
    learned = study.labels(train, cut.cut_us)
    X = study.matrix(spec, train)
    estimator = fit_rows(study, X, learned, train, cut.cut_us, recipe, spec, threads=study.threads)
    return Fitted(spec, estimator, findings)


def ship(study: Study, choice: Choice, judged: Judged, fitted: Fitted) -> Shipped:
    """Put the refit together with the calibration and the rule fixed again by the same methods on all cuts."""
    everything = (*choice.scored, *judged.scored)
    final = calibrate(study, everything)
    recent = (
        judged.scored
        if _leads_with_time(study, judged.scored) >= LEADS_TO_FIX_A_RULE
        else everything
    )
    refit = fitted.estimator
    own = Scored(np.arange(len(study.snapshots)), np.empty(0))
    if not everything:
        own = replace(own, log_odds=refit.log_odds(study.matrix(fitted.spec, study.snapshots)))
        recent = everything = (own,)
    rule = fix_rule(study, recent, final)
    rows = np.concatenate([scored.row for scored in recent])
    now = study.matrix(fitted.spec, study.snapshots.rows(rows))
    lead = study.snapshots.lead[rows]
    new = handoff.best_scores(lead, final.probability(refit.log_odds(now)))
    old = handoff.best_scores(
        lead, final.probability(np.concatenate([scored.log_odds for scored in recent]))
    )
    scores = final.probability(np.concatenate([scored.log_odds for scored in everything]))
    steps = np.quantile(scores, np.linspace(0, 1, min(PERCENTILE_STEPS, len(scores))))
    reference = {"scores": steps.tolist(), "features": _histograms(fitted.spec, now)}
    empty = Card(study.horizon_days, iso(study.crm.until_us), choice.recipe.name, {}, {}, {}, {})
    scorer = LeadScorer(fitted.spec, refit, final, rule, reference, empty)
    return Shipped(
        scorer, float((new >= rule.threshold).mean()), float((old >= rule.threshold).mean())
    )


def _leads_with_time(study: Study, scored: Sequence[Scored]) -> int:
    row = np.concatenate([cut.row for cut in scored]) if scored else np.empty(0, np.int64)
    return len(np.unique(study.snapshots.lead[row[study.had_time(row)]]))


def _histograms(spec: FeatureSpec, X: Float32) -> dict[str, Any]:
    """Quantile bins and counts of each feature, missing last: what monitoring compares with."""
    found = {}
    for at, name in enumerate(spec.names):
        present = X[~np.isnan(X[:, at]), at].astype(np.float64)
        inner = (
            np.unique(np.quantile(present, np.linspace(0, 1, 11)[1:-1]))
            if len(present)
            else np.empty(0)
        )
        counts = np.bincount(np.searchsorted(inner, present, "left"), minlength=len(inner) + 1)
        found[name] = {"edges": inner.tolist(), "counts": [*counts.tolist(), len(X) - len(present)]}
    return found
