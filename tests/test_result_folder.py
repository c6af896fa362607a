"""A folder that several runs wrote into holds the files of one, and what others put there."""

import json
import os

import pytest

from tests.commands import run
from tests.worlds import few_rounds, plain_world, written
from training.result_folder import OURS, replacing
from training.scorer import LeadScorer

MODEL = {"manifest.json", "estimator.skops", "trees.txt", "reference.json"}
REPORT = {"report.html", "report.json"}
JUDGED = {"judged/leads.parquet", "judged/events.parquet"}
THEIRS = {"notes.txt", "judged/notes.txt"}


@pytest.fixture
def train(tmp_path):
    """Train by the command on a small world, with few trees."""
    tables = written(plain_world(), tmp_path)
    (tmp_path / "toml").write_text("[label]\nhorizon_days = 30\n", encoding="utf-8")
    (tmp_path / "leak").write_text('[leaks]\nas_of_now = ["employees"]\n', encoding="utf-8")

    def trained(*more, config="toml"):
        with few_rounds():
            return run(
                "train", *tables, "--config", tmp_path / config, "--output", tmp_path / "m",
                "--registry", f"sqlite:///{tmp_path}/mlflow.db", *more,
            )  # fmt: skip

    return trained


def files(folder):
    return {
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    }  # hidden ones, too


def test_after_each_run_a_folder_holds_the_files_of_that_run_and_those_of_others(train, tmp_path):
    model = tmp_path / "m"
    registered = train("--register", "leads", "--allow-weak")
    assert registered.code == 0, registered.err
    assert files(model) == MODEL | REPORT | JUDGED
    assert files(model) == set(OURS)
    for name in THEIRS:
        (model / name).touch()

    plain = train("--seed", 1)
    assert plain.code == 0, plain.err
    assert files(model) == MODEL | REPORT | THEIRS
    digest = LeadScorer.load(model).digest
    assert f"sha256:{digest}" in plain.err

    wrong = train("--horizon-days", 30, "--until", "2020-01-01T00:00:00Z")
    assert wrong.code == 2
    assert f"{model} is as it was: what it holds is of an earlier run" in wrong.err
    assert files(model) == MODEL | REPORT | THEIRS
    assert LeadScorer.load(model).digest == digest

    refused = train(config="leak")
    assert refused.code == 3
    assert "is as it was" not in refused.err
    assert files(model) == {"report.json"} | THEIRS
    told = json.loads((model / "report.json").read_text(encoding="utf-8"))
    assert [leak["column"] for leak in told["leaks"]] == ["employees"]

    again = train("--horizon-days", 30, "--until", "2020-01-01T00:00:00Z")
    assert again.code == 2
    assert files(model) == {"report.json"} | THEIRS
    assert "is as it was" in again.err


def test_a_disk_that_fails_at_the_end_leaves_the_earlier_run_whole(train, tmp_path, monkeypatch):
    model = tmp_path / "m"
    assert train().code == 0
    before = {name: (model / name).read_bytes() for name in files(model)}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training.report.write", full)
    failed = train("--seed", 1)
    assert failed.code == 5
    assert f"{model} cannot be used" in failed.err
    assert f"{model} is as it was" in failed.err
    assert {name: (model / name).read_bytes() for name in files(model)} == before


def test_a_run_that_fails_leaves_no_new_folder(train, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training.report.write", full)
    failed = train()
    assert failed.code == 5
    assert not (tmp_path / "m").exists()
    assert "is as it was" not in failed.err


def test_another_rule_leaves_no_report_and_no_judged_leads_of_another_model(train, tmp_path):
    model, other = tmp_path / "m", tmp_path / "other"
    assert train().code == 0
    assert run("rule", "--model", model, "--output", other, "--capacity", 5).code == 0
    assert files(other) == MODEL | REPORT
    (other / "judged").mkdir()
    (other / "judged" / "leads.parquet").touch()
    for name in REPORT:
        (model / name).unlink()
    assert run("rule", "--model", model, "--output", other, "--capacity", 5).code == 0
    assert files(other) == MODEL


def test_a_folder_is_replaced_at_the_end_only(tmp_path):
    with replacing(tmp_path) as staged:
        (staged / "manifest.json").write_text("1", encoding="utf-8")
    with replacing(tmp_path) as staged:
        assert (tmp_path / "manifest.json").read_text(encoding="utf-8") == "1"
        (staged / "trees.txt").touch()
        (staged / "manifest.json").write_text("2", encoding="utf-8")
    assert (tmp_path / "manifest.json").read_text(encoding="utf-8") == "2"
    assert files(tmp_path) == {"trees.txt", "manifest.json"}


def test_a_swap_that_fails_half_way_puts_everything_back(tmp_path):
    (tmp_path / "trees.txt").mkdir()  # somebody's: no file can take its place
    for name in ("manifest.json", "estimator.skops"):
        (tmp_path / name).write_text("old", encoding="utf-8")
    with pytest.raises(OSError, match=r"trees\.txt"), replacing(tmp_path) as staged:
        for name in ("manifest.json", "estimator.skops", "trees.txt", "report.json"):
            (staged / name).write_text("new", encoding="utf-8")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"manifest.json", "estimator.skops", "trees.txt"}
    assert (tmp_path / "manifest.json").read_text(encoding="utf-8") == "old"


def test_the_next_run_puts_back_what_a_killed_one_had_moved_away(tmp_path):
    previous, abandoned = tmp_path / ".previous-1", tmp_path / ".staged-1"
    for name, place in (("manifest.json", previous), ("trees.txt", previous), ("x", abandoned)):
        place.mkdir(exist_ok=True)
        (place / name).write_text("old", encoding="utf-8")
    os.utime(abandoned, (0, 0))
    (tmp_path / "trees.txt").write_text("new", encoding="utf-8")
    with pytest.raises(ValueError, match="no"), replacing(tmp_path):
        raise ValueError("no")
    assert files(tmp_path) == {"manifest.json", "trees.txt"}
    assert (tmp_path / "trees.txt").read_text(encoding="utf-8") == "old"
