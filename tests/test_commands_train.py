"""`leadqual simulate`, `check`, `train`, `snapshots`: odd tables learned from, bad ones named."""

import json
import resource
from datetime import UTC, datetime, timedelta
from typing import get_args

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.commands import run, table
from training import simulator
from training.commands.history import Scenario

TABLES = ("leads", "events", "outcomes")
LEADS = (
    "lead_id,created_at,industry",
    *(f"L-{lead},2026-0{1 + lead % 6}-01T00:00:00Z,甲乙丙"[: -2 + lead % 2] for lead in range(60)),
)
EVENTS = (
    "lead_id,occurred_at,event_type",
    *(f"L-{lead},2026-0{1 + lead % 6}-03T00:00:00Z,web_visit" for lead in range(60)),
)
OUTCOMES = (
    "lead_id,closed_at,outcome",
    *(f"L-{lead},2026-0{2 + lead % 6}-10T00:00:00Z,won" for lead in range(0, 60, 4)),
)
UNTIL = "2026-11-01T00:00:00Z"


@pytest.fixture
def given(tmp_path):
    """Write the tables above, or others in their place, and give the options that name them."""

    def options(*, leads=LEADS, events=EVENTS, outcomes=OUTCOMES):
        rows = dict(zip(TABLES, (leads, events, outcomes), strict=True))
        paths = {
            name: table(tmp_path / f"{name}.csv", *lines) if type(lines) is tuple else lines
            for name, lines in rows.items()
        }
        return [part for name, path in paths.items() for part in (f"--{name}", path)]

    return options


@pytest.fixture
def train(given, tmp_path):
    def trained(*more, leads=LEADS, events=EVENTS, outcomes=OUTCOMES):
        where = given(leads=leads, events=events, outcomes=outcomes)
        return run("train", *where, "--output", tmp_path / "m", *more)

    return trained


# simulate


def test_scenarios_on_the_command_line_are_those_of_the_simulator():
    assert get_args(Scenario) == tuple(simulator.SCENARIOS)


@pytest.mark.parametrize("scenario", get_args(Scenario))
def test_every_scenario_is_written_the_same_way_from_the_same_seed(tmp_path, scenario):
    for folder in ("a", "b"):
        size = ("--leads", 30, "--months", 4, "--seed", 3)
        assert run("simulate", tmp_path / folder, *size, "--scenario", scenario).code == 0
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == [
        "events.parquet", "leadqual.toml", "leads.parquet", "outcomes.parquet", "truth.parquet",
    ]  # fmt: skip
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_what_comes_after_simulate_can_be_pasted(tmp_path):
    done = run("simulate", tmp_path / "仮想 CRM", "--leads", 1, "--months", 1)
    assert done.code == 0
    assert f"--leads '{tmp_path}/仮想 CRM/leads.parquet'" in done.err


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--scenario", "stationery"), 2, "'stationary', 'growth'"),
        (("--leads", "0"), 2, "--leads"),
        (("--months", "0"), 2, "--months"),
        (("--months", "100000"), 2, "less than or equal to 240"),
        (("--seed", "-1"), 2, "--seed"),
        (("--lead", "3"), 2, "--leads"),
        ((), 5, "file cannot be used (File exists)"),
    ],
)
def test_worlds_that_cannot_be_are_refused(tmp_path, options, code, said):
    (tmp_path / "file").touch()
    done = run("simulate", tmp_path / "file", "--months", 2, "--leads", 2, *options)
    assert done.code == code
    assert said in done.err


# check


def test_check_says_that_tables_are_fine_and_suggests_a_horizon(given):
    many = (OUTCOMES[0], *(f"L-{lead},2026-07-10T00:00:00Z,won" for lead in range(60)))
    done = run("check", *given(outcomes=many))
    assert done.code == 0
    assert "--horizon-days 270" in done.out
    assert "the tables keep the contract (0 findings)" in done.err
    assert "15 wins, 20 are needed" in run("check", *given()).out
    assert run("check", *given()[:4]).code == 0


