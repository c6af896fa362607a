"""The report of odd worlds as a page: what stands on its first screen, what it holds, how wide."""

import copy
import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from functools import cache

import numpy as np
import pyarrow as pa
import pytest

from tests.factories import make_events, make_leads
from tests.test_changes import told_world
from tests.test_report import Page
from tests.test_undated import spreadsheet
from tests.test_undated import train as train_undated
from tests.worlds import (
    PLAIN,
    World,
    learn_quickly,
    make_outcomes,
    plain_world,
    plainly_learned,
)
from training import report
from training.config import AllowedLeak, ConfigError, Features, Leaks, Report, RuleChoice
from training.report import glance, page, wording

HOSTILE = "<script>alert(1)</script>"
COLUMN = "<b>odd</b>"
MOST_BYTES = 3_000_000
NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"


def odd_world():
    """The plain world with columns that a page could choke on."""
    world, rng = plain_world(), np.random.default_rng(5)
    won = set(
        world.outcomes.filter(pa.compute.equal(world.outcomes["outcome"], "won"))[0].to_pylist()
    )
    never = [
        lead not in won and k % 6 == 0 for k, lead in enumerate(world.leads["lead_id"].to_pylist())
    ]
    columns = {
        COLUMN: rng.choice([HOSTILE, "plain"], 400).tolist(),
        "部門": [(None, "営業部", "開発部")[k] for k in rng.integers(0, 3, 400)],
        "campaign": [f"c-{k % 390}" for k in range(400)],
        "channel": ["dead" if dead else "alive" for dead in never],
    }
    leads = world.leads
    for name, values in columns.items():
        leads = leads.append_column(name, pa.array(values, pa.string()))
    return World(leads, world.events, world.outcomes)


ODD = PLAIN.model_copy(
    update={
        "report": Report(groups=("部門", "campaign", "channel", COLUMN)),
        "features": Features(exclude=("channel",)),
    }
)


@cache
def oddly_learned():
    return learn_quickly(odd_world(), ODD)


def written(found, folder):
    report.write(found, folder)
    values = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return values, (folder / "report.html").read_text(encoding="utf-8")


