"""The level of the newest leads, by their wins so far; only an intercept, and only where clear."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import expit

from training.calibration import LARGEST_SHIFT, Calibration
from training.labels import TINY, DelayCurve, Labels, delay_curve

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

WINS = 10
"""Fewer leads with a win tell no level."""
ERRORS = 3.0
SUSPECT_ERRORS = 2.0
FOLDS = 3
PACE = 1.5
"""How much quicker or slower than before wins may come without being taken for more or fewer."""


@dataclass(frozen=True)
class Young:
    """Snapshots of leads of which none has matured, and their scores.

    Attributes
    ----------
    log_odds : float64 [rows]
        Uncalibrated.
    seen : bool [rows]
        A win within the horizon was known by the moment.
    follow_up_days : float64 [rows]
    cluster : int64 [rows]
        Whose rows belong together: the lead's account.
    arrivals : DelayCurve
        How wins arrive, by all that was known at the moment.
    """

    log_odds: Float64
    seen: Bool
    follow_up_days: Float64
    cluster: Int64
    arrivals: DelayCurve

    @classmethod
    def of(cls, known: Labels, rows: Bool, cluster: Int64, log_odds: Float64) -> "Young":
        """Gather `rows` of `known`; `cluster` and `log_odds` are of these rows alone."""
        return cls(
            log_odds,
            known.seen[rows],
            known.follow_up_days[rows],
            cluster,
            delay_curve(known.delay_days, known.follow_up_days),
        )


def young_rows(known: Labels, lead: Int64) -> Bool:
    """Tell which rows are of leads none of whose snapshots has matured, bool [rows].

    Later snapshots of older leads are left out: they tell how leads age, not what the new ones are.
    """
    older = np.unique(lead[known.matured])
    return (known.follow_up_days >= 0) & ~np.isin(lead, older)


def suspected(newest: Young, fitted: Calibration) -> bool:
    """Tell by scores of leads that were learned from whether held-out scores are worth their time.

    Learned wins score higher than new ones would: that hides a part of a shift up.
    """
    if not _enough(newest):
        return False
    best, error = _fit(newest, fitted.log_odds(newest.log_odds), 1.0)
    return abs(best) > SUSPECT_ERRORS * error or not np.isfinite(error)


def shift(newest: Young, fitted: Calibration) -> float:
    """Return what to add to the calibrated log-odds so that young leads have the wins they have.

    It maximises the likelihood of *won by now* (`training.evaluation.choosing_loss`), and is 0
    unless it lies `ERRORS` standard errors from 0 even if wins now come `PACE` times as quickly
    (for a shift down: as slowly) as they did. The errors are those of clusters.

    Examples
    --------
    >>> lead, curve = np.arange(400), DelayCurve(np.array([20.0]), np.array([1.0]))
    >>> newest = Young(np.full(400, -4.0), lead < 80, np.full(400, 40.0), lead, curve)
    >>> round(shift(newest, Calibration()), 2)  # to a probability of 80 / 400
    2.61
    >>> shift(newest, Calibration(intercept=2.4))
    0.0
    """
    if not _enough(newest):
        return 0.0
    log_odds = fitted.log_odds(newest.log_odds)
    best, bounded = _fit(newest, log_odds, 1.0)
    doubtful, error = _fit(newest, log_odds, PACE if best > 0 else 1 / PACE)
    clear = np.isfinite(bounded) and np.sign(best) * doubtful > ERRORS * error
    return best if clear else 0.0


def _enough(newest: Young) -> bool:
    return len(np.unique(newest.cluster[newest.seen])) >= WINS


def _fit(newest: Young, log_odds: Float64, pace: float) -> tuple[float, float]:
    """Return the shift and its standard error, infinite where no shift is large enough."""
    arrived = newest.arrivals.at(newest.follow_up_days * pace)

    def slopes(shift: float) -> Float64:
        p = expit(log_odds + shift)
        unseen = arrived * p * (1 - p) / np.maximum(1 - arrived * p, TINY)
        return np.where(newest.seen, 1 - p, -unseen)

    def total(shift: float) -> float:
        return float(slopes(shift).sum())

    for bound in (-LARGEST_SHIFT, LARGEST_SHIFT):
        if np.sign(bound) * total(bound) > 0:
            return bound, np.inf
    best = float(brentq(total, -LARGEST_SHIFT, LARGEST_SHIFT))
    step = 1e-4
    curvature = (total(best - step) - total(best + step)) / (2 * step)
    of_cluster = np.bincount(np.unique(newest.cluster, return_inverse=True)[1], slopes(best))
    return best, float(np.sqrt((of_cluster**2).sum()) / curvature)
