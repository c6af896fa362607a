"""A lead's score is as fresh as what was accepted about it; each is kept with what it was made of.

The rows, the scores that follow from them, and what follows from those are one transaction.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from features.matrix import Leads
from serving.served_model import ServedModel
from serving.store import handoffs
from serving.store.call import Call
from serving.store.dialect import insert
from serving.store.handoffs import Considered
from serving.store.received import Received, Until, locked, received
from serving.store.tables import decisions, leads, models
from serving.suppression import foremost
from training.scorer import DECISIONS, GRADES, Scores

SPREAD = "week_to_week"
"""In a model's reference: how much log-odds move from week to week without news."""
MARGIN = 0.1
HAND_OFF = "hand_off"


def refresh(connection: sa.Connection, lead_ids: Iterable[str], call: Call, cause: str) -> None:
    """Score leads by all that was received about them, keep the decisions, and act on them.

    Leads without a record are left out: what was received about them waits for it. Without a model
    leads are marked as changed, and scored when there is one. They are judged at the call's moment,
    or later where another's clock was ahead: nothing that was accepted is left out.

    Parameters
    ----------
    connection : sa.Connection
        Of the transaction that wrote what changed.
    lead_ids : iterable of str
    call : Call
    cause : str
        Why: ``lead``, ``event``, ``outcome``, ``merge``, ``model`` or ``clock``.
    """
    rows = locked(connection, lead_ids)
    if not rows:
        return
    if call.model is None:
        connection.execute(_CHANGED, [_changed(row, call.now_us) for row in rows])
        return
    now_us = max(call.now_us, *(row.changed_us for row in rows))
    inquiries_since_us = call.now_us - call.policy.inbound_us
    known = received(connection, rows, call.model.attributes, Until(now_us), inquiries_since_us)
    as_of_us = max(now_us, known.newest_us)
    judged = judge(
        call.model,
        known.leads,
        as_of_us,
        suppress=known.suppress,
        flagged=[row.was == HAND_OFF for row in rows],
        margin=margin_of(call.model, call.policy.margin),
        language=call.policy.language,
    )
    if any(row.was_model != call.model.scorer.digest for row in rows):
        _register(connection, call.model, call.now_us)
    kept = _keep(connection, known, judged, call, as_of_us=as_of_us, cause=cause)
    considered = [
        Considered(
            row=row,
            decision_id=decision_id,
            decision=DECISIONS[judged.scores.decision[at]],
            why=judged.scores.whys[judged.scores.why[at]],
            score=number(judged.scores.score[at]),
            reasons=judged.reasons[at],
            suppress=known.suppress[at],
            inquired=known.last_inquiry_seq[at] > row.inquiry_seq,
        )
        for at, (row, decision_id) in enumerate(zip(rows, kept, strict=True))
    ]
    handoffs.consider(connection, considered, call)


@dataclass(frozen=True)
class Judged:
    """n leads as a model judges them.

    Attributes
    ----------
    scores : Scores
    reasons : list of list of dict [n]
    digests : list of str [n]
        SHA-256 of each lead's row of features, float32 in their order.
    margin : float
    """

    scores: Scores
    reasons: list[list[dict[str, Any]]]
    digests: list[str]
    margin: float


def judge(
    model: ServedModel,
    given: Leads,
    as_of_us: int,
    *,
    suppress: Sequence[Sequence[str]],
    flagged: Sequence[bool],
    margin: float,
    language: str = "en",
) -> Judged:
    """Score leads at a moment, and say why; see `LeadScorer.judge`."""
    scorer = model.scorer
    moments = np.full(len(given), as_of_us, np.int64)
    X = scorer.matrix(given, moments)
    foremost_of = [foremost(reasons) for reasons in suppress]
    scores = scorer.judge(
        X,
        given,
        moments,
        suppress=foremost_of if any(foremost_of) else None,
        flagged=np.array(flagged, np.bool_),
        margin=margin,
    )
    reasons: list[list[dict[str, Any]]] = [[] for _ in range(len(given))]
    rows = np.flatnonzero(~np.isnan(scores.score))
    if len(rows):
        explained = scorer.explain(given, moments, rows, language, X=X[rows])
        for row, found in zip(rows, explained, strict=True):
            reasons[row] = [vars(reason) for reason in found]
    digests = [hashlib.sha256(row.tobytes()).hexdigest() for row in X]
    return Judged(scores, reasons, digests, margin)


