import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.history import DAY_US
from training.snapshots import (
    AGES_DAYS,
    NEVER,
    Episodes,
    Grid,
    Outcomes,
    Snapshots,
    episodes,
    grid,
    headline,
    headline_age,
    reopened_share,
    take,
)

BY_AGE = Grid(AGES_DAYS, None, "stated")


def us(*days):
    return np.array([round(day * DAY_US) for day in days], np.int64)


def outcomes(*rows):
    """Rows of (lead, closed, known, won), times in microseconds."""
    columns = np.array(rows, np.int64).reshape(-1, 4).T
    return Outcomes(columns[0], columns[1], columns[2], columns[3].astype(bool))


def by_lead(events):
    ptr = np.concatenate([[0], np.cumsum([len(times) for times in events])]).astype(np.int64)
    return ptr, np.array([time for times in events for time in sorted(times)], np.int64)


def found(created, closed=(), sales=(), events=None):
    ptr, times = by_lead(events or [[] for _ in created])
    lead, moment = np.array(sales, np.int64).reshape(-1, 2).T
    result = episodes(
        np.array(created, np.int64),
        outcomes(*closed),
        sales_lead=lead,
        sales_us=moment,
        event_ptr=ptr,
        event_us=times,
    )
    columns = (result.lead, result.start_us, result.end_us)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_a_lead_without_an_end_is_open_for_ever():
    assert found([5, 7]) == [(0, 5, NEVER), (1, 7, NEVER)]


def test_the_first_outcome_ends_the_episode_whatever_the_order_of_rows():
    assert found([0], [(0, 30, 30, 1), (0, 20, 20, 0)]) == [(0, 0, 20)]


def test_a_lost_lead_starts_again_at_its_first_event_strictly_after_the_loss():
    assert found([0], [(0, 20, 20, 0)], events=[[5, 20, 25, 40]]) == [(0, 0, 20), (0, 25, NEVER)]


def test_a_won_lead_does_not_start_again():
    assert found([0], [(0, 20, 20, 1)], events=[[25]]) == [(0, 0, 20)]


def test_a_lead_won_between_loss_and_event_does_not_start_again():
    assert found([0], [(0, 20, 20, 0), (0, 22, 22, 1)], events=[[25]]) == [(0, 0, 20)]


def test_lost_and_won_at_one_moment_is_won():
    assert found([0], [(0, 20, 20, 1), (0, 20, 20, 0)], events=[[25]]) == [(0, 0, 20)]


def test_each_loss_can_start_an_episode_and_two_losses_in_a_row_start_one():
    closed = [(0, 20, 20, 0), (0, 21, 21, 0), (0, 30, 30, 0)]
    expected = [(0, 0, 20), (0, 25, 30), (0, 40, NEVER)]
    assert found([0], closed, events=[[25, 40]]) == expected


def test_the_first_sales_event_ends_the_episode_of_its_time():
    closed = [(0, 20, 20, 0)]
    expected = [(0, 0, 10), (0, 25, 35)]
    assert found([0], closed, sales=[(0, 35), (0, 12), (0, 10)], events=[[25]]) == expected


def test_a_sales_event_before_the_creation_ends_nothing_but_one_at_it_does():
    assert found([5], sales=[(0, 4)]) == [(0, 5, NEVER)]
    assert found([5], sales=[(0, 5)]) == [(0, 5, 5)]


def test_an_outcome_before_the_creation_leaves_nothing_open_until_an_event_after_it():
    assert found([5], [(0, 3, 3, 1)]) == [(0, 5, 3)]
    assert found([5], [(0, 3, 3, 0)], events=[[4, 6]]) == [(0, 5, 3), (0, 6, NEVER)]


def taken(open_, closed=(), where=BY_AGE, until=100 * DAY_US, leads=1):
    lead, start, end = np.array(open_, np.int64).reshape(-1, 3).T
    return take(Episodes(lead, start, end), outcomes(*closed), where, until, leads)


