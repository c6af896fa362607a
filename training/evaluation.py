"""Figures of scores against labels, intervals by leads, and the loss that chooses; no plots."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, gamma

from features.history import DAY_US
from training.snapshots import AGES_DAYS

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

LEVEL = 0.95
DRAWS = 500
TOP_SHARE = 0.1
DESK_SHARE = 0.2
_SMALLEST = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Figure:
    """A figure and its 95 % interval; NaN where it is not defined (no wins, or nothing else)."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float | None]:
        """Return plain JSON values, None for NaN.

        >>> Figure(0.5, float("nan"), 0.75).as_dict()
        {'value': 0.5, 'low': None, 'high': 0.75}
        """
        pairs = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: None if np.isnan(value) else float(value) for name, value in pairs}


NOTHING = Figure(np.nan, np.nan, np.nan)
"""A figure that is not defined."""


@dataclass(frozen=True)
class Figures:
    """The figures of one scorer on one set of rows.

    Attributes
    ----------
    log_loss, brier, auc, average_precision : Figure
        As in ``sklearn.metrics``.
    calibration_ratio : Figure
        Mean score / share won; 1 is right, above it the scores promise too much.
    lift_at_10pct : Figure
        Share won among the best tenth / share won among all.
    capture_at_capacity : Figure
        Share of the wins among the best leads of their week, averaged over the weeks with wins;
        best: as many as sales can work in a week, or the best fifth of the week's leads where that
        is not stated.
    """

    log_loss: Figure
    brier: Figure
    auc: Figure
    average_precision: Figure
    calibration_ratio: Figure
    lift_at_10pct: Figure
    capture_at_capacity: Figure

    def as_dict(self) -> dict[str, dict[str, float | None]]:
        """Return plain JSON values."""
        return {field.name: getattr(self, field.name).as_dict() for field in fields(self)}


@dataclass(frozen=True)
class AgeFigures:
    """The figures at one age of the leads."""

    age_days: float
    rows: int
    leads: int
    won_leads: int
    figures: Figures


@dataclass(frozen=True)
class Bin:
    """A bin of a reliability diagram: promised and observed share, with an exact 95 % interval."""

    rows: int
    wins: int
    mean_score: float
    share_won: float
    low: float
    high: float


@dataclass(frozen=True)
class Mean:
    """A mean and its standard error, leads as clusters."""

    value: float
    standard_error: float


def figures(
    score: Float64,
    won: Float64,
    lead: Int64,
    as_of_us: Int64,
    *,
    seed: int,
    capacity_per_week: int | None = None,
    draws: int = DRAWS,
) -> Figures:
    """Compute all figures; intervals by bootstrap over leads, all rows of a drawn lead together.

    Equal scores share their place: no figure depends on the order of the rows.

    Parameters
    ----------
    score : float64 [rows]
        Probabilities.
    won : float64 [rows]
        0 or 1; matured rows only.
    lead : int64 [rows]
    as_of_us : int64 [rows]
        Weeks are counted from the earliest.
    seed : int
    capacity_per_week : int, optional
    draws : int

    Examples
    --------
    >>> score, won = np.array([0.1, 0.2, 0.9]), np.array([0.0, 0.0, 1.0])
    >>> found = figures(score, won, np.arange(3), np.zeros(3, np.int64), seed=0)
    >>> [round(f.value, 2) for f in (found.auc, found.calibration_ratio, found.lift_at_10pct)]
    [1.0, 1.2, 3.0]
    """
    if not len(score):
        return Figures(*(Figure(*[float("nan")] * 3) for _ in fields(Figures)))
    best_first = np.argsort(-score, kind="stable")
    score, won, as_of_us = score[best_first], won[best_first], as_of_us[best_first]
    measure = _Measure.of(score.astype(np.float64), won, as_of_us, capacity_per_week)
    value = measure(np.ones(len(score)))
    code = np.unique(lead[best_first], return_inverse=True)[1]
    drawn = np.array([measure(weight) for weight in weights(code, draws, seed)])
    low, high = _quantiles(drawn)
    return Figures(*(Figure(*map(float, triple)) for triple in zip(value, low, high, strict=True)))


