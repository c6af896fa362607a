"""`leadqual score`: what it writes and says of any backlog, and how it refuses."""

import csv
import hashlib
import json
import resource
import shutil
import time
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.run_folder import run_folder
from tests.commands import run, table
from tests.scorers import small_scorer
from training.scorer import LeadScorer

LEADS = (
    "lead_id,created_at,industry,employees,customer_of_partner",
    "見込み-1,2026-01-01T00:00:00Z,製造業,30,true",
    "L-3,2026-01-01T09:00:00+09:00,finance,,false",
    "L-2,2026-03-01T00:00:00Z,,-5,",
)
EVENTS = (
    "lead_id,occurred_at,event_type,channel,value",
    *(f"L-3,2026-01-{day:02}T00:00:00Z,inquiry,web,3" for day in range(2, 9)),
    *(f"見込み-1,2026-01-0{day}T00:00:00Z,web_visit,web," for day in range(2, 5)),
)
AS_OF = "2026-02-01T00:00:00Z"


def hot(lead_id):
    """Make so many events of a lead that it is handed off."""
    kinds = ("inquiry", "seminar_attended")
    return [f"{lead_id},2026-01-{day:02}T00:00:00Z,{kinds[day % 2]},web,1" for day in range(2, 12)]


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "模型 1"
    small_scorer(1).save(folder)
    return folder


@pytest.fixture
def score(model, tmp_path):
    """Score the tables above, or others in their place; the answer goes to `s.csv`."""

    def scored(*more, leads=LEADS, events=EVENTS, **options):
        given = {
            "--model": model,
            "--leads": table(tmp_path / "leads.csv", *leads) if type(leads) is tuple else leads,
            "--events": table(tmp_path / "events.csv", *events)
            if type(events) is tuple
            else events,
            "--as-of": AS_OF,
            "--output": tmp_path / "s.csv",
        } | {f"--{name.replace('_', '-')}": value for name, value in options.items()}
        return run("score", *(part for pair in given.items() for part in pair), *more)

    return scored


