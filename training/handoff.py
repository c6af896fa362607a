"""The hand-off rule, fixed from evidence and replayed; only here does a score meet a threshold."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import expit, logit
from scipy.stats import beta, betabinom

from features.history import DAY_US

Int64 = npt.NDArray[np.int64]
UInt8 = npt.NDArray[np.uint8]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

DECISIONS = ("hand_off", "nurture", "abstain", "suppressed")
HAND_OFF, NURTURE, ABSTAIN, SUPPRESSED = range(4)
GRADES = ("A", "B", "C", "D", "")
NO_GRADE = 4
BEST_SHARE = 0.2
NO_WEEKS = np.zeros(1, np.int64)
WEEK_US = 7 * DAY_US
SHARES_TRIED = (0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
"""Shares of the leads to hand off that a precision rule tries, set before it sees an outcome."""


@dataclass(frozen=True)
class Promise:
    """What a rule promises, in numbers; None where it promises nothing of the kind.

    `precision` is the share of the hand-offs that will be won, at least; `most_precision` the most
    that these data could promise.
    """

    confidence: float | None = None
    at_most_per_week: float | None = None
    expected_per_week: float | None = None
    precision: float | None = None
    most_precision: float | None = None


@dataclass(frozen=True)
class Rule:
    """From a score to a decision.

    Attributes
    ----------
    kind : str
        ``"capacity"``, ``"precision"``, ``"value"`` or ``"best_fifth"``.
    stated : bool
        Somebody has said what sales can take; else the rule is a stand-in.
    threshold : float
        Hand off from this score on; infinite where nothing can be handed off under the promise.
    grades : tuple of float
        The lowest scores of A, B and C; B is the threshold.
    promise : Promise
    feasible : bool
        The threshold keeps the promise on the evidence.
    expected_share : float
        Share of leads that will ever be handed off, by the evidence.
    capacity_per_week : int or None
        Leads that sales can work per week.
    minimum_events : int
        Abstain below so many events of the lead; 0 never does.
    value, cost : float or None
        Of a won lead, and of a hand-off.
    deprioritise_below : float
        A lead below it is nurtured with less effort; 0 marks none.
    """

    kind: str
    stated: bool
    threshold: float
    grades: tuple[float, float, float]
    promise: Promise
    feasible: bool
    expected_share: float
    capacity_per_week: int | None = None
    minimum_events: int = 0
    value: float | None = None
    cost: float | None = None
    deprioritise_below: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values; an infinite threshold is None."""
        plain = asdict(self)
        plain["threshold"] = _finite(self.threshold)
        plain["grades"] = [_finite(grade) for grade in self.grades]
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Rule":
        """Rebuild from `as_dict`.

        Raises
        ------
        ValueError
            A key is missing or unknown, or the thresholds are not in order.
        """
        known = {field.name: field.default is MISSING for field in fields(cls)}
        lacking = [name for name, required in known.items() if required and name not in plain]
        if lacking or not set(plain) <= set(known):
            raise ValueError(f"a rule has the keys {sorted(known)}, got {sorted(plain)}")
        a, b, c = (inf if grade is None else float(grade) for grade in plain["grades"])
        threshold = inf if plain["threshold"] is None else float(plain["threshold"])
        if not a >= b >= c or b != threshold:
            raise ValueError(
                f"grades {a}, {b}, {c} and threshold {threshold} contradict each other"
            )
        if not plain.get("deprioritise_below", 0.0) <= c:
            raise ValueError("deprioritise_below must not lie above the lowest score of a C")
        promise = Promise(**plain["promise"])
        return cls(**{**plain, "threshold": threshold, "grades": (a, b, c), "promise": promise})


@dataclass(frozen=True)
class Replay:
    """First crossings per week of 7 days, with what sales would have felt of them."""

    per_week: Int64
    mean: float
    p90: float
    largest: int
    over_capacity_share: float | None


