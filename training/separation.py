"""How well one column alone tells later winners from the others; not what makes it a leak."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

LEAST_OF_A_KIND = 20
"""Fewer judged winners, or fewer others, say nothing of a column."""
NUMBER_BINS, STRATA, SMOOTHING = 20, 20, 10.0
Z_ONE_SIDED = 1.645


@dataclass(frozen=True)
class Auc:
    """An AUC on other leads and its lower 95 % bound (one-sided); NaN with too few of a kind."""

    value: float
    low: float


@dataclass(frozen=True)
class Split:
    """Leads in order of time: every second of a kind to learn a column's levels, others to judge.

    Attributes
    ----------
    won : bool [n]
    fit, judge : int64
        Rows of both halves, in order of time.
    """

    won: Bool
    fit: Int64
    judge: Int64

    @classmethod
    def of(cls, won: Bool, order: Int64) -> "Split":
        """Take every second winner, and every second of the others; `order` are the rows by time.

        >>> split = Split.of(np.array([True, False, False, True]), np.array([3, 2, 1, 0]))
        >>> split.fit.tolist(), split.judge.tolist()
        ([3, 2], [1, 0])
        """
        kind = won[order]
        fit = np.where(kind, np.cumsum(kind), np.cumsum(~kind)) % 2 == 1
        return cls(won, order[fit], order[~fit])

    def auc(self, codes: npt.NDArray[Any]) -> Auc:
        """Judge a column of codes: each code's share of winners is learned from the one half.

        Pairs are formed within a twentieth of the other half only, so that a column which tells the
        date tells nothing. Bound after Hanley and McNeil (1982, doi
        10.1148/radiology.143.1.7063747), with one winner more that is ranked by chance.
        """
        width = int(codes.max(initial=0)) + 1
        rows = np.bincount(codes[self.fit], minlength=width)
        wins = np.bincount(codes[self.fit], weights=self.won[self.fit], minlength=width)
        base = wins.sum() / max(rows.sum(), 1)
        share = (wins + SMOOTHING * base) / (rows + SMOOTHING)
        return self._judged(share[codes[self.judge]])

    def _judged(self, score: Float64) -> Auc:
        won = self.won[self.judge]
        right = pairs = 0.0
        for part in np.array_split(np.arange(len(won)), STRATA):
            winners = int(won[part].sum())
            others = len(part) - winners
            if winners and others:
                ranks = rankdata(score[part])
                right += ranks[won[part]].sum() - winners * (winners + 1) / 2
                pairs += winners * others
        winners, others = int(won.sum()), int((~won).sum())
        if min(winners, others) < LEAST_OF_A_KIND or not pairs:
            return Auc(float("nan"), float("nan"))
        value = right / pairs
        shy = (value * winners + 0.5) / (winners + 1)
        return Auc(value, shy - Z_ONE_SIDED * _standard_error(shy, winners, others))


def numbers(values: npt.NDArray[np.floating[Any]], fit: Int64) -> Int64:
    """Give numbers the codes of twenty quantile bins of the rows `fit`; missing is the last code.

    >>> numbers(np.array([1.0, 2.0, np.nan]), np.array([0, 1])).tolist()
    [0, 1, 2]
    """
    known = values[fit][~np.isnan(values[fit])]
    if not len(known):
        return np.isnan(values).astype(np.int64)
    edges = np.quantile(known, np.arange(1, NUMBER_BINS) / NUMBER_BINS, method="higher")
    edges = np.unique(edges)
    return np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, "right"))


def levels(codes: npt.NDArray[np.floating[Any]]) -> Int64:
    """Give the codes of a category whole numbers; missing is the last one."""
    top = np.nanmax(codes, initial=-1.0) + 1
    return np.where(np.isnan(codes), top, codes).astype(np.int64)


def _standard_error(auc: float, winners: int, others: int) -> float:
    first, second = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = (winners - 1) * (first - auc**2) + (others - 1) * (second - auc**2)
    return float(np.sqrt(max(auc * (1 - auc) + spread, 0.0) / (winners * others)))
