"""Where the judged model stands: against other orders, by month, by group, by value; in numbers."""

from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from training.choosing import Choice
from training.evidence import Evidence
from training.judging import Judged
from training.origins import lead_hash
from training.report import gain, insight, segments
from training.report.outlook import outlook
from training.report.sample import Sample, lead_ids, sample
from training.scorer import LeadScorer
from training.study import Study

Float64 = npt.NDArray[np.float64]

FIFTH = 0.2
"""What is compared where the rule hands nothing off."""


def standing(
    study: Study, choice: Choice, judged: Judged, scorer: LeadScorer, best: str | None
) -> dict[str, Any]:
    """Give all that the report says of the judged leads beyond the model's figures.

    Parameters
    ----------
    study, choice, judged
        Of the run.
    scorer : LeadScorer
        What is shipped.
    best : str or None
        The best baseline.
    """
    every = sample(study, judged, choice.rule)
    known = every.matured
    records = study.crm.records(every.lead, every.as_of_us)
    head = study.headline[judged.row]
    others = {name: p[head][~np.isnan(every.won)] for name, p in judged.baselines.items()}
    share = choice.rule.expected_share
    beside = _stand_ins(others, best, share or FIFTH)
    return {
        "outlook": outlook(Evidence.from_dict(scorer.reference["evidence"]), scorer.rule).as_dict(),
        "gain": _gain(known, beside, share, study.seed),
        "changes": _changes(study, known, beside, share),
        "months": [] if study.config.split.undated else segments.by_month(every, study.seed),
        "segments": segments.segments(
            every,
            records,
            scorer.spec.attributes,
            study.config.report,
            seed=study.seed,
            threads=study.threads,
        ),
        "groups": segments.named(every, records, study.config.report, seed=study.seed),
        "insight": insight.insights(
            known,
            study.matrix(scorer.spec, study.snapshots.rows(known.row)),
            scorer.spec,
        ),
    }


def _stand_ins(others: dict[str, Float64], best: str | None, share: float) -> dict[str, Float64]:
    """Take the orders that stand in for what is done today.

    The points rule and the best baseline, where they tell the leads apart; else every other one
    that does.
    """
    telling = [name for name, score in others.items() if gain.tells(score, share)]
    wanted = dict.fromkeys(name for name in ("points", best) if name in telling)
    return {name: others[name] for name in wanted or telling if name is not None}


def _gain(known: Sample, beside: dict[str, Float64], share: float, seed: int) -> dict[str, Any]:
    orders = {"model": known.score, **beside}
    curves = {
        name: asdict(gain.gain(score, known.won, known.cluster, seed=seed))
        for name, score in orders.items()
    }
    return {"curves": curves, "rule_share": share}


def _changes(
    study: Study, known: Sample, beside: dict[str, Float64], share: float
) -> dict[str, Any]:
    ids = lead_ids(study, known.lead)
    compared = gain.exchange(
        known,
        beside,
        ids=ids,
        hashes=lead_hash(ids),
        share=share or FIFTH,
        seed=study.seed,
    )
    return {"share": share or FIFTH, "of_the_rule": bool(share), "orders": compared}