def test_check_prints_all_findings_of_all_tables_worst_first(given):
    bad = {
        "leads": (*LEADS, "L-1,2026-01-01T00:00:00Z,甲", ",2026-01-01T00:00:00Z,甲"),
        "events": (*EVENTS, "L-1,2025-01-01T00:00:00Z,x", "gone,2026-01-01T00:00:00Z,x"),
        "outcomes": (*OUTCOMES, "L-1,soon,won", "L-2,2026-02-10T00:00:00Z,勝ち"),
    }
    done = run("check", *given(**bad))
    assert done.code == 2
    rules = (
        "repeated_lead", "missing_id", "not_a_time", "unknown_outcome", "before_created",
        "unknown_lead",
    )  # fmt: skip
    for rule in rules:
        assert rule in done.out
    assert done.out.rindex("error") < done.out.index("warning")
    assert "line 63: 勝ち" not in done.out  # it is of another table
    assert "line 18: 勝ち" in done.out
    assert max(map(len, done.out.splitlines())) <= 120
    assert done.err.startswith("leadqual: 4 errors: leads.lead_id missing_id, ")

    listed = run("check", *given(**bad), "--json")
    found = json.loads(listed.out)
    assert {finding["rule"] for finding in found["findings"]} == set(rules)
    assert found["horizon"] is None


def test_check_knows_the_clock_and_the_moment_of_the_export(given):
    late = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    done = run("check", *given(events=(EVENTS[0], f"L-1,{late},x")))
    assert done.code == 2
    assert "events.occurred_at time_after_now" in done.err
    early = run("check", *given(), "--until", "2026-05-01T00:00:00Z")
    assert early.code == 0
    assert "time_after_until" in early.out


def test_cells_cannot_steer_the_terminal(given):
    steering = (*LEADS, "\x1b[31mred\x1b[0m,[bold]soon\x07,x", "e\x1b]0;title,\x9b2J,x")
    done = run("check", *given(leads=steering))
    assert done.code == 2
    assert not any(sign in done.out + done.err for sign in "\x1b\x07\x9b")
    assert "[bold]soon" in done.out


@pytest.mark.parametrize(
    ("leads", "rule"),
    [
        (b"", "empty_file"),
        (b"\n\n\n", "empty_file"),
        (b"lead_id,created_at\n", "no_leads"),
        ("lead_id,created_at,業種\na,2026-01-01T00:00:00Z,製造\n".encode("cp932"), "not_utf8"),
        ("lead_id,created_at\na,2026-01-01T00:00:00Z\n".encode("utf-16"), "not_utf8"),
        (b"lead_id;created_at\na;2026-01-01T00:00:00Z\n", "wrong_delimiter"),
        (b"lead_id,created_at\na,2026-01-01T00:00:00Z,1\n", "ragged_row"),
        (b"lead_id,created_at,x,x\na,2026-01-01T00:00:00Z,1,2\n", "repeated_column"),
        (b"lead_id,created_at\na,2026-01-01 09:00\n", "no_time_zone"),
        (b"lead_id,created_at\na,1026-01-01T00:00:00Z\n", "time_out_of_range"),
        (b"lead_id,created_at,x\na,2026-01-01T00:00:00Z,inf\n", "not_finite"),
        (b"lead_id,created_at\n" + b"x" * 10_000_000 + b",2026-01-01T00:00:00Z\n", "long_id"),
        (bytes(range(256)) * 9, "not_utf8"),
        (b"PAR1 but no more", "not_parquet"),
    ],
    ids=range(14),
)  # fmt: skip
def test_files_that_are_no_table_are_told_by_rule(given, tmp_path, leads, rule):
    (tmp_path / "odd").write_bytes(leads)
    done = run("check", *given(leads=tmp_path / "odd"))
    assert done.code == 2
    assert rule in done.err
    assert len(done.out) < 10_000


# train and snapshots: what ends before anything is learned


