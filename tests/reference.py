"""Every engagement feature in slow, obvious Python: what the kernel is held to."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from features.matrix import FeatureSpec

DAY_US = 24 * 60 * 60 * 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Event(NamedTuple):
    """One event of a lead, as `features.history.from_rows` takes it."""

    occurred_us: int
    known_us: int
    event_type: str = "web_visit"
    channel: str | None = None
    value: float | None = None


def engagement(
    spec: FeatureSpec, events: Sequence[Event], created_us: int, as_of_us: int
) -> dict[str, float]:
    """Compute the engagement features of one lead at one moment, by name."""
    seen = sorted(
        (
            event
            for event in events
            if event.occurred_us <= as_of_us
            and event.known_us <= as_of_us
            and event.event_type not in spec.sales
        ),
        key=lambda event: (
            event.occurred_us,
            event.event_type,
            event.channel is None,
            event.channel or "",
        ),
    )
    return {
        **_of_types(spec, seen, as_of_us),
        **_of_channels(spec, seen),
        **_of_windows(spec, seen, as_of_us),
        **_decayed(spec, seen, as_of_us),
        **_tempo(seen, as_of_us),
        **_days(seen, as_of_us),
        **_values(seen, as_of_us),
        **_ends(spec, seen),
        **_clock(created_us, as_of_us),
    }


def differences(
    got: Mapping[str, float], expected: Mapping[str, float]
) -> dict[str, tuple[float | None, float | None]]:
    """Name what differs, with both values; float32 and the order of sums may show in digit 6."""
    return {
        name: (got.get(name), expected.get(name))
        for name in {**got, **expected}
        if name not in got or name not in expected or not _close(got[name], expected[name])
    }


def _close(one: float, other: float) -> bool:
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-6)


def _within(events: Sequence[Event], as_of_us: int, days: float) -> list[Event]:
    return [event for event in events if event.occurred_us > as_of_us - days * DAY_US]


def _windows(spec: FeatureSpec) -> dict[str, float]:
    return {**{f"{days:g}d": days for days in spec.windows_days}, "all": math.inf}


def _slot(name: str, vocabulary: Sequence[str]) -> str:
    return name if name in vocabulary else "other"


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _of_types(spec: FeatureSpec, seen: list[Event], as_of_us: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for kind in (*spec.types, "other"):
        mine = [event for event in seen if _slot(event.event_type, spec.types) == kind]
        for window, days in _windows(spec).items():
            found[f"count_{kind}_{window}"] = len(_within(mine, as_of_us, days))
        ages = [(as_of_us - event.occurred_us) / DAY_US for event in mine]
        found[f"days_since_{kind}"] = min(ages, default=math.nan)
        found[f"share_{kind}"] = _share(len(mine), len(seen))
    return found


def _of_channels(spec: FeatureSpec, seen: list[Event]) -> dict[str, float]:
    used = [_slot(event.channel, spec.channels) for event in seen if event.channel is not None]
    return {f"channel_{name}": used.count(name) for name in (*spec.channels, "other")}


def _of_windows(spec: FeatureSpec, seen: list[Event], as_of_us: int) -> dict[str, float]:
    counts = {window: len(_within(seen, as_of_us, days)) for window, days in _windows(spec).items()}
    totals = {f"events_{window}": float(count) for window, count in counts.items()}
    trends = {
        f"trend_{short}_of_{long}": _share(counts[short], counts[long])
        for short, long in pairwise(counts)
    }
    return totals | trends


def _decayed(spec: FeatureSpec, seen: list[Event], as_of_us: int) -> dict[str, float]:
    ages = [(as_of_us - event.occurred_us) / DAY_US for event in seen]
    return {
        f"engagement_half_life_{days:g}d": math.fsum(0.5 ** (age / days) for age in ages)
        for days in spec.half_lives_days
    }


def _tempo(seen: list[Event], as_of_us: int) -> dict[str, float]:
    ages = [(as_of_us - event.occurred_us) / DAY_US for event in seen]
    times = [event.occurred_us for event in seen]
    gaps = [(later - earlier) / DAY_US for earlier, later in pairwise(times)]
    mean = _share(math.fsum(gaps), len(gaps))
    squares = math.fsum((gap - mean) ** 2 for gap in gaps)
    return {
        "days_since_last_event": min(ages, default=math.nan),
        "days_since_first_event": max(ages, default=math.nan),
        "gap_mean_days": mean,
        "gap_sd_days": math.sqrt(squares / (len(gaps) - 1)) if len(gaps) > 1 else math.nan,
        "gap_max_days": max(gaps, default=math.nan),
    }


def _moment(micros: int) -> datetime:
    return EPOCH + timedelta(microseconds=micros)


def _days(seen: list[Event], as_of_us: int) -> dict[str, float]:
    moments = [_moment(event.occurred_us) for event in seen]
    recent = [_moment(event.occurred_us) for event in _within(seen, as_of_us, 30)]
    on_weekdays = [moment for moment in moments if moment.weekday() < 5]
    working = [moment for moment in on_weekdays if 9 <= moment.hour < 18]
    return {
        "active_days": len({moment.date() for moment in moments}),
        "active_days_30d": len({moment.date() for moment in recent}),
        "weekday_share": _share(len(on_weekdays), len(seen)),
        "working_hours_share": _share(len(working), len(seen)),
    }


def _values(seen: list[Event], as_of_us: int) -> dict[str, float]:
    def of(events: list[Event]) -> list[float]:
        given = [event.value for event in events if event.value is not None]
        return [value for value in given if math.isfinite(value)]

    return {
        "value_sum": math.fsum(of(seen)),
        "value_sum_30d": math.fsum(of(_within(seen, as_of_us, 30))),
        "value_max": max(of(seen), default=math.nan),
    }


def _ends(spec: FeatureSpec, seen: list[Event]) -> dict[str, float]:
    types = [*spec.types, "other"]
    channels = [*spec.channels, "other"]
    kinds = [types.index(_slot(event.event_type, spec.types)) for event in seen]
    through = [
        math.nan if event.channel is None else channels.index(_slot(event.channel, spec.channels))
        for event in seen
    ]
    return {
        "distinct_types": len(set(kinds)),
        "first_type": kinds[0] if kinds else math.nan,
        "last_type": kinds[-1] if kinds else math.nan,
        "first_channel": through[0] if through else math.nan,
        "last_channel": through[-1] if through else math.nan,
    }


def _clock(created_us: int, as_of_us: int) -> dict[str, float]:
    now = _moment(as_of_us)
    return {
        "days_since_created": (as_of_us - created_us) / DAY_US,
        "as_of_weekday": now.weekday(),
        "as_of_hour": now.hour,
    }
