"""A backlog scored as most people write it: pandas for the features, a scikit-learn pipeline.

Read, sort, group, join, one-hot, `predict_proba`, write. Of leadqual's features it has those that
people commonly write: counts by type and window, recency, decayed counts, gaps, days, values. They
bear the same names.
"""

from pathlib import Path

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

SALES = ("call", "appointment", "visit", "closing_attempt")
WINDOWS_DAYS = (1, 7, 30, 90)
HALF_LIVES_DAYS = (2, 7, 30)


def score(leads: Path, events: Path, output: Path, as_of: pd.Timestamp, model: Pipeline) -> int:
    """Score every lead of a Parquet file into another: the features that it took."""
    table = pd.read_parquet(leads)
    X = features(table, pd.read_parquet(events), as_of)
    X = X.reindex(columns=model.feature_names_in_, fill_value=0)
    scores = pd.DataFrame({"lead_id": table["lead_id"], "score": model.predict_proba(X)[:, 1]})
    scores.to_parquet(output, index=False)
    return X.shape[1]


def features(leads: pd.DataFrame, events: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
    """Turn tables into features, a row a lead."""
    events = events[(events["occurred_at"] <= as_of) & ~events["event_type"].isin(SALES)]
    events = events.assign(event_type=events["event_type"].astype(str))
    events = events.sort_values(["lead_id", "occurred_at"])
    events["age"] = _days(as_of - events["occurred_at"])
    per_lead = pd.concat([_counts(events), _recency(events), _of_all(events)], axis=1)
    X = leads.merge(per_lead, how="left", left_on="lead_id", right_index=True)
    counts = per_lead.filter(regex="^(count|channel|events)_").columns
    X[counts] = X[counts].fillna(0)
    X["days_since_created"] = _days(as_of - X["created_at"])
    record = [name for name in leads if name not in {"lead_id", "created_at"}]
    X = X.rename(columns={name: f"lead_{name}" for name in record})
    return X.drop(columns=["lead_id", "created_at"])


def train(leads: Path, events: Path, outcomes: Path, as_of: pd.Timestamp) -> Pipeline:
    """Fit the pipeline to who was won by now: what it predicts is timed, not how well."""
    table, closed = pd.read_parquet(leads), pd.read_parquet(outcomes)
    won = table["lead_id"].isin(closed.loc[closed["outcome"] == "won", "lead_id"])
    X = features(table, pd.read_parquet(events), as_of)
    texts = list(X.select_dtypes(["str", "category"]))
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    prepared = ColumnTransformer([("texts", one_hot, texts)], remainder="passthrough")
    return make_pipeline(prepared, HistGradientBoostingClassifier(random_state=0)).fit(X, won)


def _counts(events: pd.DataFrame) -> pd.DataFrame:
    """Count by type, by channel and in all, within each window."""
    found = []
    for days in (*WINDOWS_DAYS, None):
        within, name = (
            (events, "all") if days is None else (events[events["age"] < days], f"{days}d")
        )
        by_type = within.groupby(["lead_id", "event_type"]).size().unstack(fill_value=0)
        found.append(by_type.add_prefix("count_").add_suffix(f"_{name}"))
        found.append(within.groupby("lead_id").size().to_frame(f"events_{name}"))
    by_channel = events.groupby(["lead_id", "channel"], observed=True).size()
    return pd.concat([*found, by_channel.unstack(fill_value=0).add_prefix("channel_")], axis=1)


def _recency(events: pd.DataFrame) -> pd.DataFrame:
    """Days since the last event of each type, and counts that halve with age."""
    last = events.groupby(["lead_id", "event_type"])["age"].min().unstack()
    decayed = {
        f"engagement_half_life_{days}d": 0.5 ** (events["age"] / days) for days in HALF_LIVES_DAYS
    }
    sums = pd.DataFrame(decayed).groupby(events["lead_id"]).sum()
    return last.add_prefix("days_since_").join(sums)


def _of_all(events: pd.DataFrame) -> pd.DataFrame:
    """Summarise all events of a lead: when, how far apart, on how many days, what value."""
    by_lead = events.groupby("lead_id")
    gaps = _days(by_lead["occurred_at"].diff())
    days = events["occurred_at"].dt.floor("D").groupby(events["lead_id"]).nunique()
    gap = gaps.groupby(events["lead_id"]).agg(["mean", "std", "max"])
    summary = by_lead.agg(
        days_since_last_event=("age", "min"),
        days_since_first_event=("age", "max"),
        distinct_types=("event_type", "nunique"),
        value_sum=("value", "sum"),
        value_max=("value", "max"),
    )
    gap.columns = ["gap_mean_days", "gap_sd_days", "gap_max_days"]
    return summary.join(gap).assign(active_days=days)


def _days(times: "pd.Series[pd.Timedelta]") -> "pd.Series[float]":
    return times.dt.total_seconds() / 86_400