@pytest.mark.parametrize(
    ("tables", "options", "said"),
    [
        ({"leads": LEADS[:1]}, (), "no_leads"),
        ({"outcomes": OUTCOMES[:1]}, (), "none is won within 90 days"),
        ({"outcomes": tuple(row.replace("won", "lost") for row in OUTCOMES)}, (), "none is won"),
        ({"outcomes": (*OUTCOMES[:1], *(f"L-{n},2026-07-10T00:00:00Z,won" for n in range(60)))},
         ("--horizon-days", 300), "every one that can be labelled is won"),
        ({"leads": LEADS[:2], "events": EVENTS[:2], "outcomes": OUTCOMES[:2]}, (),
         "every one that can be labelled is won"),
        ({}, ("--until", "2026-02-01T00:00:00Z"), "no lead can be labelled"),
        ({}, ("--horizon-days", 365), "no lead can be labelled"),
    ],
    ids=["empty", "no outcomes", "only losses", "all won", "one lead", "young", "long horizon"],
)  # fmt: skip
def test_what_nobody_can_learn_from_ends_with_2_even_if_weak(
    train, tmp_path, tables, options, said
):
    until = () if "--until" in options else ("--until", UNTIL)
    done = train("--allow-weak", *until, *options, **tables)
    assert done.code == 2
    assert said in done.err
    assert not (tmp_path / "m").exists()


def test_a_history_too_short_to_judge_says_how_much_and_what_next(train, tmp_path):
    done = train("--until", UNTIL)
    assert done.code == 2
    assert "at least 30 are needed" in done.err
    assert "--allow-weak" in done.err
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--until", "soon"), "--until soon is no time: write one such as"),
        (("--until", ""), "--until (empty) is no time"),
        (("--until", "2026-09-01"), "--until 2026-09-01 has no time zone: write 2026-09-01T00"),
        (("--until", "2199-01-01T00:00:00Z"), "lies in the future, the clock says"),
        (("--until", "0001-01-01T00:00:00Z"), "looks like a typo"),
        (("--until", "2026-09-01", "--timezone", "Mars/Base"), "Mars/Base is unknown"),
        (("--horizon-days", "0"), "--horizon-days"),
        (("--horizon-days", "soon"), "integer"),
        (("--config", "nowhere.toml"), "nowhere.toml: cannot be read"),
        (("--outcomes", "nowhere.csv"), "outcomes: no_such_file"),
        (("--nonsense",), "--nonsense"),
    ],
)
def test_options_that_cannot_be_meant_end_with_2(train, tmp_path, options, said):
    done = train(*options)
    assert done.code == 2
    assert said in done.err
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("not toml", "is not TOML"),
        ("[lable]\n", "lable: unknown key, did you mean label?"),
        ("[label]\nhorizon_dais = 3\n", "label.horizon_dais: unknown key, did you mean horizon"),
        ("[label]\nhorizon_days = 'soon'\n", "label.horizon_days"),
        ("[rule]\ncapacity_per_week = 0\n", "rule.capacity_per_week"),
        ("[rule]\nkind = 'precision'\n", "needs precision"),
        ("[split]\naccount = 'firm'\n", "the leads table has no column firm"),
        ("[leaks]\nallow = [{column = 'x'}]\n", "leaks.allow.0.name"),
        ("[features]\nwindows_days = [7, 1]\n", "must ascend"),
        ("[features]\nexclude = 'industry'\n", "features.exclude"),
        ("[columns]\nlead_id = 3\n", "columns.lead_id"),
        ("[columns.leds]\nlead_id = 'Id'\n", "[columns.leds]: unknown name, did you mean leads?"),
        ("[columns.events]\nrecorded = 'x'\n", "recorded: unknown name, did you mean recorded_at?"),
        ("[columns.leads]\nlead_id = 'Id'\n", "leads.lead_id: missing_column"),
    ],
)
def test_a_configuration_that_cannot_be_used_names_the_key(train, tmp_path, toml, said):
    config = tmp_path / "設定.toml"
    config.write_text(toml, encoding="utf-8")
    done = train("--config", config)
    assert done.code == 2
    assert said in done.err


@pytest.mark.slow
def test_a_leak_ends_with_3_and_stands_in_the_report_without_a_model(tmp_path):
    world = tmp_path / "world"
    simulated = run("simulate", world, "--leads", 2_000, "--scenario", "leaky")
    assert simulated.code == 0, simulated.err
    paths = [part for name in TABLES for part in (f"--{name}", world / f"{name}.parquet")]
    done = run("train", *paths, "--config", world / "leadqual.toml", "--output", tmp_path / "m")
    assert done.code == 3
    report = json.loads((tmp_path / "m" / "report.json").read_text(encoding="utf-8"))
    planted = {name for name, _ in simulator.LEAKS}
    assert {leak["column"] for leak in report["leaks"]} == planted
    assert all(f"  {name}: " in done.err for name in planted)
    assert report["gate"]["passed"] is False
    assert not (tmp_path / "m" / "manifest.json").exists()


