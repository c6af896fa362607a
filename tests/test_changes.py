"""The history of attributes: a moment sees what was known of a record then, and nothing else."""

import json
from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.attributes import Attribute
from features.changes import histories, odd_histories, timelines
from features.contract import CHANGES
from features.matrix import records
from features.readers import read, read_tables
from features.readings import Clues, clues, readings
from features.relations import rows_of
from tests.commands import run, table
from tests.factories import TIME, at, make_events, make_leads
from tests.worlds import PLAIN, World, few_rounds, learn_quickly, make_outcomes, plain_world
from training.gates import GateRefused
from training.scorer import LeadScorer
from training.study import prepare

HEADER = "lead_id,changed_at,attribute,value,recorded_at"
LEADS = ("lead_id,created_at,size,tier", "a,2026-01-01,9,z", "b,2026-01-02,9,z", "c,2026-01-03,9,z")
EVENTS = "lead_id,occurred_at,event_type"


def make_changes(rows):
    """Make a table of (lead, age in days, attribute, value, age at which it became known)."""
    lead, changed, attribute, value, known = zip(*rows, strict=True) if rows else ((),) * 5
    return pa.table(
        {
            "lead_id": pa.array(lead, pa.string()),
            "changed_at": pa.array([at(age) for age in changed], TIME),
            "attribute": pa.array(attribute, pa.string()),
            "value": pa.array(value, pa.string()),
            "recorded_at": pa.array([at(age) for age in known], TIME),
        }
    )


def of_leads(ages, **attributes):
    """Make a world of leads to whom nothing happened."""
    return World(make_leads(ages, **attributes), make_events({}), make_outcomes({}))


def with_changes(world, rows):
    """Give a world's tables with a history of attributes."""
    return replace(world, changes=make_changes(rows))


def said(rows, lead, attribute, age):
    """Say what a record said at an age, the obvious way; `rows` in the order of the table."""
    then = [
        (-changed, place, value)
        for place, (who, changed, name, value, known) in enumerate(rows)
        if who == lead and name == attribute and min(changed, known) >= age
    ]
    return max(then)[2] if then else None


ROWS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.integers(0, 6),
        st.sampled_from(["size", "tier"]),
        st.sampled_from(["1", "2", "3", None]),
        st.integers(0, 6),
    ),
    max_size=12,
)


@given(ROWS)
@settings(max_examples=150, deadline=None)
def test_a_moment_sees_the_last_value_at_or_before_it_that_was_known_then(rows):
    rows = [
        (who, changed, name, value, min(known, changed))
        for who, changed, name, value, known in rows
    ]
    changes = make_changes(rows)
    found = timelines(
        changes, rows_of(changes["lead_id"], pa.chunked_array([list("abc")])), {}, pa.table({})
    )
    for name, timeline in found.items():
        asked = [(k, lead, age) for k, lead in enumerate("abc") for age in range(8)]
        moments = np.array([at(age) for *_, age in asked])
        values = timeline.at(np.array([k for k, *_ in asked]), moments).cast(pa.string())
        assert values.to_pylist() == [said(rows, lead, name, age) for _, lead, age in asked]


@given(ROWS.filter(lambda rows: len({row[:3] for row in rows}) == len(rows)), st.randoms())
@settings(max_examples=50, deadline=None)
def test_the_order_of_the_rows_does_not_matter_where_no_two_hold_since_one_moment(rows, random):
    world = of_leads({"a": 9, "b": 8, "c": 7})
    one = with_changes(world, rows).crm
    random.shuffle(rows)
    assert with_changes(world, rows).crm.digest == one.digest


