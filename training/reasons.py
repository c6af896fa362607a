"""Why a score is what it is: contributions by concept, with evidence; their wording is not here."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.catalogue import CONCEPTS, OTHER
from features.history import Int64
from features.matrix import FeatureSpec, Leads
from training.wording import Activity, Evidence, Measure, Record, sentence

MOST_REASONS = 3
FLOOR = 0.10
"""Log-odds below which a concept is no reason."""
MEDIUM, STRONG = 0.3, 0.7
MOST_ACTIVITIES = 3
MOST_FIGURES = 2

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reason:
    """One concept that moves a score.

    Attributes
    ----------
    concept : str
        A key of ``features.catalogue.CONCEPTS``.
    direction : "up" or "down"
        Whether it speaks for or against a win.
    strength : "weak", "medium" or "strong"
    text : str
        One sentence with the evidence.
    evidence : list of dict
        ``event_type, count, last_at``, or ``attribute, value``, or ``feature, value``: plain JSON.
    """

    concept: str
    direction: Literal["up", "down"]
    strength: Literal["weak", "medium", "strong"]
    text: str
    evidence: list[dict[str, Any]]


@dataclass(frozen=True)
class _Places:
    """What is asked of a spec for every lead: looked up once, since each lead takes microseconds.

    Attributes
    ----------
    concept : int [features]
        The place in `CONCEPTS` of each feature's.
    columns : mapping of concept to list of int
    kinds : list of str or None
        The event type that each feature is about.
    """

    spec: FeatureSpec
    concept: npt.NDArray[np.intp]
    columns: dict[str, list[int]]
    kinds: list[str | None]
    types: frozenset[str]
    attributes: dict[str, str]


@dataclass(frozen=True)
class _Lead:
    """One row to explain: its features, what each adds, and the events seen."""

    X: Float32
    added: list[float]
    seen: list[Activity]
    leads: Leads
    row: int
    as_of_us: int


def reasons(  # noqa: PLR0917
    spec: FeatureSpec,
    X: Float32,
    added: Float64,
    leads: Leads,
    rows: npt.NDArray[np.integer],
    as_of_us: Int64,
    language: str = "en",
) -> list[tuple[Reason, ...]]:
    """Give at most three reasons a row, the weightiest first.

    Parameters
    ----------
    spec : FeatureSpec
    X : float32 [k, features]
        NaN where missing.
    added : float64 [k, features]
        What each feature adds to the calibrated log-odds.
    leads : Leads
    rows : int [k]
        Which lead each row of `X` is about.
    as_of_us : int64 [k]
        The moment of each row; later events, and those not known yet, are no evidence.
    language : "en" or "ja"
        Another language falls back to English.

    Returns
    -------
    list of tuple of Reason
        Concepts that add or take 0.10 log-odds or more, by size and then by name.
    """
    places = _places(spec)
    totals = [np.bincount(places.concept, each, len(CONCEPTS)).tolist() for each in added]
    return [
        _of_row(
            places,
            totals[k],
            _Lead(X[k], added[k].tolist(), _seen(spec, leads, row, now), leads, row, now),
            language,
        )
        for k, (row, now) in enumerate(zip(rows.tolist(), as_of_us.tolist(), strict=True))
    ]


def _of_row(places: _Places, totals: list[float], lead: _Lead, language: str) -> tuple[Reason, ...]:
    weighty = sorted(
        (-abs(total), name, total)
        for name, total in zip(CONCEPTS, totals, strict=True)
        if abs(total) >= FLOOR
    )
    latest = max((item.last_us for item in lead.seen if item.last_us is not None), default=None)
    found = []
    for _, concept, total in weighty[:MOST_REASONS]:
        direction: Literal["up", "down"] = "up" if total > 0 else "down"
        evidence = tuple(_evidence(places, lead, concept, math.copysign(1.0, total)))
        text = sentence(
            concept,
            direction,
            evidence,
            as_of_us=lead.as_of_us,
            latest_us=latest,
            language=language,
        )
        shown = [item.as_dict() for item in evidence]
        found.append(Reason(concept, direction, _strength(abs(total)), text, shown))
    return tuple(found)


def _strength(size: float) -> Literal["weak", "medium", "strong"]:
    if size < MEDIUM:
        return "weak"
    return "medium" if size < STRONG else "strong"


def _seen(spec: FeatureSpec, leads: Leads, row: int, as_of_us: int) -> list[Activity]:
    """Sum up the events that the features saw, by type in order of their last time."""
    history = leads.history
    segment = leads.segment[row]
    events = slice(history.ptr[segment], history.ptr[segment + 1])
    counts: dict[int, int] = {}
    last: dict[int, int] = {}
    for code, moment, known in zip(
        history.type_code[events].tolist(),
        history.occurred_us[events].tolist(),
        history.known_us[events].tolist(),
        strict=True,
    ):
        if moment <= as_of_us and known <= as_of_us:
            counts[code] = counts.get(code, 0) + 1
            last[code] = moment
    types, sales = history.types, spec.sales
    found = [
        Activity(types[code], count, last[code])
        for code, count in counts.items()
        if types[code] not in sales
    ]
    return sorted(found, key=_by_time) if len(found) > 1 else found


def _by_time(item: Activity) -> tuple[int, str]:
    return item.last_us or 0, item.event_type


def _evidence(places: _Places, lead: _Lead, concept: str, sign: float) -> Iterator[Evidence]:
    """Choose what pushed most in the direction of the reason."""
    added = lead.added
    toward = [
        (-added[column] * sign, column)
        for column in places.columns[concept]
        if added[column] * sign > 0
    ]
    if concept in {"recency", "interest"}:
        yield from _activities(places, lead, toward)
        return
    for _, column in sorted(toward)[:MOST_FIGURES]:
        feature = places.spec.features[column]
        if concept == "profile":
            name = places.attributes[feature.name]
            yield Record(name, _plain(_value(lead.leads, name, lead.row)))
        else:
            yield Measure(feature, _figure(places.spec, feature.name, float(lead.X[column])))


def _activities(
    places: _Places, lead: _Lead, toward: list[tuple[float, int]]
) -> Iterator[Activity]:
    """Choose the event types behind the columns: seen ones by time, then one that never was."""
    weight: dict[str, float] = {}
    for push, column in toward:
        kind = places.kinds[column] or _kind(places, lead, column)
        if kind is not None:
            weight[kind] = weight.get(kind, 0.0) - push
    ranked = sorted(weight, key=lambda kind: (-weight[kind], kind))[:MOST_ACTIVITIES]
    slots = [_slot(places, item.event_type) for item in lead.seen]
    seen = [item for item, slot in zip(lead.seen, slots, strict=True) if slot in ranked]
    yield from seen[-MOST_ACTIVITIES:] if seen or ranked else lead.seen[-MOST_ACTIVITIES:]
    never = [kind for kind in ranked if kind not in slots]
    for kind in never[: 1 if seen else MOST_ACTIVITIES]:
        yield Activity(kind, 0, None)


def _kind(places: _Places, lead: _Lead, column: int) -> str | None:
    """Return the event type of a column that names one in each lead; None for none."""
    name = places.spec.features[column].name
    if name == "days_since_last_event":
        return _slot(places, lead.seen[-1].event_type) if lead.seen else None
    if name in {"first_type", "last_type"}:
        code = lead.X[column]
        return None if math.isnan(code) else (*places.spec.types, OTHER)[int(code)]
    return None


def _slot(places: _Places, event_type: str) -> str:
    return event_type if event_type in places.types else OTHER


@lru_cache(maxsize=8)
def _places(spec: FeatureSpec) -> _Places:
    place_of = {name: place for place, name in enumerate(CONCEPTS)}
    concept = np.array([place_of[feature.concept] for feature in spec.features], np.intp)
    windows = [*(f"{days:g}d" for days in spec.windows_days), "all"]
    kinds = {
        name: kind
        for kind in (*spec.types, OTHER)
        for name in (
            f"share_{kind}",
            f"days_since_{kind}",
            *(f"count_{kind}_{window}" for window in windows),
        )
    }
    return _Places(
        spec,
        concept,
        {name: np.flatnonzero(concept == place).tolist() for name, place in place_of.items()},
        [kinds.get(name) for name in spec.names],
        frozenset(spec.types),
        {f"lead_{attribute.name}": attribute.name for attribute in spec.attributes},
    )


def _figure(spec: FeatureSpec, feature: str, value: float) -> str | float | None:
    if math.isnan(value):
        return None
    if feature in {"first_channel", "last_channel"}:
        return (*spec.channels, OTHER)[int(value)]
    return value


def _value(leads: Leads, name: str, row: int) -> object:
    if name not in leads.columns:
        return None
    value = leads.columns[name][row]
    return value.as_py() if isinstance(value, pa.Scalar) else value


def _plain(value: object) -> str | float | bool | None:
    """Turn a value of any type into one that JSON can hold."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)
