"""What the service counts about itself, for Prometheus; each app has a registry of its own."""

import math

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

from training.scorer import DECISIONS, LeadScorer, Scores

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SCORES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Meters:
    """Latencies by route, scores, decisions, and which model is served."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._seconds = Histogram(
            "leadqual_request_seconds",
            "Seconds from the request's first byte to the answer's last.",
            ("method", "route", "status"),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._scores = Histogram(
            "leadqual_score", "Scores given.", buckets=SCORES, registry=self._registry
        )
        self._decisions = Counter(
            "leadqual_decisions", "Decisions given.", ("decision",), registry=self._registry
        )
        self._model = Gauge(
            "leadqual_model_info",
            "The model that is served.",
            ("name", "version", "digest"),
            registry=self._registry,
        )
        self._by_route: dict[tuple[str, str, int], Histogram] = {}
        self._by_decision = [self._decisions.labels(name) for name in DECISIONS]

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        key = (method, route, status)
        if key not in self._by_route:
            self._by_route[key] = self._seconds.labels(method, route, str(status))
        self._by_route[key].observe(seconds)

    def scored(self, scores: Scores) -> None:
        """Count scores and decisions."""
        for score in scores.score.tolist():
            if not math.isnan(score):
                self._scores.observe(score)
        for decision in scores.decision.tolist():
            self._by_decision[decision].inc()

    def serving(self, scorer: LeadScorer) -> None:
        """Name the model that is served from now on."""
        self._model.clear()
        self._model.labels(scorer.name, scorer.version, scorer.digest).set(1)

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)