def margin_of(model: ServedModel, stated: float | None) -> float:
    """Return the log-odds that a flagged lead must fall below the threshold."""
    return float(model.scorer.reference.get(SPREAD, MARGIN)) if stated is None else stated


def _register(connection: sa.Connection, model: ServedModel, now_us: int) -> None:
    scorer = model.scorer
    row = {
        "digest": scorer.digest,
        "name": scorer.name,
        "version": scorer.version,
        "horizon_days": scorer.card.horizon_days,
        "rule": json.dumps(scorer.rule.as_dict(), sort_keys=True),
        "first_used_us": now_us,
    }
    connection.execute(insert(connection, models).values(row).on_conflict_do_nothing())


def _keep(
    connection: sa.Connection,
    known: Received,
    judged: Judged,
    call: Call,
    *,
    as_of_us: int,
    cause: str,
) -> list[int]:
    """Store the decisions, make them those that stand, and return their ids."""
    assert call.model is not None  # noqa: S101  # asked before
    scorer = call.model.scorer
    threshold = float(scorer.rule.threshold)
    same = {
        "as_of_us": as_of_us,
        "decided_us": call.now_us,
        "cause": cause,
        "model_digest": scorer.digest,
        "model_name": scorer.name,
        "model_version": scorer.version,
        "threshold": threshold if math.isfinite(threshold) else None,
        "margin": judged.margin,
    }
    scores = judged.scores
    rows = [
        same
        | {
            "lead_id": row.lead_id,
            "score": number(scores.score[at]),
            "percentile": number(scores.percentile[at]),
            "grade": GRADES[scores.grade[at]] or None,
            "decision": DECISIONS[scores.decision[at]],
            "why": scores.whys[scores.why[at]],
            "reasons": json.dumps(judged.reasons[at], ensure_ascii=False),
            "features_digest": judged.digests[at],
            "last_seq": known.last_seq[at],
            "last_change_id": known.last_change_id[at],
            "last_merge_id": known.last_merge_id[at],
            "suppress": json.dumps(known.suppress[at], ensure_ascii=False),
        }
        for at, row in enumerate(known.rows)
    ]
    ids = [*connection.execute(_DECIDED, rows).scalars()]
    pairs = zip(known.rows, ids, strict=True)
    now = {"now": as_of_us}
    connection.execute(
        _STANDS,
        [
            now | {"lead": row.lead_id, "new": new, "inquiry": max(row.inquiry_seq, inquiry)}
            for (row, new), inquiry in zip(pairs, known.last_inquiry_seq, strict=True)
        ],
    )
    return ids


_DECIDED = sa.insert(decisions).returning(decisions.c.decision_id, sort_by_parameter_order=True)
_STANDS = (
    sa.update(leads)
    .where(leads.c.lead_id == sa.bindparam("lead"))
    .values(
        decision_id=sa.bindparam("new"),
        inquiry_seq=sa.bindparam("inquiry"),
        scored_us=sa.bindparam("now"),
        changed_us=sa.bindparam("now"),
    )
)


_CHANGED = (
    sa.update(leads)
    .where(leads.c.lead_id == sa.bindparam("lead"))
    .values(changed_us=sa.bindparam("now"))
)


def _changed(row: sa.Row[Any], now_us: int) -> dict[str, Any]:
    """Mark a lead as changed after it was scored, whatever the clocks say."""
    return {"lead": row.lead_id, "now": max(now_us, row.changed_us, (row.scored_us or 0) + 1)}


def number(value: float) -> float | None:
    """Return a score, None for NaN."""
    return None if math.isnan(value) else float(value)
