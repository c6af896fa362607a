"""The scorecard: a regularised logistic regression on quantile bins, predicting from tables."""

from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression

MOST_STEPS = 100

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


class Scorecard(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """An additive model: every feature gives the points of the bin that its value falls into.

    A number has about `bins` bins between quantiles of the training rows, a category one per code,
    and missing (NaN) is a bin of its own, so nothing runs away outside the range that was seen. A
    bin that no training row fell into has 0 points.

    Parameters
    ----------
    bins : int
        Bins of a number.
    C : float
        Inverse strength of the L2 penalty on the points, as in ``LogisticRegression``.
    categorical : sequence of int
        Columns that hold codes.

    Attributes
    ----------
    edges_ : float32 [e]
        The upper edges of the bins of all features, one after the other; a value v falls into the
        first bin with v <= edge.
    start_ : int64 [features + 1]
        The edges of feature j are ``edges_[start_[j]:start_[j + 1]]``.
    points_ : float64 [e + 2 * features]
        Log-odds of each bin: per feature that of missing first, then of its bins in order.
    center_ : float64 [features]
        Mean points of each feature over the training rows: what reasons compare with.
    intercept_ : float

    Examples
    --------
    >>> X = np.repeat(np.array([[0.0], [1.0], [np.nan]], np.float32), 100, axis=0)
    >>> card = Scorecard(C=1.0).fit(X, np.repeat([0, 1, 0], 100))
    >>> card.decision_function(X[[0, 100, 200]]).round(0).tolist()
    [-4.0, 3.0, -4.0]
    """

    def __init__(self, bins: int = 10, C: float = 0.03, categorical: tuple[int, ...] = ()) -> None:
        self.bins = bins
        self.C = C
        self.categorical = categorical

    def fit(
        self, X: Float32, y: npt.ArrayLike, sample_weight: Float64 | None = None
    ) -> "Scorecard":
        """Learn bins and points; `y` is 0 or 1."""
        edges = [_edges(X[:, j], self.bins, j in self.categorical) for j in range(X.shape[1])]
        self.start_ = np.concatenate([[0], np.cumsum([len(e) for e in edges])]).astype(np.int64)
        self.edges_ = np.concatenate(edges).astype(np.float32)
        self.classes_ = np.array([0, 1])
        chosen = _bins(X, self.edges_, self.start_)
        width = len(self.edges_) + 2 * X.shape[1]
        hot = sparse.csr_matrix(
            (np.ones(chosen.size), chosen.ravel(), np.arange(0, chosen.size + 1, X.shape[1])),
            shape=(len(X), width),
        )
        model = LogisticRegression(C=self.C, max_iter=MOST_STEPS)
        model.fit(hot, y, sample_weight=sample_weight)
        self.points_ = np.ascontiguousarray(model.coef_[0])
        self.intercept_ = float(model.intercept_[0])
        share = np.asarray(hot.sum(axis=0)).ravel() / len(X)  # points_[chosen] would fill memory
        first = self.start_[:-1] + 2 * np.arange(X.shape[1])
        self.center_ = np.add.reduceat(self.points_ * share, first)
        return self

    @property
    def width(self) -> int:
        """The number of features it was fitted to.

        Raises
        ------
        ValueError
            The fitted tables contradict each other.
        """
        features = len(self.start_) - 1
        if len(self.edges_) != self.start_[-1] or (np.diff(self.start_) < 0).any():
            raise ValueError("the edges of the scorecard's bins contradict each other")
        if len(self.points_) != len(self.edges_) + 2 * features or len(self.center_) != features:
            raise ValueError("the scorecard has not as many points as bins")
        return features

    def decision_function(self, X: Float32) -> Float64:
        """Return the log-odds, float64 [rows]."""
        self._check(X)
        return _log_odds(X, self.edges_, self.start_, self.points_, self.intercept_)

    def predict_proba(self, X: Float32) -> Float64:
        """Return the probabilities of 0 and 1, float64 [rows, 2]."""
        p = 1.0 / (1.0 + np.exp(-self.decision_function(X)))
        return np.column_stack([1.0 - p, p])

    def contributions(self, X: Float32) -> Float64:
        """Return points above the average row's, float64 [rows, features].

        They and a constant add up to the log-odds.
        """
        self._check(X)
        return self.points_[_bins(X, self.edges_, self.start_)] - self.center_

    def _check(self, X: Float32) -> None:
        if X.shape[1] != len(self.start_) - 1:
            raise ValueError(
                f"the scorecard knows {len(self.start_) - 1} features, got rows of {X.shape}"
            )

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that NaN is welcome."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def _edges(column: Float32, bins: int, category: bool) -> Float32:
    """Upper edges without the last bin, which is open."""
    present = column[~np.isnan(column)]
    if not len(present):
        return np.empty(0, np.float32)
    if category:
        return np.arange(present.max(), dtype=np.float32)  # a bin for each code, seen or not
    edges = np.unique(np.quantile(present, np.linspace(0, 1, bins + 1)[:-1], method="lower"))
    return edges[edges < present.max()]


@nb.njit(cache=True, nogil=True, inline="always")
def _bin(value: float, edges: Float32, start: Int64, j: int) -> int:
    """Which entry of `points_` a value takes."""
    base = start[j] + 2 * j
    if np.isnan(value):
        return base
    low, high = start[j], start[j + 1]
    while low < high:
        middle = (low + high) >> 1
        if value <= edges[middle]:
            high = middle
        else:
            low = middle + 1
    return base + 1 + low - start[j]


@nb.njit(cache=True, nogil=True)
def _bins(X: Float32, edges: Float32, start: Int64) -> Int32:
    out = np.empty(X.shape, np.int32)
    for i in range(X.shape[0]):
        for j in range(X.shape[1]):
            out[i, j] = _bin(X[i, j], edges, start, j)
    return out


@nb.njit(cache=True, nogil=True)
def _log_odds(
    X: Float32, edges: Float32, start: Int64, points: Float64, intercept: float
) -> Float64:
    out = np.empty(X.shape[0])
    for i in range(X.shape[0]):
        total = intercept
        for j in range(X.shape[1]):
            total += points[_bin(X[i, j], edges, start, j)]
        out[i] = total
    return out
