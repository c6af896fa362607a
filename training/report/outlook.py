"""What sales will feel of a hand-off rule, leads and wins a week; how it is fixed is not here."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import betabinom

from training import evaluation
from training.evaluation import NOTHING, Figure
from training.evidence import Evidence
from training.handoff import Rule

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

WEEKS_INSIDE = 0.8


@dataclass(frozen=True)
class Outlook:
    """What a rule brings.

    Attributes
    ----------
    share : float
        Of the leads, ever handed off.
    hand_offs_per_week : Figure
        What is expected, and the bounds within which 8 of 10 weeks stay.
    share_won : Figure
        Of the hand-offs, with an exact 95 % interval; NaN where nothing is handed off.
    wins_per_week : Figure
        Expected hand-offs times `share_won`.
    one_more : Figure
        Share won of the leads just below the threshold: what one more lead a week brings.
    """

    share: float
    hand_offs_per_week: Figure
    share_won: Figure
    wins_per_week: Figure
    one_more: Figure

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"weeks_inside": WEEKS_INSIDE, "interval": evaluation.LEVEL}


def outlook(evidence: Evidence, rule: Rule) -> Outlook:
    """Tell what a rule brings, from out-of-time scores and what came of the leads.

    Examples
    --------
    >>> from training.handoff import best_fifth_rule
    >>> scores, weeks = np.arange(100) / 100, np.full(4, 50)
    >>> found = outlook(
    ...     Evidence(np.arange(100), scores, (scores >= 0.9) * 1.0, weeks), best_fifth_rule(scores)
    ... )
    >>> [
    ...     round(f.value, 3)
    ...     for f in (found.hand_offs_per_week, found.share_won, found.wins_per_week)
    ... ]
    [10.0, 0.5, 5.0]
    """
    best, weeks = evidence.best, evidence.leads_per_week
    handed = int((best >= rule.threshold).sum())
    share = handed / len(best) if len(best) else float("nan")
    expected = share * float(weeks.mean()) if len(weeks) else float("nan")
    if not handed:
        return Outlook(share, Figure(expected, 0.0, 0.0), NOTHING, NOTHING, NOTHING)
    low, high = _weekly(handed, len(best), weeks)
    won = _figure(evidence.won_share(rule.threshold))
    wins = Figure(*(expected * bound for bound in (won.value, won.low, won.high)))
    more = _figure(evidence.won_just_below(rule.threshold))
    return Outlook(share, Figure(expected, low, high), won, wins, more)


def _figure(found: dict[str, float | None]) -> Figure:
    """Give a share; none of known leads is not defined, however wide its interval."""
    value, low, high = (found[name] for name in ("value", "low", "high"))
    return NOTHING if value is None or low is None or high is None else Figure(value, low, high)


def _weekly(handed: int, leads: int, weeks: Int64) -> tuple[float, float]:
    """Return the bounds within which 8 of 10 weeks stay; see `training.handoff.capacity_rule`."""
    sizes, count = np.unique(weeks, return_counts=True)
    most = int(sizes.max())
    number = np.arange(most + 1)
    mass = betabinom.pmf(number[:, None], sizes, handed, leads - handed + 1) @ (count / len(weeks))
    below = np.cumsum(mass)
    tail = (1 - WEEKS_INSIDE) / 2
    low, high = np.searchsorted(below, [tail, 1 - tail]).tolist()
    return float(low), float(high)
