"""The back-test on worlds whose right answer is counted by hand."""

import json
from dataclasses import replace
from functools import cache
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

from features.history import DAY_US
from features.moments import iso
from tests.commands import run
from tests.factories import at, event, make_events, make_leads
from tests.scorers import small_scorer
from tests.worlds import World, make_outcomes
from training.backtest import judge, look_back
from training.calibration import Calibration
from training.config import Config, Label, SnapshotGrid
from training.handoff import Promise, Rule
from training.labels import TooLittleHistory
from training.scorer import LeadScorer

CONFIG = Config(label=Label(horizon_days=30), snapshots=SnapshotGrid(ages_days=(0, 1, 3, 7)))
AGES = {"a": 100, "b": 100, "c": 100, "h": 100, "d": 50, "e": 50, "g": 50, "f": 10}
INQUIRED = {
    **{lead: [event(AGES[lead] - 0.5, "inquiry")] for lead in "abhdf"},
    "g": [event(49.5, "inquiry", known_age_days=45)],
}
CLOSED = [
    ("a", 90, "won"),
    ("b", 80, "lost"),
    ("c", 85, "won"),
    ("h", 65, "won"),
    ("d", 40, "won"),
    ("g", 42, "won"),
]
"""Trained until 60 days ago: a, b, c and h come before, d, e, g and f after it."""


class Inquiries:
    """Log-odds of 3 for a lead that has inquired, else -3; the other way round where inverted."""

    def __init__(self, scorer: LeadScorer, sign: float = 1.0) -> None:
        self.column = scorer.spec.names.index("count_inquiry_all")
        self.sign = sign

    def log_odds(self, X):
        return self.sign * np.where(X[:, self.column] > 0, 3.0, -3.0)


fitted = cache(small_scorer)


def scorer(*, sign: float = 1.0, trained_age: float = 60) -> LeadScorer:
    plain = fitted()
    card = replace(plain.card, horizon_days=30, trained_until=iso(at(trained_age)))
    rule = Rule("capacity", True, 0.5, (0.9, 0.5, 0.01), Promise(), True, 0.5, capacity_per_week=2)
    return replace(
        plain,
        estimator=cast(Any, Inquiries(plain, sign)),
        calibration=Calibration(0.0, 1.0, 1),
        rule=rule,
        card=card,
    )


def world(events=INQUIRED, closed=CLOSED, **known) -> World:
    return World(make_leads(AGES), make_events(events), make_outcomes(closed, **known))


def back_test(tables: World | None = None, model: LeadScorer | None = None, **options):
    crm, model = (tables or world()).crm, model or scorer()
    return judge(look_back(model, crm, CONFIG), model, crm, **options)


def hand_offs(part):
    found = part["hand_offs"]
    return tuple(found[key] for key in ("count", "judged", "too_early_to_judge", "won"))


def wins(part):
    found = part["wins"]
    return tuple(found[key] for key in ("won_leads", "captured", "flagged_too_early", "missed"))


def test_hand_offs_and_wins_are_those_counted_by_hand():
    parts = back_test()["parts"]
    # before: a (won), b (lost), h (won 34 days after it was handed off); c was won, never inquired
    assert hand_offs(parts["before"]) == (3, 3, 0, 1)
    assert wins(parts["before"]) == (3, 1, 1, 1)
    # after: d and g (won), f is nine days old
    assert hand_offs(parts["after"]) == (3, 2, 1, 2)
    assert wins(parts["after"]) == (2, 2, 0, 0)
    assert hand_offs(parts["all"]) == (6, 5, 1, 3)
    assert wins(parts["all"]) == (5, 3, 1, 1)


def test_shares_stand_with_their_exact_intervals():
    part = back_test()["parts"]["before"]
    precision = part["hand_offs"]["precision"]
    assert precision["value"] == pytest.approx(1 / 3)
    # Clopper and Pearson for 1 of 3: 1 - 0.975^(1/3) below
    assert precision["low"] == pytest.approx(1 - 0.975 ** (1 / 3))
    assert precision["high"] == pytest.approx(0.9057, abs=1e-4)


