"""Shipping: the chosen recipe, its calibration and its rule, fitted once more on everything."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from features.attributes import Attribute
from features.catalogue import of_attribute
from features.contract import Finding
from features.history import DAY_US, Float32, Int64
from features.matrix import FeatureSpec, event_counts, matrix
from features.moments import iso
from features.profile import Profile, moved, profiles, profiles_by_age, spread
from training import handoff, level
from training.calibration import Calibration
from training.choosing import (
    Choice,
    Scored,
    TrainingRows,
    calibrate,
    evidence,
    held_out,
    joined,
    newest,
    training_rows,
)
from training.recipes import Estimator, Recipe, importance
from training.sampling import of_winners
from training.scorer import Card, LeadScorer
from training.study import Study

NEWEST = 0.1
PERCENTILE_STEPS = 1_000
LEADS_TO_FIX_A_RULE = 300


@dataclass(frozen=True)
class Shipped:
    """The scorer fitted on all, and what share of recent leads it, and the judged, hand off.

    `proxies` names the features from which the date can be told, whether it uses them or not;
    `level` is what the wins of the newest leads added to the intercept; `shifts` are attributes
    that look otherwise on the newest leads.
    """

    scorer: LeadScorer
    findings: tuple[Finding, ...]
    proxies: tuple[str, ...]
    recent_share: float
    judged_share: float
    level: float = 0.0
    shifts: tuple[Finding, ...] = ()


def ship(study: Study, choice: Choice, judged: Sequence[Scored]) -> Shipped:
    """Fit the recipe on everything; fix calibration and rule as when choosing, on all cuts.

    Both rest on out-of-time scores. Only where there is no cut at all, they rest on the refit's own
    scores of the rows it learned from: such a history is too weak to judge, and its report says so.
    The level is that of the leads that are young now; the scores of all cuts get the same, so that
    it moves the threshold of a rule by capacity, and not who is handed off.
    """
    rows = training_rows(study, study.everything(), choice.recipe)
    whole = _with_all_winners(study, choice.recipe, rows)
    rows = replace(rows, X=whole.X[: len(rows.X)])  # held once
    refit = whole.fit(choice.recipe.mix, study.seed, study.threads)
    del whole
    cuts = (*choice.scored, *judged) or (
        Scored(np.arange(len(study.snapshots)), refit.log_odds(rows.X)),
    )
    calibrated = calibrate(study, cuts)
    learned = newest(study, study.everything(), rows, refit)
    young = held_out(study, study.everything(), choice.recipe, learned, calibrated, rows=rows)
    moved_by = level.shift(young, calibrated) if young else 0.0
    final = calibrated.shifted(moved_by)
    recent = joined(judged if _leads_with_time(study, judged) >= LEADS_TO_FIX_A_RULE else cuts)
    found = evidence(study, (recent,), final)
    rule = found.fix(study.config.rule)
    X = study.matrix(rows.spec, study.snapshots.rows(recent.row))
    every = np.argsort(study.crm.leads.created_us, kind="stable")
    scorer = LeadScorer(
        rows.spec,
        refit,
        final,
        rule,
        {
            "scores": _percentiles(final.probability(joined(cuts).log_odds)),
            "features": _histograms(rows.spec, X),
            "evidence": found.as_dict(),
            "week_to_week": _week_to_week(study, rows.spec, refit, final, recent.row),
            "attributes": [asdict(one) for one in _profiles(study, rows.spec, every)],
        },
        Card(study.horizon_days, iso(study.crm.until_us), choice.recipe.name, {}, {}, {}, {}),
    )
    lead = study.snapshots.lead[recent.row]
    seen = [
        study.flaggable(recent.row, final.probability(log_odds))
        for log_odds in (refit.log_odds(X), recent.log_odds)
    ]
    shares = [float((handoff.best_scores(lead, score) >= rule.threshold).mean()) for score in seen]
    return Shipped(
        scorer,
        rows.findings,
        rows.proxies,
        recent_share=shares[0],
        judged_share=shares[1],
        level=moved_by,
        shifts=tuple(_shifts(study, rows.spec, every)),
    )


def _with_all_winners(study: Study, recipe: Recipe, rows: TrainingRows) -> TrainingRows:
    """Add the leads that were won and are not in the sample; the others weigh more for it."""
    rest, until = study.rest, study.crm.until_us
    if rest.crm is None:
        return rows
    every = study.snapshots.followed_by(rest.won)
    counts = rest.counts(of_winners(study.snapshots, study.crm))
    return replace(
        rows,
        X=np.concatenate([rows.X, study.matrix(rows.spec, rest.won, rest.crm)]),
        known=study.labels(every, until, recipe.half_life_days, counts),
        importance=importance(every.as_of_us, until, recipe.half_life_days) * counts,
    )


def _week_to_week(
    study: Study, spec: FeatureSpec, refit: Estimator, final: Calibration, row: Int64
) -> float:
    """Tell how much log-odds move within a week in which nothing happens, in the median.

    By that much a lead that was flagged may fall below the threshold before it is no longer.
    """
    row = spread(row)
    lead, as_of_us = study.snapshots.lead[row], study.snapshots.as_of_us[row]
    moments = (as_of_us, as_of_us + 7 * DAY_US)
    events, leads = study.config.events, study.crm.leads
    seen = [
        event_counts((*events.sales, *events.handoff), leads, lead, moment) for moment in moments
    ]
    quiet = (seen[0] == seen[1]) & (moments[1] <= study.crm.until_us)
    if study.config.split.undated or not quiet.any():
        return 0.0
    now, later = (
        final.log_odds(refit.log_odds(matrix(spec, leads, lead[quiet], moment[quiet])))
        for moment in moments
    )
    return float(np.median(np.abs(later - now)))


def _used(spec: FeatureSpec) -> list[Attribute]:
    return [each for each in spec.attributes if of_attribute(each).name in spec.names]


def _profiles(study: Study, spec: FeatureSpec, by_creation: Int64) -> tuple[Profile, ...]:
    """Describe the records of all leads; with a history, as they stood at learned snapshots."""
    used, moments = _used(spec), np.argsort(study.snapshots.as_of_us, kind="stable")
    row = spread(moments[study.at_until.weight[moments] > 0])
    return (
        *profiles(used, study.crm.leads.columns, spread(by_creation)),
        *profiles_by_age(used, study.told(row), study.days_since_creation(row)),
    )


def _shifts(study: Study, spec: FeatureSpec, by_creation: Int64) -> Iterator[Finding]:
    """Compare the attributes of the newest leads with those of the others, by levels known then."""
    created, columns = study.crm.leads.created_us[by_creation], study.crm.leads.columns
    first = len(created) - round(NEWEST * len(created))
    if not created[0] < created[-1] or first == len(created):
        return
    then = {each.name: each for each in study.spec(int(created[first]) - 1)[0].attributes}
    known = [then.get(each.name, each) for each in _used(spec)]
    usual = profiles(known, columns, spread(by_creation[:first]))
    yield from moved(usual, known, columns, by_creation[first:], who="newest")
    yield from _shifts_of_histories(study, known, by_creation[first:])


def _shifts_of_histories(
    study: Study, known: Sequence[Attribute], newest_leads: Int64
) -> Iterator[Finding]:
    """Compare what records with a history said when their leads were judged."""
    row = np.flatnonzero(study.headline)
    new = np.isin(study.snapshots.lead[row], newest_leads)
    before, now = spread(row[~new]), row[new]
    usual = profiles_by_age(known, study.told(before), study.days_since_creation(before))
    yield from moved(
        usual,
        known,
        study.told(now),
        np.arange(len(now)),
        who="newest",
        age_days=study.days_since_creation(now),
    )


def _leads_with_time(study: Study, scored: Sequence[Scored]) -> int:
    row = joined(scored).row
    return len(np.unique(study.snapshots.lead[row[study.had_time(row)]]))


def _percentiles(scores: npt.NDArray[np.float64]) -> list[float]:
    return np.quantile(scores, np.linspace(0, 1, min(PERCENTILE_STEPS, len(scores)))).tolist()


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