def by_age(
    age_days: npt.NDArray[np.floating],
    score: Float64,
    won: Float64,
    lead: Int64,
    as_of_us: Int64,
    *,
    seed: int,
    capacity_per_week: int | None = None,
    draws: int = DRAWS // 2,
    ages: Sequence[float] = AGES_DAYS,
    cluster: Int64 | None = None,
) -> tuple[AgeFigures, ...]:
    """Compute the figures per age; a row belongs to the largest of `ages` that it has reached.

    Intervals are over the clusters of rows that are given, else over leads.
    """
    cluster = lead if cluster is None else cluster
    band = np.searchsorted(np.asarray(ages), age_days, "right") - 1
    table = []
    for k in np.unique(band[band >= 0]):
        rows = np.flatnonzero(band == k)
        found = figures(
            score[rows], won[rows], cluster[rows], as_of_us[rows],
            seed=seed, capacity_per_week=capacity_per_week, draws=draws,
        )  # fmt: skip
        leads, won_leads = (len(np.unique(lead[r])) for r in (rows, rows[won[rows] > 0]))
        table.append(AgeFigures(float(ages[k]), len(rows), leads, won_leads, found))
    return tuple(table)


def reliability(score: Float64, won: Float64, bins: int = 10) -> tuple[Bin, ...]:
    """Compare promised and observed shares between quantiles of the score, one row per lead.

    Examples
    --------
    >>> bins = reliability(np.array([0.1, 0.1, 0.6, 0.6]), np.array([0.0, 0.0, 0.0, 1.0]), 2)
    >>> [(b.rows, b.mean_score, b.share_won) for b in bins]
    [(2, 0.1, 0.0), (2, 0.6, 0.5)]
    """
    if not len(score):
        return ()
    edges = np.unique(np.quantile(score, np.linspace(0, 1, bins + 1)[1:-1], method="lower"))
    place = np.searchsorted(edges, score, "left")
    return tuple(_bin(score[place == k], won[place == k]) for k in np.unique(place))


def share(wins: int, rows: int) -> Figure:
    """Return a share of independent rows with its exact interval (Clopper and Pearson 1934).

    Examples
    --------
    >>> found = share(0, 10)
    >>> found.value, found.low, round(found.high, 4)
    (0.0, 0.0, 0.3085)
    """
    if not rows:
        return Figure(np.nan, np.nan, np.nan)
    tail = (1.0 - LEVEL) / 2
    low = float(beta.ppf(tail, wins, rows - wins + 1)) if wins else 0.0
    high = float(beta.ppf(1.0 - tail, wins + 1, rows - wins)) if wins < rows else 1.0
    return Figure(wins / rows, low, high)


def choosing_loss(probability: Float64, seen: Bool, matured: Bool, arrived: Float64) -> Float64:
    """Return the loss of *won by now* per row, which takes rows of any follow-up without weights.

    ``-log p`` for a win seen within the horizon, ``-log(1 - p)`` for a matured row without one, and
    ``-log(1 - p F(C))`` for every other row, lost ones included: a recorded loss taken as certain,
    beside open ones that are discounted, would pull p down.

    Parameters
    ----------
    probability : float64 [rows]
    seen, matured : bool [rows]
        As in `training.labels.Labels`.
    arrived : float64 [rows]
        F(C): share of the wins that have come by each row's follow-up
        (`training.labels.DelayCurve.at`).

    Examples
    --------
    >>> half, seen, matured = np.full(3, 0.5), np.array([1, 0, 0]) > 0, np.array([0, 1, 0]) > 0
    >>> loss = choosing_loss(half, seen, matured, half)
    >>> loss.round(3).tolist()
    [0.693, 0.693, 0.288]
    """
    p = np.clip(probability, _SMALLEST, 1.0 - _SMALLEST)
    return np.where(seen, -np.log(p), -np.log1p(-p * np.where(matured, 1.0, arrived)))


