"""Files through the scorer: one answer a row, in order, the same however the work is cut."""

import codecs
import csv
import json
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.findings import ContractError, UsageError
from features.history import DAY_US
from serving import backlog
from serving.answer_file import OutputError
from serving.backlog import score_files
from tests.backlogs import a_backlog, a_scorer
from tests.factories import TIME, make_batch
from tests.scorers import AS_OF_US, EPOCH_US
from training.handoff import DECISIONS, GRADES

ROWS = 200
COLUMNS = ["lead_id", "as_of", "score", "percentile", "grade", "decision", "why", "model"]


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    return a_scorer(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def tables():
    ids = [f"リード-{row:04d}" for row in range(ROWS)]
    leads, events = a_backlog(ids, seed=3, events_each=6)
    return leads, events.drop_columns(["event_id"])


@pytest.fixture
def run(scorer, tables, tmp_path):
    """Score the tables, or others, and give what is read back with the summary."""

    def score(leads=tables[0], events=tables[1], *, output="scores.parquet", **options):
        pq.write_table(leads, tmp_path / "leads.parquet")
        pq.write_table(events, tmp_path / "events.parquet")
        summary = score_files(
            scorer,
            str(tmp_path / "leads.parquet"),
            str(tmp_path / "events.parquet"),
            tmp_path / output,
            **{"as_of": AS_OF_US} | options,
        )
        return answers(tmp_path / output), summary

    return score


def answers(path):
    if path.suffix == ".parquet":
        return pq.read_table(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def names(codes, texts):
    return [texts[code] for code in codes]


def test_every_row_has_its_answer_as_the_scorer_gives_it(run, scorer, tables):
    table, summary = run()
    whole = scorer.score(make_batch(*tables), np.full(ROWS, AS_OF_US))
    assert table.column_names == COLUMNS
    assert table["lead_id"].equals(tables[0]["lead_id"])
    assert set(table["as_of"].cast(pa.int64()).to_pylist()) == {AS_OF_US}
    np.testing.assert_array_equal(table["score"].to_numpy(), whole.score)
    np.testing.assert_array_equal(table["percentile"].to_numpy(), whole.percentile)
    assert table["grade"].to_pylist() == names(whole.grade, GRADES)
    assert table["decision"].to_pylist() == names(whole.decision, DECISIONS)
    assert table["why"].to_pylist() == names(whole.why, whole.whys)
    assert set(table["model"].to_pylist()) == {f"leadqual/local sha256:{scorer.digest}"}
    handed = table["decision"].to_pylist().count("hand_off")
    assert (summary.rows, summary.scored, summary.hand_offs) == (ROWS, ROWS, handed)
    assert 0 < handed < ROWS / 2
    assert summary.decisions == {
        "hand_off": handed,
        "nurture": ROWS - handed,
        "abstain": 0,
        "suppressed": 0,
    }


def test_columns_are_of_plain_types(run):
    table, _ = run(reasons=True, capacity=5)
    text, number = pa.string(), pa.float64()
    assert {field.name: field.type for field in table.drop_columns(["reasons"]).schema} == {
        "lead_id": text,
        "as_of": TIME,
        "score": number,
        "percentile": number,
        "grade": text,
        "decision": text,
        "why": text,
        "rank": pa.int64(),
        "model": text,
    }
    reason = table.schema.field("reasons").type.value_type
    assert [field.name for field in reason] == [
        "concept",
        "direction",
        "strength",
        "text",
        "evidence",
    ]


@pytest.mark.parametrize(
    ("rows_per_block", "threads"), [(1, 3), (7, 1), (7, 2), (64, 2), (199, 4), (10_000, 1)]
)
def test_the_answers_do_not_depend_on_how_the_work_is_cut(run, rows_per_block, threads):
    options = {"reasons": True, "capacity": 9}
    expected, _ = run(**options)
    table, _ = run(rows_per_block=rows_per_block, threads=threads, **options)
    assert table.equals(expected)


def test_each_row_is_judged_at_its_own_moment_and_a_lead_may_stand_several_times(
    run, scorer, tables
):
    leads, events = tables
    again = pa.concat_tables([leads.slice(0, 50), leads.slice(0, 50), leads.slice(20, 10)])
    ages = np.repeat([12, 29, 20], [50, 50, 10]) + np.arange(110) % 3 / 7
    moments = EPOCH_US + (ages * DAY_US).astype(np.int64)
    moments[1] = moments[51] + 1
    asked = again.append_column("judged_at", pa.array(moments, TIME))
    table, _ = run(asked, events, as_of="judged_at", rows_per_block=13)
    assert table["lead_id"].equals(again["lead_id"])
    np.testing.assert_array_equal(table["as_of"].cast(pa.int64()).to_numpy(), moments)
    for row in (0, 1, 25, 50, 51, 75, 100, 109):
        alone = make_batch(again.slice(row, 1), events)
        expected = scorer.score(alone, moments[row : row + 1]).score[0]
        got = table["score"][row].as_py()
        assert got == expected or (got is None and np.isnan(expected)), row
    assert table["score"][0].as_py() != table["score"][50].as_py()


def test_moments_may_be_text_with_a_zone_and_must_be_there(run, tables):
    leads = tables[0].slice(0, 3)
    named = ["2026-01-31T09:00:00+09:00", "2026-01-31T00:00:00Z", "2026-01-30T19:00:00-05:00"]
    table, _ = run(leads.append_column("at", pa.array(named)), as_of="at")
    assert set(table["as_of"].cast(pa.int64()).to_pylist()) == {EPOCH_US + 30 * DAY_US}
    with pytest.raises(ContractError, match=r"leads\.at: missing_time in 1 row"):
        run(leads.append_column("at", pa.array([*named[:2], None])), as_of="at")
    with pytest.raises(ContractError, match="scored_at"):
        run(leads, as_of="scored_at")


def test_a_row_from_before_its_lead_was_created_abstains_without_a_score(run, tables):
    leads = tables[0].append_column("at", pa.array(np.full(ROWS, EPOCH_US + 5 * DAY_US), TIME))
    table, summary = run(leads, as_of="at")
    born = tables[0]["created_at"].cast(pa.int64()).to_numpy() <= EPOCH_US + 5 * DAY_US
    assert 0 < born.sum() == summary.scored < ROWS
    unborn = table.filter(pa.array(~born))
    for column in ("score", "percentile", "grade"):
        assert unborn[column].null_count == len(unborn)
    assert set(unborn["decision"].to_pylist()) == {"abstain"}
    assert set(unborn["why"].to_pylist()) == {"not_created"}
    assert table.filter(pa.array(born))["score"].null_count == 0


@pytest.mark.parametrize(
    "given",
    [
        pa.array(["customer", None, "objected", ""]),
        pa.array([["customer"], None, ["partner", "objected"], []]),
    ],
)
def test_suppressed_leads_are_never_handed_off_and_those_that_objected_not_scored(
    run, tables, given
):
    plain, _ = run(tables[0].slice(0, 4))
    table, _ = run(tables[0].slice(0, 4).append_column("suppress", given), rows_per_block=2)
    assert table["decision"].to_pylist()[::2] == ["suppressed", "suppressed"]
    assert table["why"].to_pylist()[::2] == ["customer", "objected"]
    assert table["score"][0] == plain["score"][0]
    assert not table["score"][2].is_valid
    assert table.slice(1, 1).equals(plain.slice(1, 1))
    assert table.slice(3, 1).equals(plain.slice(3, 1))


def test_capacity_hands_off_the_best_and_ranks_all_that_could_be(run, tables):
    free, _ = run()
    leads = tables[0].append_column("suppress", pa.array(["customer"] + [None] * (ROWS - 1)))
    table, summary = run(leads, capacity=5, rows_per_block=17)
    score = free["score"].to_numpy()
    expected = sorted(range(1, ROWS), key=lambda row: (-score[row], row))
    rank = table["rank"].to_pylist()
    assert rank[0] is None
    assert [rank[row] for row in expected] == list(range(1, ROWS))
    assert summary.hand_offs == 5
    for place, row in enumerate(expected):
        wanted = free["decision"][row].as_py()
        over = wanted == "hand_off" and place >= 5
        assert table["decision"][row].as_py() == ("nurture" if over else wanted)
        assert (table["why"][row].as_py() == "over_capacity") == over
    assert "over_capacity" in table["why"].to_pylist()


def test_equal_scores_are_ranked_by_lead_id(run, tables):
    one = tables[0].slice(0, 1)
    same = pa.concat_tables(
        [one.set_column(0, "lead_id", pa.array([name])) for name in ("b", "c", "a")]
    )
    table, _ = run(same, tables[1].slice(0, 0), capacity=2)
    assert table["rank"].to_pylist() == [2, 3, 1]


def test_hand_offs_have_the_scorers_reasons_and_nobody_else_has_any(run, scorer, tables):
    table, _ = run(reasons=True, capacity=6, rows_per_block=23)
    handed = np.flatnonzero([one == "hand_off" for one in table["decision"].to_pylist()])
    assert len(handed) == 6
    expected = scorer.explain(make_batch(*tables), np.full(ROWS, AS_OF_US), handed)
    reasons = table["reasons"].to_pylist()
    assert [row for row, given in enumerate(reasons) if given is not None] == handed.tolist()
    for row, wanted in zip(handed, expected, strict=True):
        assert [each["text"] for each in reasons[row]] == [each.text for each in wanted]
        evidence = [json.loads(each["evidence"]) for each in reasons[row]]
        assert evidence == [each.evidence for each in wanted]
    japanese, _ = run(reasons=True, capacity=6, language="ja")
    first = handed[0]
    assert reasons[first][0]["text"].isascii()
    assert not japanese["reasons"][first].as_py()[0]["text"].isascii()
    assert japanese.drop_columns(["reasons"]).equals(table.drop_columns(["reasons"]))


def test_a_csv_says_the_same_and_opens_in_a_spreadsheet(run, tmp_path, tables):
    leads = tables[0].append_column("at", pa.array(np.arange(ROWS) * DAY_US + EPOCH_US + 5, TIME))
    options = {"as_of": "at", "reasons": True, "capacity": 7}
    table, _ = run(leads, **options)
    rows, _ = run(leads, output="scores.CSV", rows_per_block=50, **options)
    assert (tmp_path / "scores.CSV").read_bytes().startswith(codecs.BOM_UTF8)
    assert list(rows[0]) == table.column_names
    assert [row["lead_id"] for row in rows] == tables[0]["lead_id"].to_pylist()
    assert rows[1]["as_of"] == "2026-01-02T00:00:00.000005Z"
    for name in ("score", "percentile", "rank"):
        read = [float(row[name]) if row[name] else None for row in rows]
        assert read == table[name].to_pylist()
    for name in ("grade", "decision", "why", "model"):
        assert [row[name] or None for row in rows] == table[name].to_pylist()
    for row, reasons in zip(rows, table["reasons"].to_pylist(), strict=True):
        wanted = reasons and [each | {"evidence": json.loads(each["evidence"])} for each in reasons]
        assert (json.loads(row["reasons"]) if row["reasons"] else None) == wanted


def test_what_only_one_of_model_and_tables_knows_is_told_once_with_numbers(run, tables):
    leads, events = tables
    _, summary = run(leads.drop_columns(["industry", "employees"]))
    told = {finding.rule: finding for finding in summary.findings}
    assert all(finding.severity == "warning" for finding in told.values())
    assert "knows employees, industry" in told["missing_attribute"].mend
    kinds, ids = events["event_type"].to_pylist(), events["lead_id"].to_pylist()
    odd = sum(k == "unheard_of" and i != "stranger" for k, i in zip(kinds, ids, strict=True))
    assert told["unknown_type"].rows == odd
    assert str(told["unknown_type"].examples[0]) == f"unheard_of: {odd} events"
    assert told["unknown_lead"].rows == ids.count("stranger")
    assert {"missing_attribute"} == set(told) - {f.rule for f in run()[1].findings}


def test_a_missing_attribute_scores_as_an_empty_one(run, tables):
    empty = tables[0].set_column(3, "industry", pa.nulls(ROWS, pa.string()))
    assert run(tables[0].drop_columns(["industry"]))[0].equals(run(empty)[0])


def test_one_lead_without_any_event_has_an_answer(run, tables):
    table, summary = run(tables[0].slice(0, 1), tables[1].slice(0, 0))
    assert (len(table), summary.scored) == (1, 1)
    assert 0 < table["score"][0].as_py() < 1


def test_columns_of_other_names_and_times_without_a_zone_are_read_as_told(run, tables):
    expected, _ = run(tables[0].slice(0, 20))
    local = tables[0].slice(0, 20)
    moved = local["created_at"].cast(pa.int64()).to_numpy() + 9 * DAY_US // 24
    local = local.set_column(1, "作成日", pa.array(moved, pa.timestamp("us")))
    columns = {"leads": {"created_at": "作成日"}}
    table, _ = run(local, columns=columns, timezone="Asia/Tokyo")
    assert table.equals(expected)


def test_progress_counts_every_row_once_and_twice_with_reasons(run):
    seen = []

    @contextmanager
    def progress(rows, what):
        assert what == "scored"
        done: list[int] = []
        yield done.append
        seen.append((rows, sum(done)))

    run(progress=progress, rows_per_block=33)
    run(progress=progress, rows_per_block=33, reasons=True)
    assert seen == [(ROWS, ROWS), (2 * ROWS, 2 * ROWS)]


def test_an_output_that_cannot_be_is_told_before_anything_is_read(run, monkeypatch):
    monkeypatch.setattr(backlog, "Reader", None)
    with pytest.raises(UsageError, match=r"ends in \.parquet or \.csv"):
        run(output="scores.xlsx")
    with pytest.raises(OutputError, match=r"nowhere/scores\.csv cannot be written"):
        run(output="nowhere/scores.csv")


def test_a_failure_on_the_way_leaves_what_was_there_and_nothing_else(
    run, scorer, tmp_path, monkeypatch
):
    run()
    before = (tmp_path / "scores.parquet").read_bytes()
    calls = []

    def fail(self, *given):
        calls.append(self)
        if len(calls) == 3:
            raise RuntimeError("no more")
        return explain(self, *given)

    explain = type(scorer).explain
    monkeypatch.setattr(type(scorer), "explain", fail)
    with pytest.raises(RuntimeError, match="no more"):
        run(reasons=True, rows_per_block=20)
    assert (tmp_path / "scores.parquet").read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_a_table_that_breaks_the_contract_leaves_no_file(run, tables, tmp_path):
    twice = pa.concat_tables([tables[0].slice(0, 2), tables[0].slice(0, 1)])
    with pytest.raises(ContractError, match="repeated_lead"):
        run(twice)
    assert not list(tmp_path.glob("*scores*"))
    assert not list(tmp_path.glob(".*"))
