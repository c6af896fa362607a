"""What the service counts about itself, for Prometheus; each app has counts of its own."""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from threading import Lock
from typing import get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from serving.store.items import CONFLICT, Result, Status
from training.scorer import DECISIONS, LeadScorer, Scores

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
FATES: tuple[str, ...] = (*get_args(Status), CONFLICT)
"""Of an item: its status, but for a rejected one that was sent before with other content."""
SCORES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Meters(Collector):
    """Latencies by route, scores, decisions, and which model is served.

    Prometheus' own histogram takes as long as a tenth of scoring a lead; this one is a list.

    Parameters
    ----------
    more : sequence of callable
        Each gives families of metrics that others keep.
    """

    def __init__(self, more: Sequence[Callable[[], Iterable[Metric]]] = ()) -> None:
        self._more = tuple(more)
        self._lock = Lock()
        self._seconds: dict[tuple[str, str, int], _Tally] = defaultdict(lambda: _Tally(SECONDS))
        self._scores = _Tally(SCORES)
        self._decisions = [0] * len(DECISIONS)
        self._items: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(FATES, 0))
        self._model: dict[str, str] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        with self._lock:
            self._seconds[method, route, status].add(seconds)

    def scored(self, scores: Scores) -> None:
        """Count scores and decisions."""
        with self._lock:
            for score in scores.score.tolist():
                if not math.isnan(score):
                    self._scores.add(score)
            for decision in scores.decision.tolist():
                self._decisions[decision] += 1

    def taken(self, route: str, results: Iterable[Result]) -> None:
        """Count what became of the items of a request, once that is on disk."""
        with self._lock:
            counts = self._items[route]
            for result in results:
                counts[CONFLICT if result.code == CONFLICT else result.status] += 1

    def serving(self, scorer: LeadScorer) -> None:
        """Name the model that is served from now on."""
        self._model = {"name": scorer.name, "version": scorer.version, "digest": scorer.digest}

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """Give the counts to Prometheus' client."""
        with self._lock:
            own = list(self._families())
        return [*own, *chain.from_iterable(families() for families in self._more)]

    def _families(self) -> Iterator[Metric]:
        seconds = HistogramMetricFamily(
            "leadqual_request_seconds",
            "Seconds from a request's head to the end of its answer.",
            labels=("method", "route", "status"),
        )
        for (method, route, status), tally in self._seconds.items():
            seconds.add_metric((method, route, str(status)), tally.buckets(), tally.total)
        scores = HistogramMetricFamily("leadqual_score", "Scores given.")
        scores.add_metric((), self._scores.buckets(), self._scores.total)
        decisions = CounterMetricFamily(
            "leadqual_decisions", "Decisions given.", labels=("decision",)
        )
        for name, count in zip(DECISIONS, self._decisions, strict=True):
            decisions.add_metric((name,), count)
        items = CounterMetricFamily(
            "leadqual_items",
            "Leads, events, outcomes and messages that were sent, and what became of them.",
            labels=("route", "result"),
        )
        for route, counts in self._items.items():
            for fate, count in counts.items():
                items.add_metric((route, fate), count)
        model = InfoMetricFamily("leadqual_model", "The model that is served.")
        if self._model:
            model.add_metric((), self._model)
        yield from (seconds, scores, decisions, items, model)


class _Tally:
    """The counts of a histogram."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return how many values lie at or below each bound, as Prometheus wants them."""
        below, found = 0, []
        for bound, count in zip((*self._bounds, math.inf), self._counts, strict=True):
            below += count
            found.append(("+Inf" if bound == math.inf else str(bound), float(below)))
        return found
