"""The gate: each check on both sides of its limit, what it compares, and what is kept of it."""

from dataclasses import replace
from functools import cache

import numpy as np
import pyarrow as pa
import pytest

from tests.scorers import AS_OF_US, EPOCH_US, SPEC, small_scorer
from tests.worlds import PLAIN, learn_quickly, plain_world, plainly_learned
from training import promotion
from training.config import Gate
from training.judged_leads import AS_OF, BASELINE, SCORE, WON, JudgedLeads
from training.promotion import Check, Verdict

TIME = pa.timestamp("us", "UTC")
DAY_US = 86_400_000_000
LEADS = 400


def make_evidence(score, won, as_of_us=AS_OF_US, base_rate=0.5, created_us=EPOCH_US) -> JudgedLeads:
    """Judged leads `L-0`, `L-1` …, of which those with an even number have inquired a day before.

    >>> len(make_evidence([0.5], [1.0]))
    1
    """
    n = len(score)
    ids = [f"L-{k}" for k in range(n)]
    leads = {
        "lead_id": pa.array(ids, pa.string()),
        "created_at": pa.array(np.broadcast_to(created_us, n).astype(np.int64)).cast(TIME),
        "employees": pa.array([10 * k for k in range(n)], pa.int64()),
        AS_OF: pa.array(np.broadcast_to(as_of_us, n).astype(np.int64)).cast(TIME),
        WON: pa.array(won, pa.float64()),
        SCORE: pa.array(score, pa.float64()),
        f"{BASELINE}base_rate": pa.array([base_rate] * n, pa.float64()),
    }
    keen = ids[::2]
    events = {
        "lead_id": pa.array(keen, pa.string()),
        "occurred_at": pa.array([AS_OF_US - DAY_US] * len(keen), TIME),
        "event_type": pa.array(["inquiry"] * len(keen), pa.string()),
    }
    return JudgedLeads(pa.table(leads), pa.table(events))


