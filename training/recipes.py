"""Recipes: scorecard, small trees and their blend, from weighted rows to log-odds; no choosing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed
from scipy.special import expit

from features.history import DAY_US
from training import trees
from training.labels import Labels, delay_curve, win_to_come
from training.scorecard import Scorecard
from training.trees import Trees

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

MIXES: dict[str, tuple[float, float]] = {
    "scorecard": (1.0, 0.0),
    "trees": (0.0, 1.0),
    "blend": (0.5, 0.5),
}
"""Weights of scorecard and trees on the log-odds."""

HALF_LIVES_DAYS: tuple[float | None, ...] = (None, 365.0, 90.0)
"""How fast training rows lose weight with age; None for never."""
HALF_LIVES_WITH_PROXIES_DAYS: tuple[float | None, ...] = (None, 90.0)
"""Fewer where every recipe is tried with and without time proxies: at most 12 in all."""
MANY_ROWS = 250_000
"""Of more, the parts are fitted one after the other: side by side they would fill the memory."""
ROUNDS = 4
WITHOUT = "without time proxies"


@dataclass(frozen=True)
class Recipe:
    """What is fitted, and from which rows.

    Attributes
    ----------
    mix : str
        A key of `MIXES`.
    half_life_days : float or None
        A training row this much older than the cut has half the weight.
    proxies : bool
        Whether features from which the date can be told are used (see `training.proxies`).
    """

    mix: str
    half_life_days: float | None = None
    proxies: bool = True

    @property
    def name(self) -> str:
        """A name for reports.

        >>> Recipe("blend", 90.0, proxies=False).name
        'blend, half-life 90 d, without time proxies'
        """
        half_life = self.half_life_days
        parts = [self.mix, "" if half_life is None else f"half-life {half_life:g} d"]
        return ", ".join(part for part in [*parts, WITHOUT * (not self.proxies)] if part)


@dataclass(frozen=True)
class Estimator:
    """Fitted scorecard and trees, and how they are mixed; a part of weight 0 is not computed."""

    scorecard: Scorecard
    trees: Trees
    mix: tuple[float, float]

    def log_odds(self, X: Float32) -> Float64:
        """Return uncalibrated log-odds, float64 [rows]."""
        card, forest = self.mix
        if not forest:
            return self.scorecard.decision_function(X)
        if not card:
            return self.trees.log_odds(X)
        return card * self.scorecard.decision_function(X) + forest * self.trees.log_odds(X)

    def contributions(self, X: Float32) -> Float64:
        """Return what each feature adds to the log-odds, float64 [rows, features]."""
        card, forest = self.mix
        total = np.zeros(X.shape)
        if card:
            total += card * self.scorecard.contributions(X)
        if forest:
            total += forest * self.trees.contributions(X)
        return total

    def mixed(self, name: str) -> "Estimator":
        """Return the same parts in another mix."""
        return replace(self, mix=MIXES[name])


def fit(
    X: Float32,
    y: Float64,
    weight: Float64,
    *,
    categorical: Sequence[int],
    seed: int,
    threads: int = 1,
) -> Estimator:
    """Fit both parts on rows with weight above 0; `y` is 0 or 1. The mix is the blend at first."""
    used = weight > 0
    if not used.all():
        X, y, weight = X[used], y[used], weight[used]
    threads = 1 if len(X) > MANY_ROWS else threads
    card, forest = Parallel(n_jobs=threads, prefer="threads")(
        (
            delayed(Scorecard(categorical=tuple(categorical)).fit)(X, y, weight),
            delayed(trees.fit)(X, y, weight, categorical=list(categorical), seed=seed),
        )
    )
    return Estimator(card, forest, MIXES["blend"])


def fit_softly(
    start: Estimator,
    X: Float32,
    known: Labels,
    importance: Float64,
    *,
    categorical: Sequence[int],
    seed: int,
    threads: int = 1,
) -> Estimator:
    """Fit both parts by delayed-feedback EM: open rows count as a win as likely as one is to come.

    An open row enters twice: as won with the weight `labels.win_to_come` by the estimator of the
    round before, and as not won with the rest. How wins arrive is estimated from the same rows.

    Parameters
    ----------
    start : Estimator
        The first round's.
    X : float32 [rows, features]
    known : Labels
    importance : float64 [rows]
        How much each row matters.
    """
    arrived = delay_curve(known.delay_days, known.follow_up_days).at(known.follow_up_days)
    rows = known.follow_up_days >= 0
    open_ = np.flatnonzero(rows & ~known.known)
    closed = np.flatnonzero(rows & known.known)
    every = np.concatenate([closed, open_, open_])
    y = np.concatenate([known.won[closed], np.ones(len(open_)), np.zeros(len(open_))])
    for _ in range(ROUNDS if len(open_) else 0):
        wins = win_to_come(expit(start.log_odds(X[open_])), arrived[open_])
        share = np.concatenate([np.ones(len(closed)), wins, 1.0 - wins])
        start = fit(
            X[every],
            y,
            importance[every] * share,
            categorical=categorical,
            seed=seed,
            threads=threads,
        )
    return start


def effective(weight: Float64) -> Float64:
    """Scale weights so that they add up to how many rows of equal weight would tell as much.

    That is Kish's effective sample size, ``sum(w)**2 / sum(w**2)``. Penalties are set against the
    sum of the weights: where some rows weigh much, as with inverse probabilities, the plain sum
    promises more than the rows hold, and where all have faded with age, less.

    Examples
    --------
    >>> effective(np.array([0.5, 0.5, 0.0])).tolist(), effective(np.array([3.0, 1.0])).tolist()
    ([1.0, 1.0, 0.0], [1.2000000000000002, 0.4])
    """
    squares = float((weight**2).sum())
    return weight * (float(weight.sum()) / squares) if squares else weight


def importance(
    as_of_us: npt.NDArray[np.int64], cut_us: int, half_life_days: float | None
) -> Float64:
    """Weigh rows by their age at the cut: half for every `half_life_days`, all alike without.

    >>> importance(np.array([0, 86_400_000_000]), 86_400_000_000, 1.0).tolist()
    [0.5, 1.0]
    """
    if half_life_days is None:
        return np.ones(len(as_of_us))
    return 0.5 ** ((cut_us - as_of_us) / (half_life_days * DAY_US))
