"""A history through the disk: the very run of one in memory, and nothing left beside the output."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from features import partitions
from features.findings import ContractError
from features.history import DAY_US
from tests.commands import run
from tests.factories import TIME
from tests.test_answer_file import files_of_at_most
from tests.worlds import PLAIN, few_rounds, plain_world, simulated_world, written
from training import inputs, sampling, shares
from training.config import Config
from training.labels import TooLittleHistory
from training.learning import learn_from
from training.simulator import NOW_US

MEMORY = shares.OWN_BYTES + 100_000
"""So that the tables below go through some shares."""


@pytest.fixture(autouse=True)
def few_rows_at_once(monkeypatch):
    """Let shares be written in many parts."""
    monkeypatch.setattr(partitions, "ROWS_AT_ONCE", 1_000)


@pytest.fixture
def take(tmp_path, monkeypatch):
    """Take what so many snapshots' memory allows, of tables in memory or on disk."""

    def taken(world, *, on_disk, most=1_000_000, config=PLAIN, kind="parquet", **options):
        with monkeypatch.context() as patch:
            patch.setattr(sampling, "BYTES_OF_SNAPSHOT", MEMORY // most)
            patch.setattr(shares, "fit", lambda sources, memory: not on_disk)
            told = {"until": None, "timezone": None, "now_us": NOW_US + 400 * DAY_US}
            places = {
                name: write(tmp_path / f"{name}.{kind}", getattr(world, name))
                for name in (*NAMES, "changes")
                if getattr(world, name) is not None
            }
            given = inputs.history(
                **places,
                settings=config,
                **told | options,
                output=tmp_path / "m",
                memory=MEMORY,
                progress=lambda rows, what: nullcontext(lambda done: None),
            )
            with given as read:
                assert (len(list(tmp_path.glob(".m.shares-*/events/*.arrows"))) > 1) == on_disk
                found = read()
                assert not list(tmp_path.glob(".*"))
        assert not list(tmp_path.glob(".*"))
        return found

    return taken


NAMES = ("leads", "events", "outcomes")


def write(path, table):
    if path.suffix == ".csv":
        pa_csv.write_csv(table, path)
    else:
        pq.write_table(table, path)
    return str(path)


def odd_world():
    """Give a world in any order with gaps, codes, strangers and times of recording."""
    world, rng = simulated_world(), np.random.default_rng(3)
    mixed = {name: shuffled(getattr(world, name), rng) for name in NAMES}
    leads, events = mixed["leads"], mixed["events"]
    gaps = pa.array(rng.integers(0, 9, len(leads)), mask=rng.random(len(leads)) < 0.3)
    leads = leads.append_column("size", gaps)
    coded = pa.array(rng.choice(["甲", "乙", "丙"], len(leads))).dictionary_encode()
    leads = leads.append_column("class", coded).append_column("score", pa.array(gaps.cast("float")))
    late = events["occurred_at"].cast(pa.int64()).to_numpy() + rng.integers(0, 9, len(events)) * (
        DAY_US // 4
    )
    events = events.append_column("recorded_at", pa.array(np.minimum(late, NOW_US), TIME))
    value = pa.array(rng.normal(size=len(events)), mask=rng.random(len(events)) < 0.5)
    names = [name for name in events.column_names if name != "value"]
    events = events.select(names).append_column("value", value)
    ids = events["lead_id"].to_pylist()
    ids[5] = ids[700] = "stranger"
    kinds = events["event_type"].cast(pa.string()).to_pylist()
    kinds[9], kinds[800], kinds[1600] = (
        "a rare one",
        "another rare one",
        "zz rare",
    )  # each of a share
    events = events.set_column(events.column_names.index("event_type"), "event_type", [kinds])
    events = events.set_column(events.column_names.index("lead_id"), "lead_id", pa.array(ids))
    return replace(world, leads=leads, events=events, outcomes=mixed["outcomes"])


def shuffled(table, rng):
    return table.take(pa.array(rng.permutation(len(table))))


def same(one, other):
    """Hold what was taken in two ways against each other."""
    assert one.crm.digest == other.crm.digest
    assert (one.rest.share, one.rest.snapshots) == (other.rest.share, other.rest.snapshots)
    assert set(one.crm.findings) == set(other.crm.findings)
    assert one.grid == other.grid
    for a, b in ((one.snapshots, other.snapshots), (one.rest.won, other.rest.won)):
        for name, column in vars(a).items():
            np.testing.assert_array_equal(column, getattr(b, name))
    assert (one.rest.crm is None) == (other.rest.crm is None)
    if one.rest.crm is not None and other.rest.crm is not None:
        assert one.rest.crm.digest == other.rest.crm.digest
    every, again = one.crm.overview, other.crm.overview
    assert every.lead_id.to_pylist() == again.lead_id.to_pylist()
    assert every.events == again.events
    for name in ("created_us", "fingerprints"):
        np.testing.assert_array_equal(getattr(every, name), getattr(again, name))


@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize("most", [1_000_000, 6_000, 300], ids=["all", "winners apart", "few"])
def test_what_is_taken_is_what_is_taken_in_memory(take, most, kind):
    world = odd_world()
    whole, shared = (take(world, on_disk=way, most=most, kind=kind) for way in (False, True))
    same(whole, shared)
    assert (whole.rest.share == 1) == (most == 1_000_000)
    assert (whole.rest.crm is not None) == (most == 6_000)
    assert {finding.rule for finding in shared.crm.findings} >= {"unknown_lead"}


def test_the_export_may_be_of_a_moment_before_the_newest_rows(take):
    until = {"until": "2026-03-01T00:00:00Z"}
    whole, shared = (take(odd_world(), on_disk=way, most=4_000, **until) for way in (False, True))
    same(whole, shared)
    assert "time_after_until" in {finding.rule for finding in shared.crm.findings}


def test_there_may_be_no_events_or_no_outcomes(take):
    plain = plain_world()
    for name in ("events", "outcomes"):
        world = replace(plain, **{name: getattr(plain, name).slice(0, 0)})
        whole, shared = (take(world, on_disk=way, most=700) for way in (False, True))
        same(whole, shared)
        assert "empty_table" in {finding.rule for finding in shared.crm.findings}


def test_lost_leads_that_come_back_are_open_again_by_the_losses_of_all(take):
    plain = plain_world()
    rows = plain.outcomes.to_pylist()
    back = [
        {**row, "outcome": "lost", **{n: row[n] - np.timedelta64(1, "D").item() for n in TIMES}}
        for row in rows
        if row["outcome"] == "won"
    ]
    world = replace(plain, outcomes=pa.Table.from_pylist([*rows, *back], plain.outcomes.schema))
    whole, shared = (take(world, on_disk=way, most=600) for way in (False, True))
    same(whole, shared)


TIMES = ("closed_at", "recorded_at")


def test_the_model_and_its_report_are_those_of_a_run_in_memory(take, tmp_path):
    world = simulated_world(3_000)
    learned = []
    for way in (False, True):
        taken = take(world, on_disk=way, most=8_000, config=Config())
        with few_rounds():
            learned.append(learn_from(taken, Config(), allow_weak=True))
    digests = [each.scorer.save(tmp_path / str(at)).digest for at, each in enumerate(learned)]
    assert digests[0] == digests[1]
    reports = [{**each.report, "seconds": None} for each in learned]
    assert 0 < reports[0]["sample"]["share"] < 1 < reports[0]["sample"]["won_beside"]
    assert repr(reports[0]) == repr(reports[1])
    assert reports[0]["data"]["leads"] == 3_000


def with_changes(world, *, since_created):
    """Give the leads histories of attributes, in any order and some of them recorded late.

    One says what the leads table says today, one is of numbers, one of few leads, one of none.
    """
    rng, rows = np.random.default_rng(4), []
    created = world.leads["created_at"].cast(pa.int64()).to_pylist()
    ids, classes = world.leads["lead_id"].to_pylist(), world.leads["class"].to_pylist()
    for at, (lead, created_us) in enumerate(zip(ids, created, strict=True)):
        days = np.sort(rng.integers(0, 40, 2))
        rows += [(lead, created_us + int(days[0]) * DAY_US, "class", "乙", 0)]
        rows += [(lead, created_us + int(days[1]) * DAY_US, "class", classes[at], int(days[0]))]
        for day in (0, int(days[1])) if since_created else (int(days[1]),):
            rows += [(lead, created_us + day * DAY_US, "size", str(rng.integers(9)), 0)]
        if at % 300 == 7:
            rows += [(lead, created_us, "stage", "late", 1), (lead, created_us, "stage", "new", 0)]
    rows += [("stranger", created[0], "class", "甲", 0), (ids[3], created[3], "lead_id", "x", 0)]
    rows = [rows[at] for at in rng.permutation(len(rows))]
    lead, changed, attribute, value, later = zip(*rows, strict=True)
    recorded = np.minimum(np.array(changed) + np.array(later) * DAY_US, NOW_US)
    columns = {
        "lead_id": pa.array(lead),
        "changed_at": pa.array(np.minimum(changed, NOW_US), TIME),
        "attribute": pa.array(attribute),
        "value": pa.array(value),
        "recorded_at": pa.array(recorded, TIME),
    }
    return replace(world, changes=pa.table(columns))


@pytest.mark.parametrize("since_created", [True, False])
@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize("most", [1_000_000, 6_000, 300], ids=["all", "winners apart", "few"])
def test_histories_of_attributes_are_those_in_memory(take, most, kind, since_created):
    world = with_changes(odd_world(), since_created=since_created)
    until = {"until": "2026-03-01T00:00:00Z"}
    whole, shared = (
        take(world, on_disk=way, most=most, kind=kind, **until) for way in (False, True)
    )
    same(whole, shared)
    assert shared.crm.leads.changes.keys() == {"class", "size", "stage"}
    assert shared.crm.leads.changes["class"].before is None
    assert shared.crm.leads.changes["size"].before is not None
    assert {"conflicting_change", "reserved_attribute"} <= {f.rule for f in shared.crm.findings}


def test_bad_rows_of_changes_are_set_aside_as_in_memory(take, tmp_path):
    world = with_changes(odd_world(), since_created=True)
    when = world.changes["changed_at"].to_pylist()
    when[5] = when[900] = None
    world = replace(world, changes=world.changes.set_column(1, "changed_at", pa.array(when, TIME)))
    aside = tmp_path / "aside.csv"
    lines, taken = [], []
    for way in (False, True):
        taken.append(take(world, on_disk=way, reject_file=str(aside), max_rejected_share=0.02))
        lines.append(aside.read_text("utf-8-sig"))
    same(*taken)
    assert lines[0] == lines[1]
    assert lines[0].count("missing_time") == 2


def broken(world):
    """Give tables with faults of many kinds, spread over the rows."""
    leads, outcomes = world.leads, world.outcomes
    twice = pa.concat_tables([leads, leads.slice(0, 2), leads.slice(200, 1)])
    when = world.events["occurred_at"].to_pylist()
    when[5] = when[605] = None
    said = outcomes["outcome"].to_pylist()
    said[3] = "perhaps"
    at = world.events.column_names.index("occurred_at")
    return replace(
        world,
        leads=twice,
        events=world.events.set_column(at, "occurred_at", pa.array(when, TIME)),
        outcomes=outcomes.set_column(2, "outcome", pa.array(said)),
    )


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_what_is_wrong_is_told_as_in_memory(take, tmp_path, kind):
    found = []
    for way in (False, True):
        with pytest.raises(ContractError) as error:
            take(broken(plain_world()), on_disk=way, kind=kind)
        found.append(set(error.value.findings))
    assert found[0] == found[1]
    assert {finding.rule for finding in found[0] if finding.severity == "error"} == {
        "repeated_lead",
        "missing_time",
        "unknown_outcome",
    }
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_bad_rows_are_set_aside_as_in_memory(take, tmp_path, kind):
    aside = tmp_path / "aside.csv"
    options = {"kind": kind, "reject_file": str(aside), "max_rejected_share": 0.02}
    lines, taken = [], []
    for way in (False, True):
        taken.append(take(broken(plain_world()), on_disk=way, **options))
        lines.append(aside.read_text("utf-8-sig"))
    same(*taken)
    assert lines[0] == lines[1]
    assert lines[0].count("repeated_lead") == 3
    found = []
    for way in (False, True):
        with pytest.raises(ContractError, match="too_many_rejects") as error:
            take(broken(plain_world()), on_disk=way, **options | {"max_rejected_share": 0.0001})
        found.append(set(error.value.findings))
    assert found[0] == found[1]


@pytest.mark.parametrize("way", [False, True])
def test_tables_without_leads_or_with_other_columns_are_told(take, way):
    plain = plain_world()
    with pytest.raises(ContractError, match="no_leads"):
        take(replace(plain, leads=plain.leads.slice(0, 0)), on_disk=way)
    with pytest.raises(ContractError, match=r"occurred_at: missing_column"):
        take(replace(plain, events=plain.events.drop_columns(["occurred_at"])), on_disk=way)
    with pytest.raises(TooLittleHistory, match="none of the 0 leads was open"):
        take(plain, on_disk=way, until="1999-01-01T00:00:00Z")


# The command


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Train through the disk."""
    monkeypatch.setattr(shares, "fit", lambda sources, memory: False)
    where = written(plain_world(), tmp_path)

    def trained(*more):
        with few_rounds():
            return run("train", *where, "--output", tmp_path / "deep" / "m", *more)

    return trained


def test_the_command_says_what_it_says_in_memory_and_leaves_its_output_alone(train, tmp_path):
    on_disk = train("--horizon-days", 30, "--memory", "1G")
    assert on_disk.code == 0
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["m"]
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_ends_with_5_and_leaves_nothing(train, tmp_path):
    with files_of_at_most(4_000):
        done = train()
    assert done.code == 5
    assert f"{tmp_path}/deep/m cannot be written (File too large): make room" in done.err
    assert not (tmp_path / "deep").exists()
    assert not list(tmp_path.glob(".*"))
