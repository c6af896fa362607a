"""Calibration: slope and intercept on the log-odds, shrunk where cuts disagree; no decisions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

Float64 = npt.NDArray[np.float64]

WINS_PER_CUT = 20
SMALLEST_SLOPE, LARGEST_SLOPE = 0.1, 10.0
LARGEST_SHIFT = 10.0
PENALTY = 1e-3


@dataclass(frozen=True)
class CutFit:
    """The fit of one cut, ``level + slope * (log_odds - center)``, and how many wins it had."""

    center: float
    level: float
    slope: float
    wins: int


@dataclass(frozen=True)
class Calibration:
    """``intercept + slope * log_odds``, slope above 0; the identity until evidence says otherwise.

    Attributes
    ----------
    intercept, slope : float
    cuts : int
        How many cuts it was learned from.
    """

    intercept: float = 0.0
    slope: float = 1.0
    cuts: int = 0

    def log_odds(self, log_odds: Float64) -> Float64:
        """Return calibrated log-odds, in the same order of leads."""
        return self.intercept + self.slope * log_odds

    def shifted(self, shift: float) -> "Calibration":
        """Return the same with so much more on the log-odds."""
        return replace(self, intercept=self.intercept + shift)

    def probability(self, log_odds: Float64) -> Float64:
        """Return calibrated probabilities.

        >>> Calibration(1.0, 0.5).probability(np.array([-2.0])).tolist()
        [0.5]
        """
        return expit(self.log_odds(log_odds))


def fit_cut(log_odds: Float64, won: Float64) -> CutFit:
    """Fit slope and level on one cut's matured rows, scored by a recipe that never saw their leads.

    Slope and shift are bounded and pulled to the identity by a penalty too small to be felt unless
    wins and the others separate; a cut that ranks upside down gets the smallest slope, and the
    level that fits it.

    Parameters
    ----------
    log_odds : float64 [rows]
    won : float64 [rows]
        0 or 1.

    Examples
    --------
    >>> won = np.repeat([0.0, 1.0, 0.0, 1.0], [40, 10, 10, 40])
    >>> fit = fit_cut(np.repeat([-1.0, 1.0], 50), won)
    >>> round(fit.slope, 2), fit.wins
    (1.39, 50)
    """
    if not len(log_odds):
        return CutFit(0.0, 0.0, 1.0, 0)
    center = float(log_odds.mean())
    away = log_odds - center

    def loss(parameters: Float64) -> tuple[float, Float64]:
        shift, slope = parameters
        z = center + shift + slope * away
        wrong = expit(z) - won
        value = np.logaddexp(0.0, z).sum() - (won * z).sum()
        pull = PENALTY * np.array([shift, slope - 1.0])
        gradient = np.array([wrong.sum(), (wrong * away).sum()]) + pull
        return float(value + pull @ [shift, slope - 1.0] / 2), gradient

    bounds = [(-LARGEST_SHIFT, LARGEST_SHIFT), (SMALLEST_SLOPE, LARGEST_SLOPE)]
    shift, slope = minimize(loss, [0.0, 1.0], jac=True, method="L-BFGS-B", bounds=bounds).x
    return CutFit(center, center + float(shift), float(slope), int(won.sum()))


def shrink(fits: Sequence[CutFit]) -> Calibration:
    """Average the cuts' deviations from the identity and shrink them by how much the cuts disagree.

    For slope and for level: mean deviation times ``max(0, 1 - (variance between cuts / cuts) / mean
    deviation**2)``. Cuts with fewer than 20 wins don't count; fewer than two others: the identity.
    The slope is shrunk first. A cut's level is then taken where its leads are, at the mean of its
    own log-odds, given that slope: with its own slope and elsewhere, cuts that rank badly but are
    all too low could add up to too high.

    Examples
    --------
    >>> cut, thin = CutFit(-2.0, -1.5, 1.0, wins=40), CutFit(-2.0, 9.0, 9.0, wins=3)
    >>> shrink([cut, cut, thin])
    Calibration(intercept=0.5, slope=1.0, cuts=2)
    >>> shrink([cut, thin])
    Calibration(intercept=0.0, slope=1.0, cuts=0)
    """
    fits = [fit for fit in fits if fit.wins >= WINS_PER_CUT]
    if len(fits) < 2:
        return Calibration()
    center = float(np.mean([fit.center for fit in fits]))
    slope = 1.0 + _shrunk(np.array([fit.slope - 1.0 for fit in fits]))
    levels = [fit.level - center - slope * (fit.center - center) for fit in fits]
    return Calibration(_shrunk(np.array(levels)) + (1.0 - slope) * center, slope, len(fits))


def _shrunk(deviations: Float64) -> float:
    mean = float(deviations.mean())
    if mean**2 == 0.0:  # also where the square of a tiny mean underflows
        return 0.0
    noise = float(deviations.var(ddof=1)) / len(deviations)
    return mean * max(0.0, 1.0 - noise / mean**2)
