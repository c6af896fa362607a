"""The answers to a scored backlog as Arrow tables, block by block; they are not decided here."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
        handed = np.flatnonzero(self.scores.decision[rows] == DECISIONS.index("hand_off"))
        block = self.backlog.block(rows)
        given: list[list[dict[str, str]] | None] = [None] * len(block)
        if not len(handed):
            return pa.array(given, pa.list_(REASON))
        explained = self.scorer.explain(block.leads, block.as_of_us, handed, language)
        for row, reasons in zip(handed.tolist(), explained, strict=True):
            given[row] = [
                asdict(reason) | {"evidence": json.dumps(reason.evidence, ensure_ascii=False)}
                for reason in reasons
            ]
        return pa.array(given, pa.list_(REASON))


def _coded(
    codes: npt.NDArray[np.integer[Any]],
    names: Sequence[str],
    mask: npt.NDArray[np.bool_] | None = None,
) -> pa.DictionaryArray:
    indices = pa.array(codes.astype(np.int32), mask=mask)
    return pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string()))
