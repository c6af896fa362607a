import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.history import DAY_US
from training.labels import TooLittleHistory, delay_curve, labels, maturity_curve
from training.snapshots import NEVER, Snapshots

OPEN = (None, None)


def us(day):
    return NEVER if day is None else round(day * DAY_US)


def table(*rows):
    """Rows of (as_of, (win, known), (loss, known), age), in days."""
    columns = [
        [us(value) for value in values]
        for values in zip(*((as_of, *win, *loss) for as_of, win, loss, _ in rows), strict=True)
    ]
    as_of, win, win_known, loss, loss_known = (np.array(column, np.int64) for column in columns)
    age = np.array([row[3] for row in rows], np.float32)
    return Snapshots(np.arange(len(rows)), as_of, age, win, win_known, loss, loss_known)


def row(as_of, win=None, loss=None, age=0.0, late=0.0):
    known = [(moment, None if moment is None else moment + late) for moment in (win, loss)]
    return (as_of, *known, age)


OLD = row(0)  # matured with every horizon here: an open lead


def test_a_win_counts_up_to_the_horizon_included():
    microsecond = 1 / DAY_US
    found = labels(table(row(0, win=10), row(0, win=10 + microsecond)), 10, us(30))
    assert found.won.tolist() == [1, 0]
    assert found.known.tolist() == [True, True]


def test_only_what_was_known_by_then_counts():
    rows = table(OLD, row(25, win=26, late=3), row(25, loss=26, late=3), row(25))
    before, after = labels(rows, 10, us(29) - 1), labels(rows, 10, us(29))
    assert before.known.tolist() == [True, False, False, False]
    assert after.known.tolist() == [True, True, True, False]
    assert after.won.tolist() == [0, 1, 0, 0]
    assert after.delay_days[1] == 4


def test_rows_after_the_moment_have_no_label_and_no_part_in_the_weights():
    alone = labels(table(OLD, row(20)), 10, us(25))
    beside = labels(table(OLD, row(20), row(26, win=27), row(40)), 10, us(25))
    assert beside.known.tolist() == [True, False, False, False]
    assert beside.weight[:2].tolist() == alone.weight.tolist() == [2, 0]
    assert beside.follow_up_days.tolist() == [25, 5, -1, -15]


def test_follow_up_of_the_horizon_is_mature():
    found = labels(table(OLD, row(15), row(15 + 1 / DAY_US)), 10, us(25))
    assert found.matured.tolist() == [True, True, False]


def test_weights_are_one_over_the_share_with_that_much_follow_up():
    # follow-up 20, 12, 8, 4, 2; T = 10 (nothing), 3 (won), 8 (lost), 5 (won, not seen), open
    rows = table(OLD, row(8, win=11), row(12, loss=20), row(16, win=21), row(18))
    found = labels(rows, 10, us(20))
    assert found.weight.tolist() == pytest.approx([5 / 2, 5 / 4, 5 / 3, 0, 0])
    assert found.won.tolist() == [0, 1, 0, 0, 0]


def test_the_largest_weight_is_twenty():
    rows = [OLD] + [row(29)] * 19
    assert labels(table(*rows), 10, us(30)).weight[0] == 20
    assert labels(table(*rows, row(29)), 10, us(30)).weight[0] == 20
    assert labels(table(*rows[:-1]), 10, us(30)).weight[0] == pytest.approx(19)


def test_each_age_has_its_own_follow_up_and_one_that_cannot_mature_has_no_weight():
    rows = table(OLD, row(25), row(21, age=30), row(27, win=28, age=30))
    apart = labels(rows, 10, us(30))
    assert apart.weight.tolist() == [2, 0, 0, 0]
    assert apart.without_matured == 2
    assert apart.known.tolist() == [True, False, False, True]
    together = labels(rows, 10, us(30), by_age=False)
    assert together.weight.tolist() == pytest.approx([4, 0, 0, 4 / 4])
    assert together.without_matured == 0


def test_lost_then_won_within_the_horizon_is_won():
    found = labels(table(row(0, win=8, loss=3)), 10, us(30))
    assert found.won.tolist() == [1]


def test_a_loss_is_final_unless_more_than_one_in_a_hundred_is_won_after_all():
    young = row(28, loss=29)
    final = [row(0, loss=3)] * 99
    once = labels(table(*final, row(0, win=8, loss=3), young), 10, us(30))
    assert once.reopened_share == pytest.approx(0.01)
    assert not once.lost_is_open
    assert once.known[-1]
    twice = labels(table(*final, *[row(0, win=8, loss=3)] * 2, young), 10, us(30))
    assert twice.reopened_share == pytest.approx(2 / 101)
    assert twice.lost_is_open
    assert not twice.known[-1]
    assert twice.weight[-1] == 0


