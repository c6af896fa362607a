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


def a_history(rows):
    """Make a table of changes out of (lead, day, attribute, value)."""
    lead, day, attribute, value = zip(*rows, strict=True)
    moments = [EPOCH_US + int(each * DAY_US) for each in day]
    return pa.table(
        {
            "lead_id": pa.array(lead),
            "changed_at": pa.array(moments, TIME),
            "attribute": pa.array(attribute),
            "value": pa.array(value, pa.string()),
        }
    )


def with_profiles(scorer, **usual):
    """Give a model that knows of attributes what share is missing, and strange outside 0 to 9."""
    known = [
        {"name": name, "missing": missing, "strange": 0.0, "low": 0.0, "high": 9.0}
        for name, missing in usual.items()
    ]
    return replace(scorer, reference={**scorer.reference, "attributes": known})


def histories(leads):
    """Give changes of every kind that must not be told by a share alone, by name."""
    ids, created = leads["lead_id"].to_pylist(), leads["created_at"].cast(pa.int64()).to_pylist()
    day = [(moment - EPOCH_US) / DAY_US for moment in created]
    said = leads["employees"].to_pylist()
    each = list(zip(ids, day, said, strict=True))
    begun = [(who, at, "employees", str(7 + k % 5)) for k, (who, at, _) in enumerate(each[:90])]
    text = [(who, at + 1, "employees", None if n is None else f"{n}.0") for who, at, n in each]
    return {
        "all begin with their lead": begun,
        "the table is of today": [*begun, (ids[0], 29, "employees", str(said[0])), *text[1:200]],
        "few begin late, in a table of today": [
            *((who, at, "employees", str(n)) for who, at, n in each[:150] if n),
            *((who, at + 1, "employees", str(n)) for who, at, n in each[150:160] if n),
        ],
        "the table is older": [(who, at + 1, "employees", "7") for who, at, _ in each[:200]],
        "of one lead": [(ids[7], day[7] + 2, "industry", "finance")],
        "not in the leads table": [(ids[7], day[7] + 2, "customer_of_partner", "true")],
        "numbers, and text of one lead": [*text[:250], (ids[3], 29, "employees", "many")],
        "codes with a leading zero": [*begun, (ids[200], 29, "employees", "007")],
    }


def write(path, table):
    if isinstance(table, Path):
        return table
    if path.suffix == ".csv":
        pa_csv.write_csv(table, path)
    else:
        pq.write_table(table, path, row_group_size=101)
    return path
