"""A past decision made again, from what had been received by then and the model that made it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from features.findings import UsageError
from serving.served_model import ServedModel
from serving.store import freshness
from serving.store.received import Received, Until, received
from serving.store.tables import decisions, leads
from training.scorer import DECISIONS

TOLERANCE = 1e-9


@dataclass(frozen=True)
class Replayed:
    """A decision as it was and as it comes out again.

    Attributes
    ----------
    decision_id : int
    then, now : dict
        score, decision and features_digest.
    same : "bit for bit", "to 1e-9" or "no"
    missing : tuple of str
        Why it is not the same, as far as that can be told.
    """

    decision_id: int
    then: dict[str, Any]
    now: dict[str, Any]
    same: str
    missing: tuple[str, ...]


def made_by(connection: sa.Connection, decision_id: int) -> tuple[str, str, str]:
    """Return name, version and digest of the model that made a decision.

    Raises
    ------
    UsageError
        There is no such decision (any more).
    """
    row = _decision(connection, decision_id)
    return row.model_name, row.model_version, row.model_digest


def replay(connection: sa.Connection, decision_id: int, model: ServedModel) -> Replayed:
    """Make a decision again.

    Parameters
    ----------
    connection : sa.Connection
    decision_id : int
    model : ServedModel
        The one that made it.

    Raises
    ------
    UsageError
        There is no such decision (any more), the lead's record is gone, or another model made it.
    """
    row = _decision(connection, decision_id)
    if row.model_digest != model.scorer.digest:
        raise UsageError(
            f"decision {decision_id} was made by {row.model_name}/{row.model_version} "
            f"sha256:{row.model_digest}, and --model is {model.scorer.label}: give that one"
        )
    record = connection.execute(sa.select(leads).where(leads.c.lead_id == row.lead_id)).all()
    if not record:
        raise UsageError(
            f"the record of the lead of decision {decision_id} is gone: it was erased since"
        )
    until = Until(row.as_of_us, row.last_seq, row.last_change_id, row.last_merge_id)
    known = received(connection, record, model.attributes, until)
    judged = freshness.judge(
        model,
        known.leads,
        row.as_of_us,
        suppress=[json.loads(row.suppress)],
        flagged=[_flagged_before(connection, row)],
        margin=row.margin,
    )
    score = freshness.number(judged.scores.score[0])
    now = {
        "score": score,
        "decision": DECISIONS[judged.scores.decision[0]],
        "features_digest": judged.digests[0],
    }
    then = {name: getattr(row, name) for name in now}
    return Replayed(decision_id, then, now, _same(then, now), tuple(_missing(known, row)))


def _decision(connection: sa.Connection, decision_id: int) -> sa.Row[Any]:
    wanted = sa.select(decisions).where(decisions.c.decision_id == decision_id)
    row = connection.execute(wanted).one_or_none()
    if row is None:
        raise UsageError(
            f"there is no decision {decision_id}: its lead was erased, it is older than decisions "
            "are kept, or it was made in another database"
        )
    return row


def _flagged_before(connection: sa.Connection, row: sa.Row[Any]) -> bool:
    own = (decisions.c.lead_id == row.lead_id) & (decisions.c.decision_id < row.decision_id)
    newest = sa.select(decisions.c.decision).where(own).order_by(decisions.c.decision_id.desc())
    return connection.execute(newest.limit(1)).scalar() == freshness.HAND_OFF


def _same(then: dict[str, Any], now: dict[str, Any]) -> str:
    if then == now:
        return "bit for bit"
    if then["decision"] != now["decision"] or (then["score"] is None) != (now["score"] is None):
        return "no"
    if then["score"] is None or abs(then["score"] - now["score"]) <= TOLERANCE:
        return "to 1e-9"
    return "no"


def _missing(known: Received, row: sa.Row[Any]) -> Iterator[str]:
    if known.last_seq[0] < row.last_seq:
        yield "events that had been received are not kept any more"
    if known.last_change_id[0] < row.last_change_id:
        yield "changes of attributes that had been received are not kept any more"
    if known.last_merge_id[0] < row.last_merge_id:
        yield "which leads had been merged into it is not kept any more"
