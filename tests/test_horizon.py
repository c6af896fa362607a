"""The horizon that is suggested from how long wins took."""

import pytest

from tests.factories import make_events, make_leads
from tests.worlds import World, make_outcomes
from training.horizon import arrival, suggest


def world(delays, *, age=900.0, lost=5, **known):
    """Leads of one age, won after so many days each, and some lost ones."""
    ages = {f"w{k}": age for k in range(len(delays))} | {f"l{k}": age for k in range(lost)}
    closes = {f"w{k}": (age - delay, "won") for k, delay in enumerate(delays)}
    closes |= {f"l{k}": (age - 1, "lost") for k in range(lost)}
    return World(make_leads(ages), make_events({}), make_outcomes(closes, **known))


@pytest.mark.parametrize(
    ("delays", "days"),
    [
        ([5] * 18 + [100] * 2, 7),  # nine of ten within 7 days
        ([5] * 17 + [100] * 3, 120),  # not quite
        ([7] * 20, 7),  # the day itself counts
        ([7.001] * 20, 14),
        ([80] * 20, 90),
        ([725] * 20, 730),
        ([800] * 20, 730),  # nothing longer is ever suggested
    ],
)
def test_the_shortest_round_number_by_which_nine_of_ten_wins_have_come(delays, days):
    found = suggest(world(delays).crm)
    assert found.days == days
    assert f"suggested: --horizon-days {days}; " in found.reason


def test_the_reason_counts_the_share_step_by_step():
    reason = suggest(world([5] * 10 + [25] * 10).crm).reason
    assert reason.endswith("50% by day 7, 50% by day 14, 100% by day 30")


@pytest.mark.parametrize(("wins", "days"), [(0, None), (19, None), (20, 14)])
def test_below_twenty_wins_nothing_is_suggested(wins, days):
    found = suggest(world([10] * wins).crm)
    assert found.days == days
    if days is None:
        assert found.reason == f"no horizon can be suggested: {wins} wins, 20 are needed"


def test_losses_and_later_wins_of_the_same_lead_do_not_count():
    again = [("w0", 100.0, "won"), *((f"w{k}", 895.0, "won") for k in range(20))]
    ages = {f"w{k}": 900.0 for k in range(20)}
    crm = World(make_leads(ages), make_events({}), make_outcomes(again)).crm
    assert suggest(crm).days == 7


def test_a_win_counts_from_when_it_was_recorded():
    late = {f"w{k}": 860.0 for k in range(20)}
    assert suggest(world([5] * 20, **late).crm).days == 60


def test_wins_before_the_creation_are_passed_over():
    assert suggest(world([-1] * 5 + [10] * 19).crm).days is None
    assert suggest(world([-1] * 5 + [10] * 20).crm).days == 14


def test_young_leads_which_had_time_for_quick_wins_only_do_not_make_wins_look_quick():
    # A world in which every lead is won, half after 5 and half after 50 days; most are young.
    ages = {f"w{k}": (200.0 if k < 40 else 20.0) for k in range(400)}
    delay = {lead: 5.0 if k % 2 else 50.0 for k, lead in enumerate(ages)}
    closes = {lead: (age - delay[lead], "won") for lead, age in ages.items() if age > delay[lead]}
    crm = World(make_leads(ages), make_events({}), make_outcomes(closes)).crm
    found = suggest(crm)
    assert found.days == 60  # 200 of the 220 wins seen came by day 7
    assert "50% by day 7" in found.reason


def test_the_maturity_curve_steps_on_the_days_on_which_first_wins_were_known():
    recorded = {f"w{k}": 890.0 for k in range(10)}
    curve = arrival(world([5] * 10 + [25] * 10, **recorded).crm)
    assert curve.at([9.9, 10, 24.9, 25]).tolist() == [0.0, 0.5, 0.5, 1.0]
