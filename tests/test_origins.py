import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from features.history import DAY_US
from training.labels import labels
from training.origins import lead_hash, origins, roles
from training.snapshots import NEVER, Grid, Outcomes, Snapshots, episodes, headline, take

HORIZON = 10.0
ONCE = Grid((0.0, 3.0), None, "stated")


def history(created_days, delay_days, won, *, until_days, where=ONCE):
    """One outcome per lead, `delay_days` after its creation; NaN is open."""
    created = np.rint(np.asarray(created_days, float) * DAY_US).astype(np.int64)
    closing = np.flatnonzero(~np.isnan(delay_days))
    closed = created[closing] + np.rint(np.asarray(delay_days)[closing] * DAY_US).astype(np.int64)
    outcomes = Outcomes(closing, closed, closed, np.asarray(won)[closing])
    none = np.empty(0, np.int64)
    open_ = episodes(
        created,
        outcomes,
        sales_lead=none,
        sales_us=none,
        event_ptr=np.zeros(len(created) + 1, np.int64),
        event_us=none,
    )
    until = round(until_days * DAY_US)
    return created, take(open_, outcomes, where, until, len(created)), until


def steady(leads=200, every_days=1.0, each_won=4, until_days=None):
    """A lead a day, every fourth won after 5 days, the others lost after 4."""
    created = np.arange(leads) * every_days
    won = np.arange(leads) % each_won == 0
    until = created[-1] + 30 if until_days is None else until_days
    return history(created, np.where(won, 5.0, 4.0), won, until_days=until)


def hashes(leads):
    return lead_hash(f"lead-{k}" for k in range(leads))