def test_what_comes_later_changes_nothing_not_even_what_is_missing():
    tier = [Attribute("tier", "category", ("gold", "tin"))]
    rows = [("a", 5, "tier", "tin", 5)]
    ages, later = {"a": 9, "b": 8}, [("a", 2, "tier", "gold", 2), ("b", 1, "tier", "tin", 1)]
    before = with_changes(of_leads(ages, tier=["tin", "gold"]), rows).crm
    after = with_changes(of_leads(ages, tier=["gold", "tin"]), [*rows, *later]).crm
    lead, moment = np.array([0, 0, 1]), np.array([at(6), at(3), at(3)])
    then = records(tier, before.leads, lead, moment)
    np.testing.assert_array_equal(then, np.array([[np.nan], [2], [np.nan]], np.float32))
    np.testing.assert_array_equal(records(tier, after.leads, lead, moment), then)


@pytest.mark.parametrize(
    ("leads", "rows", "expected"),
    [
        # all histories begin with their lead: who has none has kept the table's value
        ("xyz", [("a", 9, "u"), ("a", 4, "x")], ["u", "x", "y", "y"]),
        # the table says what leads said at first
        ("uyz", [("a", 4, "x")], ["u", "x", "y", "y"]),
        # the table says what leads say today: who has not changed yet looks like who never will
        ("xyz", [("a", 4, "x")], [None, "x", None, None]),
        # emptied today, and empty in the table
        ([None, "y", "z"], [("a", 4, None)], [None, None, None, None]),
    ],
)
def test_before_the_first_change_holds_what_the_leads_table_cannot_have_from_today(
    leads, rows, expected
):
    world = of_leads({"a": 9, "b": 8, "c": 7}, tier=list(leads))
    changes = [(lead, age, "tier", value, age) for lead, age, value in rows]
    timeline = with_changes(world, changes).crm.leads.changes["tier"]
    moments = np.array([at(5), at(3), at(5), at(3)])
    said = timeline.at(np.array([0, 0, 1, 1]), moments).cast(pa.string())
    assert said.to_pylist() == expected


TEXT = st.sampled_from(["1", "2", "2.5", "3.0", "07", "x", "true", "n/a", None])
MIXED = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 8), st.sampled_from(["size", "tier"]), TEXT),
    max_size=12,
)
SAID = st.one_of(
    st.lists(TEXT, min_size=4, max_size=4),
    st.lists(st.sampled_from([1.0, 2.0, 2.5, None]), min_size=4, max_size=4),
)


def found_in(changes, leads, known=None):
    """Give the histories of some leads by name: what each lead's record said at each age."""
    own = changes.filter(pc.is_in(changes["lead_id"], leads["lead_id"].combine_chunks()))
    lead = rows_of(own["lead_id"], leads["lead_id"])
    every = np.arange(len(leads))
    found = timelines(own, lead, {}, leads, known)
    return (
        {
            name: [each.at(every, np.full(len(every), at(age))) for age in range(10)]
            for name, each in found.items()
        },
        clues(histories(own, lead, {}), leads, ["size", "tier"]),
        {(one.rule, one.column): one.count for one in odd_histories(found, own, leads)},
    )


