"""What the report says, as one plain mapping: counts, figures and sentences; not how it looks."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from features.history import DAY_US
from features.moments import iso
from training import evaluation, handoff, promotion
from training.choosing import Choice, evidence
from training.evidence import Evidence
from training.judging import Judged
from training.labels import maturity_curve
from training.leaks import Leak
from training.origins import WINS_TO_JUDGE
from training.report import model_card
from training.report.promise import promise
from training.report.standing import standing
from training.scorer import Card
from training.shipping import Shipped
from training.study import Study

BASELINES = ("base_rate", "recency", "points", "odoo", "logistic")
"""In the order of the tables; the figures of one that cannot be fitted are empty."""
JUDGED_ON = {"time": "later leads", "hash": "leads held out by a hash of their id"}
LEAK_AUC = 0.9
MOVED = 0.8
"""An exposure ratio that is surely below it, or above its inverse, is an alarm."""

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


def describe(
    study: Study,
    choice: Choice,
    judged: Judged,
    shipped: Shipped,
    leaks: tuple[Leak, ...] = (),
) -> dict[str, Any]:
    """Put all that the report says into one plain mapping; NaN where a figure is not defined."""
    rule = shipped.scorer.rule
    against = _against_baselines(study, judged)
    report: dict[str, Any] = {
        "data": _describe_data(study),
        "label": _describe_label(study),
        "origins": _describe_origins(study),
        "rows": _describe_rows(study),
        "sample": _describe_sample(study),
        "candidates": [
            {"name": c.recipe.name, "log_loss": c.log_loss, "ci": [c.low, c.high]}
            for c in choice.candidates
        ],
        "chosen": choice.recipe.name,
        "time_proxies": {"features": shipped.proxies, "used": choice.recipe.proxies},
        "headline": f"one snapshot per lead, {study.headline_age:g} days old or more"
        if study.grid.every_days is None
        else "one calendar snapshot per lead",
        "calibration": asdict(shipped.scorer.calibration) | {"judged": asdict(choice.calibration)},
        "test": _describe_test(study, judged),
        "exposure": _exposure(study, judged).as_dict(),
        "level": shipped.level,
        "against_baselines": against,
        "rule": {
            **rule.as_dict(),
            "curve": Evidence.from_dict(shipped.scorer.reference["evidence"]).curve(),
            "judged": _replayed(study, choice, judged),
            "recent_share_refit": shipped.recent_share,
            "recent_share_judged": shipped.judged_share,
        },
        "leaks": [leak.as_dict() for leak in leaks],
        "gate": {"passed": None, "checks": []},
        "weak": study.roles.weak,
        **standing(study, choice, judged, shipped.scorer, against.get("best")),
    }
    report["card"] = model_card.describe(study, shipped, report)
    return {"summary": list(_summary(report)), **report}


def card(study: Study, choice: Choice, report: dict[str, Any]) -> Card:
    """Give what the artifact says of its model: the report's headline, config, data, versions."""
    libraries = ("leadqual", "scikit-learn", "lightgbm", "numpy", "numba", "skops")
    return Card(
        horizon_days=study.horizon_days,
        trained_until=iso(study.crm.until_us),
        recipe=choice.recipe.name,
        metrics=report["test"]["model"],
        config=study.config.model_dump(mode="json"),
        data=report["data"],
        versions={name: version(name) for name in libraries},
        leaks=report["leaks"],
    )


def _summary(report: dict[str, Any]) -> Iterator[str]:
    """Give the sentences that a report opens with: what cannot be promised comes first."""
    yield from _about_baselines(report["against_baselines"])
    yield promise(report["rule"])
    yield from _about_order(report["data"])
    yield from _about_judging(report)
    yield from _about_sample(report["sample"])
    yield from _about_figures(report["test"])
    yield from _about_proxies(report["time_proxies"])
    yield from _about_level(report["level"])
    yield from _about_exposure(report["exposure"])