def test_wins_before_the_loss_or_after_the_horizon_reopen_nothing():
    found = labels(table(row(0, win=3, loss=8), row(0, win=20, loss=8)), 10, us(30))
    assert found.reopened_share == 0


def test_without_a_matured_row_it_says_what_is_missing():
    with pytest.raises(TooLittleHistory) as error:
        labels(table(row(21.5, win=22), row(25)), 10, us(31))
    assert str(error.value) == (
        "no lead can be labelled: a horizon of 10 days needs snapshots with as much follow-up, "
        "of 2 the longest has 9.5 days by 1970-02-01; "
        "export older leads, or choose a shorter horizon (horizon_days)"
    )
    with pytest.raises(TooLittleHistory, match="of 0 the longest has"):
        labels(table(OLD).rows(np.zeros(1, bool)), 10, us(31))


def test_before_1970_is_a_time_like_any_other():
    found = labels(table(row(-40, win=-35), row(-40, loss=-38), row(-40)), 10, us(-20))
    assert found.won.tolist() == [1, 0, 0]
    assert found.known.all()


delays = st.none() | st.floats(0.1, 60)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 60), delays, delays, st.floats(0, 20)), max_size=12),
    st.floats(0.5, 30),
    st.floats(30, 90),
)
def test_labels_look_neither_before_as_of_nor_beyond_the_horizon_nor_at_the_future(
    rows, horizon, known
):
    """Law 8: features end at as_of, labels begin after it."""
    after = [(a, w and a + w, x and a + x, late) for a, w, x, late in rows]
    snapshots = table(OLD, *(row(a, win=w, loss=x, late=late) for a, w, x, late in after))
    found = labels(snapshots, horizon, us(known))
    won = snapshots.rows(found.seen)
    assert (won.win_us > won.as_of_us).all()
    assert (won.win_us <= won.as_of_us + us(horizon)).all()
    assert (won.win_known_us <= us(known)).all()
    assert (found.weight[~found.known] == 0).all()
    assert (found.weight[found.known] >= 1).all()
    assert (found.weight <= 20).all()
    hidden = [
        np.where(times > us(known), NEVER, times)
        for times in (snapshots.win_known_us, snapshots.loss_known_us)
    ]
    blind = Snapshots(
        snapshots.lead,
        snapshots.as_of_us,
        snapshots.age_days,
        np.where(hidden[0] == NEVER, NEVER, snapshots.win_us),
        hidden[0],
        np.where(hidden[1] == NEVER, NEVER, snapshots.loss_us),
        hidden[1],
    )
    assert np.array_equal(labels(blind, horizon, us(known)).weight, found.weight)


def world(seed, *, rate_before=0.2, rate_after=0.2, leads=4000):
    """More leads every day for 300 days; slow wins; a third of the losses are never recorded."""
    rng = np.random.default_rng(seed)
    created = np.sqrt(rng.random(leads)) * 300
    won = rng.random(leads) < np.where(created > 180, rate_after, rate_before)
    closed = created + rng.exponential(np.where(won, 25, 40))
    recorded = won | (rng.random(leads) < 0.65)
    closed_us = (closed * DAY_US).astype(np.int64)
    win = np.where(won, closed_us, NEVER)
    loss = np.where(~won & recorded, closed_us, NEVER)
    as_of = (created * DAY_US).astype(np.int64)
    return Snapshots(np.arange(leads), as_of, np.zeros(leads, np.float32), win, win, loss, loss)


def shares(seed, **rates):
    """Share won by IPCW, by matured rows, open as lost, open dropped; each over the truth."""
    rows, until = world(seed, **rates), us(200)
    rows = rows.rows(rows.as_of_us <= until)
    truth = (rows.win_us - rows.as_of_us <= us(60)).mean()
    found = labels(rows, 60, until)
    estimates = (
        np.average(found.won, weights=found.weight),
        found.won[found.matured].mean(),
        found.seen.mean(),
        found.won[found.known].mean(),
    )
    return np.array(estimates) / truth


def test_ipcw_is_unbiased_where_open_as_lost_and_dropping_open_are_not():
    ipcw, matured, open_is_lost, open_dropped = np.mean([shares(k) for k in range(10)], axis=0)
    assert ipcw == pytest.approx(1, abs=0.04)
    assert matured == pytest.approx(1, abs=0.06)
    assert open_is_lost < 0.88
    assert open_dropped > 1.15


