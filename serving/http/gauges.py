"""What the parts of the service know about themselves, as families of Prometheus' metrics."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from serving.chores import Chore
from serving.served_model import ModelSlot
from serving.store.pulse import Pulse


def of_model(slot: ModelSlot) -> Iterator[Metric]:
    """Give what is known of the model, and of the registry where one is followed."""
    yield _gauge("leadqual_model_loaded", "Whether a model serves.", slot.model is not None)
    supply = slot.supply
    if supply is None:
        return
    yield CounterMetricFamily(
        "leadqual_model_swaps", "Models that took another's place.", supply.swaps
    )
    failures = CounterMetricFamily(
        "leadqual_model_refresh_failures",
        "Looks at the registry that failed, and versions of it that were refused.",
        labels=("why",),
    )
    failures.add_metric(("registry",), supply.misses)
    failures.add_metric(("refused",), supply.refusals)
    yield failures
    reachable = supply.missed_since_us is None
    yield _gauge("leadqual_registry_up", "Whether the registry names the model.", reachable)
    refused = supply.refused is not None
    yield _gauge(
        "leadqual_model_refused", "Whether a version is refused that should serve.", refused
    )


def of_database(pulse: Pulse | None) -> Iterator[Metric]:
    """Give what is known of the database; its figures are some seconds old."""
    if pulse is None:
        return
    yield _gauge("leadqual_database_up", "Whether the database answers.", pulse.up)
    found, age = pulse.figures, pulse.figures_age_seconds
    if found is None or age is None:
        return
    yield _gauge("leadqual_figures_age_seconds", "How old what was counted is.", age)
    yield CounterMetricFamily(
        "leadqual_decisions_stored", "Decisions ever stored.", found.decisions
    )
    handoffs = GaugeMetricFamily("leadqual_handoffs", "Hand-offs.", labels=("status",))
    for status, count in sorted(found.handoffs.items()):
        handoffs.add_metric((status,), count)
    yield handoffs
    yield _gauge("leadqual_outbox_depth", "Deliveries still to be made.", found.outbox)
    yield _gauge("leadqual_outbox_age_seconds", "Of the oldest.", found.outbox_age_seconds)
    yield _gauge("leadqual_leads_stale", "Leads not scored since they changed.", found.stale)
    lag = GaugeMetricFamily(
        "leadqual_event_lag_seconds",
        "From what an event tells to its receipt, of the last 1,000.",
        labels=("quantile",),
    )
    for share, seconds in found.lag_seconds.items():
        lag.add_metric((str(share),), seconds)
    yield lag
    if found.last_event_age_seconds is not None:
        text = "Since an event was received."
        yield _gauge("leadqual_last_event_age_seconds", text, found.last_event_age_seconds)


def of_chores(chores: Iterable[Chore]) -> Iterator[Metric]:
    """Give how what is done by the clock goes."""
    labels = ("chore",)
    every = GaugeMetricFamily(
        "leadqual_chore_every_seconds", "From a chore's end to its next beginning.", labels=labels
    )
    succeeded = GaugeMetricFamily(
        "leadqual_chore_last_success_timestamp_seconds",
        "When a chore ended well last; 0 where it never did.",
        labels=labels,
    )
    failures = CounterMetricFamily(
        "leadqual_chore_failures", "Times that a chore failed.", labels=labels
    )
    for chore in chores:
        every.add_metric((chore.name,), chore.every_seconds)
        succeeded.add_metric((chore.name,), chore.past.succeeded_us / 1e6)
        failures.add_metric((chore.name,), chore.past.failures)
    yield from (every, succeeded, failures)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, float(value))