def test_only_matured_moments_are_judged_and_the_others_are_counted():
    found = back_test()
    whole = found["parts"]["all"]
    assert (whole["moments"], whole["moments_matured"], whole["moments_immature"]) == (32, 28, 4)
    assert any("4 moments are too recent to judge" in said for said in found["summary"])


def test_a_moment_is_judged_from_the_very_day_its_horizon_has_passed():
    for age, judged in ((31, 1), (31 - 1e-6, 0)):
        tables = World(
            make_leads({"x": age}), make_events({"x": [event(age - 0.5, "inquiry")]}),
            make_outcomes([("x", 1, "lost")]),
        )  # fmt: skip
        assert back_test(tables)["parts"]["all"]["hand_offs"]["judged"] == judged


def test_an_event_counts_from_the_day_it_was_recorded():
    crm = world().crm
    past = look_back(scorer(), crm, CONFIG)
    late = crm.table["lead_id"].to_pylist().index("g")
    of_g = past.rows.lead == late
    # it inquired when half a day old, which the CRM knew when it was five days old
    assert past.rows.age_days[of_g].tolist() == [0, 1, 3, 7]
    assert (past.score[of_g] > 0.5).tolist() == [False, False, False, True]


def test_a_win_recorded_after_the_end_is_not_known():
    parts = back_test(world(d=-1))["parts"]
    assert hand_offs(parts["after"]) == (3, 2, 1, 1)


def test_first_crossings_fall_into_their_weeks():
    found = back_test()["per_week"]
    # crossings 1, 1, 1, 51, 57 and 91 days after the first moment, in 100 days
    assert found["per_week"] == [3, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1]
    assert found["mean"]["value"] == pytest.approx(6 / 14)
    assert found["over_capacity_share"] == pytest.approx(1 / 14)


def test_grades_are_those_at_the_one_moment_of_each_lead():
    a, b, c, d = back_test()["parts"]["all"]["by_grade"]
    # at 7 days a, b, h, d, g and f have inquired (0.953: A), c and e have not (0.047: C)
    assert (a["leads"], a["judged"], a["won"], a["handed_off"]) == (6, 5, 4, 5)
    assert (c["leads"], c["judged"], c["won"], c["handed_off"]) == (2, 2, 1, 0)
    assert b["leads"] == d["leads"] == 0


def test_months_add_up_and_the_month_of_training_stands_on_both_sides():
    found = back_test(model=scorer(trained_age=49.5))
    months = found["by_month"]
    # moments stand 100 to 93 days before 1 September 2026 (May), 50 to 43 (July), 10 to 3 (August)
    assert [(m["month"], m["sample"]) for m in months] == [
        ("2026-05", "in"),
        ("2026-07", "in"),
        ("2026-07", "out"),
        ("2026-08", "out"),
    ]
    assert sum(m["hand_offs"]["count"] for m in months) == 6
    assert sum(m["leads"] for m in months) == len(AGES)


def test_an_inverted_model_looks_as_bad_as_it_is():
    right, wrong = back_test(), back_test(model=scorer(sign=-1.0))
    # by its one moment 4 of the 5 who inquired are won, of the 2 others 1: 4 * 1 against 1 * 1
    assert right["parts"]["all"]["figures"]["auc"]["value"] == pytest.approx(0.65)
    assert wrong["parts"]["all"]["figures"]["auc"]["value"] == pytest.approx(0.35)
    assert wins(wrong["parts"]["before"])[1] > 0  # it hands every lead off before it inquires
    grade_a = wrong["parts"]["all"]["by_grade"][0]["share_won"]["value"]
    assert grade_a < right["parts"]["all"]["by_grade"][0]["share_won"]["value"]


