"""Small scorers for tests, fitted quickly on invented leads; one seed, one scorer."""

from dataclasses import replace
from datetime import datetime

import numpy as np

from features.attributes import Attribute
from features.history import DAY_US, from_rows
from features.matrix import FeatureSpec, Leads, matrix
from features.moments import iso
from training import handoff, trees
from training.calibration import Calibration
from training.recipes import MIXES, Estimator
from training.scorecard import Scorecard
from training.scorer import Card, LeadScorer

EPOCH_US = 1_767_225_600_000_000
"""2026-01-01T00:00:00Z, when the invented leads were created."""
AS_OF_US = EPOCH_US + 30 * DAY_US

SPEC = FeatureSpec(
    types=("document_request", "inquiry", "seminar_attended", "web_visit"),
    channels=("event", "web"),
    attributes=(
        Attribute("customer_of_partner", "boolean"),
        Attribute("employees", "number"),
        Attribute("industry", "category", ("finance", "manufacturing", "製造業")),
    ),
)
"""A small vocabulary, with an attribute of every kind."""

ROUNDS = 30


def small_leads(seed: int, leads: int = 600, spec: FeatureSpec = SPEC) -> Leads:
    """Invent leads with 0 to 12 events each, created at `EPOCH_US`."""
    rng = np.random.default_rng(seed)
    types, channels = (*spec.types, "unheard_of"), (*spec.channels, None)
    rows = [
        [_event(rng, types, channels) for _ in range(rng.integers(0, 13))] for _ in range(leads)
    ]
    columns = {
        attribute.name: [_value(rng, attribute) for _ in range(leads)]
        for attribute in spec.attributes
    }
    return Leads(np.full(leads, EPOCH_US), columns, from_rows(rows), np.arange(leads))


def json_leads(seed: int, leads: int) -> list[dict]:
    """Invent leads as a request holds them, with gaps, strangers, late entries and any order."""
    rng = np.random.default_rng(seed)
    types, channels = (*SPEC.types, "unheard_of", "call"), (*SPEC.channels, "carrier pigeon", None)
    return [
        {
            "lead_id": f"L-{number}",
            "created_at": iso(EPOCH_US),
            "attributes": {a.name: _value(rng, a) for a in SPEC.attributes if rng.random() < 0.8},
            "events": [_json_event(rng, types, channels) for _ in range(rng.integers(0, 25))],
        }
        for number in range(leads)
    ]


def leads_of(requested: list[dict]) -> Leads:
    """Read leads out of a request, slowly and plainly: what the service must agree with."""

    def micros(text):
        return round(datetime.fromisoformat(text).timestamp() * 1_000_000)

    rows = [
        [
            (
                micros(event["occurred_at"]),
                micros(event.get("recorded_at") or event["occurred_at"]),
                event["event_type"],
                event.get("channel"),
                event.get("value"),
            )
            for event in lead["events"]
        ]
        for lead in requested
    ]
    columns = {
        a.name: [lead["attributes"].get(a.name) for lead in requested] for a in SPEC.attributes
    }
    created = np.array([micros(lead["created_at"]) for lead in requested], np.int64)
    return Leads(created, columns, from_rows(rows), np.arange(len(requested)))


def small_scorer(seed: int = 0, spec: FeatureSpec = SPEC, mix: str = "blend") -> LeadScorer:
    """Fit a scorer to leads of which those with inquiries and seminars are won more often."""
    leads = small_leads(seed, spec=spec)
    X = matrix(spec, leads, np.arange(len(leads)), np.full(len(leads), AS_OF_US))
    y = _won(np.random.default_rng(seed + 1), spec, X)
    weight = np.ones(len(y))
    categorical = [j for j, feature in enumerate(spec.features) if feature.category]
    estimator = Estimator(
        Scorecard(categorical=tuple(categorical)).fit(X, y, weight),
        trees.fit(X, y, weight, categorical=categorical, seed=seed, rounds=ROUNDS),
        MIXES[mix],
    )
    calibration = Calibration(intercept=-0.1, slope=0.9, cuts=2)
    scores = np.sort(calibration.probability(estimator.log_odds(X)))
    card = Card(
        horizon_days=90,
        trained_until="2026-02-01T00:00:00Z",
        recipe=mix,
        metrics={"auc": {"value": 0.8, "low": 0.7, "high": 0.9}},
        config={},
        data={"rows": len(leads)},
        versions={},
    )
    return LeadScorer(
        spec,
        estimator,
        calibration,
        handoff.best_fifth_rule(scores),
        {"scores": scores.tolist(), "features": {}},
        card,
    )


def with_minimum_events(scorer: LeadScorer, events: int) -> LeadScorer:
    """Return the scorer with a rule that abstains below so many events."""
    return replace(scorer, rule=replace(scorer.rule, minimum_events=events))


def _event(rng, types, channels):
    moment = EPOCH_US + int(rng.integers(0, 29 * 24)) * DAY_US // 24
    value = None if rng.random() < 0.5 else float(rng.integers(1, 100))
    kind, channel = types[rng.integers(len(types))], channels[rng.integers(len(channels))]
    return moment, moment, kind, channel, value


def _json_event(rng, types, channels):
    moment, _, kind, channel, value = _event(rng, types, channels)
    event = {"event_type": kind, "occurred_at": iso(moment), "channel": channel, "value": value}
    if rng.random() < 0.2:
        event["recorded_at"] = iso(moment + int(rng.integers(0, 20)) * DAY_US)
    return event


def _value(rng, attribute: Attribute):
    if rng.random() < 0.2:
        return None
    if attribute.kind == "category":
        return (*attribute.levels, "rare")[rng.integers(len(attribute.levels) + 1)]
    return bool(rng.random() < 0.5) if attribute.kind == "boolean" else float(rng.integers(500))


def _won(rng, spec: FeatureSpec, X):
    signal = np.full(len(X), -1.5)
    for name, points in (("count_inquiry_all", 0.8), ("count_seminar_attended_all", 0.5)):
        if name in spec.names:
            signal += points * X[:, spec.names.index(name)]
    return (rng.random(len(X)) < 1 / (1 + np.exp(-signal))).astype(np.float64)