@given(MIXED, SAID, st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_shares_say_together_what_the_whole_says(rows, column, cut):
    leads = make_leads(dict.fromkeys("abcd", 5))
    leads = leads.append_column("tier", pa.chunked_array([pa.array(column)]))
    changes = make_changes([(*row, row[1]) for row in rows])
    whole, _, odd = found_in(changes, leads)
    shares = [leads.slice(0, cut), leads.slice(cut)]
    told = [json.dumps({n: c.to_list() for n, c in found_in(changes, each)[1].items()})
            for each in shares]  # fmt: skip
    known = readings(
        {name: Clues.from_list(each) for name, each in json.loads(text).items()} for text in told
    )
    parts = [found_in(changes, each, known) for each in shares]
    for name, at_ages in whole.items():
        for age, expected in enumerate(at_ages):
            both = [part[name][age] for part, _, _ in parts]
            assert {each.type for each in both} == {expected.type}
            assert [v for each in both for v in each.to_pylist()] == expected.to_pylist()
    assert sum((Counter(one) for _, _, one in parts), Counter()) == Counter(odd)


def test_leads_that_are_not_there_yet_take_their_first_values_with_them():
    world = of_leads({"c": 1, "a": 9, "b": 8}, tier=["q", "u", "y"])
    crm = with_changes(replace(world, until_us=at(4)), [("a", 9, "tier", "u", 9)]).crm
    assert crm.records_at(at(4)).select(["lead_id", "tier"]).to_pydict() == {
        "lead_id": ["a", "b"],
        "tier": ["u", "y"],
    }


def test_who_never_changed_is_scored_as_without_a_history(files):
    folder, paths = files
    leads = pq.read_table(folder / "leads.parquet")
    one = leads["lead_id"][0].as_py()
    created = leads["created_at"].cast(pa.int64())[0].as_py()
    rows = {
        "lead_id": [one, one],
        "changed_at": pa.array([created, created + 1], TIME),
        "attribute": ["industry"] * 2,
        "value": ["retail", "finance"],
    }
    pq.write_table(pa.table(rows), folder / "few.parquet")
    for name, more in (("without", []), ("with", [f"--changes={folder / 'few.parquet'}"])):
        done = run(
            "score", f"--model={folder / 'm'}", paths["leads"], paths["events"],
            "--as-of=2026-09-01T00:00:00Z", f"--output={folder / name}.parquet", *more,
        )  # fmt: skip
        assert done.code == 0, done.err
        assert "late_history" not in done.err
    without, given = (pq.read_table(folder / f"{name}.parquet") for name in ("without", "with"))
    assert without.slice(1).equals(given.slice(1))


def test_what_became_known_after_the_export_is_no_part_of_the_crm():
    world = replace(of_leads({"a": 9, "b": 8}), until_us=at(4))
    rows = [("a", 5, "tier", "tin", 5)]
    later = [("b", 3, "tier", "tin", 3), ("a", 5, "size", "7", 2)]
    assert "size" not in with_changes(world, rows).crm.leads.changes
    crm = with_changes(world, [*rows, *later]).crm
    assert crm.leads.changes["tier"].values.to_pylist() == ["tin"]
    assert crm.records_at(at(0))["size"].to_pylist() == [None, None]
    assert with_changes(world, [*rows, ("b", 6, "tier", "tin", 6)]).crm.digest != (
        with_changes(world, rows).crm.digest
    )


def test_an_emptied_attribute_is_missing_from_then_on(tmp_path):
    tables = read_tables(
        table(tmp_path / "l.csv", *LEADS),
        table(tmp_path / "e.csv", EVENTS),
        changes=table(
            tmp_path / "c.csv",
            "Kontakt,Wann,Feld,Wert",
            "a,2026-01-05,Größe,7",
            "a,2026-01-07,Größe, ",
            "b,2026-01-05,Größe,8",
            "b,2026-01-05,tier,gold",
        ),
        columns={
            "leads": {"size": "Größe"},
            "changes": {
                "lead_id": "Kontakt",
                "changed_at": "Wann",
                "attribute": "Feld",
                "value": "Wert",
            },
        },
        timezone="UTC",
        attributes_may_lack=True,
    )
    assert tables.changes.keys() == {"size", "tier"}
    assert tables.changes["size"].values.type == pa.int64()
    days = np.array([1767571200_000_000 + day * 86_400_000_000 for day in (-1, 0, 1, 2)])
    size = tables.changes["size"].at(np.zeros(4, np.int64), days)
    assert size.to_pylist() == [9, 7, 7, None], "the table's 9 is nobody's last value: it is older"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([1.0, 2.0]), ["1", "2"]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array(["007", " "]), ["007", None]),
    ],
)
def test_values_of_any_plain_type_are_read(tmp_path, values, expected):
    rows = pa.table(
        {
            "lead_id": pa.array([1, 1]),
            "changed_at": pa.array([at(2), at(1)], TIME),
            "attribute": pa.array(["size", "size"]),
            "value": values,
        }
    )
    pq.write_table(rows, tmp_path / "c.parquet")
    found = read(CHANGES, tmp_path / "c.parquet")
    assert found.usable
    assert found.table["value"].to_pylist() == expected