def test_nothing_that_comes_later_changes_what_was_said():
    tables = world()
    later = {
        "c": [event(84, "inquiry")],
        "e": [event(42.9, "inquiry"), event(1, "inquiry")],
        "a": [event(50, "web_visit")],
    }
    events = pa.concat_tables([tables.events, make_events(later)])
    outcomes = pa.concat_tables([tables.outcomes, make_outcomes([("e", 0.5, "won")])])
    before = look_back(scorer(), tables.crm, CONFIG)
    after = look_back(scorer(), World(tables.leads, events, outcomes).crm, CONFIG)
    assert np.array_equal(before.rows.as_of_us, after.rows.as_of_us)
    assert np.array_equal(before.score, after.score)
    assert np.array_equal(before.decision, after.decision)


def test_what_comes_after_until_changes_no_figure():
    tables = world()
    events = pa.concat_tables([tables.events, make_events({"e": [event(-1, "inquiry")]})])
    outcomes = pa.concat_tables([tables.outcomes, make_outcomes([("e", -2, "won")])])
    later = back_test(World(tables.leads, events, outcomes))
    assert json.dumps(later) == json.dumps(back_test(tables))


def test_from_judges_later_moments_and_hands_nobody_off_again():
    # from 95 days ago on, a, b and h are still open at 93, but were handed off at 99
    found = back_test(from_us=at(95))
    assert hand_offs(found["parts"]["before"]) == (0, 0, 0, 0)
    assert hand_offs(found["parts"]["after"]) == (3, 2, 1, 2)
    with pytest.raises(TooLittleHistory, match="--from"):
        back_test(from_us=at(1))


def test_in_sample_moments_are_said_plainly():
    said = back_test()["summary"][0]
    assert said.startswith("In-sample: 16 of 32 moments (50 %)")
    assert not any("In-sample" in s for s in back_test(model=scorer(trained_age=200))["summary"])
    nothing_after = back_test(model=scorer(trained_age=0))["summary"]
    assert any("Nothing that came after" in said for said in nothing_after)


def test_missed_wins_are_named():
    assert back_test()["missed"] == [
        {"lead_id": "c", "best_score": pytest.approx(1 / (1 + np.exp(3))), "won_at": iso(at(85))}
    ]


def test_no_open_lead_is_an_error_that_says_so():
    tables = World(
        make_leads({"x": 5}), make_events({}), make_outcomes([("x", 6, "won")])
    )  # fmt: skip
    with pytest.raises(TooLittleHistory, match="nothing to look back on"):
        back_test(tables)


def test_ages_follow_the_moments():
    past = look_back(scorer(), world().crm, CONFIG)
    assert past.matured.tolist() == (past.rows.as_of_us <= at(30)).tolist()
    assert (np.diff(past.rows.as_of_us[past.rows.lead == 0]) // DAY_US).tolist() == [1, 2, 4]


def test_the_command_writes_a_page_and_a_file_and_nothing_from_the_network(tmp_path):
    import pyarrow.parquet as pq

    tables = world()
    for name in ("leads", "events", "outcomes"):
        pq.write_table(getattr(tables, name), tmp_path / f"{name}.parquet")
    model = replace(fitted(), card=replace(fitted().card, horizon_days=30))
    model.save(tmp_path / "model")
    inputs = [f"--{name}={tmp_path}/{name}.parquet" for name in ("leads", "events", "outcomes")]
    until = f"--until={iso(at(0))}"
    done = run("backtest", f"--model={tmp_path}/model", *inputs, until,
               f"--output={tmp_path}/out", "--json")  # fmt: skip
    assert done.code == 0, done.err
    stored = json.loads((tmp_path / "out" / "backtest.json").read_text("utf-8"))
    assert json.loads(done.out) == stored
    page = (tmp_path / "out" / "backtest.html").read_text("utf-8")
    assert "<svg" in page
    assert "<text" in page  # text stays text
    for outside in ('src="http', 'href="http', "@import", "<script"):
        assert outside not in page
    for said in stored["summary"]:
        assert said.split(":")[0] in page
    assert run("backtest", f"--model={tmp_path}/none", *inputs, until,
               f"--output={tmp_path}/out").code == 4  # fmt: skip
    future = run("backtest", f"--model={tmp_path}/model", *inputs, until,
                 f"--output={tmp_path}/out", "--from=2199-01-01Z")  # fmt: skip
    assert future.code == 2
    assert "--from" in future.err