def _about_level(shift: float) -> Iterator[str]:
    if shift:
        more = "more" if shift > 0 else "fewer"
        yield (
            f"The world has moved: leads that are too young to judge have clearly {more} wins so "
            "far than the history explains, even if the time that wins take has changed. The odds "
            f"of every score are multiplied by {np.exp(shift):.2f} for it; who ranks before whom "
            "stays. Most of the history is of another world: train again soon."
        )


def _about_exposure(found: dict[str, Any]) -> Iterator[str]:
    low, high = found["low"], found["high"]
    if low is not None and (low > 1 / MOVED or high < MOVED):
        more = "more" if low > 1 else "fewer"
        yield (
            f"The world may have moved: leads that are too young to judge have {more} wins so far "
            f"than expected, {found['value']:.2f} times as many ({low:.2f} to {high:.2f}). Train "
            "again soon, and watch the share that is handed off."
        )


def _about_order(data: dict[str, Any]) -> Iterator[str]:
    if "undated_order" in data:
        yield (
            f"The tables have no dates: leads stand in the order of {data['undated_order']}, "
            "later ones judge. "
            "Moments, ages and weeks count leads, and there is no horizon."
        )


def _about_proxies(found: dict[str, Any]) -> Iterator[str]:
    if found["features"]:
        does = "uses them" if found["used"] else "does without them"
        yield (
            f"The date can be told from {', '.join(found['features'])}: such features may turn "
            f"against a model when the world moves. The recipe that did best on later leads {does}."
        )


def _about_judging(report: dict[str, Any]) -> Iterator[str]:
    cuts = report["origins"]
    if report["weak"]:
        yield (
            f"Too little history to judge: {cuts['wins_seen']} leads after the first cut were seen "
            f"to win, {WINS_TO_JUDGE} are needed. No figure below can be promised, neither "
            "probabilities nor the share handed off."
        )
    elif not report["rows"]["test"]["won"]:
        yield "No win among the matured judged leads: the figures below cannot be given."
    if cuts["kind"] == "hash":
        yield (
            "Leads were split by a hash of their id, not by time: how the model does on later "
            f"leads cannot be told ({cuts['reason']})."
        )


def _about_sample(sample: dict[str, Any]) -> Iterator[str]:
    if sample["share"] < 1:
        yield (
            f"Of {sample['of_snapshots']:,} snapshots those of {sample['share']:.1%} of the leads "
            "fit into --memory, drawn by a hash of their ids; all figures are theirs, but for the "
            "counts of leads, events and outcomes, the leads that come in a week, and the search "
            "for leads that are copies of others."
        )
    if sample["won_beside"]:
        yield (
            f"The last fit learned from the other {sample['won_beside']:,} leads that were won, "
            "too; for it, a lead that was not won weighs as many as it stands for."
        )


def _about_baselines(found: dict[str, Any]) -> Iterator[str]:
    if found.get("better") is False:
        gap = found["log_loss_difference"]
        yield (
            f"The model is not better than the baseline {found['best']}: its log loss on the "
            f"judged leads is higher by {gap['value']:.4f} ({gap['low']:.4f} to "
            f"{gap['high']:.4f}). It is registered with --allow-weak only."
        )


def _about_figures(test: dict[str, Any]) -> Iterator[str]:
    auc = test["model"]["auc"]["value"]
    if auc is not None and auc > LEAK_AUC:
        yield (
            f"An AUC above {LEAK_AUC} on CRM data is almost always a leak: look for columns "
            "filled after the outcome."
        )


