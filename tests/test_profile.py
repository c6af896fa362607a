"""Attributes that look otherwise than usual are found, on both sides of every limit."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from features.attributes import Attribute
from features.profile import moved, profiles, profiles_by_age, spread
from tests.commands import run
from tests.factories import AS_OF_US, TIME, at
from tests.worlds import PLAIN, learn_quickly, plain_world
from training import report
from training.scorer import ArtifactError, LeadScorer

ATTRIBUTES = (
    Attribute("size", "number"),
    Attribute("trade", "category", ("finance", "製造業")),
    Attribute("partner", "boolean"),
)
USUAL = 2_000


def table(n=USUAL, seed=0, *, missing=0.3, other=0.1, factor=1.0):
    rng = np.random.default_rng(seed)
    trade = np.where(rng.random(n) < other, "fishing", rng.choice(["finance", "製造業"], n))
    columns = {
        "size": pa.array(factor * rng.lognormal(3, 1, n), mask=rng.random(n) < missing),
        "trade": pa.array(trade, mask=rng.random(n) < missing),
        "partner": pa.array(rng.random(n) < 0.5, mask=rng.random(n) < missing),
    }
    return {name: pa.chunked_array([column]) for name, column in columns.items()}


KNOWN = profiles(ATTRIBUTES, table(), np.arange(USUAL))


def rules(columns, n, **more):
    found = moved(KNOWN, ATTRIBUTES, columns, np.arange(n), who="scored", **more)
    return {finding.column: finding for finding in found}


@pytest.mark.parametrize("n", [0, 1, 5, 19, 20, 60, 500, 50_000])
@pytest.mark.parametrize("seed", range(5))
def test_tables_like_the_usual_one_raise_no_alarm(n, seed):
    assert rules(table(n, seed), n) == {}


def test_a_profile_by_hand():
    size, trade, partner = KNOWN
    assert size.missing == pytest.approx(0.3, abs=0.03)
    assert size.strange == pytest.approx(0.02, abs=0.002)
    assert trade.strange == pytest.approx(0.1, abs=0.02)
    assert partner.strange == 0
    assert (trade.low, partner.high) == (None, None)
    assert size.low < np.exp(3 - 2) < np.exp(3 + 2) < size.high


def test_columns_that_are_empty_or_suddenly_full_are_found_with_their_rows():
    empty, full = rules(table(200, missing=1.0), 200), rules(table(200, missing=0.0), 200)
    assert {f.rule for f in (*empty.values(), *full.values())} == {"missing_share_moved"}
    assert set(empty) == set(full) == {"size", "trade", "partner"}
    assert [empty["size"].rows, full["size"].rows] == [200, 0]
    assert empty["size"].severity == "warning"
    usual = f"{100 * KNOWN[0].missing:.0f} %"
    assert f"Missing in 100 % of these leads, in {usual} of the leads that the" in str(
        empty["size"]
    )


@pytest.mark.parametrize(("share", "found"), [(0.45, False), (0.55, True), (0.05, True)])
def test_a_share_of_missing_values_must_be_far_from_the_usual_one(share, found):
    assert bool(rules(table(5_000, missing=share), 5_000)) is found


@pytest.mark.parametrize(("n", "found"), [(20, False), (200, True)])
def test_few_rows_prove_little(n, found):
    columns = table(n, missing=0.0)
    columns["size"] = pa.chunked_array([pa.array([1.0 if k % 3 else None for k in range(n)])])
    columns["trade"] = pa.chunked_array(
        [pa.array([None if k % 3 else "finance" for k in range(n)])]
    )
    assert ("trade" in rules(columns, n)) is found


def test_levels_that_are_mostly_unknown_are_found_with_examples():
    columns = table(300)
    names = np.where(np.arange(300) % 3 == 0, "FINANCE", "seizou")
    columns["trade"] = pa.chunked_array([pa.array(names).dictionary_encode()])
    found = rules(columns, 300)["trade"]
    assert (found.rule, found.rows) == ("missing_share_moved", 0)
    columns["trade"] = pa.chunked_array(
        [pa.array(names, mask=np.arange(300) % 10 < 3).dictionary_encode()]
    )
    found = rules(columns, 300)["trade"]
    assert (found.rule, found.rows) == ("values_moved", 210)
    assert found.examples[0].where == "seizou"
    assert "100 % have one that the model does not know; of the leads that the model" in found.mend


def test_numbers_in_another_unit_are_found():
    found = rules(table(300, factor=1_000.0), 300)
    assert {column: f.rule for column, f in found.items()} == {"size": "values_moved"}
    assert "100 % have one outside" in found["size"].mend
    assert rules(table(300, factor=1.2), 300) == {}


def test_text_where_a_number_was_is_missing_and_an_absent_column_is_said_elsewhere():
    columns = table(300)
    columns["size"] = pa.chunked_array([pa.array(["big"] * 300)])
    del columns["partner"]
    assert {c: f.rule for c, f in rules(columns, 300).items()} == {"size": "missing_share_moved"}


def test_a_sample_decides_and_all_rows_are_counted():
    columns = table(50_000, missing=1.0)
    assert rules(columns, 50_000)["size"].rows == 50_000
    assert rules(columns, 50_000, sample=np.arange(0)) == {}
    assert len(spread(np.arange(50_001))) <= 20_000


# with a history


def filled_by_age(age_days, seed=0, *, written="製造業"):
    """A trade that is filled in as leads grow older: on all of 30 days, on half of 15."""
    filled = np.random.default_rng(seed).random(len(age_days)) * 30 < age_days
    return {"trade": pa.chunked_array([pa.array([written] * len(age_days), mask=~filled)])}


AGES = np.repeat([0.0, 3.0, 14.0, 30.0, 60.0], 200)
BY_AGE = profiles_by_age(ATTRIBUTES, filled_by_age(AGES), AGES)


def rules_by_age(columns, age_days):
    rows = np.arange(len(columns["trade"]))
    found = moved(BY_AGE, ATTRIBUTES, columns, rows, who="scored", age_days=age_days)
    return {finding.column: finding for finding in found}


@pytest.mark.parametrize("age_days", [0.5, 4.0, 16.0, 45.0, 89.0])
def test_a_record_is_compared_with_records_of_leads_of_its_age(age_days):
    ages = np.full(300, age_days)
    assert rules_by_age(filled_by_age(ages, 1), ages) == {}
    assert ("trade" in rules_by_age(filled_by_age(ages + 60), ages)) == (age_days < 20)
    assert ("trade" in rules_by_age(filled_by_age(ages * 0), ages)) == (age_days > 5)


def test_ages_that_the_model_never_saw_are_not_compared_nor_counted():
    ages = np.repeat([45.0, 400.0], 300)
    empty = filled_by_age(ages * 0)
    assert rules_by_age(empty, ages)["trade"].rows == 300
    assert "Missing in 100 % of these leads, in 0 % of" in rules_by_age(empty, ages)["trade"].mend
    assert rules_by_age(empty, ages + 100) == {}
    assert rules_by_age(empty, None) == {}


def test_unknown_levels_are_counted_among_the_filled_records():
    ages = np.repeat([0.5, 45.0], 300)
    renamed = filled_by_age(ages, written="manufacturing")
    found = rules_by_age(renamed, ages)["trade"]
    filled = len(ages) - renamed["trade"].null_count
    assert (found.rule, found.rows) == ("values_moved", filled)


# in a training run


def shifts(column):
    world = plain_world()
    leads = world.leads.append_column("extra", column)
    learned = learn_quickly(replace(world, leads=leads), PLAIN)
    named = {(s["column"], s["rule"]) for s in learned.report["shifts"]}
    assert named == {(f.column, f.rule) for f in learned.findings if f.rule.endswith("moved")}
    return named, learned


def test_a_column_that_only_older_leads_have_is_named_and_the_run_goes_on(tmp_path):
    """Leads stand by creation in the plain world, the newest tenth are 40."""
    rng = np.random.default_rng(0)
    values = rng.integers(1, 50, 400)
    late, learned = shifts(pa.array(values, mask=np.arange(400) >= 330))
    assert late == {("extra", "missing_share_moved")}
    (told,) = [f for f in learned.findings if f.rule == "missing_share_moved"]
    assert "Missing in 100 % of the newest tenth of the leads, in 8 % of the others" in told.mend
    report.write(learned.report, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "extra: missing share moved" in page
    assert told.mend in page
    anyway, learned = shifts(pa.array(values, mask=rng.random(400) < 0.5))
    assert anyway == set()
    usual = {profile.name: profile for profile in learned.scorer.profiles}
    assert set(usual) == {"employees", "industry", "extra"}
    assert usual["extra"].missing == pytest.approx(0.5, abs=0.05)


def test_names_that_came_up_lately_are_named():
    kinds = np.where(np.arange(400) < 360, "old", "new").tolist()
    kinds[::2] = ["usual"] * 200
    late, learned = shifts(pa.array(kinds))
    assert late == {("extra", "values_moved")}
    (told,) = [f for f in learned.findings if f.rule == "values_moved"]
    assert (told.rows, str(told.examples[0])) == (20, "new: 20 rows")


def with_trade(seed=1, *, renamed_since=None):
    """Give the plain world a trade that is filled in after days, and renamed for later leads."""
    world, rng = plain_world(), np.random.default_rng(seed)
    created = world.leads["created_at"].cast(pa.int64()).to_numpy()
    days = rng.exponential(3, 400)
    trade = rng.choice(["finance", "retail"], 400).astype(object)
    if renamed_since is not None:
        trade[renamed_since:] = rng.choice(["Fin.", "Ret."], 400 - renamed_since)
    moment = created + (days * 86_400_000_000).astype(np.int64)
    written = moment < at(0)
    changes = pa.table(
        {
            "lead_id": world.leads["lead_id"].filter(pa.array(written)),
            "changed_at": pa.array(moment[written], TIME),
            "attribute": ["trade"] * int(written.sum()),
            "value": trade[written].tolist(),
        }
    )
    return replace(world, changes=changes)


def test_a_history_that_says_other_things_of_the_newest_leads_is_named():
    for since, expected in ((None, set()), (330, {("trade", "values_moved")})):
        learned = learn_quickly(with_trade(renamed_since=since), PLAIN)
        assert {(s["column"], s["rule"]) for s in learned.report["shifts"]} == expected


# in a backlog


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("profile") / "m"
    learn_quickly(plain_world(), PLAIN).scorer.save(folder)
    return folder


def scored(model, folder, leads, *more):
    world = plain_world()
    pq.write_table(leads, folder / "l.parquet")
    pq.write_table(world.events, folder / "e.parquet")
    done = run(
        "score", "--model", model, "--leads", folder / "l.parquet", "--events",
        folder / "e.parquet", "--as-of", "2026-08-31T17:00:00Z", "--output", folder / "s.parquet",
        "--json", *more,
    )  # fmt: skip
    assert done.code == 0, done.err
    found = {(f["column"], f["rule"]): f["rows"] for f in json.loads(done.out)["findings"]}
    assert pq.read_table(folder / "s.parquet").num_rows == len(leads)
    assert all(rule in done.err for _, rule in found)
    return {place: rows for place, rows in found.items() if place[1].endswith("moved")}


def test_a_backlog_says_where_it_is_far_from_what_the_model_learned_from(model, tmp_path):
    leads = plain_world().leads
    assert scored(model, tmp_path, leads) == {}
    odd = leads.set_column(2, "employees", pc.multiply(leads["employees"], 1_000))
    odd = odd.set_column(3, "industry", pa.nulls(400, pa.string()))
    assert scored(model, tmp_path, odd) == {
        ("employees", "values_moved"): 400,
        ("industry", "missing_share_moved"): 400,
    }
    assert scored(model, tmp_path, odd.slice(0, 19)) == {}
    assert scored(model, tmp_path, leads.drop_columns(["industry"])) == {}  # said otherwise


def test_a_backlog_says_where_its_histories_are_far_from_what_the_model_learned_from(tmp_path):
    scorer = learn_quickly(with_trade(), PLAIN).scorer
    scorer.save(tmp_path / "m")
    assert {one.from_days for one in scorer.profiles if one.name == "trade"} >= {0.0, 7.0, 30.0}
    assert {one.from_days for one in scorer.profiles if one.name != "trade"} == {None}
    young = plain_world().leads.slice(320)
    for since, expected in ((None, set()), (0, {("trade", "values_moved")})):
        changes = with_trade(2, renamed_since=since).changes
        pq.write_table(changes, tmp_path / "c.parquet")
        found = scored(tmp_path / "m", tmp_path, young, "--changes", tmp_path / "c.parquet")
        assert set(found) == expected


def test_a_lead_that_stands_often_counts_once(model, tmp_path):
    leads = plain_world().leads
    odd = leads.slice(0, 1).set_column(3, "industry", pa.nulls(1, pa.string()))
    often = pa.concat_tables([leads.slice(1, 60), *[odd] * 300])
    moments = [AS_OF_US - k * 1_000_000 for k in range(len(often))]
    often = often.append_column("moment", pa.array(moments, pa.timestamp("us", "UTC")))
    assert scored(model, tmp_path, often, "--as-of", "moment") == {}


def test_a_model_without_profiles_scores_as_before(model, tmp_path):
    scorer = LeadScorer.load(model)
    bare = {key: part for key, part in scorer.reference.items() if key != "attributes"}
    replace(scorer, reference=bare).save(tmp_path / "old")
    leads = plain_world().leads
    empty = leads.set_column(3, "industry", pa.nulls(400, pa.string()))
    assert scored(tmp_path / "old", tmp_path, empty) == {}
    wrong = {**bare, "attributes": [{"name": "nobody", "missing": 0.0, "strange": 0.0}]}
    replace(scorer, reference=wrong).save(tmp_path / "wrong")
    with pytest.raises(ArtifactError, match="profiles of attributes"):
        LeadScorer.load(tmp_path / "wrong")