def exposure(probability: Float64, seen: Bool, arrived: Float64) -> Figure:
    """Return wins seen so far over those to be expected by now, of leads that have not matured.

    A lead with probability p of a win within the horizon has been won by now with p F, where F is
    the share of such wins that have come by its follow-up. A ratio away from 1 is the earliest sign
    that the world moves. The interval is that of a Poisson count (Garwood 1936).

    Parameters
    ----------
    probability : float64 [leads]
    seen : bool [leads]
        A win was seen.
    arrived : float64 [leads]
        F.

    Examples
    --------
    >>> exposure(np.full(64, 0.25), np.arange(64) < 16, np.full(64, 0.5)).value
    2.0
    """
    expected, wins = float(probability @ arrived), int(seen.sum())
    if not expected:
        return Figure(np.nan, np.nan, np.nan)
    tail = (1 - LEVEL) / 2
    low = gamma.ppf(tail, wins) if wins else 0.0
    return Figure(
        wins / expected, float(low) / expected, float(gamma.ppf(1 - tail, wins + 1)) / expected
    )


def clustered_mean(values: Float64, lead: Int64) -> Mean:
    """Return the mean over rows and its standard error, leads as clusters; NaN below two leads.

    Examples
    --------
    >>> clustered_mean(np.array([1.0, 1.0, 3.0, 3.0]), np.array([0, 0, 1, 1]))
    Mean(value=2.0, standard_error=1.0)
    """
    if not len(values):
        return Mean(float("nan"), float("nan"))
    mean = float(values.mean())
    code = np.unique(lead, return_inverse=True)[1]
    total = np.bincount(code, weights=values - mean)
    if len(total) < 2:
        return Mean(mean, float("nan"))
    spread = float((total**2).sum()) * len(total) / (len(total) - 1)
    return Mean(mean, spread**0.5 / len(values))


def paired_difference(loss_a: Float64, loss_b: Float64, lead: Int64) -> Mean:
    """Return the mean of ``loss_a - loss_b`` over the same rows, with its standard error."""
    return clustered_mean(loss_a - loss_b, lead)


def paired_bootstrap(
    loss_a: Float64, loss_b: Float64, lead: Int64, *, seed: int, draws: int = DRAWS
) -> Figure:
    """Return the mean of ``loss_a - loss_b`` over the same rows, with its interval over leads.

    Examples
    --------
    >>> one = np.full(3, 1.0)
    >>> paired_bootstrap(one, 3 * one, np.arange(3), seed=0)
    Figure(value=-2.0, low=-2.0, high=-2.0)
    """
    difference = loss_a - loss_b
    if not len(difference):
        return Figure(*[float("nan")] * 3)
    code = np.unique(lead, return_inverse=True)[1]
    drawn = [_dot(w, difference) / w.sum() for w in weights(code, draws, seed)]
    tail = (1.0 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1.0 - tail]).tolist()
    return Figure(float(difference.mean()), low, high)