def test_a_place_that_cannot_be_written_is_told_before_the_work(given, tmp_path):
    (tmp_path / "file").touch()
    for command, output in (
        ("train", "file"),
        ("train", "file/m"),
        ("snapshots", "file/s.parquet"),
    ):
        done = run(command, *given(), "--output", tmp_path / output)
        assert done.code == 5
        assert f"{tmp_path}/file cannot be used (Not a directory)" in done.err
        assert "until" not in done.err
    csv = run("snapshots", *given(), "--output", tmp_path / "s.csv")
    assert csv.code == 2
    assert "ends in .parquet" in csv.err


def test_a_registry_that_cannot_be_used_is_told_before_the_work(train, tmp_path):
    for name, address, said in (
        ("leads", "http://127.0.0.1:9", "127.0.0.1:9 cannot be used"),
        ("a/b", f"sqlite:///{tmp_path}/mlflow.db", "cannot name a model"),
        ("", f"sqlite:///{tmp_path}/mlflow.db", "cannot name a model"),
    ):
        done = train("--allow-weak", "--until", UNTIL, "--register", name, "--registry", address)
        assert done.code == 4
        assert said in done.err
        assert not (tmp_path / "m").exists()


def test_snapshots_hold_labels_only_where_they_are_known(given, tmp_path):
    output = tmp_path / "学習" / "s.parquet"
    done = run("snapshots", *given(), "--output", output, "--until", "2026-08-01T00:00:00Z")
    assert done.code == 0
    rows = pq.read_table(output).to_pandas()
    assert set(rows["lead_id"]) <= {f"L-{lead}" for lead in range(60)}
    assert rows.loc[~rows["known"], "won"].isna().all()
    assert rows.loc[rows["known"], "won"].isin([0, 1]).all()
    assert f"wrote {output}: {len(rows):,} snapshots" in done.err
    assert [path.name for path in output.parent.iterdir()] == ["s.parquet"]


def test_a_full_disk_ends_with_5_and_leaves_no_half_table(given, tmp_path):
    where, output = given(), tmp_path / "s.parquet"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        done = run("snapshots", *where, "--output", output)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert done.code == 5
    assert f"{output} cannot be used (File too large)" in done.err
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv"}


# train: an odd world that can be learned from

NAMES = {
    "lead_id": "顧客ID", "created_at": "Create Date", "industry": "class", "country": "select",
    "department": "lambda", "uses_free_mail": "None", "job_title": "役職", "employees": "従業員数",
}  # fmt: skip
HAPPENED = {"lead_id": "Contact", "occurred_at": "日時", "event_type": "種類"}
MAP = """\
[columns.leads]
lead_id = "顧客ID"
created_at = "Create Date"
[columns.events]
lead_id = "Contact"
occurred_at = "日時"
event_type = "種類"
"""


def odd_world(folder):
    """Write a CRM as an old Japanese system might: no losses, Windows line ends, local times."""
    simulator.write(simulator.simulate(700, 15, 11, "stationary"), folder)
    leads, events, outcomes = (pd.read_parquet(folder / f"{name}.parquet") for name in TABLES)
    until = outcomes["closed_at"].max()

    leads = leads.rename(columns=NAMES)
    leads["class"] = "製造" + leads["class"].astype("string")
    leads["番号"] = range(len(leads))
    notes = [f'第{row % 500}案件、\n"至急" お電話ください' * 9 for row in range(len(leads))]
    leads["メモ"] = notes
    leads.loc[0, "メモ"] = "長" * 3_500_000
    leads["会社"] = "当社"
    leads.loc[1, "従業員数"] = -5
    leads["時刻"] = leads["Create Date"]
    early = leads["Create Date"].iloc[5] - pd.Timedelta(days=3)

    events = events.rename(columns=HAPPENED)
    events["種類"] = events["種類"].astype("string").replace({"web_visit": "ウェブ訪問"})
    odd = pd.DataFrame(
        {
            "Contact": ["gone", leads["顧客ID"].iloc[5]],
            "日時": [until, early],
            "種類": ["ウェブ訪問", "select"],
            "value": [float("nan"), -1e9],
        }
    )
    events = pd.concat([events, odd], ignore_index=True).assign(担当="佐藤")
    outcomes = outcomes[outcomes["outcome"] == "won"]
    for name, frame in zip(TABLES, (leads, events, outcomes), strict=True):
        local = {
            column: frame[column].dt.tz_convert("Asia/Tokyo").dt.strftime("%Y-%m-%d %H:%M:%S")
            for column in frame.columns
            if isinstance(frame[column].dtype, pd.DatetimeTZDtype)
        }
        frame.assign(**local).to_csv(
            folder / f"{name}.csv", index=False, encoding="utf-8-sig", lineterminator="\r\n"
        )
    (folder / "leadqual.toml").write_text(MAP, encoding="utf-8-sig")
    return until