def test_snapshots_stand_at_the_ages_while_open():
    week = 7 * DAY_US
    assert taken([(0, 0, week)]).age_days.tolist() == [0, 1, 3]
    assert taken([(0, 0, week + 1)]).age_days.tolist() == [0, 1, 3, 7]


def test_snapshots_stand_up_to_until_included():
    day = DAY_US
    assert taken([(0, 0, NEVER)], until=3 * day).age_days.tolist() == [0, 1, 3]
    assert taken([(0, 0, NEVER)], until=3 * day - 1).age_days.tolist() == [0, 1]
    assert len(taken([(0, 10 * day, NEVER)], until=3 * day)) == 0


def test_a_second_episode_has_ages_of_its_own():
    rows = taken([(0, 0, DAY_US), (0, 5 * DAY_US, 8 * DAY_US)])
    assert rows.age_days.tolist() == [0, 0, 1]
    assert rows.as_of_us.tolist() == us(0, 5, 6).tolist()


def test_stated_ages_need_no_order_and_no_whole_days():
    rows = taken([(0, 0, NEVER)], where=Grid((2.5, 0.5), None, "stated"))
    assert rows.as_of_us.tolist() == us(0.5, 2.5).tolist()


def test_the_calendar_counts_back_from_until_while_open():
    every = Grid((), 10.0, "stated")
    rows = taken(
        [(0, 1 * DAY_US, NEVER), (1, 20 * DAY_US, 40 * DAY_US)],
        where=every,
        until=40 * DAY_US,
        leads=2,
    )
    assert rows.lead.tolist() == [0, 0, 0, 0, 1, 1]
    assert rows.as_of_us.tolist() == us(10, 20, 30, 40, 20, 30).tolist()
    assert rows.age_days.tolist() == [9, 19, 29, 39, 0, 10]


def test_what_came_after_is_the_first_win_and_the_first_loss_with_when_each_was_known():
    closed = [(0, 9, 12, 0), (0, 20, 15, 0), (0, 30, 31, 1), (0, 40, 41, 1)]
    rows = taken(
        [(0, 0, NEVER), (0, 9, NEVER), (0, 30, NEVER)], closed, Grid((0.0,), None, "stated")
    )
    assert rows.loss_us.tolist() == [9, 20, NEVER]
    assert rows.loss_known_us.tolist() == [12, 20, NEVER]  # known at the close at the earliest
    assert rows.win_us.tolist() == [30, 30, 40]
    assert rows.win_known_us.tolist() == [31, 31, 41]


def test_ages_unless_all_leads_are_an_old_cohort():
    assert grid(us(0, 100), 300 * DAY_US).every_days is None  # a third of the time is not less
    assert grid(us(0, 99.99), 300 * DAY_US).every_days == 30
    assert grid(us(0, 1), 91 * DAY_US).every_days is None  # 90 days of quiet are not more
    assert grid(us(0, 1), 91 * DAY_US + 1).every_days == 30


def test_the_grid_says_why_and_looks_at_nothing_after_until():
    chosen = grid(us(0, 2, 500), 200 * DAY_US)
    assert chosen.reason == (
        "a cohort: leads were created over 2 of 200 days, the last 198 days before the end"
    )
    assert grid(us(500), 200 * DAY_US).ages_days == AGES_DAYS


def rows_of(lead, age):
    none = [np.full(len(lead), NEVER)] * 4
    return Snapshots(np.array(lead), us(*age), np.array(age, np.float32), *none)


def test_the_headline_is_the_first_snapshot_of_that_age_or_older():
    rows = rows_of([0, 0, 0, 1, 2, 2], [0, 7, 14, 3, 6.99, 30])
    assert headline(rows, 7.0).tolist() == [False, True, False, False, False, True]


def test_the_headline_age_gives_way_where_hardly_a_lead_is_open():
    nine_closed = rows_of([*range(10), 0, 0], [0] * 10 + [3, 7])
    assert headline_age(nine_closed, 7.0) == 7
    ten_closed = rows_of([*range(11), 0, 0], [0] * 11 + [3, 7])
    assert headline_age(ten_closed, 7.0) == 0