@dataclass(frozen=True)
class _Measure:
    """All figures for many weightings of the same rows; one draw at a time stays in the cache."""

    score: Float64
    won: Float64
    loss: Float64
    error: Float64
    ties: Int64
    in_week: Int64
    week_ties: Int64
    weeks: Int64
    capacity: int | None

    @classmethod
    def of(cls, score: Float64, won: Float64, as_of_us: Int64, capacity: int | None) -> "_Measure":
        """Prepare rows that are in order of score, the best first."""
        week = (as_of_us - as_of_us.min()) // (7 * DAY_US)
        in_week = np.argsort(week, kind="stable")
        week_ties = _starts(week[in_week], score[in_week])
        p = np.clip(score, _SMALLEST, 1.0 - _SMALLEST)
        return cls(
            score,
            won,
            loss=-np.where(won > 0, np.log(p), np.log1p(-p)),
            error=(score - won) ** 2,
            ties=_starts(score),
            in_week=in_week,
            week_ties=week_ties,
            weeks=_starts(week[in_week[week_ties]]),
            capacity=capacity,
        )

    def __call__(self, weight: Float64) -> list[float]:
        """Return the figures in the order of `Figures`, each row counted `weight` times."""
        weight_won = weight * self.won
        rows, wins = _sums(weight, self.ties), _sums(weight_won, self.ties)
        all_rows, all_wins = float(weight.sum()), float(weight_won.sum())
        return [
            _dot(weight, self.loss) / all_rows,
            _dot(weight, self.error) / all_rows,
            _auc(wins, rows - wins),
            _average_precision(wins, rows),
            _ratio(_dot(weight, self.score), all_wins),
            _lift(wins, rows),
            self._capture(weight[self.in_week], weight_won[self.in_week]),
        ]

    def _capture(self, weight: Float64, weight_won: Float64) -> float:
        rows, won = _sums(weight, self.week_ties), _sums(weight_won, self.week_ties)
        ties_of_week = np.diff(np.append(self.weeks, len(rows)))
        above = np.cumsum(rows) - rows
        above -= np.repeat(above[self.weeks], ties_of_week)
        desk = self.capacity or np.repeat(DESK_SHARE * _sums(rows, self.weeks), ties_of_week)
        caught = _sums(won * _shares(np.clip(desk - above, 0.0, rows), rows), self.weeks)
        wins = _sums(won, self.weeks)
        return _ratio(float(_shares(caught, wins).sum()), float((wins > 0).sum()))


def _starts(*keys: npt.NDArray[Any]) -> Int64:
    """Where runs of equal keys start."""
    changed = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    return np.concatenate([[0], np.flatnonzero(changed) + 1])


def _sums(values: Float64, starts: Int64) -> Float64:
    return values if len(starts) == len(values) else np.add.reduceat(values, starts)


def _dot(left: Float64, right: Float64) -> float:
    # Not `@`: on rows of this size BLAS starts threads, which cost more than they save.
    return float(np.einsum("i,i->", left, right))


def _shares(part: Float64, whole: Float64) -> Float64:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else float("nan")


def _auc(wins: Float64, others: Float64) -> float:
    """Share of the pairs in which the win stands first; equal scores count half."""
    above = np.cumsum(others) - others / 2
    pairs = float(wins.sum() * others.sum())
    return _ratio(pairs - _dot(wins, above), pairs)


def _average_precision(wins: Float64, rows: Float64) -> float:
    precision = _shares(np.cumsum(wins), np.cumsum(rows))
    return _ratio(_dot(wins, precision), float(wins.sum()))


def _lift(wins: Float64, rows: Float64) -> float:
    """Wins in the best tenth by the curve of cumulative wins, straight within equal scores."""
    seen, won = np.append(0.0, np.cumsum(rows)), np.append(0.0, np.cumsum(wins))
    return _ratio(float(np.interp(TOP_SHARE * seen[-1], seen, won)) / TOP_SHARE, float(won[-1]))


def weights(code: Int64, draws: int, seed: int) -> Iterator[Float64]:
    """Yield how often each row's cluster is drawn, in each draw of a bootstrap."""
    rng = np.random.default_rng(seed)
    leads = int(code.max()) + 1
    for _ in range(draws):
        count = np.bincount(rng.integers(0, leads, leads), minlength=leads)
        yield count.astype(np.float64)[code]


def _quantiles(drawn: Float64) -> tuple[Float64, Float64]:
    low, high = np.full((2, drawn.shape[1]), np.nan)
    defined = ~np.isnan(drawn).all(axis=0)
    tail = (1.0 - LEVEL) / 2
    low[defined], high[defined] = np.nanquantile(drawn[:, defined], [tail, 1.0 - tail], axis=0)
    return low, high


def _bin(score: Float64, won: Float64) -> Bin:
    n, wins = len(won), int(won.sum())
    observed = share(wins, n)
    return Bin(n, wins, float(score.mean()), observed.value, observed.low, observed.high)
