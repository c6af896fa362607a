"""The features of history and record in Polars: what the readers and the kernel compete with.

One lazy pass over the events on the streaming engine. Slower forms were tried: a pass of its own by
type; aggregates that sort by themselves; ids joined to numbers first; the in-memory engine.
"""

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

DAY_US, HOUR_US = 86_400_000_000, 3_600_000_000
THURSDAY = 3
COUNTS = ("count_", "channel_", "events_", "engagement_", "active_days", "value_sum")
"""How the names of features begin that are 0 for a lead without events."""


@dataclass(frozen=True)
class Spec:
    """What has a feature, as a `features.matrix.FeatureSpec` says it, and the features' names."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    channels: tuple[str, ...]
    sales: tuple[str, ...]
    windows_days: tuple[float, ...]
    half_lives_days: tuple[float, ...]
    attributes: tuple[dict[str, Any], ...]

    @classmethod
    def read(cls, path: Path) -> "Spec":
        """Read it from JSON."""
        stored = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{name: tuple(stored[name]) for name in cls.__annotations__})


def features(
    leads: Path, events: Path, spec: Spec, as_of_us: int, *, sort: bool = True
) -> npt.NDArray[np.float32]:
    """Turn tables into a matrix, a row a lead.

    Parameters
    ----------
    leads, events : Path
        Parquet.
    spec : Spec
    as_of_us : int
        The moment of all rows, microseconds since the epoch (UTC).
    sort : bool
        False where events are known to stand by lead and time.
    """
    per_lead = (
        _prepared(pl.scan_parquet(events), spec, as_of_us, sort=sort)
        .group_by("lead_id")
        .agg(**_of_types(spec), **_of_channels(spec), **_of_windows(spec), **_of_all())
    )
    counts = [name for name in per_lead.collect_schema().names() if name.startswith(COUNTS)]
    return (
        pl.scan_parquet(leads)
        .join(per_lead, on="lead_id", how="left", maintain_order="left")
        .with_columns(pl.col(counts).fill_null(0))
        .with_columns(**_of_sums(spec), **_of_moment(as_of_us), **_of_record(spec))
        .select(pl.col(spec.names).cast(pl.Float32))
        .collect(engine="streaming")
        .to_numpy()
    )


def _prepared(events: pl.LazyFrame, spec: Spec, as_of_us: int, *, sort: bool) -> pl.LazyFrame:
    """Give the events that count in order, with what the aggregates need of each."""
    as_of = pl.lit(as_of_us).cast(pl.Datetime("us", "UTC"))
    seen = events.filter(
        pl.col("occurred_at") <= as_of, ~pl.col("event_type").cast(pl.String).is_in(spec.sales)
    ).select(
        "lead_id",
        time=pl.col("occurred_at").to_physical(),
        kind=_code("event_type", spec.types),
        way=pl.when(pl.col("channel").is_not_null()).then(_code("channel", spec.channels)),
        value=pl.col("value").cast(pl.Float32),
    )
    if sort:
        seen = seen.sort("lead_id", "time", "kind", "way", nulls_last=True)
    day = pl.col("day")
    seen = seen.with_columns(
        age=as_of_us - pl.col("time"),
        day=(pl.col("time") // DAY_US).cast(pl.Int32),
        goes_on=(pl.col("lead_id") == pl.col("lead_id").shift()).fill_null(value=False),
    ).with_columns(
        gap=pl.when("goes_on").then(pl.col("time").diff() / DAY_US),
        new_day=~pl.col("goes_on") | (day != day.shift()),
        weekday=(day + THURSDAY) % 7 < 5,
        hour=(pl.col("time") - day.cast(pl.Int64) * DAY_US) // HOUR_US,
        recent=pl.col("age") < 30 * DAY_US,
    )
    recent = pl.col("recent")
    first = pl.col("new_day") | ~recent.shift()
    return seen.with_columns(new_recent_day=recent & first)


def _code(name: str, vocabulary: tuple[str, ...]) -> pl.Expr:
    """Give the place of a text in a vocabulary; all others share the one after it."""
    place = pl.col(name).cast(pl.Enum(vocabulary), strict=False).to_physical()
    return place.cast(pl.Int16).fill_null(len(vocabulary))


def _windows(spec: Spec) -> dict[str, pl.Expr]:
    return {f"{days:g}d": pl.col("age") < int(days * DAY_US) for days in spec.windows_days}


def _of_types(spec: Spec) -> dict[str, pl.Expr]:
    found: dict[str, pl.Expr] = {}
    for code, name in enumerate((*spec.types, "other")):
        mine = pl.col("kind") == code
        for window, within in _windows(spec).items():
            found[f"count_{name}_{window}"] = (mine & within).sum()
        found[f"count_{name}_all"] = mine.sum()
        found[f"days_since_{name}"] = pl.when(mine).then("age").min() / DAY_US
    return found


def _of_channels(spec: Spec) -> dict[str, pl.Expr]:
    names = enumerate((*spec.channels, "other"))
    return {f"channel_{name}": (pl.col("way") == code).sum() for code, name in names}


def _of_windows(spec: Spec) -> dict[str, pl.Expr]:
    age = pl.col("age")
    rates = {days: -math.log(2) / (days * DAY_US) for days in spec.half_lives_days}
    return {
        **{f"events_{name}": within.sum() for name, within in _windows(spec).items()},
        **{f"engagement_half_life_{d:g}d": (age * rate).exp().sum() for d, rate in rates.items()},
    }


def _of_all() -> dict[str, pl.Expr]:
    age, gap, value, kind, way = map(pl.col, ("age", "gap", "value", "kind", "way"))
    weekday = pl.col("weekday")
    return {
        "events_all": pl.len(),
        "days_since_last_event": age.min() / DAY_US,
        "days_since_first_event": age.max() / DAY_US,
        "gap_mean_days": gap.mean(),
        "gap_sd_days": gap.std(),
        "gap_max_days": gap.max(),
        "active_days": pl.col("new_day").sum(),
        "active_days_30d": pl.col("new_recent_day").sum(),
        "value_sum": value.sum(),
        "value_sum_30d": pl.when("recent").then(value).sum(),
        "value_max": value.max(),
        "first_type": kind.first(),
        "last_type": kind.last(),
        "first_channel": way.first(),
        "last_channel": way.last(),
        "weekday_share": weekday.mean(),
        "working_hours_share": (weekday & pl.col("hour").is_between(9, 17)).mean(),
    }


def _of_sums(spec: Spec) -> dict[str, pl.Expr]:
    count = {name: pl.col(f"count_{name}_all") for name in (*spec.types, "other")}
    windows = [*_windows(spec), "all"]
    shares = {f"share_{name}": each / pl.col("events_all") for name, each in count.items()}
    trends = {
        f"trend_{short}_of_{long}": pl.col(f"events_{short}") / pl.col(f"events_{long}")
        for short, long in pairwise(windows)
    }
    distinct = pl.sum_horizontal(each > 0 for each in count.values())
    return {**shares, **trends, "distinct_types": distinct}


def _of_moment(as_of_us: int) -> dict[str, pl.Expr]:
    return {
        "days_since_created": (as_of_us - pl.col("created_at").to_physical()) / DAY_US,
        "as_of_weekday": pl.lit((as_of_us // DAY_US + THURSDAY) % 7),
        "as_of_hour": pl.lit(as_of_us % DAY_US // HOUR_US),
    }


def _of_record(spec: Spec) -> dict[str, pl.Expr]:
    return {f"lead_{each['name']}": _attribute(each) for each in spec.attributes}


def _attribute(attribute: dict[str, Any]) -> pl.Expr:
    """Give a number as it is, and a category as its place from 1, or 0 where it has none."""
    value = pl.col(attribute["name"])
    if attribute["kind"] != "category":
        return value
    levels = tuple(attribute["levels"])
    code = (_code(attribute["name"], levels) + 1) % (len(levels) + 1)
    return pl.when(value.is_not_null()).then(code)
