"""Labels by horizon as known at a moment, with weights for what is not known yet; no model."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from features.history import DAY_US
from training.snapshots import NEVER, Snapshots

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

LARGEST_WEIGHT = 20.0
TINY = 1e-12
REOPENED_SHARE = 0.01
CURVE_DAYS = (1, 3, 7, 14, 30, 60, 90, 120, 180, 270, 365)


class TooLittleHistory(ValueError):
    """The tables are too short or hold too few wins to learn from; the message says which."""


@dataclass(frozen=True)
class Labels:
    """What is known of each snapshot at one moment, row for row.

    Attributes
    ----------
    known : bool [r]
        The label is known: a win was seen, a loss was seen, or the whole horizon has passed.
    won : float64 [r]
        1 for a win within ``(as_of, as_of + horizon]``, else 0; means something where `known`.
    weight : float64 [r]
        Inverse probability of the label being known (IPCW); 0 where unknown, and where no row of
        the same age can have matured yet.
    follow_up_days : float64 [r]
        Days from the snapshot to the moment; negative for rows after it, which carry no label.
    seen : bool [r]
        A win within the horizon that was known by the moment.
    matured : bool [r]
        ``follow_up_days >= horizon``.
    delay_days : float64 [r]
        Days until the win was known; NaN where none was seen.
    lost_is_open : bool
        Losses were not taken as final, because more than 1 % of lost snapshots are won within the
        horizon.
    reopened_share : float
        That share, over the matured snapshots with a loss; 0 without any.
    without_matured : int
        Rows left without weight because none of their age has matured.
    """

    known: Bool
    won: Float64
    weight: Float64
    follow_up_days: Float64
    seen: Bool
    matured: Bool
    delay_days: Float64
    lost_is_open: bool
    reopened_share: float
    without_matured: int

    def rows(self, chosen: Bool) -> "Labels":
        """Return what is known of some of the rows; the weights stay."""
        return Labels(
            known=self.known[chosen],
            won=self.won[chosen],
            weight=self.weight[chosen],
            follow_up_days=self.follow_up_days[chosen],
            seen=self.seen[chosen],
            matured=self.matured[chosen],
            delay_days=self.delay_days[chosen],
            lost_is_open=self.lost_is_open,
            reopened_share=self.reopened_share,
            without_matured=self.without_matured,
        )


@dataclass(frozen=True)
class DelayCurve:
    """Share of the wins within the horizon that have come by a number of days: a step function.

    Attributes
    ----------
    days : float64 [k]
        Where it steps, ascending.
    share : float64 [k]
        Its value from that day on; 1 at the last.
    """

    days: Float64
    share: Float64

    def at(self, days: npt.ArrayLike) -> Float64:
        """Return F(days); 0 before the first step, 1 everywhere when no win was seen.

        >>> DelayCurve(np.array([2.0, 5.0]), np.array([0.5, 1.0])).at([1, 2, 4.9, 5]).tolist()
        [0.0, 0.5, 0.5, 1.0]
        """
        if not len(self.days):
            return np.ones(np.shape(days))
        return np.concatenate([[0.0], self.share])[np.searchsorted(self.days, days, "right")]


def labels(
    snapshots: Snapshots,
    horizon_days: float,
    known_us: int,
    *,
    by_age: bool = True,
    importance: Float64 | None = None,
) -> Labels:
    """Label snapshots with what was known at a moment.

    A row of follow-up C is known when a win within the horizon H, a loss, or H itself lies within
    C. Let T be the earliest of them; the weight is ``min(1 / G(T), 20)`` with ``G(t) = P(C >= t)``:
    censoring is administrative, so G is the empirical survival of C (Vock et al. 2016, doi
    10.1016/j.jbi.2016.03.009).

    Parameters
    ----------
    snapshots : Snapshots
        Rows after `known_us` get no label and take no part in G.
    horizon_days : float
    known_us : int
        Wins and losses that became known later are not looked at.
    importance : float64 [r], optional
        How much each row matters, such as less with age; G counts by it too, and `weight` holds
        it. With a G that counts all rows alike, recent rows would stand for too much.
    by_age : bool
        One G per age. Later ages have shorter follow-up, so with one G for all the wins of later
        ages would weigh too much. False for a calendar grid, where all ages share each moment.

    Raises
    ------
    TooLittleHistory
        No snapshot has matured.

    Examples
    --------
    >>> days = lambda *n: np.array(n) * DAY_US
    >>> none = np.full(4, NEVER)
    >>> win = np.array([5 * DAY_US, NEVER, NEVER, NEVER])
    >>> age = np.zeros(4, np.float32)
    >>> rows = Snapshots(np.arange(4), days(0, 0, 6, 6), age, win, win, none, none)
    >>> labels(rows, 10, 10 * DAY_US).weight.tolist()
    [2.0, 2.0, 0.0, 0.0]
    """
    as_of, horizon_us = snapshots.as_of_us, round(horizon_days * DAY_US)
    follow_up = known_us - as_of
    matured = follow_up >= horizon_us
    if not matured.any():
        raise TooLittleHistory(_nothing_matured(as_of, horizon_days, known_us))
    within = snapshots.win_us <= as_of + horizon_us
    win_delay = np.where(within, _delay(snapshots.win_known_us, as_of), NEVER)
    loss_delay = _delay(snapshots.loss_known_us, as_of)
    seen, lost = win_delay <= follow_up, loss_delay <= follow_up
    reopened = _reopened_share(snapshots, matured & lost, seen, horizon_us)
    lost_is_open = reopened > REOPENED_SHARE
    decided = np.minimum(win_delay, horizon_us)
    if not lost_is_open:
        decided = np.minimum(decided, loss_delay)
    known = (follow_up >= 0) & (decided <= follow_up)
    stratum = snapshots.age_days if by_age else np.zeros(len(as_of))
    importance = np.ones(len(as_of)) if importance is None else importance
    weight, without = _weights(
        follow_up,
        decided,
        known=known,
        matured=matured,
        stratum=stratum,
        importance=importance,
    )
    return Labels(
        known=known,
        won=seen.astype(np.float64),
        weight=weight,
        follow_up_days=follow_up / DAY_US,
        seen=seen,
        matured=matured,
        delay_days=np.where(seen, win_delay / DAY_US, np.nan),
        lost_is_open=lost_is_open,
        reopened_share=reopened,
        without_matured=without,
    )


def delay_curve(delay_days: Float64, follow_up_days: Float64) -> DelayCurve:
    """Estimate how wins arrive from those seen so far, by the reverse-time product limit.

    Seen wins are right-truncated (a slow win of a young lead is not seen), so their plain
    distribution makes wins look quick. From the largest delay x down: at risk are the wins with
    delay <= x <= follow-up, and ``F(just below x) = F(x) * (1 - ties / at risk)`` (Lagakos et al.
    1988, doi 10.1093/biomet/75.3.515). Where all wins at risk came at x itself although quicker
    ones exist, one more is put at risk: F would be 0 below the luck of a single old lead.

    Parameters
    ----------
    delay_days : float64 [r]
        Days until the win was known, as in `Labels`; rows with NaN (no win seen) are passed over.
    follow_up_days : float64 [r]

    Examples
    --------
    >>> curve = delay_curve(np.array([1.0, 1.0, 3.0, np.nan]), np.array([2.0, 9.0, 9.0, 9.0]))
    >>> curve.days.tolist(), curve.share.tolist()
    ([1.0, 3.0], [0.5, 1.0])
    """
    seen = ~np.isnan(delay_days)
    delay, follow_up = np.sort(delay_days[seen]), np.sort(follow_up_days[seen])
    days, ties = np.unique(delay, return_counts=True)
    at_risk = np.cumsum(ties) - np.searchsorted(follow_up, days, "left")
    at_risk = at_risk + ((ties == at_risk) & (np.arange(len(days)) > 0))
    below = np.cumprod((1.0 - ties / at_risk)[::-1])[::-1]
    return DelayCurve(days, np.append(below[1:], 1.0)[: len(days)])


def win_to_come(probability: Float64, arrived: Float64) -> Float64:
    """Return the probability that a lead without a win so far is still won within the horizon.

    By Bayes, ``p (1 - F) / (1 - p F)`` for a probability p of a win within the horizon and the
    share F of such wins that have come by the lead's follow-up (Chapelle 2014, doi
    10.1145/2623330.2623634).

    Examples
    --------
    >>> win_to_come(np.array([0.5, 0.5, 0.5]), np.array([0.0, 0.5, 1.0])).round(3).tolist()
    [0.5, 0.333, 0.0]
    """
    return probability * (1.0 - arrived) / np.maximum(1.0 - probability * arrived, TINY)


def maturity_curve(curve: DelayCurve, horizon_days: float) -> tuple[tuple[float, float], ...]:
    """Return (days, share of the wins within the horizon that have come), for the report.

    Examples
    --------
    >>> maturity_curve(DelayCurve(np.array([2.0, 5.0]), np.array([0.5, 1.0])), 10)
    ((1.0, 0.0), (3.0, 0.5), (7.0, 1.0), (10.0, 1.0))
    """
    days = [*(float(day) for day in CURVE_DAYS if day < horizon_days), float(horizon_days)]
    return tuple(zip(days, curve.at(days).tolist(), strict=True))


def _delay(moment_us: Int64, as_of_us: Int64) -> Int64:
    return np.where(
        moment_us == NEVER, NEVER, moment_us - np.where(moment_us == NEVER, 0, as_of_us)
    )


def _reopened_share(snapshots: Snapshots, lost: Bool, seen: Bool, horizon_us: int) -> float:
    # Over matured rows only: young ones had no time to be won again.
    lost = lost & (snapshots.loss_us < snapshots.win_us)
    lost = lost & (snapshots.loss_us <= snapshots.as_of_us + horizon_us)
    return float((seen & lost).sum() / max(lost.sum(), 1))


def _weights(
    follow_up: Int64,
    decided: Int64,
    *,
    known: Bool,
    matured: Bool,
    stratum: npt.NDArray[np.floating],
    importance: Float64,
) -> tuple[Float64, int]:
    weight, without = np.zeros(len(known)), 0
    code = np.unique(stratum, return_inverse=True)[1]
    order = np.argsort(code, kind="stable")
    for rows in np.split(order, np.cumsum(np.bincount(code))[:-1]):
        rows = rows[follow_up[rows] >= 0]
        if not matured[rows].any():
            without += len(rows)
            continue
        rows = rows[np.argsort(follow_up[rows], kind="stable")]
        left = np.append(np.cumsum(importance[rows][::-1])[::-1], 0.0)
        reached, total = follow_up[rows], left[0]
        rows = rows[known[rows]]
        surviving = left[np.searchsorted(reached, decided[rows], "left")]
        weight[rows] = importance[rows] * np.minimum(total / surviving, LARGEST_WEIGHT)
    return weight, without


def _nothing_matured(as_of_us: Int64, horizon_days: float, known_us: int) -> str:
    longest = (known_us - int(as_of_us.min())) / DAY_US if len(as_of_us) else 0.0
    day = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=known_us)).date()
    return (
        f"no lead can be labelled: a horizon of {horizon_days:g} days needs snapshots with as much "
        f"follow-up, of {len(as_of_us)} the longest has {max(longest, 0.0):.1f} days by {day}; "
        "export older leads, or choose a shorter horizon (horizon_days)"
    )