def test_lists_are_no_values(tmp_path):
    rows = {"lead_id": ["a"], "changed_at": pa.array([at(1)], TIME), "attribute": ["size"]}
    pq.write_table(pa.table({**rows, "value": [["1", "2"]]}), tmp_path / "c.parquet")
    (finding,) = read(CHANGES, tmp_path / "c.parquet").findings
    assert (finding.rule, finding.column) == ("wrong_type", "value")


def test_changes_of_undated_tables_are_not_looked_at(tmp_path):
    tables = read_tables(
        table(tmp_path / "l.csv", "lead_id,size", "a,1", "b,2"),
        table(tmp_path / "e.csv", EVENTS),
        changes=table(tmp_path / "c.csv", "lead_id,attribute,value", "a,size,3"),
        undated=True,
    )
    assert [f.rule for f in tables.findings if f.table == "changes"] == ["undated_events"]
    assert not tables.changes
    assert tables.leads["size"].to_pylist() == [1, 2]


# ---- learning and scoring ---------------------------------------------------------------


@cache
def told_world():
    """A world whose leads say today who was won, and whose history says since when."""
    world = plain_world(600)
    won = dict(
        zip(
            world.outcomes["lead_id"].to_pylist(),
            world.outcomes["outcome"].to_pylist(),
            strict=True,
        )
    )
    ids = world.leads["lead_id"].to_pylist()
    tier = ["gold" if won.get(lead) == "won" else "tin" for lead in ids]
    today = replace(world, leads=world.leads.append_column("tier", pa.array(tier)))
    created = dict(zip(ids, world.leads["created_at"].cast(pa.int64()).to_pylist(), strict=True))
    closed = zip(
        world.outcomes["lead_id"].to_pylist(),
        world.outcomes["closed_at"].cast(pa.int64()).to_pylist(),
        strict=True,
    )
    rows = [(lead, moment, "tin") for lead, moment in created.items()]
    rows += [(lead, moment, "gold") for lead, moment in closed if won[lead] == "won"]
    changes = pa.table(
        {
            "lead_id": [lead for lead, *_ in rows],
            "changed_at": pa.array([moment for _, moment, _ in rows], TIME),
            "attribute": ["tier"] * len(rows),
            "value": [value for *_, value in rows],
        }
    )
    return today, changes


def test_levels_are_those_that_records_had_while_leads_were_open():
    world = plain_world(300)
    ids, created = world.leads["lead_id"].to_pylist(), world.leads["created_at"].cast(pa.int64())
    day = 86_400_000_000
    rows = [
        (lead, moment + days * day, value)
        for k, (lead, moment) in enumerate(zip(ids, created.to_pylist(), strict=True))
        for days, value in ((0, f"new-{k % 2}"), (5, "met"), (200, "archived"))
    ]
    changes = pa.table(
        {
            "lead_id": [lead for lead, *_ in rows],
            "changed_at": pa.array([moment for _, moment, _ in rows], TIME),
            "attribute": ["stage"] * len(rows),
            "value": [value for *_, value in rows],
        }
    )
    study = prepare(replace(world, changes=changes).crm, PLAIN)
    (stage,) = [a for a in study.spec(world.until_us)[0].attributes if a.name == "stage"]
    assert {"new-0", "new-1", "met"} <= set(stage.levels)


def test_reasons_speak_of_what_the_record_said_then(files):
    folder, _ = files
    scorer = LeadScorer.load(folder / "m")
    crm = replace(told_world()[0], changes=told_world()[1]).crm
    row, moment = np.array([3, 5]), np.full(len(crm.leads), crm.until_us)
    one = scorer.explain(crm.leads, moment, row)
    assert one == scorer.explain(crm.leads.at(row, moment[row]), moment[row], np.arange(2))