def test_ipcw_sees_a_new_world_before_the_matured_rows_do():
    """Leads of the last weeks are won three times as often, and none of them has matured."""
    jump = {"rate_before": 0.1, "rate_after": 0.3}
    ipcw, matured, *_ = np.mean([shares(k, **jump) for k in range(10)], axis=0)
    assert matured < ipcw - 0.02
    assert abs(1 - ipcw) < abs(1 - matured)


def test_one_weight_for_all_ages_overstates_the_wins_of_later_ages():
    apart: list[float] = []
    together: list[float] = []
    for seed in range(15):
        first, until = world(seed), us(200)
        later = first.as_of_us + us(60)
        still = (first.win_us > later) & (first.loss_us > later)
        old = Snapshots(
            first.lead,
            later,
            np.full(len(later), 60, np.float32),
            first.win_us,
            first.win_known_us,
            first.loss_us,
            first.loss_known_us,
        ).rows(still)
        both = Snapshots(
            *(np.concatenate([getattr(first, f), getattr(old, f)]) for f in vars(first))
        )
        both = both.rows(both.as_of_us <= until)
        rows = both.age_days == 60
        truth = (both.win_us - both.as_of_us <= us(60))[rows].mean()
        for found, out in (
            (labels(both, 60, until), apart),
            (labels(both, 60, until, by_age=False), together),
        ):
            out.append(np.average(found.won[rows], weights=found.weight[rows]) / truth)
    assert abs(np.mean(apart) - 1) < 0.1
    assert np.mean(together) > 1.1


def test_the_delay_curve_by_hand():
    # x = 5: at risk the two wins with follow-up >= 5; x = 2: three; x = 1: all with delay <= 1
    curve = delay_curve(np.array([1.0, 2.0, 2.0, 5.0]), np.array([1.5, 3.0, 9.0, 9.0]))
    assert curve.days.tolist() == [1, 2, 5]
    assert curve.share.tolist() == pytest.approx([1 / 2 / 3, 1 / 2, 1])
    assert curve.at([0.9, 1, 1.9, 2, 4.9, 5, 99]).tolist() == pytest.approx(
        [0, 1 / 6, 1 / 6, 1 / 2, 1 / 2, 1, 1]
    )


def test_a_single_old_win_does_not_put_all_others_at_zero():
    curve = delay_curve(np.array([1.0, 2.0, 9.0]), np.array([5.0, 5.0, 9.0]))
    assert curve.share.tolist() == pytest.approx([1 / 4, 1 / 2, 1])


def test_no_win_no_delay():
    curve = delay_curve(np.full(3, np.nan), np.full(3, 5.0))
    assert curve.at([0, 5]).tolist() == [1, 1]


def test_the_delay_curve_corrects_what_truncation_hides():
    rng = np.random.default_rng(0)
    delay = rng.exponential(30, 20_000)
    follow_up = rng.uniform(0, 90, 20_000)
    seen = (delay <= 90) & (delay <= follow_up)
    curve = delay_curve(np.where(seen, delay, np.nan), follow_up)
    truth = (1 - np.exp(-30 / 30)) / (1 - np.exp(-90 / 30))
    assert curve.at(30) == pytest.approx(truth, abs=0.03)
    assert (delay[seen] <= 30).mean() > truth + 0.1


def test_the_maturity_curve_ends_at_the_horizon():
    curve = delay_curve(np.array([2.0, 20.0]), np.array([50.0, 50.0]))
    expected = ((1, 0), (3, 0.5), (7, 0.5), (14, 0.5), (30, 1))
    assert maturity_curve(curve, 30) == expected


def test_importance_weighs_rows_and_the_censoring_alike():
    """One of four rows has matured and stands for all, by number or by importance."""
    as_of = np.array([0, 10, 10, 10]) * DAY_US
    none = np.full(4, NEVER)
    rows = Snapshots(np.arange(4), as_of, np.zeros(4, np.float32), none, none, none, none)
    known = labels(rows, 15, 20 * DAY_US)
    assert known.weight.tolist() == [4.0, 0.0, 0.0, 0.0]
    aged = labels(rows, 15, 20 * DAY_US, importance=np.array([0.5, 1.0, 1.0, 1.0]))
    assert aged.weight.tolist() == [0.5 * 3.5 / 0.5, 0.0, 0.0, 0.0]
