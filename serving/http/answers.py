"""From a request to the bytes of its answer, through `LeadScorer.score` and nothing else."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic_core import to_json

from features.matrix import Leads
from features.moments import iso
from serving.http.meters import Meters
from serving.http.remarks import Strange, remarks
from serving.http.requests import to_leads
from serving.http.schemas import ScoreRequest
from serving.served_model import ServedModel, identity
from serving.suppression import foremost
from training.scorer import DECISIONS, GRADES, LeadScorer, Scores

Reasons = Sequence[list[dict[str, Any]]]


def score(model: ServedModel, request: ScoreRequest, now_us: int, meters: Meters) -> bytes:
    """Score the leads of a request: JSON as `schemas.ScoreAnswer`, numbers in full precision."""
    as_of_us = now_us if request.as_of is None else request.as_of
    leads = to_leads(request.leads, model.scorer.spec.attributes)
    moments = np.array([as_of_us] * len(leads), np.int64)
    suppress = None
    if any(lead.suppress for lead in request.leads):
        suppress = [foremost(lead.suppress) for lead in request.leads]
    X = model.scorer.matrix(leads, moments)
    scores = model.scorer.judge(X, leads, moments, suppress=suppress)
    meters.scored(scores)
    reasons: Reasons = [[] for _ in request.leads]
    if request.reasons:
        reasons = _reasons(model.scorer, leads, moments, X, scores, request.language)
    strange = Strange.of(model, leads.history)
    results = to_json(list(_results(model, request, as_of_us, scores, reasons, strange)))
    return b'{"as_of":"%b","model":%b,"results":%b}' % (
        iso(as_of_us).encode(),
        model.block,
        results,
    )


def _results(  # noqa: PLR0917
    model: ServedModel,
    request: ScoreRequest,
    as_of_us: int,
    scores: Scores,
    reasons: Reasons,
    strange: Strange,
) -> Iterator[dict[str, Any]]:
    for lead, score, percentile, grade, decision, why, found in zip(
        request.leads,
        scores.score.tolist(),
        scores.percentile.tolist(),
        scores.grade.tolist(),
        scores.decision.tolist(),
        scores.why.tolist(),
        reasons,
        strict=True,
    ):
        unknown = math.isnan(score)
        yield {
            "lead_id": lead.lead_id,
            "score": None if unknown else score,
            "percentile": None if unknown else percentile,
            "grade": None if unknown else GRADES[grade],
            "decision": DECISIONS[decision],
            "why": scores.whys[why],
            "reasons": found,
            "warnings": remarks(model, lead, strange, as_of_us),
        }


def _reasons(  # noqa: PLR0917
    scorer: LeadScorer,
    leads: Leads,
    as_of_us: npt.NDArray[np.int64],
    X: npt.NDArray[np.float32],
    scores: Scores,
    language: str,
) -> Reasons:
    """Explain the leads that have a score."""
    reasons: list[list[dict[str, Any]]] = [[] for _ in range(len(leads))]
    rows = np.flatnonzero(~np.isnan(scores.score))
    if len(rows):
        spoken = language.lower().partition("-")[0]
        explained = scorer.explain(leads, as_of_us, rows, spoken, X=X[rows])
        for row, found in zip(rows, explained, strict=True):
            reasons[row] = [vars(reason) for reason in found]
    return reasons


def describe(scorer: LeadScorer) -> bytes:
    """Return the JSON of `schemas.ModelAnswer`."""
    return to_json(
        identity(scorer)
        | {
            "recipe": scorer.card.recipe,
            "rule": scorer.rule.as_dict(),
            "metrics": scorer.card.metrics,
            "config": scorer.card.config,
            "data": scorer.card.data,
            "versions": scorer.card.versions,
            "features": scorer.spec.names,
        }
    )