def test_cuts_stand_at_the_shares_of_the_leads():
    created, rows, until = steady()
    found = origins(created, hashes(200), rows, HORIZON, until)
    assert found.kind == "time"
    assert [cut.cut_us // DAY_US for cut in found.cuts] == [79, 109, 139, 169]
    assert [cut.next_us // DAY_US for cut in found.cuts[:-1]] == [109, 139, 169]
    assert found.cuts[-1].next_us == NEVER


def test_a_cut_learns_from_rows_up_to_it_and_scores_the_leads_created_after_it():
    created, rows, until = steady()
    first = origins(created, hashes(200), rows, HORIZON, until).cuts[0]
    assert set(rows.lead[first.train]) == set(range(80))
    assert rows.as_of_us[first.train].max() == 79 * DAY_US  # not the one of day 82
    assert set(rows.lead[first.test]) == set(range(80, 110))
    assert rows.as_of_us[first.test].max() == 112 * DAY_US


def test_a_cut_that_cannot_be_learned_from_is_passed_over():
    created, rows, until = steady(each_won=10)  # 8 wins among the first 80 leads
    found = origins(created, hashes(200), rows, HORIZON, until)
    assert [cut.cut_us // DAY_US for cut in found.cuts] == [109, 139, 169]
    assert found.reason.startswith("3 of 4 cuts in time can be learned from")


def test_ten_wins_known_at_the_cut_are_enough_and_nine_are_not():
    won = np.zeros(200, bool)
    won[np.r_[0:10, 150:190]] = True
    shares = (0.4, 0.5)
    for delay_of_first, kind in ((5.0, "time"), (14.0, "hash")):  # within the horizon, and not
        delay = np.where(won, 5.0, 4.0)
        delay[0] = delay_of_first
        created, rows, until = history(np.arange(200), delay, won, until_days=230)
        found = origins(created, hashes(200), rows, HORIZON, until, shares=shares)
        assert found.kind == kind


def test_wins_known_only_after_the_cut_teach_it_nothing():
    won = np.zeros(200, bool)
    won[np.r_[0:9, 76:80, 150:190]] = True  # the later ones are won 5 days on, after day 79
    created, rows, until = history(np.arange(200), np.where(won, 5.0, 4.0), won, until_days=230)
    found = origins(created, hashes(200), rows, HORIZON, until)
    assert [cut.cut_us // DAY_US for cut in found.cuts] == [109, 139, 169]


def test_leads_of_one_day_are_split_by_hash():
    won = np.arange(400) % 4 == 0
    every = Grid((), 5.0, "stated")
    created, rows, until = history(
        np.zeros(400), np.where(won, 22.0, np.nan), won, until_days=60, where=every
    )
    found = origins(created, hashes(400), rows, HORIZON, until)
    assert found.kind == "hash"
    assert found.reason == (
        "0 of 4 cuts in time can be learned from, 0 of the later leads were won"
    )
    assert [cut.cut_us for cut in found.cuts] == [until] * 4
    tested = [set(rows.lead[cut.test].tolist()) for cut in found.cuts]
    assert sum(len(fold) for fold in tested) == 400
    assert min(len(fold) for fold in tested) > 70
    for cut in found.cuts:
        assert not set(rows.lead[cut.train]) & set(rows.lead[cut.test])
        assert (cut.train | cut.test).all()


def test_without_a_win_among_the_later_leads_they_are_split_by_hash():
    won = np.arange(200) < 40
    created, rows, until = history(np.arange(200), np.where(won, 5.0, 4.0), won, until_days=230)
    found = origins(created, hashes(200), rows, HORIZON, until)
    assert found.kind == "hash"
    assert found.reason.endswith("0 of the later leads were won")


def test_the_hash_of_an_id_is_a_fact():
    assert (lead_hash(["a", "b"]) % 4).tolist() == (lead_hash(["b", "a"]) % 4).tolist()[::-1]
    assert lead_hash(["lead-1"]).tolist() == [10330584217452369148]
    assert lead_hash([]).tolist() == []


def split(created, rows, until):
    found = origins(created, hashes(len(created)), rows, HORIZON, until)
    return found, roles(found, rows, labels(rows, HORIZON, until), headline(rows, 0.0))


def test_the_fewest_last_cuts_with_thirty_wins_judge():
    created, rows, until = steady(leads=800)  # 120 leads, 30 wins per cut
    _, chosen = split(created, rows, until)
    assert chosen.choose == (0, 1, 2)
    assert chosen.judge == (3,)
    assert chosen.matured_wins == 30
    assert chosen.seen_wins == 120
    assert not chosen.weak


def test_one_win_too_few_and_the_cut_before_judges_too():
    created, rows, until = steady(leads=796)
    _, chosen = split(created, rows, until)
    assert chosen.judge == (2, 3)
    assert 30 <= chosen.matured_wins < 60


def test_wins_that_have_not_matured_do_not_judge():
    created, rows, until = steady(leads=800, until_days=799 + 6)
    _, chosen = split(created, rows, until)
    assert chosen.judge == (2, 3)  # the wins of the last days are seen, but young
    assert chosen.seen_wins == 120


def test_one_cut_is_left_to_choose_however_few_wins_there_are():
    created, rows, until = steady(leads=112)
    _, chosen = split(created, rows, until)
    assert chosen.choose == (0,)
    assert chosen.judge == (1, 2, 3)
    assert chosen.weak


def test_thirty_wins_on_later_leads_are_not_weak_and_twenty_nine_are():
    for later, weak in ((30, False), (29, True)):
        won = np.zeros(400, bool)
        won[:40] = True
        won[170 : 170 + later] = True
        created, rows, until = history(np.arange(400), np.where(won, 5.0, 4.0), won, until_days=430)
        _, chosen = split(created, rows, until)
        assert chosen.seen_wins == later
        assert chosen.weak is weak


days = st.floats(0, 100)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(days, st.floats(0.5, 40), st.booleans()), min_size=1, max_size=60))
def test_no_lead_learns_and_judges_and_nothing_is_learned_from_after_the_cut(leads):
    """Law 8, for the origins."""
    created, delay, won = (np.array(column) for column in zip(*leads, strict=True))
    created_us, rows, until = history(created, delay, won, until_days=100)
    found = origins(created_us, hashes(len(leads)), rows, HORIZON, until)
    for cut in found.cuts:
        assert not set(rows.lead[cut.train]) & set(rows.lead[cut.test])
        assert (rows.as_of_us[cut.train] <= cut.cut_us).all()
        if found.kind == "time":
            assert (created_us[rows.lead[cut.train]] <= cut.cut_us).all()
            assert (created_us[rows.lead[cut.test]] > cut.cut_us).all()
    tested = np.sum([cut.test for cut in found.cuts], axis=0)
    assert (tested <= 1).all()


def test_no_snapshots_no_error():
    none = np.empty(0, np.int64)
    rows = Snapshots(none, none, np.empty(0, np.float32), none, none, none, none)
    assert origins(none, np.empty(0, np.uint64), rows, HORIZON, 0).kind == "hash"
