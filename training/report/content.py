"""What the report says, as one plain mapping: counts, figures and sentences; how it looks is not here."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from features.history import DAY_US
from features.moments import iso
from training import evaluation, handoff
from training.choosing import Choice
from training.judging import Judged
from training.labels import maturity_curve
from training.scorer import Card
from training.shipping import Shipped
from training.study import Study

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


def describe(
    study: Study, choice: Choice, judged: Judged, shipped: Shipped, seconds: dict[str, float]
) -> dict[str, Any]:
    """Put everything that the report says into one plain mapping; NaN where a figure is not defined."""
    rule = shipped.scorer.rule
    report: dict[str, Any] = {
        "data": _describe_data(study),
        "label": _describe_label(study),
        "origins": _describe_origins(study),
        "rows": _describe_rows(study),
        "candidates": [
            {"name": c.recipe.name, "log_loss": c.log_loss, "ci": [c.low, c.high]}
            for c in choice.candidates
        ],
        "chosen": choice.recipe.name,
        "headline": f"one snapshot per lead, {study.headline_age:g} days old or more"
        if study.grid.every_days is None
        else "one calendar snapshot per lead",
        "calibration": asdict(shipped.scorer.calibration) | {"judged": asdict(choice.calibration)},
        "test": _describe_test(study, judged),
        "rule": {
            **rule.as_dict(),
            "judged": _replayed(study, choice, judged),
            "recent_share_refit": shipped.recent_share,
            "recent_share_judged": shipped.judged_share,
        },
        "leaks": [],
        "gate": {"passed": None, "checks": []},
        "weak": study.roles.weak,
        "seconds": seconds,
    }
    return {"summary": list(_summary(report)), **report}


def card(study: Study, choice: Choice, report: dict[str, Any]) -> Card:
    libraries = ("leadqual", "scikit-learn", "lightgbm", "numpy", "numba", "skops")
    return Card(
        horizon_days=study.horizon_days,
        trained_until=iso(study.crm.until_us),
        recipe=choice.recipe.name,
        metrics=_without_nan(report["test"]["model"]),
        config=study.config.model_dump(mode="json"),
        data=report["data"],
        versions={name: version(name) for name in libraries},
    )


def _summary(report: dict[str, Any]) -> Iterator[str]:
    """The sentences that a report opens with: what cannot be promised comes first."""
    rule, test = report["rule"], report["test"]
    if not rule["stated"]:
        yield (
            "No hand-off rule is stated, so the best fifth of the leads is handed off. To state what sales can work, "
            "write capacity_per_week = N under [rule] in leadqual.toml."
        )
    elif not rule["feasible"]:
        yield (
            f"The rule cannot be kept: with these data no threshold holds {rule['capacity_per_week']} leads a week "
            f"in {100 * rule['promise']['confidence']:.0f} % of the weeks; nothing is handed off."
        )
    else:
        yield (
            f"Rule: at most {rule['capacity_per_week']} new hand-offs a week in {100 * rule['promise']['confidence']:.0f} % "
            f"of the weeks; {rule['promise']['expected_per_week']:.1f} a week are expected."
        )
    if report["weak"]:
        yield (
            f"Too little history to judge: {report['origins']['wins_seen']} leads after the first cut were seen to win, "
            "30 are needed. No figure below can be promised, neither probabilities nor the share handed off."
        )
    elif not report["rows"]["test"]["won"]:
        yield "No win among the matured later leads: the figures below cannot be given."
    best = min(
        test["baselines"].items(),
        key=lambda item: _or_inf(item[1]["log_loss"]["value"]),
        default=None,
    )
    if best and _or_inf(best[1]["log_loss"]["value"]) <= _or_inf(
        test["model"]["log_loss"]["value"]
    ):
        yield f"The model is not better than the baseline {best[0]} (log loss on later leads)."
    low = test["model"]["auc"]["value"]
    if low is not None and low > 0.9:
        yield "An AUC above 0.9 on CRM data is almost always a leak: look for columns filled after the outcome."


def _or_inf(value: float | None) -> float:
    return np.inf if value is None or np.isnan(value) else value


def _describe_data(study: Study) -> dict[str, Any]:
    crm = study.crm
    return {
        "leads": len(crm.leads),
        "events": len(crm.leads.history.occurred_us),
        "outcomes": len(crm.outcomes.won),
        "won": int(crm.outcomes.won.sum()),
        "first_created": iso(int(crm.leads.created_us.min())),
        "until": iso(crm.until_us),
        "digest": crm.digest,
    }


def _describe_label(study: Study) -> dict[str, Any]:
    known, snapshots = study.at_until, study.snapshots
    return {
        "strategy": study.config.label.strategy,
        "horizon_days": study.horizon_days,
        "snapshots": len(snapshots),
        "grid": asdict(study.grid),
        "matured": int(known.matured.sum()),
        "known": int(known.known.sum()),
        "open": int((~known.known).sum()),
        "evaluation_until": iso(study.crm.until_us - round(study.horizon_days * DAY_US)),
        "lost_is_open": known.lost_is_open,
        "reopened_share": known.reopened_share,
        "without_weight": known.without_matured,
        "maturity_curve": maturity_curve(study.arrivals, study.horizon_days),
    }


def _describe_origins(study: Study) -> dict[str, Any]:
    return {
        "kind": study.origins.kind,
        "reason": study.origins.reason,
        "wins_seen": study.roles.seen_wins,
        "cuts": [
            {
                "cut": iso(cut.cut_us),
                "role": "choose" if at in study.roles.choose else "judge",
                "train": int(cut.train.sum()),
                "test": int(cut.test.sum()),
            }
            for at, cut in enumerate(study.origins.cuts)
        ],
    }


def _describe_rows(study: Study) -> dict[str, Any]:
    known = study.at_until
    tested = _any([cut.test for cut in study.judging], len(study.snapshots))
    chosen = _any([cut.test for cut in study.choosing], len(study.snapshots))
    masks = {
        "train": known.weight > 0,
        "calibrate": chosen & known.matured,
        "test": tested & known.matured & study.headline,
    }
    return {name: _count(study, mask) for name, mask in masks.items()}


def _count(study: Study, mask: Bool) -> dict[str, int]:
    lead = study.snapshots.lead
    return {
        "snapshots": int(mask.sum()),
        "leads": len(np.unique(lead[mask])),
        "won": len(np.unique(lead[mask & study.at_until.seen])),
    }


def _describe_test(study: Study, judged: Judged) -> dict[str, Any]:
    row = judged.row
    matured = study.at_until.matured[row]
    head = matured & study.headline[row]
    capacity = study.config.rule.capacity_per_week

    def figures(score: Float64, mask: Bool) -> dict[str, Any]:
        rows = row[mask]
        snapshots = study.snapshots.rows(rows)
        found = evaluation.figures(
            score[mask],
            study.at_until.won[rows],
            snapshots.lead,
            snapshots.as_of_us,
            seed=study.seed,
            capacity_per_week=capacity,
        )
        return found.as_dict()

    rows = row[matured]
    snapshots = study.snapshots.rows(rows)
    ages = evaluation.by_age(
        snapshots.age_days,
        judged.model[matured],
        study.at_until.won[rows],
        snapshots.lead,
        snapshots.as_of_us,
        seed=study.seed,
        capacity_per_week=capacity,
    )
    return {
        "model": figures(judged.model, head),
        "baselines": {name: figures(score, head) for name, score in judged.baselines.items()},
        "all_snapshots": figures(judged.model, matured),
        "by_age": [{**asdict(age), "figures": age.figures.as_dict()} for age in ages],
        "reliability": [
            asdict(b)
            for b in evaluation.reliability(judged.model[head], study.at_until.won[row[head]])
        ],
    }


def _replayed(study: Study, choice: Choice, judged: Judged) -> dict[str, Any]:
    """The rule as it was fixed on the choosing cuts, replayed over the weeks of the judging ones."""
    if not len(judged.row):
        return {}
    snapshots = study.snapshots.rows(judged.row)
    start = int(study.crm.leads.created_us[snapshots.lead].min())
    found = handoff.replay(
        snapshots.lead,
        snapshots.as_of_us,
        judged.model,
        choice.rule.threshold,
        start_us=start,
        end_us=study.crm.until_us,
        capacity_per_week=study.config.rule.capacity_per_week,
    )
    timely = study.had_time(judged.row)
    best = handoff.best_scores(snapshots.lead[timely], judged.model[timely])
    return {
        "threshold": choice.rule.as_dict()["threshold"],
        "expected_share": choice.rule.expected_share,
        "share": float((best >= choice.rule.threshold).mean()) if len(best) else float("nan"),
        **{name: value for name, value in asdict(found).items() if name != "per_week"},
        "weeks": len(found.per_week),
        "per_week": found.per_week.tolist(),
    }


def _without_nan(figures: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {
            key: None if value is None or np.isnan(value) else value
            for key, value in figure.items()
        }
        for name, figure in figures.items()
    }


def _any(masks: Sequence[Bool], rows: int) -> Bool:
    return np.logical_or.reduce([np.zeros(rows, np.bool_), *masks])
