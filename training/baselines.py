"""Baselines that every report puts beside the model, each fitted on arrays; no model of ours."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.floating]

POINTS = {
    "web_visit": 1.0,
    "newsletter_open": 1.0,
    "newsletter_click": 3.0,
    "newsletter_signup": 3.0,
    "document_request": 10.0,
    "form_submit": 10.0,
    "seminar_registration": 5.0,
    "seminar_attended": 15.0,
    "card_exchange": 10.0,
    "inquiry": 30.0,
}
OTHER_POINTS = 1.0
POINTS_HALF_LIFE_DAYS = 30.0
POINTS_EVENTS = 5
ODOO_START = 0.1
ODOO_LEVELS = 200


def base_rate(won: Float64, weight: Float64) -> Callable[[int], Float64]:
    """Return a function of the number of rows: the weighted share won, for every row alike.

    Examples
    --------
    >>> base_rate(np.array([1.0, 0.0]), np.array([1.0, 3.0]))(2).tolist()
    [0.25, 0.25]
    """
    share = float(np.average(won, weights=weight))
    return lambda rows: np.full(rows, share)


def recency(
    days_since_last_event: Numbers, won: Float64, weight: Float64
) -> Callable[[Numbers], Float64]:
    """Rank by the last event, the latest first, through one logistic fit.

    Parameters
    ----------
    days_since_last_event : float [rows]
        NaN without any event: placed behind the longest silence of the training rows.
    won, weight : float64 [rows]

    Returns
    -------
    callable
        From `days_since_last_event` of other rows to probabilities.
    """
    present = days_since_last_event[~np.isnan(days_since_last_event)]
    silent = float(present.max()) + 1.0 if len(present) else 0.0

    def rank(days: Numbers) -> Float64:
        return -np.where(np.isnan(days), silent, days).astype(np.float64)

    to_probability = _one_logistic(rank(days_since_last_event), won, weight)
    return lambda days: to_probability(rank(days))


def points_score(counts: Numbers, days_since_last: Numbers, types: Sequence[str]) -> Float64:
    """Return what a marketing tool's points rule gives: points per event of a type, five at most.

    They are halved every 30 days, counted from the last event of the type.

    Parameters
    ----------
    counts : float [rows, types]
        Events of each type so far.
    days_since_last : float [rows, types]
        Days since the last event of the type; NaN without one.
    types : sequence of str

    Examples
    --------
    >>> counts, days = np.array([[9.0, 1.0]]), np.array([[0.0, 30.0]])
    >>> points_score(counts, days, ["web_visit", "inquiry"]).tolist()
    [20.0]
    """
    worth = np.array([POINTS.get(name, OTHER_POINTS) for name in types])
    fresh = 0.5 ** (
        np.where(np.isnan(days_since_last), 0.0, days_since_last) / POINTS_HALF_LIFE_DAYS
    )
    return (np.minimum(counts, POINTS_EVENTS) * fresh) @ worth


def points(
    counts: Numbers, days_since_last: Numbers, types: Sequence[str], won: Float64, weight: Float64
) -> Callable[[Numbers, Numbers], Float64]:
    """Rank by `points_score`, through one logistic fit; return a function of counts and days."""
    types = tuple(types)
    to_probability = _one_logistic(points_score(counts, days_since_last, types), won, weight)
    return lambda n, days: to_probability(points_score(n, days, types))


def odoo(codes: Int64, won: Bool) -> Callable[[Int64], Float64]:
    """Fit Odoo's predictive lead scoring: naive Bayes on categorical attributes of closed leads.

    Every value of a field starts at 0.1 wins and 0.1 losses; values never seen count that much. A
    field of more than 200 values is passed over (public code: addons/crm/models/crm_lead.py).

    Parameters
    ----------
    codes : int64 [leads, fields]
        Of leads closed by the cut; -1 where the field is not set.
    won : bool [leads]

    Returns
    -------
    callable
        From codes [rows, fields] to the probabilities of Odoo, float64 [rows]; 0.5 when no lead is
        closed.

    Examples
    --------
    >>> predict = odoo(np.array([[0], [0], [1]]), np.array([True, False, False]))
    >>> predict(np.array([[0], [-1]])).round(3).tolist()
    [0.478, 0.333]
    """
    wins, losses = float(won.sum()), float((~won).sum())
    prior = _log(wins) - _log(losses) if wins + losses else 0.0
    tables = [_odoo_field(codes[:, j], won) for j in range(codes.shape[1])]

    def predict(rows: Int64) -> Float64:
        log_odds = np.full(len(rows), prior)
        for field, (values, ratio, unseen) in enumerate(tables):
            code = rows[:, field]
            at = np.minimum(np.searchsorted(values, code), max(len(values) - 1, 0))
            found = values[at] == code if len(values) else np.zeros(len(code), np.bool_)
            term = np.where(found, ratio[at], unseen) if len(values) else np.zeros(len(code))
            log_odds = log_odds + np.where(code < 0, 0.0, term)
        return expit(log_odds)

    return predict


def logistic(
    X: Float32, won: Float64, weight: Float64, categorical: Sequence[int] = ()
) -> Callable[[Float32], Float64]:
    """Fit plain logistic regression: medians for missing, scaled numbers, categories one-hot.

    Parameters
    ----------
    X : float32 [rows, features]
        NaN is missing.
    won, weight : float64 [rows]
    categorical : sequence of int
        Columns that hold codes; missing is a code of its own.
    """
    used = weight > 0
    if len(np.unique(won[used])) < 2:
        return _constant(won[used], weight[used])
    numeric = [j for j in range(X.shape[1]) if j not in set(categorical)]
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(_medians(), StandardScaler()), numeric),
            ("codes", OneHotEncoder(handle_unknown="ignore"), list(categorical)),
        ]
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=300, tol=1e-3))
    model.fit(X[used], won[used], logisticregression__sample_weight=weight[used])
    return lambda rows: model.predict_proba(rows)[:, 1]


def _medians() -> SimpleImputer:
    return SimpleImputer(strategy="median", keep_empty_features=True)


def _one_logistic(rank: Float64, won: Float64, weight: Float64) -> Callable[[Float64], Float64]:
    """From a rank to a probability: one scaled, hardly penalised logistic fit."""
    used = weight > 0
    if len(np.unique(won[used])) < 2:
        return _constant(won[used], weight[used])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e6))
    model.fit(rank[used, None], won[used], logisticregression__sample_weight=weight[used])
    return lambda other: model.predict_proba(other[:, None])[:, 1]


def _constant(won: Float64, weight: Float64) -> Callable[[npt.NDArray[np.floating]], Float64]:
    share = base_rate(won, weight)
    return lambda rows: share(len(rows))


def _odoo_field(code: Int64, won: Bool) -> tuple[Int64, Float64, float]:
    """Return a field's values in order, their log likelihood ratios, and that of unseen values."""
    values, place = np.unique(code[code >= 0], return_inverse=True)
    if not 0 < len(values) <= ODOO_LEVELS:
        return np.empty(0, np.int64), np.empty(0), 0.0
    of_won, of_lost = (
        np.bincount(place[chosen], minlength=len(values)) + ODOO_START
        for chosen in (won[code >= 0], ~won[code >= 0])
    )
    total = np.log(of_won.sum()) - np.log(of_lost.sum())
    return values, np.log(of_won) - np.log(of_lost) - total, float(-total)


def _log(count: float) -> float:
    return float(np.log(count)) if count else -np.inf