def answers(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def column(path, name):
    return [row[name] for row in answers(path)]


def test_rows_out_are_rows_in_in_csv_and_parquet_wherever_they_are_written(score, tmp_path):
    folder = tmp_path / "出力 先"
    folder.mkdir()
    assert score(output=folder / "得点.csv").code == 0
    assert score(output=folder / "得点.PARQUET").code == 0
    assert (folder / "得点.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    rows, written = answers(folder / "得点.csv"), pq.read_table(folder / "得点.PARQUET")
    assert [row["lead_id"] for row in rows] == ["見込み-1", "L-3", "L-2"]
    assert written["lead_id"].to_pylist() == ["見込み-1", "L-3", "L-2"]
    assert [float(row["score"]) for row in rows[:2]] == written["score"].to_pylist()[:2]
    assert list(rows[0]) == written.column_names
    assert list(rows[0]) == [
        "lead_id", "as_of", "score", "percentile", "grade", "decision", "why", "model",
    ]  # fmt: skip
    names = ["得点.PARQUET", "得点.csv"]
    manifests = [f"{name}.manifest.json" for name in names]
    assert {path.name for path in folder.iterdir()} == {*names, *manifests}


def test_before_its_creation_a_lead_has_no_score_and_says_why(score, tmp_path):
    assert score().code == 0
    row = answers(tmp_path / "s.csv")[2]
    assert [row[name] for name in ("score", "percentile", "grade")] == ["", "", ""]
    assert (row["decision"], row["why"]) == ("abstain", "not_created")


def test_each_row_at_its_own_moment_and_a_lead_several_times(score, tmp_path):
    leads = (
        "lead_id,created_at,judged",
        "L-3,2026-01-01T00:00:00Z,2026-01-01T00:00:00Z",
        "L-3,2026-01-01T00:00:00Z,2026-01-09T09:00:00+09:00",
        "L-3,2026-01-01T00:00:00Z,2025-12-31T00:00:00Z",
    )
    assert score(leads=leads, as_of="judged").code == 0
    before, after, unborn = answers(tmp_path / "s.csv")
    assert float(before["score"]) < float(after["score"])
    assert after["as_of"].startswith("2026-01-09T00:00:00")
    assert unborn["why"] == "not_created"

    score(leads=LEADS[:3], as_of="created_at")
    assert column(tmp_path / "s.csv", "as_of")[1].startswith("2026-01-01T00:00:00")


def test_beyond_the_capacity_leads_are_nurtured_and_ties_go_by_id(score, tmp_path):
    leads = (LEADS[0], *(f"{name},2026-01-01T00:00:00Z,,," for name in ("c", "a", "cold", "b")))
    events = (EVENTS[0], *hot("a"), *hot("b"), *hot("c"))
    assert score("--capacity", 2, leads=leads, events=events).code == 0
    rows = {row["lead_id"]: row for row in answers(tmp_path / "s.csv")}
    assert [rows[name]["rank"] for name in ("a", "b", "c", "cold")] == ["1", "2", "3", "4"]
    assert [rows[name]["decision"] for name in "abc"] == ["hand_off", "hand_off", "nurture"]
    assert rows["c"]["why"] == "over_capacity"
    assert rows["cold"]["why"] == "score_below_threshold"

    done = score("--capacity", 0, "--json", leads=leads, events=events)
    assert json.loads(done.out)["hand_offs"] == 0


def test_reasons_speak_the_language_asked_for_and_only_of_hand_offs(score, tmp_path):
    leads = (LEADS[0], "hot,2026-01-01T00:00:00Z,,,", "cold,2026-01-01T00:00:00Z,,,")
    events = (EVENTS[0], *hot("hot"))
    told = {}
    for language in ("ja", "en"):
        done = score("--reasons", "--language", language, leads=leads, events=events)
        assert done.code == 0
        handed, kept = column(tmp_path / "s.csv", "reasons")
        assert kept == ""
        told[language] = [reason["text"] for reason in json.loads(handed)]
    assert all(not text.isascii() for text in told["ja"])
    assert all(text.isascii() for text in told["en"])
    assert len(told["ja"]) == len(told["en"]) > 0


def test_json_alone_stands_on_stdout_and_counts_what_was_written(score, tmp_path, model):
    done = score("--json")
    result = json.loads(done.out)
    assert result["rows"] == 3
    assert result["scored"] == 2
    assert result["decisions"]["abstain"] == 1
    assert result["model"].endswith(LeadScorer.load(model).digest)
    assert result["output"] == str(tmp_path / "s.csv")
    assert "3 rows, 2 scored" in done.err
    assert score().out == ""


def test_what_model_and_tables_do_not_share_is_one_warning_each(score, tmp_path):
    leads = ("lead_id,created_at,employees,新", "a,2026-01-01T00:00:00Z,many,x")
    events = (
        "lead_id,occurred_at,event_type,remark",
        "a,2026-01-02T00:00:00Z,名刺交換,n",
        "gone,2026-01-02T00:00:00Z,web_visit,n",
    )
    done = score("--json", leads=leads, events=events)
    assert done.code == 0
    found = {finding["rule"]: finding for finding in json.loads(done.out)["findings"]}
    assert found["unknown_lead"]["rows"] == found["unknown_type"]["rows"] == 1
    assert "customer_of_partner, industry" in found["missing_attribute"]["mend"]
    assert found["other_kind"]["examples"] == [{"where": "", "value": "many"}]
    assert "remark" in found["ignored_columns"]["mend"]
    for word in ("gone", "名刺交換", "many", "remark", "industry"):
        assert done.err.count(word) == 1, word
    assert column(tmp_path / "s.csv", "lead_id") == ["a"]


def test_leads_that_are_suppressed_say_so(score, tmp_path):
    leads = (
        "lead_id,created_at,suppress",
        "a,2026-01-01T00:00:00Z,customer",
        "b,2026-01-01T00:00:00Z,objected",
    )
    assert score(leads=leads).code == 0
    customer, objected = answers(tmp_path / "s.csv")
    assert (customer["decision"], customer["why"]) == ("suppressed", "customer")
    assert (objected["decision"], objected["why"]) == ("suppressed", "objected")
    assert float(customer["score"]) > 0
    assert objected["score"] == ""


def test_times_say_the_same_in_any_zone_and_with_any_line_ends(score, tmp_path):
    assert score().code == 0
    expected = column(tmp_path / "s.csv", "score")
    local = tuple(row.replace("T00:00:00Z", " 09:00") for row in EVENTS)
    assert score("--timezone", "Asia/Tokyo", events=local).code == 0
    assert column(tmp_path / "s.csv", "score") == expected
    mixed = (*local[:4], *EVENTS[4:7], *(r.replace(" 09:00", "T09:00:00+09:00") for r in local[7:]))
    assert score(events=mixed).code == 2
    assert score("--timezone", "+09:00", events=mixed).code == 0
    assert column(tmp_path / "s.csv", "score") == expected

    for name in ("leads", "events"):
        path = tmp_path / f"{name}.csv"
        table(path, *{"leads": LEADS, "events": EVENTS}[name])
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    windows = {name: tmp_path / f"{name}.csv" for name in ("leads", "events")}
    assert score(**windows).code == 0
    assert column(tmp_path / "s.csv", "score") == expected


def test_ids_as_numbers_in_one_table_and_as_text_in_the_other_meet(score, tmp_path):
    created = pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * 2)
    pq.write_table(pa.table({"lead_id": [7, 8], "created_at": created}), tmp_path / "l.parquet")
    events = (EVENTS[0], *hot("7"))
    assert score(leads=tmp_path / "l.parquet", events=events).code == 0
    seven, eight = column(tmp_path / "s.csv", "score")
    assert float(seven) > float(eight)
    assert column(tmp_path / "s.csv", "lead_id") == ["7", "8"]


def test_odd_values_are_scored_or_named(score, tmp_path):
    huge = "x" * 10_000_000
    leads = (f"{LEADS[0]},メモ,class", f"{LEADS[1]},{huge},1", f"{LEADS[2]},NaN,2")
    events = (
        EVENTS[0],
        "L-3,2025-12-01T00:00:00Z,web_visit,web,nan",
        "L-3,2026-01-05T00:00:00Z,web_visit,web,-3.5",
    )
    done = score(leads=leads, events=events)
    assert done.code == 0
    assert "before_created" in done.err
    assert huge[:100] not in done.err
    assert all(0 < float(value) < 1 for value in column(tmp_path / "s.csv", "score"))

    infinite = score(events=(EVENTS[0], "L-3,2026-01-05T00:00:00Z,web_visit,web,inf"))
    assert infinite.code == 2
    assert "events.value: not_finite in 1 row (line 2: inf)" in infinite.err


def test_no_events_at_all_are_no_error(score, tmp_path):
    done = score(events=EVENTS[:1])
    assert done.code == 0
    assert "empty_table" in done.err
    assert len(answers(tmp_path / "s.csv")) == 3


def test_bad_rows_are_set_aside_only_when_few_and_asked_for(score, tmp_path):
    many = tuple(f"L-{row},2026-01-01T00:00:00Z,,," for row in range(200))
    leads, aside = (LEADS[0], *many, ",2026-01-01T00:00:00Z,,,"), tmp_path / "aside.csv"
    assert score(leads=leads).code == 2
    done = score("--reject-file", aside, leads=leads)
    assert done.code == 0
    assert "line 202" in done.err
    assert column(aside, "rule") == ["missing_id"]
    assert column(tmp_path / "s.csv", "lead_id") == [f"L-{row}" for row in range(200)]
    too_many = score("--reject-file", aside, leads=(*leads[:20], leads[-1]))
    assert too_many.code == 2
    assert "too_many_rejects" in too_many.err
    stated = score(
        "--reject-file", aside, "--max-rejected-share", "0.05", leads=(*leads[:20], leads[-1])
    )
    assert stated.code == 0
    assert len(column(tmp_path / "s.csv", "lead_id")) == 19


def late():
    return (datetime.now(UTC) + timedelta(days=2)).isoformat()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"as_of": "yesterday"}, ["yesterday", "2026-09-01T00:00:00Z", "lead_id, created_at"]),
        ({"as_of": "create_at"}, ["Did you mean created_at?"]),
        ({"as_of": "2026-02-30T00:00:00Z"}, ["2026-02-30T00:00:00Z", "lead_id, created_at"]),
        ({"as_of": "2026-02-01"}, ["--as-of 2026-02-01", "write 2026-02-01T00:00:00Z"]),
        ({"as_of": "2999-01-01T00:00:00Z"}, ["--as-of 2999", "typo"]),
        ({"as_of": "industry"}, ["leads.industry: not_a_time", "line 2: 製造業"]),
        ({"as_of": "lead_id"}, ["--as-of lead_id", "holds no times"]),
        ({"as_of": ""}, ["--as-of is empty"]),
        ({"as_of": "2026-02-01", "timezone": "Asia"}, ["--timezone Asia is unknown"]),
        ({"as_of": "2026-02-01", "timezone": ""}, ["--timezone (empty) is unknown"]),
        ({"timezone": "Mars/Base"}, ["unknown_time_zone", "Mars/Base"]),
        ({"language": "fr"}, ["--language", "'en', 'ja'"]),
        ({"capacity": "-1"}, ["--capacity", "greater than or equal to 0"]),
        ({"capacity": "many"}, ["--capacity", "integer"]),
        ({"output": "scores.xlsx"}, ["scores.xlsx", ".parquet or .csv"]),
        ({"output": ""}, [".parquet or .csv"]),
        ({"expect_digest": ""}, ["--expect-digest is empty"]),
        ({"leads": "nowhere.csv"}, ["leads: no_such_file", "nowhere.csv does not exist"]),
        ({"leads": LEADS[:1]}, ["no_leads"]),
        ({"leads": (*LEADS, LEADS[1])}, ["repeated_lead in 1 row (line 5: 見込み-1)", "--as-of"]),
        ({"leads": ("lead_id;created_at", f"a;{AS_OF}")}, ["wrong_delimiter", "semicolons"]),
        ({"leads": ("id,created_at", f"a,{AS_OF}")}, ["leads.lead_id: missing_column", "id,"]),
        ({"events": EVENTS[1:]}, ["events.occurred_at: missing_column"]),
        ({"events": (EVENTS[0], "L-3,2026-01-02 00:00,x,,")}, ["no_time_zone", "--timezone"]),
        ({"events": (EVENTS[0], f"L-3,{late()},x,,")}, ["time_after_now", "line 2: 20"]),
        ({"events": (EVENTS[0], f"L-3,{AS_OF},,,")}, ["missing_type", "line 2: empty"]),
        ({"events": (EVENTS[0], f"L-3,{AS_OF}")}, ["ragged_row", "the header has 5 columns"]),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_ends_with_2_and_says_what_next(score, tmp_path, options, said):
    done = score(**options)
    assert done.code == 2
    for words in said:
        assert words in done.err
    assert done.out == ""
    assert {path.name for path in tmp_path.iterdir()} <= {"leads.csv", "events.csv"}