def test_rows_chooses_by_mask_or_index():
    rows = rows_of([0, 1, 2], [0, 1, 2])
    assert rows.rows(rows.lead != 1).lead.tolist() == [0, 2]
    assert rows.rows(np.array([2, 0])).age_days.tolist() == [2, 0]


def test_losses_after_which_the_lead_was_won_are_a_share_of_the_losses():
    closed = [(0, 5, 5, 0), (0, 9, 9, 1), (1, 3, 3, 1), (1, 7, 7, 0), (2, 4, 4, 1), (2, 4, 4, 0)]
    assert reopened_share(outcomes(*closed)) == pytest.approx(1 / 3)
    assert reopened_share(outcomes((0, 5, 5, 1))) == 0
    assert reopened_share(outcomes()) == 0


def slow_episodes(created, closed, sales, events):
    """One lead, as the definition says it."""
    closed = sorted((time, won) for time, won in closed)
    starts = [(created, closed[0][0] if closed else NEVER)]
    for k, (time, won) in enumerate(closed):
        after = [event for event in events if event > time and event >= created]
        following = closed[k + 1][0] if k + 1 < len(closed) else NEVER
        if not won and after and after[0] < following:
            starts.append((after[0], following))
    return [(s, min([e, *(moment for moment in sales if moment >= s)])) for s, e in starts]


moments = st.integers(0, 40)
histories = st.lists(
    st.tuples(
        st.integers(0, 20),
        st.lists(st.tuples(moments, st.booleans()), max_size=4),
        st.lists(moments, max_size=2),
        st.lists(moments, max_size=6).map(sorted),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=150, deadline=None)
@given(histories, st.sampled_from([BY_AGE, Grid((), 7.0, "stated")]), st.integers(0, 60))
def test_the_vectorised_form_equals_the_definition(leads, where, until_days):
    day, until = DAY_US, until_days * DAY_US
    scaled = [
        (c * day, [(t * day, w) for t, w in o], [t * day for t in s], [t * day for t in e])
        for c, o, s, e in leads
    ]
    closed = [(i, t, t, w) for i, (_, o, _, _) in enumerate(scaled) for t, w in o][::-1]
    sales = [(i, t) for i, (_, _, s, _) in enumerate(scaled) for t in s]
    ptr, times = by_lead([e for *_, e in scaled])
    created = np.array([c for c, *_ in scaled], np.int64)
    lead, moment = np.array(sales, np.int64).reshape(-1, 2).T
    before = [column.copy() for column in (created, lead, moment, ptr, times)]
    open_ = episodes(
        created,
        outcomes(*closed),
        sales_lead=lead,
        sales_us=moment,
        event_ptr=ptr,
        event_us=times,
    )
    rows = take(open_, outcomes(*closed), where, until, len(leads))
    expected = []
    for i, history in enumerate(scaled):
        for start, end in slow_episodes(*history):
            if where.every_days is None:
                judged = [start + round(age * day) for age in where.ages_days]
            else:
                judged = [until - k * 7 * day for k in range(60, -1, -1)]
            for as_of in judged:
                if start <= as_of < end and as_of <= until:
                    win = min([t for t, w in history[1] if w and t > as_of], default=NEVER)
                    loss = min([t for t, w in history[1] if not w and t > as_of], default=NEVER)
                    expected.append((i, as_of, (as_of - start) / day, win, loss))
    columns = (rows.lead, rows.as_of_us, rows.age_days, rows.win_us, rows.loss_us)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected
    for column, copy in zip((created, lead, moment, ptr, times), before, strict=True):
        assert np.array_equal(column, copy)


@pytest.mark.parametrize("where", [BY_AGE, Grid((), 30.0, "stated")])
def test_no_leads_no_snapshots(where):
    assert len(taken([], where=where, leads=0)) == 0