def _describe_data(study: Study) -> dict[str, Any]:
    every, undated = study.crm.overview, study.config.split.undated
    return {
        "leads": len(every),
        "events": every.events,
        "outcomes": len(every.outcomes.won),
        "won": int(every.outcomes.won.sum()),
        "first_created": iso(int(every.created_us.min())),
        "until": iso(study.crm.until_us),
        "digest": study.digest,
        **({"undated_order": study.config.split.order_by or "the rows"} if undated else {}),
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
        "judged_on": JUDGED_ON[study.origins.kind],
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


def _describe_sample(study: Study) -> dict[str, Any]:
    rest = study.rest
    return {
        "of_snapshots": rest.snapshots,
        "share": rest.share,
        "won_beside": len(np.unique(rest.won.lead)),
    }


def _count(study: Study, mask: Bool) -> dict[str, int]:
    lead = study.snapshots.lead
    return {
        "snapshots": int(mask.sum()),
        "leads": len(np.unique(lead[mask])),
        "won": len(np.unique(lead[mask & study.at_until.seen])),
    }


def _exposure(study: Study, judged: Judged) -> evaluation.Figure:
    """Set wins of judged leads that have not matured against those to be expected by now."""
    known, row = study.at_until, judged.row
    young = study.headline[row] & ~known.matured[row] & (known.follow_up_days[row] >= 0)
    rows = row[young]
    arrived = study.arrivals.at(known.follow_up_days[rows])
    return evaluation.exposure(judged.model[young], known.seen[rows], arrived)


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
            study.cluster[snapshots.lead],
            snapshots.as_of_us,
            seed=study.seed,
            capacity_per_week=capacity,
        )
        return found.as_dict()

    nothing = figures(judged.model, np.zeros(len(row), np.bool_))
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
        cluster=study.cluster[snapshots.lead],
    )
    return {
        "model": figures(judged.model, head),
        "baselines": {
            name: figures(judged.baselines[name], head) if name in judged.baselines else nothing
            for name in BASELINES
        },
        "all_snapshots": figures(judged.model, matured),
        "by_age": [{**asdict(age), "figures": age.figures.as_dict()} for age in ages],
        "reliability": [
            asdict(b)
            for b in evaluation.reliability(judged.model[head], study.at_until.won[row[head]])
        ],
    }


def _against_baselines(study: Study, judged: Judged) -> dict[str, Any]:
    """Set the model against the best baseline, on the same rows; empty where none can be judged."""
    head = study.at_until.matured[judged.row] & study.headline[judged.row]
    rows = judged.row[head]
    won = study.at_until.won[rows]
    if not won.any() or not judged.baselines:
        return {}
    beside = {name: p[head] for name, p in judged.baselines.items()}
    best, gap = promotion.against_baselines(judged.model[head], won, beside, study.seed)
    return {"best": best, "log_loss_difference": gap.as_dict(), "better": gap.value < 0}


def _replayed(study: Study, choice: Choice, judged: Judged) -> dict[str, Any]:
    """Replay the rule as the choosing cuts fixed it over the weeks of the judging ones."""
    if not len(judged.row):
        return {}
    snapshots = study.snapshots.rows(judged.row)
    start = int(study.crm.leads.created_us[snapshots.lead].min())
    score = study.flaggable(judged.row, judged.model)
    found = handoff.replay(
        snapshots.lead,
        snapshots.as_of_us,
        score,
        choice.rule.threshold,
        start_us=start,
        end_us=study.crm.until_us,
        capacity_per_week=study.config.rule.capacity_per_week,
    )
    timely = study.had_time(judged.row)
    best = handoff.best_scores(snapshots.lead[timely], score[timely])
    return {
        "threshold": choice.rule.as_dict()["threshold"],
        "expected_share": choice.rule.expected_share,
        "won_share": evidence(study, judged.scored, choice.calibration).won_share(
            choice.rule.threshold
        ),
        "share": float((best >= choice.rule.threshold).mean()) if len(best) else float("nan"),
        **{name: value for name, value in asdict(found).items() if name != "per_week"},
        "weeks": len(found.per_week),
        "per_week": found.per_week.tolist(),
    }


def _any(masks: Sequence[Bool], rows: int) -> Bool:
    return np.logical_or.reduce([np.zeros(rows, np.bool_), *masks])