def best_scores(lead: Int64, score: Float64) -> Float64:
    """Return each lead's best score over its snapshots, in order of lead.

    Examples
    --------
    >>> best_scores(np.array([4, 2, 4]), np.array([0.1, 0.2, 0.3])).tolist()
    [0.2, 0.3]
    """
    order = np.argsort(lead, kind="stable")
    starts = np.unique(lead[order], return_index=True)[1]
    return np.maximum.reduceat(score[order], starts) if len(lead) else np.empty(0)


def first_crossings(
    lead: Int64, as_of_us: Int64, score: Float64, threshold: float
) -> tuple[Int64, Int64]:
    """Return the leads that ever reach the threshold, in order, and when each first does.

    Examples
    --------
    >>> lead, moment = np.array([1, 1, 2]), np.array([30, 20, 10])
    >>> found = first_crossings(lead, moment, np.array([0.5, 0.4, 0.1]), 0.4)
    >>> [column.tolist() for column in found]
    [[1], [20]]
    """
    crossed = np.flatnonzero(score >= threshold)
    order = crossed[np.lexsort((as_of_us[crossed], lead[crossed]))]
    leads, first = np.unique(lead[order], return_index=True)
    return leads, as_of_us[order[first]]


def replay(
    lead: Int64,
    as_of_us: Int64,
    score: Float64,
    threshold: float,
    *,
    start_us: int,
    end_us: int,
    capacity_per_week: int | None = None,
) -> Replay:
    """Count first crossings in the whole weeks of ``[start_us, end_us)``, at least one week.

    A lead that first crossed before the start is not counted again.

    Examples
    --------
    >>> moments = np.array([0, 1, 8, 20]) * DAY_US
    >>> weeks = {"start_us": 0, "end_us": 20 * DAY_US}
    >>> replay(np.arange(4), moments, np.ones(4), 0.5, **weeks, capacity_per_week=1)
    Replay(per_week=array([2, 1]), mean=1.5, p90=1.9, largest=2, over_capacity_share=0.5)
    """
    weeks = max((end_us - start_us) // WEEK_US, 1)
    week = (first_crossings(lead, as_of_us, score, threshold)[1] - start_us) // WEEK_US
    per_week = np.bincount(week[(week >= 0) & (week < weeks)], minlength=weeks)
    return Replay(
        per_week,
        mean=float(per_week.mean()),
        p90=float(np.quantile(per_week, 0.9)),
        largest=int(per_week.max()),
        over_capacity_share=None
        if capacity_per_week is None
        else float((per_week > capacity_per_week).mean()),
    )


def capacity_rule(
    best_score: Float64,
    leads_per_week: npt.ArrayLike,
    capacity_per_week: int,
    *,
    delta: float = 0.1,
    minimum_events: int = 0,
) -> Rule:
    """Fix the lowest threshold that overloads sales in at most a share `delta` of the weeks.

    Among the m leads of a week, those above the k-th best of n exchangeable earlier leads are
    BetaBinomial(m, k, n - k + 1), whatever the scores' distribution; m varies as it did in the
    weeks seen.

    Parameters
    ----------
    best_score : float64 [n]
        The best score that each lead ever reached, out of time, of leads that had the time to reach
        it; -inf of a lead that never had enough events for one.
    leads_per_week : int or int [weeks]
        New leads of the weeks seen.
    capacity_per_week : int
        At least 1.
    delta : float
    minimum_events : int
        See `Rule`.

    Raises
    ------
    ValueError
        `capacity_per_week` is below 1.

    Examples
    --------
    >>> rule = capacity_rule(np.arange(400) / 400, 120, 20)
    >>> rule.threshold, rule.expected_share
    (0.875, 0.125)
    """
    if capacity_per_week < 1:
        raise ValueError(
            f"capacity_per_week must be at least 1, got {capacity_per_week}: "
            "state how many leads sales can work in a week"
        )
    ordered = np.sort(best_score)[::-1]
    sizes, weeks = np.unique(np.atleast_1d(leads_per_week), return_counts=True)
    allowed = _most_allowed(len(ordered), sizes, weeks / weeks.sum(), capacity_per_week, delta)
    # With no more leads than capacity, scores below all that were seen are handed off too.
    scored = int((ordered >= 0).sum())
    everything = scored > 0 and (allowed > scored or allowed == len(ordered))
    threshold = 0.0 if everything else _threshold_of_at_most(ordered, allowed)
    share = float((ordered >= threshold).mean()) if len(ordered) else 0.0
    arriving = float(np.average(sizes, weights=weeks))
    return Rule(
        kind="capacity",
        stated=True,
        threshold=threshold,
        grades=_grades(ordered, threshold),
        promise=Promise(1.0 - delta, float(capacity_per_week), share * arriving),
        feasible=threshold < inf,
        expected_share=share,
        capacity_per_week=int(capacity_per_week),
        minimum_events=minimum_events,
    )


def best_fifth_rule(best_score: Float64, *, minimum_events: int = 0) -> Rule:
    """Fix the threshold that a fifth of the leads reach: the stand-in until capacity is stated.

    Where equal scores make a fifth impossible, the share nearest to it.

    Examples
    --------
    >>> best_fifth_rule(np.arange(10) / 10).threshold
    0.8
    """
    ordered = np.sort(best_score)[::-1]
    values, above = np.unique(-ordered[ordered >= 0], return_counts=True)
    threshold = inf
    if len(values):
        off_target = np.abs(np.cumsum(above) / len(ordered) - BEST_SHARE)
        threshold = float(-values[np.argmin(off_target)])
    share = float((ordered >= threshold).mean()) if len(ordered) else 0.0
    return Rule(
        kind="best_fifth",
        stated=False,
        threshold=threshold,
        grades=_grades(ordered, threshold),
        promise=Promise(),
        feasible=threshold < inf,
        expected_share=share,
        minimum_events=minimum_events,
    )


def precision_rule(
    best_score: Float64,
    crossed: Callable[[float], tuple[int, int]],
    precision: float,
    *,
    confidence: float = 0.9,
    leads_per_week: Int64 = NO_WEEKS,
    minimum_events: int = 0,
) -> Rule:
    """Fix the lowest threshold that promises so large a share of won hand-offs.

    Thresholds are tried from strict to lax as long as the exact binomial test (Clopper and
    Pearson's lower bound) keeps the promise: a fixed sequence, so that trying many costs nothing
    (Learn then Test, Angelopoulos et al. 2021, arXiv 2110.01052). The few leads above a strict
    threshold may fail for want of evidence, so the sequence starts at three places, each with a
    third of the error. Where none keeps it, nothing is handed off, and `most_precision` says what
    could have been promised.

    Parameters
    ----------
    best_score : float64 [leads]
        As in `capacity_rule`.
    crossed : callable
        Given a threshold: how many leads with a known outcome ever reached it, and how many of
        those were won. It is asked for thresholds that depend on the scores alone.
    precision : float
        Of the hand-offs, the share that is to be won.
    confidence : float
        In how many of a hundred such promises it may be relied on, as a share.
    leads_per_week : int [weeks]
        New leads of the weeks seen, to say how many hand-offs to expect.
    minimum_events : int
        See `Rule`.

    Examples
    --------
    >>> won = np.arange(1_000)[::-1] % 10 < 5
    >>> def crossed(threshold):
    ...     above = np.arange(1_000) / 1_000 >= threshold
    ...     return above.sum(), (won & above).sum()
    >>> rule = precision_rule(np.arange(1_000) / 1_000, crossed, 0.4)
    >>> rule.feasible, precision_rule(np.arange(1_000) / 1_000, crossed, 0.55).feasible
    (True, False)
    """
    ordered = np.sort(best_score)[::-1]
    places = np.unique(np.rint(len(ordered) * np.array(SHARES_TRIED)).astype(int))
    tried = [float(ordered[place - 1]) for place in places[places > 0] if ordered[place - 1] >= 0]
    starts = sorted({0, len(tried) // 4, len(tried) // 2})
    counts = [crossed(threshold) for threshold in tried]
    bounds = [_at_least(won, known, (1.0 - confidence) / len(starts)) for known, won in counts]
    reached = [at for start in starts for at in _kept(bounds, start, precision)]
    threshold = tried[max(reached)] if reached else inf
    share = float((ordered >= threshold).mean()) if len(ordered) else 0.0
    return Rule(
        kind="precision",
        stated=True,
        threshold=threshold,
        grades=_grades(ordered, threshold),
        promise=Promise(
            confidence,
            expected_per_week=share * float(leads_per_week.mean()),
            precision=precision if reached else None,
            most_precision=max((bounds[start] for start in starts if tried), default=0.0),
        ),
        feasible=bool(reached),
        expected_share=share,
        minimum_events=minimum_events,
    )


def value_rule(
    best_score: Float64,
    *,
    value: float,
    cost: float,
    leads_per_week: Int64 = NO_WEEKS,
    minimum_events: int = 0,
) -> Rule:
    """Hand off where a lead is worth it: probability times value above cost.

    Parameters
    ----------
    best_score : float64 [leads]
        As in `capacity_rule`; it only tells how many hand-offs to expect, and the grades.
    value, cost : float
        Of a won lead, and of working one; in one currency.
    leads_per_week, minimum_events
        As in `precision_rule`.

    Examples
    --------
    >>> rule = value_rule(np.array([0.1, 0.2, 0.3]), value=1_000, cost=200)
    >>> [bool(score >= rule.threshold) for score in (0.2, 0.2000001)]
    [False, True]
    """
    ordered = np.sort(best_score)[::-1]
    worth = cost / value
    threshold = float(np.nextafter(worth, inf)) if worth < 1.0 else inf
    share = float((ordered >= threshold).mean()) if len(ordered) else 0.0
    return Rule(
        kind="value",
        stated=True,
        threshold=threshold,
        grades=_grades(ordered, threshold),
        promise=Promise(expected_per_week=share * float(leads_per_week.mean())),
        feasible=threshold < inf,
        expected_share=share,
        minimum_events=minimum_events,
        value=value,
        cost=cost,
    )


def decide(
    rule: Rule, score: Float64, *, events: Int64 | None = None, suppressed: Bool | None = None
) -> tuple[UInt8, UInt8]:
    """Return decisions and grades, as indices into `DECISIONS` and `GRADES`, row for row.

    Parameters
    ----------
    rule : Rule
    score : float64 [rows]
        NaN abstains and has no grade.
    events : int64 [rows], optional
        Events of each lead by then; too few abstain, where the rule asks for a minimum.
    suppressed : bool [rows], optional
        Never handed off, whatever the score; graded all the same.

    Examples
    --------
    >>> rule = best_fifth_rule(np.arange(10) / 10)
    >>> decision, grade = decide(rule, np.array([0.95, 0.8, 0.4, 0.3, np.nan]))
    >>> [DECISIONS[code] for code in decision], [GRADES[code] for code in grade]
    (['hand_off', 'hand_off', 'nurture', 'nurture', 'abstain'], ['A', 'B', 'C', 'D', ''])
    """
    decision = np.where(score >= rule.threshold, np.uint8(HAND_OFF), np.uint8(NURTURE))
    a, b, c = rule.grades
    grade = 3 - np.array([c, b, a]).searchsorted(score, "right")
    unsure = np.isnan(score)
    if events is not None and rule.minimum_events:
        unsure = unsure | (events < rule.minimum_events)
    decision[unsure], grade[unsure] = ABSTAIN, NO_GRADE
    if suppressed is not None:
        decision[suppressed] = SUPPRESSED
    return decision, grade.astype(np.uint8)


def steadied(rule: Rule, score: Float64, decision: UInt8, flagged: Bool, margin: float) -> Bool:
    """Tell which leads that were flagged stay so, though their score is below the threshold now.

    A lead is flagged where it reaches the threshold, and no longer where it has fallen clearly
    below it (a Schmitt trigger): noise does not flip it, and what the rule promises of first
    crossings holds.

    Parameters
    ----------
    rule : Rule
    score : float64 [rows]
    decision : uint8 [rows]
        As `decide` gives it.
    flagged : bool [rows]
        As they stood.
    margin : float
        Log-odds below the threshold.

    Examples
    --------
    >>> rule = best_fifth_rule(np.arange(10) / 10)
    >>> score = np.array([0.78, 0.78, 0.5])
    >>> steadied(rule, score, decide(rule, score)[0], np.array([True, False, True]), 0.2).tolist()
    [True, False, False]
    """
    least = expit(logit(rule.threshold) - margin) if rule.threshold <= 1 else rule.threshold
    return flagged & (decision == NURTURE) & (score >= least)


def apply_capacity(
    score: Float64, lead_id: pa.Array, decision: UInt8, capacity: int
) -> tuple[Int64, Bool]:
    """Rank the rows that could be handed off and mark hand-offs beyond the capacity.

    Parameters
    ----------
    score : float64 [rows]
    lead_id : pa.Array
        Orders equal scores; then the row does.
    decision : uint8 [rows]
        From `decide`.
    capacity : int
        Hand-offs that sales can take of this file.

    Returns
    -------
    rank : int64 [rows]
        1 is best; 0 for rows that abstain or are suppressed.
    over_capacity : bool [rows]
        To be nurtured instead.

    Examples
    --------
    >>> handed = np.zeros(3, np.uint8)
    >>> rank, over = apply_capacity(np.array([0.5, 0.9, 0.5]), pa.array(["b", "c", "a"]), handed, 2)
    >>> rank.tolist(), over.tolist()
    ([3, 1, 2], [True, False, False])
    """
    rows = np.flatnonzero(decision <= NURTURE)
    keys = pa.table({"score": score[rows], "lead_id": lead_id.take(pa.array(rows))})
    best_first = [("score", "descending"), ("lead_id", "ascending")]
    order = pc.sort_indices(keys, sort_keys=best_first).to_numpy()
    rank = np.zeros(len(score), np.int64)
    rank[rows[order]] = np.arange(1, len(rows) + 1)
    return rank, (decision == HAND_OFF) & (rank > capacity)


def _at_least(won: int, known: int, error: float) -> float:
    """Return Clopper and Pearson's lower bound of a share, which errs with that probability."""
    return float(beta.ppf(error, won, known - won + 1)) if won else 0.0


def _kept(bounds: list[float], start: int, precision: float) -> list[int]:
    """Give the places from a start on at which the promise is kept, up to the first where not."""
    kept = []
    for at in range(start, len(bounds)):
        if bounds[at] < precision:
            break
        kept.append(at)
    return kept


def _finite(value: float) -> float | None:
    return value if value < inf else None


def _most_allowed(n: int, sizes: Int64, weight: Float64, capacity: int, delta: float) -> int:
    """Return the largest k with at most `delta` chance of too many leads above the k-th best."""
    low, high = 0, n
    while low < high:
        k = (low + high + 1) // 2
        if _overflow(k, n, sizes, weight, capacity) <= delta:
            low = k
        else:
            high = k - 1
    return low


def _overflow(k: int, n: int, sizes: Int64, weight: Float64, capacity: int) -> float:
    big = sizes > capacity
    if not big.any():
        return 0.0
    fits = betabinom.pmf(np.arange(capacity + 1)[:, None], sizes[big], k, n - k + 1).sum(axis=0)
    return float((weight[big] * (1.0 - fits)).sum())


def _threshold_of_at_most(ordered: Float64, allowed: int) -> float:
    """Return the lowest score that at most so many reach; equal scores are in or out together."""
    values, counts = np.unique(-ordered[ordered >= 0], return_counts=True)
    fitting = np.searchsorted(np.cumsum(counts), allowed, "right")
    return float(-values[fitting - 1]) if fitting else inf


def _grades(ordered: Float64, threshold: float) -> tuple[float, float, float]:
    ordered = ordered[ordered >= 0]
    handed = int((ordered >= threshold).sum())
    if not handed:
        return (inf, threshold, threshold)
    upper = max(float(ordered[(handed + 1) // 2 - 1]), threshold)
    lower = min(float(ordered[min(3 * handed, len(ordered)) - 1]), threshold)
    return (upper, threshold, lower)