def test_a_moment_to_come_is_scored_with_a_warning(score):
    moment = late()
    done = score(as_of=moment)
    assert done.code == 0
    assert f"--as-of {moment} lies in the future, the clock says {time.strftime('%Y')}" in done.err
    assert "future" not in score().err


def test_a_table_for_which_there_is_no_place_ends_with_5_and_leaves_nothing(score, tmp_path):
    (tmp_path / "file").touch()
    for output in (tmp_path / "no" / "s.csv", tmp_path / "file" / "s.parquet"):
        done = score(output=output)
        assert done.code == 5
        assert f"{output} cannot be written" in done.err
    aside = score("--reject-file", tmp_path / "no" / "aside.csv")
    assert aside.code == 5
    assert "no/aside.csv cannot be used (No such file or directory)" in aside.err


@pytest.mark.parametrize("name", ["s.csv", "s.parquet"])
def test_a_full_disk_ends_with_5_and_what_stood_there_stays(score, tmp_path, name):
    leads = (LEADS[0], *(f"L-{row},2026-01-01T00:00:00Z,,," for row in range(3_000)))
    paths = {
        "leads": table(tmp_path / "leads.csv", *leads),
        "events": table(tmp_path / "events.csv", *EVENTS),
    }
    (tmp_path / name).write_text("of yesterday")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
    try:
        done = score(**paths, output=tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert done.code == 5
    assert f"{name} cannot be written (File too large)" in done.err
    assert (tmp_path / name).read_text() == "of yesterday"
    assert {path.name for path in tmp_path.iterdir()} == {"leads.csv", "events.csv", name}


@pytest.mark.parametrize(
    "name", ["manifest.json", "estimator.skops", "trees.txt", "reference.json"]
)
def test_a_damaged_artifact_ends_with_4_and_is_named(score, model, tmp_path, name):
    damaged = tmp_path / "模型"
    shutil.copytree(model, damaged)
    content = (damaged / name).read_bytes()
    for broken in (content[: len(content) // 2], b""):
        (damaged / name).write_bytes(broken)
        done = score(model=damaged)
        assert done.code == 4
        assert f"{damaged / name}" in done.err
        assert "retrain" in done.err
    (damaged / name).unlink()
    assert score(model=damaged).code == 4
    assert not (tmp_path / "s.csv").exists()


def test_a_model_that_is_not_there_or_not_the_pinned_one_ends_with_4(score, model, tmp_path):
    digest = LeadScorer.load(model).digest
    assert score(expect_digest=f"sha256:{digest}").code == 0
    for pinned in ("0" * 64, digest[:12], "sha256:"):
        done = score(expect_digest=pinned)
        assert done.code == 4
        assert f"has the digest {digest}, expected {pinned}" in done.err
    for text in ("nowhere", tmp_path / "s.csv", "runs:/1/model", ""):
        done = score(model=text)
        assert done.code == 4
        assert "must name a folder that `leadqual train` wrote" in done.err
    assert "models:/NAME@champion" in score(model="models:/leads").err


@pytest.fixture
def through_the_disk(monkeypatch):
    """Take every table for too large."""
    monkeypatch.setattr("serving.backlog.OWN_BYTES", 1 << 40)


def parts(folder, *tables):
    """Write parts of a table into a folder."""
    folder.mkdir()
    for at, part in enumerate(tables):
        pq.write_table(part, folder / f"part-{at}.parquet")
    return folder


def a_table(*rows):
    columns = zip(*(row.split(",") for row in rows[1:]), strict=True)
    return pa.table(dict(zip(rows[0].split(","), map(list, columns), strict=True)))


@pytest.mark.parametrize("size", ["small", "large"])
def test_parts_that_are_broken_end_with_2_and_are_named(score, tmp_path, request, size):
    if size == "large":
        request.getfixturevalue("through_the_disk")
    events = a_table(*EVENTS)
    folder = parts(tmp_path / "e", events, events)
    whole = (folder / "part-1.parquet").read_bytes()
    (folder / "part-1.parquet").write_bytes(whole[: len(whole) // 2])
    cut = score(events=folder)
    assert cut.code == 2
    assert "part-1.parquet" in cut.err
    assert "not_parquet" in cut.err
    damaged = bytearray(whole)
    damaged[4:200] = bytes(196)  # the footer is well, the pages are not
    (folder / "part-1.parquet").write_bytes(bytes(damaged))
    torn = score(events=folder)
    assert torn.code == 2
    assert "part-1.parquet" in torn.err
    pq.write_table(
        events.rename_columns([*EVENTS[0].split(",")[:-1], "x"]), folder / "part-1.parquet"
    )
    other = score(events=folder)
    assert other.code == 2
    assert "parts_differ" in other.err
    assert "has no value" in other.err
    empty = score(events=parts(tmp_path / "empty"))
    assert empty.code == 2
    assert "empty_folder" in empty.err
    assert not list(tmp_path.glob(".*"))
    assert not (tmp_path / "s.csv").exists()


@pytest.mark.parametrize("name", ["events.csv.gz", "events.csv.zst"])
@pytest.mark.parametrize("size", ["small", "large"])
def test_compressed_text_says_the_same(score, tmp_path, request, name, size):
    assert score().code == 0
    expected = (tmp_path / "s.csv").read_bytes()
    if size == "large":
        request.getfixturevalue("through_the_disk")
    with pa.output_stream(tmp_path / name, compression="detect") as file:
        file.write("\n".join(EVENTS).encode())
    assert score(events=tmp_path / name).code == 0
    assert (tmp_path / "s.csv").read_bytes() == expected


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("lots", "--memory lots: give a size of at least 512M"),
        ("100M", "--memory 100M: give a size of at least 512M"),
    ],
)
def test_a_memory_that_is_none_ends_with_2(score, given, said):
    refused = score(memory=given)
    assert refused.code == 2
    assert said in refused.err


def test_memory_is_given_in_the_usual_units(score):
    for given in ("512M", "1G", "1.5GB", "2gib", "1073741824"):
        assert score(memory=given).code == 0


def test_two_runs_into_one_output_end_with_2(score, tmp_path):
    with run_folder(tmp_path / "s.csv"):
        refused = score()
    assert refused.code == 2
    assert "another run is writing it" in refused.err


def test_a_run_that_was_begun_with_another_model_is_not_taken_up(
    score, model, tmp_path, through_the_disk, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr("serving.backlog.score_backlog", lambda *given, **options: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            score()
    small_scorer(2).save(tmp_path / "other")
    refused = score("--resume", model=tmp_path / "other")
    assert refused.code == 2
    assert "--resume: model is not what the run that was broken off began with" in refused.err
    assert score("--resume").code == 0
    assert not list(tmp_path.glob(".*"))


def test_the_manifest_says_what_was_read_and_that_no_row_was_lost(score, model, tmp_path):
    assert score().code == 0
    said = json.loads((tmp_path / "s.csv.manifest.json").read_text("utf-8"))
    assert said["model"].endswith(LeadScorer.load(model).digest)
    assert said["rows_in"] == said["rows_out"] == 3
    content = (tmp_path / "events.csv").read_bytes()
    assert said["inputs"]["events"] == [
        {
            "file": "events.csv",
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    ]
