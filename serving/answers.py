"""The answers to a scored backlog as Arrow tables, block by block; they are not decided here."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.history import Int64
from serving.backlog_rows import Backlog
from training.scorer import DECISIONS, GRADES, LeadScorer, Scores

REASON = pa.struct(
    [(name, pa.string()) for name in ("concept", "direction", "strength", "text", "evidence")]
)
"""A reason as it is written; evidence is JSON, because each kind of it has keys of its own."""
EXPLAINED_AT_ONCE = 1_024
_JSON = json.JSONEncoder(ensure_ascii=False)


@dataclass(frozen=True)
class Answers:
    """What `leadqual score` writes.

    Attributes
    ----------
    scorer : LeadScorer
    backlog : Backlog
    scores : Scores [rows of the backlog]
    rank : int64 [rows], or None
        Place by score, 0 for none; without it there is no such column.
    language : str or None
        Of the reasons; without it there is no such column.
    """

    scorer: LeadScorer
    backlog: Backlog
    scores: Scores
    rank: Int64 | None = None
    language: str | None = None

    def of(self, rows: slice) -> pa.Table:
        """Return the answers of some rows in order; columns of few values are dictionaries."""
        scores, score = self.scores, self.scores.score[rows]
        unscored = np.isnan(score)
        answer = {
            "lead_id": self.backlog.lead_id[rows],
            "as_of": pa.array(self.backlog.as_of_us[rows]).cast(pa.timestamp("us", "UTC")),
            "score": pa.array(score, mask=unscored),
            "percentile": pa.array(scores.percentile[rows], mask=unscored),
            "grade": _coded(scores.grade[rows], GRADES, unscored),
            "decision": _coded(scores.decision[rows], DECISIONS),
            "why": _coded(scores.why[rows], scores.whys),
        }
        if self.rank is not None:
            answer["rank"] = pa.array(self.rank[rows], mask=self.rank[rows] == 0)
        if self.language is not None:
            answer["reasons"] = self._reasons(rows, self.language)
        answer["model"] = _coded(np.zeros(len(score), np.int8), (self.scorer.label,))
        return pa.table(answer)

    def _reasons(self, rows: slice, language: str) -> pa.Array:
        """Explain the hand-offs, few at a time: fewer live objects are fewer rounds of the gc."""
        starts = range(rows.start, rows.stop, EXPLAINED_AT_ONCE)
        parts = [slice(start, min(start + EXPLAINED_AT_ONCE, rows.stop)) for start in starts]
        none = pa.array([], pa.list_(REASON))
        return pa.concat_arrays([none, *(self._some_reasons(part, language) for part in parts)])

    def _some_reasons(self, rows: slice, language: str) -> pa.Array:
        handed = self.scores.decision[rows] == DECISIONS.index("hand_off")
        if not handed.any():
            return pa.nulls(len(handed), pa.list_(REASON))
        block = self.backlog.block(rows)
        explained = self.scorer.explain(
            block.leads, block.as_of_us, np.flatnonzero(handed), language
        )
        counts = np.zeros(len(handed), np.int32)
        counts[handed] = [len(reasons) for reasons in explained]
        every = [reason for reasons in explained for reason in reasons]
        columns = (
            [reason.concept for reason in every],
            [reason.direction for reason in every],
            [reason.strength for reason in every],
            [reason.text for reason in every],
            [_JSON.encode(reason.evidence) for reason in every],
        )
        values = pa.StructArray.from_arrays(
            [pa.array(column, pa.string()) for column in columns], fields=list(REASON)
        )
        offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
        return pa.ListArray.from_arrays(
            offsets, values, type=pa.list_(REASON), mask=pa.array(~handed)
        )


def _coded(
    codes: npt.NDArray[np.integer[Any]],
    names: Sequence[str],
    mask: npt.NDArray[np.bool_] | None = None,
) -> pa.DictionaryArray:
    indices = pa.array(codes.astype(np.int32), mask=mask)
    return pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string()))