HALF_WON = np.tile([1.0, 0.0], LEADS // 2)
GOOD = np.where(HALF_WON > 0, 0.8, 0.2)


@cache
def scorer(seed=1, **card):
    made = small_scorer(seed)
    rule = replace(made.rule, stated=True)
    return replace(made, rule=rule, card=replace(made.card, **card))


def failed(checks):
    return {check.name for check in checks if not check.passed}


def test_a_calibrated_model_with_a_stated_rule_passes_alone():
    checks = list(promotion.absolute(scorer(), make_evidence(GOOD, HALF_WON)))
    assert [check.name for check in checks] == [
        "rule_feasible", "calibration", "baselines",
    ]  # fmt: skip
    assert failed(checks) == set()


def test_each_absolute_check_fails_by_name():
    plain, kept = scorer(), make_evidence(GOOD, HALF_WON)
    infeasible = replace(plain, rule=replace(plain.rule, feasible=False))
    assert failed(promotion.absolute(infeasible, kept)) == {"rule_feasible"}
    assert failed(promotion.absolute(plain, None)) == {"judged_leads"}
    upside_down = make_evidence(1 - GOOD, HALF_WON)
    assert failed(promotion.absolute(plain, upside_down)) == {"baselines"}
    no_win = make_evidence(GOOD, np.zeros(LEADS))
    assert failed(promotion.absolute(plain, no_win)) == {"calibration", "baselines"}


@pytest.mark.parametrize(
    ("level", "passes"), [(0.68, True), (0.66, False), (1.49, True), (1.51, False)]
)
def test_the_calibration_ratio_has_limits_on_both_sides(level, passes):
    check = promotion._calibrated(np.full(LEADS, 0.5 * level), HALF_WON, Gate())
    assert check.passed is passes
    assert f"{level:.2f}" in check.detail


def test_scores_by_chance_are_not_better_than_the_base_rate():
    rng = np.random.default_rng(3)
    score = np.clip(0.5 + 0.02 * rng.standard_normal(LEADS), 0.01, 0.99)
    check = promotion._better(score, HALF_WON, {"base_rate": np.full(LEADS, 0.5)})
    assert not check.passed


@pytest.mark.parametrize(
    ("worse", "passes"), [(0.001, True), (0.003, True), (0.006, False), (-0.1, True)]
)
def test_the_challenger_may_be_worse_by_less_than_the_margin(worse, passes):
    theirs = GOOD
    ours = np.where(HALF_WON > 0, 0.8 * np.exp(-worse), 1 - 0.8 * np.exp(-worse))
    check = promotion._non_inferior(ours, theirs, HALF_WON, Gate())
    assert check is not None
    assert check.passed is passes
    assert f"{worse:+.4f}" in check.detail


def test_a_difference_that_is_not_certain_does_not_pass():
    """Better on half of the leads and worse by as much on the others: 0 on average, ± 0.017."""
    right = np.where(np.arange(LEADS) % 4 < 2, 0.95, 0.8 * 0.8 / 0.95)
    check = promotion._non_inferior(
        np.where(HALF_WON > 0, right, 1 - right), GOOD, HALF_WON, Gate()
    )
    assert check is not None
    assert "0.0000 (" in check.detail
    assert not check.passed


@pytest.mark.parametrize(("leads", "enough"), [(199, False), (200, True)])
def test_too_few_common_rows_are_no_comparison(leads, enough):
    some = np.where(np.arange(LEADS) < leads, GOOD, np.nan)
    known = np.where(np.arange(LEADS) < leads, HALF_WON, np.nan)
    for ours, theirs, won in ((some, GOOD, HALF_WON), (GOOD, some, HALF_WON), (GOOD, GOOD, known)):
        check = promotion._non_inferior(ours, theirs, won, Gate())
        assert (check is not None and check.passed) is enough


def test_versions_that_cannot_be_compared_fail_and_say_why_and_what_helps():
    kept = make_evidence(GOOD, np.where(np.arange(LEADS) % 4 < 2, HALF_WON, np.nan))
    elsewhere = make_evidence(GOOD, HALF_WON, AS_OF_US - DAY_US)
    for before, both, told in ((elsewhere, 0, 0), (None, 0, 0), (make_evidence([0.5], [1]), 1, 1)):
        check = list(promotion.comparison(scorer(), kept, scorer(), before))[-1]
        assert (check.name, check.passed) == ("log_loss", False)
        assert f"only {told} leads with {told} wins can be compared, 200 and 10" in check.detail
        assert f"of the 400 judged leads of the challenger {both} have a score" in check.detail
        assert "same ages ([snapshots] ages_days)" in check.detail
        assert "leads created after 2026-02-01" in check.detail
        assert ("with which no judged leads are kept" in check.detail) is (before is None)
    assert list(promotion.comparison(scorer(), make_evidence(GOOD, HALF_WON), scorer(), kept))[
        -1
    ].passed


def test_the_champion_is_compared_by_scores_of_leads_it_has_not_learned_from():
    """Its trained_until is 2026-02-01: leads created later it scores itself, others were kept."""
    late = AS_OF_US + 10 * DAY_US
    moments, created = [AS_OF_US, late, late], [EPOCH_US, EPOCH_US, late - DAY_US]
    kept = make_evidence([0.5] * 3, [1, 0, 1], moments, created_us=created)
    before = make_evidence([0.25], [1])
    found = promotion.out_of_time(kept, scorer(), before)
    expected = scorer().score(kept.raw, kept.as_of_us).score
    assert found[0] == 0.25
    assert np.isnan(found[1])
    assert found[2] == expected[2]
    assert np.isnan(promotion.out_of_time(kept, scorer(), None)[:2]).all()


def test_a_rule_is_asked_for_and_must_be_stated_where_the_champions_was():
    stated = replace(scorer().rule, stated=True)
    unstated = replace(stated, stated=False)
    asked = promotion._stated(unstated)
    assert asked.passed
    assert "nobody has stated a hand-off rule" in asked.detail
    assert promotion._stated(unstated, unstated).passed
    assert promotion._stated(stated, unstated).passed
    assert not promotion._stated(unstated, stated).passed


def test_another_horizon_or_vocabulary_is_not_compatible():
    ours, kept = scorer(), make_evidence(GOOD, HALF_WON)
    other = replace(ours, card=replace(ours.card, horizon_days=30))
    checks = list(promotion.comparison(ours, kept, other, kept))
    assert failed(checks) == {"schema", "log_loss"}
    assert "the horizon is 90 days, the champion's 30" in checks[1].detail
    more = replace(SPEC, types=(*SPEC.types, "demo"), attributes=SPEC.attributes[:2])
    wider = replace(ours, spec=more)
    assert "event types that only the champion knows: demo" in promotion._schema(ours, wider).detail
    assert "attributes that only the champion knows: indu" in promotion._schema(wider, ours).detail
    narrower = replace(ours, spec=replace(SPEC, types=SPEC.types[:2]))
    assert promotion._schema(ours, narrower).passed


def test_the_leads_that_change_their_decision_are_shown_both_ways():
    kept, now, was = make_evidence(GOOD, HALF_WON), scorer(1), scorer(1)
    score = now.score(kept.raw, kept.as_of_us).score
    low, high = np.quantile(score, [0.5, 0.9])
    easy = replace(now, rule=replace(now.rule, threshold=low, grades=(1.0, low, 0.0)))
    hard = replace(was, rule=replace(was.rule, threshold=high, grades=(1.0, high, 0.0)))
    found = promotion.churn(kept, easy, hard)
    changed = int(((score >= low) & (score < high)).sum())
    assert found["handed_off_newly"]["leads"] == changed > 10
    assert found["handed_off_no_more"] == {"leads": 0, "examples": []}
    assert len(found["handed_off_newly"]["examples"]) == 10
    example = found["handed_off_newly"]["examples"][0]
    assert example["challenger"]["decision"] == "hand_off"
    assert example["champion"]["decision"] == "nurture"
    back = promotion.churn(kept, hard, easy)
    assert back["handed_off_no_more"]["leads"] == changed


def verdict(*checks, because=None):
    return Verdict("leads", "2", "1", checks, {}, "2026-02-01T00:00:00Z", because)


def test_force_overrides_a_check_with_a_reason_and_never_a_broken_artifact():
    passed, weak = Check("calibration", True, "fine"), Check("log_loss", False, "worse")
    broken = Check("smoke", False, "digest")
    assert verdict(passed).result == "passed"
    assert verdict(passed, weak).result == "refused"
    assert verdict(passed, weak, because="a fair is on").result == "forced"
    assert verdict(broken, because="a fair is on").result == "refused"
    said = promotion.refusal(verdict(passed, weak))
    assert "log_loss: worse" in said
    assert "calibration" not in said
    assert "--force --because TEXT" in said


def test_judged_leads_come_back_from_its_folder(tmp_path):
    kept = make_evidence(GOOD, np.where(np.arange(LEADS) < 5, np.nan, HALF_WON))
    kept.save(tmp_path)
    kept.save(tmp_path)
    found = JudgedLeads.load(tmp_path / "judged")
    assert found.lead_id == kept.lead_id
    assert found.as_of_us.tolist() == kept.as_of_us.tolist()
    np.testing.assert_array_equal(found.won, kept.won)
    np.testing.assert_array_equal(
        scorer().score(found.raw, found.as_of_us).score,
        scorer().score(kept.raw, kept.as_of_us).score,
    )


def test_what_a_training_run_keeps_scores_as_its_tables_do_and_knows_nothing_later():
    learned, crm = plainly_learned(), plain_world().crm
    kept = learned.judged_leads
    assert len(kept) == len(set(kept.lead_id)) > 50
    assert 0 < np.nansum(kept.won) < len(kept)
    assert (kept.events["recorded_at"].cast(pa.int64()).to_numpy() <= max(kept.as_of_us)).all()
    place = {lead: row for row, lead in enumerate(crm.table["lead_id"].to_pylist())}
    rows = np.array([place[lead] for lead in kept.lead_id])
    as_of = np.zeros(len(crm.leads), np.int64)
    as_of[rows] = kept.as_of_us
    np.testing.assert_array_equal(
        learned.scorer.score(kept.raw, kept.as_of_us).score,
        learned.scorer.score(crm.leads, as_of).score[rows],
    )
    told = ~np.isnan(kept.won)
    loss = promotion.losses(kept.score[told], kept.won[told]).mean()
    assert learned.report["test"]["model"]["log_loss"]["value"] == pytest.approx(loss, abs=1e-12)
    checks = {check["name"]: check["passed"] for check in learned.report["gate"]["checks"]}
    assert learned.report["gate"]["passed"] is all(checks.values())


def test_judged_leads_of_a_history_without_values_and_channels_are_kept():
    world = plain_world()
    bare = replace(world, events=world.events.drop_columns(["value", "channel"]))
    kept = learn_quickly(bare, PLAIN).judged_leads
    assert len(kept.events)
    assert kept.events["value"].null_count == kept.events["channel"].null_count == len(kept.events)


def test_attributes_with_a_history_are_kept_as_they_stood_when_the_lead_was_judged():
    """Every third lead turns gold three days after its creation, and grey after thirty more."""
    world = plain_world()
    ids = world.leads["lead_id"].to_pylist()
    created = world.leads["created_at"].cast(pa.int64()).to_pylist()
    rows = [
        (lead, moment + days * DAY_US, tier)
        for number, (lead, moment) in enumerate(zip(ids, created, strict=True))
        for days, tier in ((0, "tin"), *(((3, "gold"), (33, "grey")) if number % 3 == 0 else ()))
    ]
    changes = pa.table(
        {
            "lead_id": [lead for lead, *_ in rows],
            "changed_at": pa.array([moment for _, moment, _ in rows], TIME),
            "attribute": ["tier"] * len(rows),
            "value": [tier for *_, tier in rows],
        }
    )
    told = replace(world, changes=changes)
    learned = learn_quickly(told, PLAIN)
    assert "lead_tier" in learned.scorer.spec.names
    kept, crm = learned.judged_leads, told.crm
    row = np.array([crm.table["lead_id"].to_pylist().index(lead) for lead in kept.lead_id])
    stood = [
        [tier for lead, when, tier in rows if lead == one and when <= as_of][-1]
        for one, as_of in zip(kept.lead_id, kept.as_of_us.tolist(), strict=True)
    ]
    assert kept.leads["tier"].to_pylist() == stood
    assert set(stood) >= {"tin", "gold"}
    as_of = np.zeros(len(crm.leads), np.int64)
    as_of[row] = kept.as_of_us
    np.testing.assert_array_equal(
        learned.scorer.score(kept.raw, kept.as_of_us).score,
        learned.scorer.score(crm.leads, as_of).score[row],
    )