def first_screen(text):
    [section] = re.findall(r'<section id="glance">(.*?)</section>', text, re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", section)).split())


def sound(text):
    """A page that stands alone, runs nothing, is small, and shows no failed number."""
    read = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(read.tags)
    assert not [name for name, _ in read.attributes if name in {"src", "href"} or name[:2] == "on"]
    assert "http" not in text
    assert "url(" not in text
    assert len(text.encode()) < MOST_BYTES
    words = re.findall(r"[\w']+", read.text)
    assert not {"nan", "None", "inf", "Undefined"} & set(words)


def numbers(value):
    """Every number of a JSON value, and every number written in its strings."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from numbers(key)
            yield from numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, str):
        yield from re.findall(NUMBER, value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield value


def told(token, known):
    digits = len(token.partition(".")[2])
    return any(
        token == number
        if isinstance(number, str)
        else token in {f"{abs(scale * number):,.{digits}f}" for scale in (1, 10, 100)}
        for number in known
    )


WORLDS = {
    "plain": lambda: plainly_learned().report,
    "odd": lambda: oddly_learned().report,
    "weak": lambda: learn_quickly(plain_world(60), allow_weak=True).report,
    "infeasible": lambda: (
        learn_quickly(plain_world(), stating(kind="precision", precision=0.999)).report
    ),
    "capacity": lambda: learn_quickly(plain_world(), stating(capacity_per_week=3)).report,
    "value": lambda: (
        learn_quickly(plain_world(), stating(kind="value", value=10.0, cost=2.0)).report
    ),
    "hash": lambda: learn_quickly(*one_day()).report,
}


@cache
def world(name):
    return WORLDS[name]()


def stating(**rule):
    return PLAIN.model_copy(update={"rule": RuleChoice(**rule)})


def one_day():
    ages = {f"lead-{k}": 60.0 for k in range(240)}
    keen = {lead: [59.5] * 2 for k, lead in enumerate(ages) if k % 3 == 0}
    wins = {lead: (45.0, "won") for k, lead in enumerate(ages) if k % 3 == 0 or k % 20 == 1}
    visits = AllowedLeak(column="web_visit", name="Sato", reason="keen leads all win here")
    allowed = PLAIN.model_copy(update={"leaks": Leaks(allow=(visits,))})
    return World(make_leads(ages), make_events(keen), make_outcomes(wins)), allowed


@pytest.mark.parametrize("name", WORLDS)
def test_every_world_gives_a_sound_page_whose_first_screen_is_in_the_json(name, tmp_path):
    values, text = written(world(name), tmp_path)
    sound(text)
    screen = first_screen(text)
    known = set(numbers(values))
    tokens = re.findall(NUMBER, screen)
    assert len(tokens) > 5
    assert [token for token in tokens if not told(token, known)] == []


def test_a_number_that_is_not_in_the_json_would_be_seen():
    assert told("28", {0.279})
    assert told("6.9", {6.853})
    assert not told("6.8", {6.853})
    assert not told("31", {0.279, 6.853, "2026"})


def test_the_same_tables_give_the_same_report_and_page(tmp_path):
    again = learn_quickly(odd_world(), ODD).report | {"seconds": {}}
    once = oddly_learned().report | {"seconds": {}}
    for name, found in (("a", once), ("b", again)):
        (tmp_path / name).mkdir()
        written(found, tmp_path / name)
    for file in ("report.json", "report.html"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_first_screen_answers_what_sales_asks(tmp_path):
    values, text = written(plainly_learned().report, tmp_path)
    screen, outlook = first_screen(text), values["outlook"]
    assert (
        f"Leads for sales, a week {wording.amount(outlook['hand_offs_per_week']['value'])}"
        in screen
    )
    assert f"Of them will close {wording.percent(outlook['share_won']['value'])}" in screen
    assert "What is promised Nothing yet" in screen
    assert "Is it better than what we do today?" in screen
    assert "Which leads would change?" in screen
    order = values["changes"]["orders"][0]
    assert order["newly"]["examples"][0]["lead_id"] in screen
    for jargon in ("AUC", "Brier", "calibration", "bootstrap", "quantile", "snapshot"):
        assert jargon not in screen


def test_the_stand_ins_for_today_are_the_points_rule_and_the_best_baseline():
    found = plainly_learned().report
    names = [order["against"] for order in found["changes"]["orders"]]
    assert names == list(dict.fromkeys(["points", found["against_baselines"]["best"]]))
    assert set(found["gain"]["curves"]) == {"model", *names}
    share = found["gain"]["rule_share"]
    order = found["changes"]["orders"][0]
    assert order["handed_off"] == round(share * order["leads"])
    assert order["leads"] == found["rows"]["test"]["leads"]


def test_a_promise_is_said_and_one_that_cannot_be_kept_as_well(tmp_path):
    for name, big in (
        ("capacity", "At most 3"),
        ("infeasible", "Cannot be kept"),
        ("value", "It pays"),
    ):
        (tmp_path / name).mkdir()
        values, text = written(world(name), tmp_path / name)
        assert f"What is promised {big}" in first_screen(text)
        fifth = "so the best fifth is compared" in text
        assert fifth == (name == "infeasible") == (not values["changes"]["of_the_rule"])


@pytest.mark.parametrize(
    ("low", "high", "said", "card"),
    [
        (0.5, 8.0, "better, beyond chance", "Better"),
        (0.0, 8.0, "may be chance", "No clear difference"),
        (-3.0, -0.5, "worse, beyond chance", "Worse"),
    ],
)
def test_better_is_said_only_beyond_chance(low, high, said, card):
    changed = copy.deepcopy(report.plain(plainly_learned().report))
    order = changed["changes"]["orders"][0]
    order["more_won"] = {"value": (low + high) / 2, "low": low, "high": high}
    assert said in glance.verdict(order, "time")
    assert glance.cards(changed)[-1]["big"] == card


def test_leads_held_out_by_hash_are_not_called_later_ones():
    order = plainly_learned().report["changes"]["orders"][0]
    assert glance.verdict(order, "hash").startswith(f"Of {order['leads']} held-out leads")
    assert glance.verdict(order, "time").startswith(f"Of {order['leads']} later leads")


def test_where_no_simple_method_tells_leads_apart_the_page_says_so(tmp_path):
    values, text = written(world("hash"), tmp_path)
    assert values["changes"]["orders"] == []
    assert "Nothing to compare with" in first_screen(text)


def test_groups_of_any_name_and_without_wins_stand_on_the_page(tmp_path):
    values, text = written(oddly_learned().report, tmp_path)
    shown = Page(text).text
    for name in ("部門: 営業部", "channel: dead", f"{COLUMN}: {HOSTILE}", " others"):
        assert name in shown
    groups = {(g["attribute"], g["level"]): g for g in values["groups"]["groups"]}
    dead = groups["channel", "dead"]
    assert (dead["won"], dead["share_won"]["value"], dead["auc"]["value"]) == (0, 0, None)
    assert ("部門", None) in groups
    assert len([1 for attribute, _ in groups if attribute == "campaign"]) == 13
    assert "Nobody has named the groups" not in shown


def test_groups_are_those_of_the_moment_of_judging_where_the_history_is_known():
    today, changes = told_world()
    watched = PLAIN.model_copy(update={"report": Report(groups=("tier",))})
    found = learn_quickly(replace(today, changes=changes), watched).report
    [group] = found["groups"]["groups"]
    assert group["level"] == "tin"
    assert group["won"] == found["rows"]["test"]["won"] > 0


def test_without_named_groups_the_card_says_that_nobody_watches(tmp_path):
    _, text = written(plainly_learned().report, tmp_path)
    assert "Nobody has named the groups to be watched for fairness" in text
    assert "Fairness: by named group" not in text


def test_the_card_names_what_the_model_knows_and_who_let_a_leak_pass(tmp_path):
    values, text = written(world("hash"), tmp_path)
    assert values["card"]["won"].startswith("An outcome 'won' within 30 days")
    assert any("not judged on later leads" in limit for limit in values["card"]["limits"])
    assert "web_visit by Sato: keen leads all win here" in Page(text).text
    odd = oddly_learned().report["card"]["features"]
    assert "部門" in odd["attributes"]
    assert "channel" not in odd["attributes"]
    assert {"column": "channel", "why": "excluded in the configuration"} in odd["left_out"]


def test_an_unknown_group_stops_before_anything_is_learned(monkeypatch):
    monkeypatch.setattr("training.learning.study_of", lambda *_, **__: pytest.fail("it began"))
    wanted = PLAIN.model_copy(update={"report": Report(groups=("contry",))})
    with pytest.raises(ConfigError, match=r"report\.groups names contry"):
        learn_quickly(plain_world(), wanted)


def test_tables_without_dates_have_no_weeks_months_or_ages(tmp_path):
    done = train_undated(tmp_path, spreadsheet(tmp_path))
    assert done.code == 0, done.err
    values = json.loads((tmp_path / "m/report.json").read_text(encoding="utf-8"))
    text = (tmp_path / "m/report.html").read_text(encoding="utf-8")
    sound(text)
    assert values["months"] == []
    shown = Page(text).text
    assert "Of 100 leads, go to sales" in shown
    for absent in ("a week", "By month", "By the age", "1970", "horizon 1"):
        assert absent not in first_screen(text)
        assert absent == "a week" or absent not in shown


def test_a_report_of_an_earlier_version_is_written_too(tmp_path):
    old = {
        name: value for name, value in plainly_learned().report.items() if name not in page.EMPTY
    }
    values, text = written(old, tmp_path)
    assert "outlook" not in values
    sound(text)


def test_features_that_part_the_leads_alike_are_shown_once():
    found = page._insight(report.plain(plainly_learned().report)["insight"])
    parts = [page._parts_leads(each) for each in found["engagement"]]
    assert parts
    assert all(parts.count(each) == 1 for each in parts)
    concepts = [each["concept"] for each in found["engagement"]]
    assert max(map(concepts.count, concepts)) <= 2


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
PROBE = """<body><iframe id=f src=report.html style="width:390px;height:900px"></iframe><script>
onload = () => { const d = document.getElementById("f").contentDocument;
document.title = d.documentElement.scrollWidth + " " + d.querySelectorAll("svg text").length; };
</script>"""


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")
def test_nothing_is_wider_than_a_phone(tmp_path):
    written(oddly_learned().report, tmp_path)
    (tmp_path / "probe.html").write_text(PROBE, encoding="utf-8")
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
         f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
         (tmp_path / "probe.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    [(width, texts)] = re.findall(r"<title>(\d+) (\d+)</title>", done.stdout)
    assert int(width) <= 390
    assert int(texts) > 50
