"""What the report says to programs and to people: its keys, its page, its sentences."""

import copy
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.worlds import PLAIN, learn_quickly, plain_world, plainly_learned
from training import report
from training.report import METRICS, compared, content, figure, plain

BASELINES = ["base_rate", "recency", "points", "odoo", "logistic"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The report of the plain world as it is written: what programs read, and the page."""
    folder = tmp_path_factory.mktemp("report")
    report.write(plainly_learned().report, folder)
    text = (folder / "report.json").read_text(encoding="utf-8")
    return text, (folder / "report.html").read_text(encoding="utf-8")


def page_of(changed, folder):
    report.write(changed, folder)
    return (folder / "report.html").read_text(encoding="utf-8")


def no_constant(name):
    raise AssertionError(f"{name} is no JSON")


class Page(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


# For programs


def test_the_stable_keys_are_there(written):
    found = json.loads(written[0])
    assert found.keys() >= {
        "data", "label", "rows", "candidates", "chosen", "test", "rule", "leaks", "gate", "seconds",
    }  # fmt: skip
    assert found["data"].keys() >= {"leads", "events", "outcomes", "first_created", "until"}
    assert re.fullmatch("[0-9a-f]{64}", found["data"]["digest"])
    assert found["label"].keys() >= {
        "strategy", "horizon_days", "matured", "open", "evaluation_until",
    }  # fmt: skip
    assert found["rows"].keys() == {"train", "calibrate", "test"}
    assert all(rows.keys() == {"snapshots", "leads", "won"} for rows in found["rows"].values())
    assert all(each.keys() == {"name", "log_loss", "ci"} for each in found["candidates"])
    assert found["rule"].keys() >= {
        "stated", "kind", "threshold", "promise", "feasible", "expected_share",
    }  # fmt: skip
    assert found["gate"].keys() == {"passed", "checks"}
    assert found["leaks"] == []


def test_every_figure_of_model_and_baselines_has_a_value_between_its_bounds(written):
    found = json.loads(written[0])["test"]
    assert list(found["baselines"]) == BASELINES
    for figures in (found["model"], found["all_snapshots"], *found["baselines"].values()):
        assert list(figures) == list(METRICS)
        for one in figures.values():
            assert one.keys() == {"value", "low", "high"}
            assert one["low"] <= one["value"] <= one["high"]
    assert found["model"]["auc"]["value"] > found["baselines"]["base_rate"]["auc"]["value"]
    assert (
        found["model"]["log_loss"]["value"] < found["baselines"]["base_rate"]["log_loss"]["value"]
    )


def test_counts_are_those_of_the_tables(written):
    found, world = json.loads(written[0]), plain_world()
    assert found["data"]["leads"] == len(world.leads) == 400
    assert found["data"]["events"] == len(world.events)
    assert found["data"]["outcomes"] == len(world.outcomes)
    assert found["data"]["until"] == "2026-09-01T12:00:00Z"
    assert found["label"]["evaluation_until"] == "2026-08-02T12:00:00Z"
    assert found["label"]["horizon_days"] == 30
    assert found["label"]["known"] + found["label"]["open"] == found["label"]["snapshots"]
    assert sum(cut["role"] == "choose" for cut in found["origins"]["cuts"]) == 1
    assert found["chosen"] in [candidate["name"] for candidate in found["candidates"]]
    assert found["rows"]["test"]["snapshots"] == found["rows"]["test"]["leads"]


def test_the_maturity_curve_rises_to_one(written):
    curve = json.loads(written[0])["label"]["maturity_curve"]
    shares = [share for _, share in curve]
    assert curve[-1] == [30, 1.0]
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.1 < shares[3] < 1


def test_json_holds_no_nan_and_keeps_japanese(tmp_path):
    odd = {
        **plainly_learned().report,
        "chosen": "製造業",
        "more": [float("nan"), float("inf"), -np.inf, np.float32(0.5), np.int64(3), np.bool_(1)],
    }
    report.write(odd, tmp_path)
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    found = json.loads(text, parse_constant=no_constant)
    assert found["more"] == [None, None, None, 0.5, 3, True]
    assert found["more"][5] is True
    assert '"chosen": "製造業"' in text


def test_a_report_without_a_single_judged_lead_is_written_too(tmp_path):
    learned = learn_quickly(plain_world(60), allow_weak=True)
    emptied = copy.deepcopy(learned.report)
    nothing = {"value": None, "low": None, "high": None}
    test = emptied["test"]
    for figures in (test["model"], test["all_snapshots"], *test["baselines"].values()):
        figures.update(dict.fromkeys(figures, nothing))
    emptied["rule"].update(judged={}, threshold=None)
    test.update(by_age=[], reliability=[])
    page = page_of(emptied, tmp_path)
    assert "nan" not in Page(page).text.lower()
    assert "None" not in Page(page).text


def test_plain_writes_into_nothing_that_it_is_given():
    given = {"a": (float("nan"), {"b": np.float64(1)})}
    assert plain(given) == {"a": [None, {"b": 1.0}]}
    assert np.isnan(given["a"][0])


# For people


def test_the_page_stands_alone(written):
    page = Page(written[1])
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name in {"src", "href"} or name[:2] == "on"]
    assert "url(" not in written[1]
    assert "@import" not in written[1]
    assert "//" not in written[1]
    assert ("charset", "utf-8") in page.attributes


def test_the_page_shows_what_the_report_says(written):
    found, text = json.loads(written[0]), Page(written[1]).text
    for sentence in found["summary"]:
        assert sentence in text
    for candidate in found["candidates"]:
        assert candidate["name"] in text
        assert f"{candidate['log_loss']:.5f}" in text
    for title in METRICS.values():
        assert title in text
    for figures in (found["test"]["model"], *found["test"]["baselines"].values()):
        assert figure(figures["auc"]) in text
    assert "best fifth (nobody has stated one)" in text
    assert found["data"]["digest"] in text


HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)>\'"&'


def test_hostile_text_is_shown_and_never_run(tmp_path):
    changed = copy.deepcopy(plainly_learned().report)
    changed["summary"] = [HOSTILE, "契約は「製造業」が多い"]
    changed["chosen"] = changed["candidates"][0]["name"] = HOSTILE
    changed["origins"]["reason"] = changed["label"]["grid"]["reason"] = HOSTILE
    changed["origins"]["judged_on"] = changed["headline"] = HOSTILE
    changed["rule"]["kind"] = HOSTILE
    changed["data"][HOSTILE] = HOSTILE
    changed["seconds"][HOSTILE] = 1.0
    changed["test"]["baselines"][HOSTILE] = changed["test"]["model"]
    page = Page(page_of(changed, tmp_path))
    assert not {"script", "img"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name[:2] == "on"]
    assert page.text.count('<script>alert("x")</script>') >= 9
    assert "契約は「製造業」が多い" in page.text


def test_a_split_by_hash_is_said_on_the_page_and_a_split_by_time_is_not(tmp_path, written):
    changed = copy.deepcopy(plainly_learned().report)
    changed["origins"].update(kind="hash", judged_on=content.JUDGED_ON["hash"])
    text = Page(page_of(changed, tmp_path)).text
    assert "leads were split by a hash of their id, not by time" in text
    assert "leads held out by a hash of their id" in text
    assert "hash" not in Page(written[1]).text
    assert "later leads" in Page(written[1]).text


def test_the_console_says_the_sentences_first_and_names_model_and_baselines(capsys):
    report.show(plainly_learned().report)
    told = " ".join(capsys.readouterr().err.split())
    assert told.startswith(" ".join(plainly_learned().report["summary"][0].split())[:60])
    assert "Judged on 131 later leads: one snapshot per lead" in told
    for name in ("model", *BASELINES):
        assert name in told


def test_the_model_comes_first_then_the_baselines():
    assert [name for name, _ in compared(plainly_learned().report)] == ["model", *BASELINES]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0.12345, "0.123"),
        (1, "1.000"),
        ({"value": None, "low": None, "high": None}, "–"),
        ({"value": float("nan"), "low": 0.0, "high": 1.0}, "–"),
        ({"value": 0.5, "low": None, "high": 0.6}, "0.500"),
        ({"value": 0.5, "low": 0.4, "high": 0.6}, "0.500 (0.400–0.600)"),
    ],
)
def test_a_figure_is_written_with_its_interval(value, text):
    assert figure(value) == text


# The sentences


def summary(**changes):
    """The sentences of the plain report with some of its figures changed."""
    changed = copy.deepcopy(plainly_learned().report)
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = changed
        for name in parents:
            place = place[name]
        place[last] = value
    return list(content._summary(changed))


def test_a_rule_that_cannot_be_kept_is_said_first():
    promise = {"confidence": 0.9, "at_most_per_week": 4.0, "expected_per_week": 0.0}
    first = summary(
        against_baselines={},
        rule__stated=True,
        rule__kind="capacity",
        rule__feasible=False,
        rule__capacity_per_week=4,
        rule__promise=promise,
    )[0]
    assert first == (
        "The rule cannot be kept: with these data no threshold holds 4 leads a week in 90 % of the "
        "weeks; nothing is handed off."
    )


def test_a_model_no_better_than_a_baseline_opens_the_report_with_it():
    found = plainly_learned().report["against_baselines"]
    theirs = plainly_learned().report["test"]["baselines"]
    ours = plainly_learned().report["test"]["model"]["log_loss"]["value"]
    best = min(theirs, key=lambda name: theirs[name]["log_loss"]["value"])
    gap = ours - theirs[best]["log_loss"]["value"]
    assert found["best"] == best
    assert found["log_loss_difference"]["value"] == pytest.approx(gap, abs=1e-12)
    assert found["better"] == (gap < 0)
    worse = {"value": 0.01, "low": -0.002, "high": 0.022}
    weak = {"best": "odoo", "better": False, "log_loss_difference": worse}
    assert summary(against_baselines=weak)[0] == (
        "The model is not better than the baseline odoo: its log loss on the judged leads is "
        "higher by 0.0100 (-0.0020 to 0.0220). It is registered with --allow-weak only."
    )
    for fine in (weak | {"better": True}, {}):
        assert not any("not better" in said for said in summary(against_baselines=fine))


@pytest.mark.parametrize(("auc", "said"), [(0.9, False), (0.901, True), (None, False)])
def test_an_auc_too_good_to_be_true_is_said(auc, said):
    sentences = summary(test__model__auc__value=auc)
    assert any("almost always a leak" in sentence for sentence in sentences) == said


def test_no_win_among_the_judged_is_said_unless_the_history_is_weak_anyway():
    line = "No win among the matured judged leads: the figures below cannot be given."
    assert line in summary(rows__test__won=0)
    assert line not in summary()
    weak = summary(against_baselines={}, rows__test__won=0, weak=True, origins__wins_seen=7)
    assert line not in weak
    assert "Too little history to judge: 7 leads" in weak[1]


def test_the_card_of_the_artifact_has_the_headline_figures_and_the_configuration():
    card, found = plainly_learned().scorer.card, plainly_learned().report
    assert card.metrics == found["test"]["model"]
    assert card.data == found["data"]
    assert card.config == PLAIN.model_dump(mode="json")
    assert (card.horizon_days, card.recipe) == (30, found["chosen"])
    assert {"leadqual", "lightgbm", "numpy"} <= card.versions.keys()