@pytest.fixture(scope="session")
def odd(tmp_path_factory):
    """The folder of the odd world, how training on it ended, and until when it went."""
    folder = tmp_path_factory.mktemp("odd") / "顧客 管理"
    until = odd_world(folder)
    done = run(
        "train", *(part for name in TABLES for part in (f"--{name}", folder / f"{name}.csv")),
        "--config", folder / "leadqual.toml", "--timezone", "Asia/Tokyo",
        "--until", until - pd.Timedelta(days=1), "--output", folder / "模型", "--allow-weak",
        "--json",
    )  # fmt: skip
    return folder, done, until


@pytest.mark.slow
def test_an_odd_world_is_learned_from_and_says_what_it_leaves_out(odd):
    folder, done, _ = odd
    assert done.code == 0
    for rule in (
        "left_out_id", "left_out_constant", "left_out_free_text", "left_out_time", "unknown_lead",
        "before_created", "time_after_until", "ignored_columns",
    ):  # fmt: skip
        assert rule in done.err
    for name in ("番号", "会社", "メモ", "時刻", "担当"):
        assert name in done.err
    assert max(map(len, done.err.splitlines())) < 400
    spec = json.loads((folder / "模型" / "manifest.json").read_text(encoding="utf-8"))["spec"]
    attributes = {attribute["name"]: attribute for attribute in spec["attributes"]}
    assert {"class", "select", "lambda", "None", "従業員数"} <= attributes.keys()
    assert all(level.startswith("製造") for level in attributes["class"]["levels"])
    assert attributes["None"]["kind"] == "boolean"
    assert not {"番号", "会社", "メモ", "時刻"} & attributes.keys()
    assert "ウェブ訪問" in spec["types"]


@pytest.mark.slow
def test_json_alone_stands_on_stdout_and_is_what_the_report_says(odd):
    folder, done, until = odd
    result = json.loads(done.out)
    assert result["registered"] is None
    assert f"sha256:{result['digest']}" in done.err
    report = json.loads((folder / "模型" / "report.json").read_text(encoding="utf-8"))
    assert result["report"].keys() == report.keys()
    assert result["report"]["data"] == report["data"]
    assert report["data"]["until"].startswith(f"{until - pd.Timedelta(days=1):%Y-%m-%dT%H:%M:%S}")
    created = pd.read_parquet(folder / "leads.parquet")["created_at"]
    assert report["data"]["leads"] == (created <= until - pd.Timedelta(days=1)).sum() < 700
    assert "Too little history to judge" in done.err or not report["weak"]


@pytest.mark.slow
def test_the_model_scores_the_crm_it_learned_from_without_being_told_its_columns(odd, tmp_path):
    folder, _, until = odd
    done = run(
        "score", "--model", folder / "模型", "--leads", folder / "leads.csv", "--events",
        folder / "events.csv", "--as-of", until.isoformat(), "--timezone", "Asia/Tokyo",
        "--output", tmp_path / "s.parquet",
    )  # fmt: skip
    assert done.code == 0
    assert "missing_attribute" not in done.err
    assert "unknown_type" not in done.err
    scores = pq.read_table(tmp_path / "s.parquet")
    ids = pd.read_csv(folder / "leads.csv", encoding="utf-8-sig")["顧客ID"].tolist()
    assert scores["lead_id"].to_pylist() == ids
    assert len(set(scores["score"].to_pylist())) > 500
    assert scores.schema.field("score").type == pa.float64()
