"""A spreadsheet of leads without dates: learned from in an order, and scored."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from features.contract import ContractError
from features.readers import read_tables
from features.undated import SPACING_US
from tests.commands import run, table
from tests.worlds import few_rounds

CONFIG = '[split]\nundated = true\norder_by = "number"\n'
EVENTS = "lead_id,occurred_at,event_type"


def spreadsheet(folder, leads=700, seed=0):
    """Leads of which every second kind is mostly won; the file holds them in no order."""
    rng = np.random.default_rng(seed)
    keen = rng.random(leads) < 0.4
    won = rng.random(leads) < np.where(keen, 0.7, 0.1)
    rows = [
        f"見込-{n},{n},{'seminar' if k else 'web'},{rng.integers(1, 300)}"
        for n, k in zip(range(leads), keen, strict=True)
    ]
    mixed = rng.permutation(leads)
    closes = [f"見込-{n},{'won' if won[n] else 'lost'}" for n in range(leads)]
    return {
        "leads": table(folder / "l.csv", "lead_id,number,origin,size", *(rows[n] for n in mixed)),
        "events": table(folder / "e.csv", EVENTS),
        "outcomes": table(folder / "o.csv", "lead_id,outcome", *(closes[n] for n in mixed)),
    }


def train(folder, tables, *more, config=CONFIG):
    (folder / "leadqual.toml").write_text(config, encoding="utf-8")
    given = [f"--{name}={path}" for name, path in tables.items()]
    with few_rounds():
        return run(
            "train",
            *given,
            f"--config={folder / 'leadqual.toml'}",
            f"--output={folder / 'm'}",
            *more,
        )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undated")
    done = train(folder, spreadsheet(folder))
    assert done.code == 0, done.err
    return folder


def test_later_leads_in_the_order_judge_what_attributes_tell(trained):
    report = json.loads((trained / "m/report.json").read_text(encoding="utf-8"))
    assert report["origins"]["kind"] == "time"
    assert (
        0.65 < report["test"]["model"]["auc"]["low"] < report["test"]["model"]["auc"]["high"] < 0.95
    )
    assert report["data"]["undated_order"] == "number"
    assert any("no dates: leads stand in the order of number" in line for line in report["summary"])
    manifest = json.loads((trained / "m/manifest.json").read_text(encoding="utf-8"))
    assert {a["name"] for a in manifest["spec"]["attributes"]} == {"origin", "size"}


def test_a_spreadsheet_without_dates_is_scored(trained, tmp_path):
    leads = table(
        tmp_path / "n.csv", "lead_id,number,origin,size", "A,9001,seminar,5", "B,9002,web,5"
    )
    events = table(tmp_path / "e.csv", EVENTS)
    done = run(
        "score", f"--model={trained / 'm'}", f"--leads={leads}", f"--events={events}",
        "--as-of=2026-01-01T00:00:00Z", f"--output={tmp_path / 's.parquet'}",
    )  # fmt: skip
    assert done.code == 0, done.err
    first, second = pq.read_table(tmp_path / "s.parquet").to_pylist()
    assert first["score"] > second["score"] + 0.3


def test_leads_stand_in_the_order_of_the_column_empty_ones_first(tmp_path):
    leads = table(tmp_path / "l.csv", "lead_id,number", "a,20", "b,3", "c,", "d,100")
    outcomes = table(tmp_path / "o.csv", "lead_id,outcome,closed_at", "d,won,", "b,lost,", "x,won,")
    events = table(tmp_path / "e.csv", EVENTS, "a,,web_visit")
    tables = read_tables(leads, events, outcomes, undated=True, order_by="number")
    place = tables.leads["created_at"].cast("int64").to_numpy() // SPACING_US
    assert dict(zip("abcd", place.tolist(), strict=True)) == {"c": 0, "b": 1, "a": 2, "d": 3}
    assert tables.outcomes is not None
    closed = tables.outcomes["closed_at"].cast("int64").to_pylist()
    assert closed == [3 * SPACING_US + 1, SPACING_US + 1, 0]
    assert len(tables.events) == 0
    assert ("undated_events", 1) in [(f.rule, f.rows) for f in tables.findings]
    rows = read_tables(leads, events, outcomes, undated=True)
    assert (np.diff(rows.leads["created_at"].cast("int64").to_numpy()) == SPACING_US).all()


def test_an_order_that_the_leads_lack_is_an_error_that_names_their_columns(tmp_path):
    tables = spreadsheet(tmp_path, 5)
    with pytest.raises(ContractError, match=r"order_by under \[split\]: lead_id, number, origin"):
        read_tables(**tables, undated=True, order_by="numbr")


@pytest.mark.parametrize(
    ("config", "more", "message"),
    [
        (CONFIG, ["--until", "2026-01-01T00:00:00Z"], "undated tables have no moments"),
        ('[split]\norder_by = "number"\n', [], "add undated = true"),
        (
            '[split]\nundated = true\naccount = "a"\n',
            [],
            "split.account: the leads table has no column a",
        ),
    ],
)
def test_what_has_no_meaning_without_dates_is_refused(tmp_path, config, more, message):
    done = train(tmp_path, spreadsheet(tmp_path, 5), *more, config=config)
    assert done.code == 2
    assert message in done.err
