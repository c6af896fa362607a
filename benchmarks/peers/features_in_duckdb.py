"""The features of history and record in DuckDB: one SQL query from Parquet to a matrix.

An aggregate with a filter for each feature, and a window for the gaps between events.
"""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from benchmarks.peers.features_in_polars import COUNTS, DAY_US, HOUR_US, THURSDAY, Spec

QUERY = """
WITH coded AS (
    SELECT lead_id, epoch_us(occurred_at) AS time, {as_of} - epoch_us(occurred_at) AS age,
        {kind} AS kind, {way} AS way, value::FLOAT AS value
    FROM read_parquet($events)
    WHERE epoch_us(occurred_at) <= {as_of} AND NOT list_contains({sales}, event_type)
), timed AS (
    SELECT *, time // {day_us} AS day, -age * 10000 + kind * 100 + coalesce(way, 99) AS place,
        (time - lag(time) OVER (PARTITION BY lead_id ORDER BY time)) / {day_us} AS gap,
        (time // {day_us} + {thursday}) % 7 < 5 AS weekday, time % {day_us} // {hour_us} AS hour
    FROM coded
), per_lead AS (
    SELECT lead_id, {aggregates} FROM timed GROUP BY lead_id
), joined AS (
    SELECT leads.file_row_number, {joined}
    FROM read_parquet($leads, file_row_number = true) AS leads LEFT JOIN per_lead USING (lead_id)
)
SELECT {features} FROM (SELECT *, {sums} FROM joined) ORDER BY file_row_number
"""


def features(
    leads: Path, events: Path, spec: Spec, as_of_us: int, *, threads: int
) -> npt.NDArray[np.float32]:
    """Turn tables into a matrix, a row a lead; as `features_in_polars.features`."""
    aggregates = {**_of_types(spec), **_of_channels(spec), **_of_windows(spec), **_of_all()}
    joined = {
        name: f"coalesce({name}, 0)" if name.startswith(COUNTS) else name for name in aggregates
    }
    query = QUERY.format(
        as_of=as_of_us,
        day_us=DAY_US,
        hour_us=HOUR_US,
        thursday=THURSDAY,
        kind=_code("event_type", spec.types),
        way=f"CASE WHEN channel IS NOT NULL THEN {_code('channel', spec.channels)} END",
        sales=_texts(spec.sales),
        aggregates=_named(aggregates),
        joined=_named({**joined, **_of_moment(as_of_us), **_of_record(spec)}),
        sums=_named(_of_sums(spec)),
        features=", ".join(f'"{name}"::FLOAT AS "{name}"' for name in spec.names),
    )
    with duckdb.connect(config={"threads": threads}) as connection:
        found = connection.execute(query, {"leads": str(leads), "events": str(events)}).fetchnumpy()
    columns = [np.ma.filled(found[name], np.nan) for name in spec.names]
    return np.stack(columns, axis=1)


def _named(expressions: dict[str, str]) -> str:
    return ",\n".join(f'{text} AS "{name}"' for name, text in expressions.items())


def _texts(texts: tuple[str, ...]) -> str:
    return "[" + ", ".join("'" + text.replace("'", "''") + "'" for text in texts) + "]"


def _code(column: str, vocabulary: tuple[str, ...]) -> str:
    """Give the place of a text in a vocabulary; all others share the one after it."""
    return f"coalesce(list_position({_texts(vocabulary)}, {column}), {len(vocabulary) + 1}) - 1"


def _windows(spec: Spec) -> dict[str, str]:
    return {f"{days:g}d": f"age < {int(days * DAY_US)}" for days in spec.windows_days}


def _of_types(spec: Spec) -> dict[str, str]:
    found = {}
    for code, name in enumerate((*spec.types, "other")):
        for window, within in _windows(spec).items():
            found[f"count_{name}_{window}"] = f"count(*) FILTER (kind = {code} AND {within})"
        found[f"count_{name}_all"] = f"count(*) FILTER (kind = {code})"
        found[f"days_since_{name}"] = f"min(age) FILTER (kind = {code}) / {DAY_US}"
    return found


def _of_channels(spec: Spec) -> dict[str, str]:
    names = enumerate((*spec.channels, "other"))
    return {f"channel_{name}": f"count(*) FILTER (way = {code})" for code, name in names}


def _of_windows(spec: Spec) -> dict[str, str]:
    rates = {days: -math.log(2) / (days * DAY_US) for days in spec.half_lives_days}
    return {
        **{f"events_{name}": f"count(*) FILTER ({w})" for name, w in _windows(spec).items()},
        **{
            f"engagement_half_life_{days:g}d": f"sum(exp(age * {rate!r}))"
            for days, rate in rates.items()
        },
    }


def _of_all() -> dict[str, str]:
    recent = f"age < {30 * DAY_US}"
    return {
        "events_all": "count(*)",
        "days_since_last_event": f"min(age) / {DAY_US}",
        "days_since_first_event": f"max(age) / {DAY_US}",
        "gap_mean_days": "avg(gap)",
        "gap_sd_days": "stddev_samp(gap)",
        "gap_max_days": "max(gap)",
        "active_days": "count(DISTINCT day)",
        "active_days_30d": f"count(DISTINCT day) FILTER ({recent})",
        "value_sum": "sum(value)",
        "value_sum_30d": f"sum(value) FILTER ({recent})",
        "value_max": "max(value)",
        "first_type": "arg_min(kind, place)",
        "last_type": "arg_max(kind, place)",
        "first_channel": "arg_min_null(way, place)",
        "last_channel": "arg_max_null(way, place)",
        "weekday_share": "avg(weekday::INT)",
        "working_hours_share": "avg((weekday AND hour BETWEEN 9 AND 17)::INT)",
    }


def _of_sums(spec: Spec) -> dict[str, str]:
    counts = {name: f"count_{name}_all" for name in (*spec.types, "other")}
    windows = [*_windows(spec), "all"]
    shares = {f"share_{name}": f"{each} / events_all" for name, each in counts.items()}
    trends = {
        f"trend_{short}_of_{long}": f"events_{short} / events_{long}"
        for short, long in pairwise(windows)
    }
    distinct = " + ".join(f"({each} > 0)::INT" for each in counts.values())
    return {**shares, **trends, "distinct_types": distinct}


def _of_moment(as_of_us: int) -> dict[str, str]:
    return {
        "days_since_created": f"({as_of_us} - epoch_us(created_at)) / {DAY_US}",
        "as_of_weekday": f"{(as_of_us // DAY_US + THURSDAY) % 7}",
        "as_of_hour": f"{as_of_us % DAY_US // HOUR_US}",
    }


def _of_record(spec: Spec) -> dict[str, str]:
    return {f"lead_{each['name']}": _attribute(each) for each in spec.attributes}


def _attribute(attribute: dict[str, Any]) -> str:
    """Give a number as it is, and a category as its place from 1, or 0 where it has none."""
    name = f'leads."{attribute["name"]}"'
    if attribute["kind"] != "category":
        return name
    place = f"coalesce(list_position({_texts(tuple(attribute['levels']))}, {name}), 0)"
    return f"CASE WHEN {name} IS NOT NULL THEN {place} END"
