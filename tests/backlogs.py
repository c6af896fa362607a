"""Tables of a backlog and a model for them, for tests that score files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from features.history import DAY_US
from tests.factories import TIME
from tests.scorers import EPOCH_US, small_scorer
from training.handoff import best_fifth_rule

ROWS = 300


def a_scorer(folder):
    """Save a model that hands off the best fifth, and give it with its digest."""
    fitted = small_scorer(1)
    fitted = replace(fitted, rule=best_fifth_rule(np.array(fitted.reference["scores"])))
    return fitted.save(folder)


def a_backlog(ids=(), seed=5, events_each=8):
    """Give leads and events as they are exported: in any order, some events of unknown leads."""
    rng = np.random.default_rng(seed)
    ids = ids or [f"L{row}" for row in rng.permutation(ROWS)]
    rows = len(ids)
    leads = pa.table(
        {
            "lead_id": ids,
            "created_at": pa.array(EPOCH_US + rng.integers(0, 20, rows) * DAY_US, TIME),
            "employees": pa.array(rng.integers(1, 500, rows), mask=rng.random(rows) < 0.2),
            "industry": rng.choice(["finance", "製造業", "fishing"], rows),
            "customer_of_partner": rng.random(rows) < 0.5,
        }
    )
    count = rows * events_each
    kinds = ["document_request", "inquiry", "seminar_attended", "web_visit", "unheard_of"]
    events = pa.table(
        {
            "lead_id": rng.choice([*ids, "stranger"], count),
            "event_id": [f"E{number}" for number in range(count)],
            "occurred_at": pa.array(EPOCH_US + rng.integers(0, 30 * DAY_US, count), TIME),
            "event_type": rng.choice(kinds, count),
            "channel": pa.array(rng.choice(["web", "event"], count), mask=rng.random(count) < 0.3),
            "value": pa.array(rng.normal(size=count), mask=rng.random(count) < 0.5),
        }
    )
    return leads, events


def write(path, table):
    if isinstance(table, Path):
        return table
    if path.suffix == ".csv":
        pa_csv.write_csv(table, path)
    else:
        pq.write_table(table, path, row_group_size=101)
    return path