def test_an_attribute_written_after_the_outcome_is_a_leak_unless_its_history_is_known():
    today, changes = told_world()
    with pytest.raises(GateRefused, match="tier"):
        learn_quickly(today)
    learned = learn_quickly(replace(today, changes=changes))
    plain = learn_quickly(plain_world(600))
    auc, without = (one.report["test"]["model"]["auc"]["value"] for one in (learned, plain))
    assert abs(auc - without) < 0.02


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Write the told world, and train on it."""
    folder = tmp_path_factory.mktemp("changes")
    today, changes = told_world()
    for name in ("leads", "events", "outcomes"):
        pq.write_table(getattr(today, name), folder / f"{name}.parquet")
    pq.write_table(changes, folder / "changes.parquet")
    names = ("leads", "events", "outcomes", "changes")
    paths = {name: f"--{name}={folder / name}.parquet" for name in names}
    with few_rounds():
        done = run("train", *paths.values(), f"--output={folder / 'm'}", "--horizon-days=30")
    assert done.code == 0, done.err
    return folder, paths


def test_a_backlog_is_scored_by_what_its_records_said_at_each_moment(files):
    folder, paths = files
    leads = pq.read_table(folder / "leads.parquet")
    scorer = LeadScorer.load(folder / "m")
    rows = leads.take(pa.array(np.repeat(np.arange(40), 2)))
    rows = rows.drop_columns(["tier"])
    moments = [
        moment + k * 40 * 86_400_000_000
        for moment in rows["created_at"].cast(pa.int64())[::2].to_pylist()
        for k in (0, 1)
    ]
    judged = rows.append_column("moment", pa.array(moments, TIME))
    pq.write_table(judged, folder / "judged.parquet")
    out = folder / "s.parquet"
    done = run(
        "score", f"--model={folder / 'm'}", f"--leads={folder}/judged.parquet",
        paths["events"], paths["changes"], "--as-of=moment", f"--output={out}", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "missing_attribute" not in {f["rule"] for f in json.loads(done.out)["findings"]}
    told = read_tables(
        folder / "judged.parquet", folder / "events.parquet",
        changes=folder / "changes.parquet", as_of_column="moment",
    ).changes["tier"]  # fmt: skip
    first = rows_of(rows["lead_id"], rows["lead_id"])
    tier = told.at(first, np.array(moments))
    assert set(tier.to_pylist()) == {"tin", "gold"}
    pq.write_table(judged.append_column("tier", tier), folder / "plain.parquet")
    plain = folder / "p.parquet"
    done = run(
        "score", f"--model={folder / 'm'}", f"--leads={folder}/plain.parquet",
        paths["events"], "--as-of=moment", f"--output={plain}",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert pq.read_table(out).equals(pq.read_table(plain))
    assert scorer.digest in pq.read_table(out)["model"][0].as_py()


def test_check_snapshots_and_backtest_take_the_history_too(files):
    folder, paths = files
    done = run("check", *paths.values(), "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["findings"] == []
    done = run(
        "snapshots", *paths.values(), f"--output={folder / 't.parquet'}", "--horizon-days=30"
    )
    assert done.code == 0, done.err
    learned = pq.read_table(folder / "t.parquet")
    assert "lead_tier" not in learned.column_names, "while a lead is open it says the same of all"
    done = run("backtest", f"--model={folder / 'm'}", *paths.values(), f"--output={folder / 'b'}")
    assert done.code == 0, done.err
    assert (folder / "b/backtest.html").exists()


def test_a_bad_change_is_named(files, tmp_path):
    _, paths = files
    bad = table(
        tmp_path / "bad.csv", HEADER, "リード-0001,soon,tier,gold,", ",2026-01-01T00:00:00Z,,x,"
    )
    done = run("check", paths["leads"], paths["events"], f"--changes={bad}")
    assert done.code == 2
    for expected in (
        "changes.changed_at not_a_time",
        "changes.lead_id missing_id",
        "changes.attribute missing_type",
    ):
        assert expected in done.err
