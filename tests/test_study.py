"""Snapshots, what is known of them, and the cuts of a run, on tables that read as facts."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.history import DAY_US
from tests.factories import AS_OF_US, TIME, at, event, make_events, make_leads
from tests.worlds import PLAIN, World, make_outcomes, plain_world, simulated_world
from training import sampling
from training import study as under_test
from training.config import Config, Events, Features, Label, SnapshotGrid
from training.labels import TooLittleHistory
from training.sampling import all_snapshots, of_winners, sample
from training.snapshots import AGES_DAYS, NEVER, Outcomes
from training.study import learning_table, prepare


def world(ages, closes=(), events=(), **known):
    return World(make_leads(ages), make_events(dict(events)), make_outcomes(dict(closes), **known))


AGED = SnapshotGrid(ages_days=(0, 1, 3, 7))


def config(horizon_days=10, snapshots=AGED, **sections):
    return Config(label=Label(horizon_days=horizon_days), snapshots=snapshots, **sections)


ONE_EACH = {"winner": (95, "won"), "loser": (95, "lost")}
BOTH = world({"winner": 100, "loser": 100, "open": 100}, ONE_EACH)


def moments(study):
    """Lead and age of every snapshot."""
    names = study.crm.table["lead_id"].to_pylist()
    rows = study.snapshots
    return [(names[k], float(age)) for k, age in zip(rows.lead, rows.age_days, strict=True)]


# Snapshots


def test_snapshots_stand_at_the_stated_ages_while_the_lead_is_open():
    study = prepare(BOTH.crm, config(snapshots=SnapshotGrid(ages_days=(0, 5, 20))))
    assert moments(study) == [
        ("winner", 0),
        ("loser", 0),
        ("open", 0),
        ("open", 5),
        ("open", 20),
    ]
    assert study.grid.reason == "stated in the configuration"


def test_snapshots_stand_on_a_stated_calendar_counted_back_from_the_export():
    tables = world({"winner": 100, "open": 100}, {"winner": (85, "won")})
    study = prepare(tables.crm, config(snapshots=SnapshotGrid(every_days=30)))
    assert moments(study) == [("winner", 10), *(("open", age) for age in (10, 40, 70, 100))]


def test_without_a_stated_grid_a_cohort_has_a_calendar_and_a_stream_has_ages():
    unstated = SnapshotGrid()
    stream = world({"winner": 100, "open": 1, "loser": 100}, ONE_EACH)
    assert prepare(stream.crm, config(snapshots=unstated)).grid.ages_days == AGES_DAYS
    early = {"winner": (985, "won"), "loser": (990, "lost")}
    cohort = world({"winner": 1000, "loser": 1000, "open": 990}, early)
    study = prepare(cohort.crm, config(15, unstated))
    assert study.grid.every_days == 30
    assert "a cohort" in study.grid.reason


def test_events_of_the_sales_process_end_the_snapshots_and_are_no_features():
    called = {
        "open": [event(98, "call"), event(99, "mql")],
        "winner": [event(99), event(97, "quiz")],
    }
    both = replace(BOTH, events=make_events(called))
    assert ("open", 3) not in moments(prepare(both.crm, config()))
    stated = config(events=Events(sales=("mql",), handoff=("quiz",)))
    study = prepare(both.crm, stated)
    assert [age for lead, age in moments(study) if lead == "open"] == [0]
    assert [age for lead, age in moments(study) if lead == "winner"] == [0, 1]
    assert study.spec(AS_OF_US)[0].types == ("call", "web_visit")


def test_what_the_configuration_excludes_is_no_feature():
    both = replace(BOTH, leads=BOTH.leads.append_column("size", pa.array([1.5, 2.5, 2.5])))
    names = prepare(both.crm, config()).spec(AS_OF_US)[0].names
    assert {"lead_size", "days_since_last_event"} <= set(names)
    wanted = Features(exclude=("size", "days_since_last_event"), windows_days=(3,))
    spec, _ = prepare(both.crm, config(features=wanted)).spec(AS_OF_US)
    assert not {"lead_size", "days_since_last_event"} & set(spec.names)
    assert spec.windows_days == (3,)


def test_a_feature_spec_knows_only_types_and_leads_of_before_its_moment():
    events = {"winner": [event(99, "seminar")], "loser": [event(50, "inquiry", known_age_days=20)]}
    both = replace(BOTH, events=make_events(events))
    study = prepare(both.crm, config())
    assert study.spec(at(99))[0].types == ("seminar",)
    assert study.spec(at(99, plus_us=-1))[0].types == ()
    assert study.spec(at(30))[0].types == ("seminar",)
    assert study.spec(at(20))[0].types == ("inquiry", "seminar")


def test_lost_leads_have_snapshots_again_only_where_lost_leads_come_back():
    visits = {"loser": [50], "other": [50]}
    ages = {"winner": 100, "loser": 100, "other": 100}
    lost = [("winner", 95, "won"), ("loser", 90, "lost"), ("other", 90, "lost")]
    gone = World(make_leads(ages), make_events(visits), make_outcomes(lost))
    for rows in (prepare(gone.crm, config()).snapshots, all_snapshots(gone.crm, config())):
        assert at(100) in rows.as_of_us[rows.lead == 1]
        assert at(50) not in rows.as_of_us
    back = replace(gone, outcomes=make_outcomes([*lost, ("loser", 45, "won")]))
    study = prepare(back.crm, config())
    restart = (study.snapshots.lead == 1) & (study.snapshots.as_of_us == at(50))
    assert study.snapshots.age_days[restart].tolist() == [0]
    assert study.at_until.won[restart].tolist() == [1]


def test_the_headline_is_one_snapshot_a_lead_at_seven_days_where_leads_grow_that_old():
    study = prepare(BOTH.crm, config())
    assert study.headline_age == 7
    assert [pair for pair, first in zip(moments(study), study.headline, strict=True) if first] == [
        ("open", 7)
    ]


# Labels


def test_labels_at_the_export_are_what_is_known_then():
    late = world({"winner": 100, "loser": 100, "late": 100}, {**ONE_EACH, "late": (95, "won")},
                 late=-1)  # fmt: skip
    study = prepare(late.crm, config(snapshots=SnapshotGrid(ages_days=(0,))))
    assert moments(study) == [("winner", 0), ("loser", 0), ("late", 0)]
    assert study.at_until.seen.tolist() == [True, False, False]
    known = prepare(replace(late, until_us=at(-1)).crm, config())
    assert known.at_until.seen[known.snapshots.age_days == 0].tolist() == [True, False, True]


def test_with_a_half_life_older_rows_weigh_less():
    ages = {"old": 100, "mid": 60, "young": 20, "winner": 100}
    study = prepare(world(ages, {"winner": (95, "won")}).crm, config(
        snapshots=SnapshotGrid(ages_days=(0,))))  # fmt: skip
    plain = study.labels(study.snapshots, AS_OF_US)
    halved = study.labels(study.snapshots, AS_OF_US, 40.0)
    assert plain.weight.tolist() == [1, 1, 1, 1]
    np.testing.assert_allclose(halved.weight, [0.5**2.5, 0.5**1.5, 0.5**0.5, 0.5**2.5])
    np.testing.assert_array_equal(halved.won, plain.won)


def test_weights_at_a_cut_count_from_the_cut():
    study = prepare(BOTH.crm, config(snapshots=SnapshotGrid(ages_days=(0,))))
    assert study.labels(study.snapshots, at(80), 10.0).weight.tolist() == [0.25] * 3
    assert study.labels(study.snapshots, at(90), 10.0).weight.tolist() == [0.5] * 3


def test_no_losses_recorded_at_all_is_a_history_like_any_other():
    plain = plain_world()
    wins = plain.outcomes.filter(pc.equal(plain.outcomes["outcome"], "won"))
    study = prepare(replace(plain, outcomes=wins).crm, PLAIN)
    assert study.origins.kind == "time"
    assert not study.roles.weak
    known = study.at_until
    assert (known.lost_is_open, known.reopened_share) == (False, 0.0)
    np.testing.assert_array_equal(known.known, known.seen | known.matured)


# Too little history


@pytest.mark.parametrize(
    ("tables", "named"),
    [
        (World(BOTH.leads[:0], BOTH.events[:0], BOTH.outcomes[:0]), "none of the 0 leads was open"),
        (world({"one": 100}), "none is won within 10 days"),
        (world({"one": 100}, {"one": (95, "won")}), "every one that can be labelled is won"),
        (world({"a": 100, "b": 90}, {"a": (80, "lost")}), "none is won within 10 days"),
        (world({"a": 100, "b": 90}, {"a": (85, "won")}, {}), "none is won within 10 days"),
        (
            world({"a": 100, "b": 90}, {"a": (95, "won"), "b": (85, "won")}),
            "every one that can be labelled is won",
        ),
        (world({"a": 9, "b": 8}, {"a": (5, "won")}), "a horizon of 10 days needs snapshots"),
        (world({"a": 100}, {"a": (101, "won")}), "none of the 1 leads was open at any age"),
        (replace(BOTH, until_us=at(101)), "none of the 0 leads was open"),
    ],
    ids=[
        "empty tables", "one lead", "one won lead", "no wins", "a late win", "wins only",
        "all younger than the horizon", "closed before they came", "an export before all leads",
    ],
)  # fmt: skip
def test_too_little_history_is_named_for_what_it_lacks(tables, named):
    stated = config(snapshots=SnapshotGrid(ages_days=(0,)))
    with pytest.raises(TooLittleHistory, match=named) as caught:
        prepare(tables.crm, stated)
    assert any(word in str(caught.value) for word in ("export", "check", "choose"))


def test_a_horizon_that_has_just_passed_is_enough():
    young = world({"winner": 10, "loser": 10}, {"winner": (5, "won")})
    stated = config(snapshots=SnapshotGrid(ages_days=(0,)))
    assert len(prepare(young.crm, stated).snapshots) == 2
    with pytest.raises(TooLittleHistory):
        prepare(replace(young, until_us=AS_OF_US - 1).crm, stated)


def test_a_history_of_two_leads_has_no_cut_and_is_weak():
    study = prepare(world({"winner": 100, "open": 100}, {"winner": (95, "won")}).crm, config())
    assert (study.choosing, study.judging, study.roles.weak) == ((), (), True)


# Cuts


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), leads=st.integers(150, 300))
def test_at_every_cut_only_later_leads_are_scored_and_only_earlier_moments_learned_from(
    seed, leads
):
    study = prepare(plain_world(leads, seed).crm, PLAIN)
    created, rows = study.crm.leads.created_us[study.snapshots.lead], study.snapshots
    horizon_us = study.horizon_days * DAY_US
    assert study.origins.kind == "time"
    for cut in study.origins.cuts:
        assert cut.train.any()
        assert cut.test.any()
        assert (rows.as_of_us[cut.train] <= cut.cut_us).all()
        assert (created[cut.test] > cut.cut_us).all()
        assert not np.intersect1d(rows.lead[cut.train], rows.lead[cut.test]).size
        known = study.labels(rows.rows(cut.train), cut.cut_us)
        used = known.weight > 0
        wins = rows.rows(cut.train).rows(used & known.seen)
        assert (wins.win_us > wins.as_of_us).all()
        assert (wins.win_us <= wins.as_of_us + horizon_us).all()
        assert (wins.win_known_us <= cut.cut_us).all()
    tests = np.array([cut.test for cut in study.origins.cuts])
    assert (tests.sum(axis=0) <= 1).all()
    assert set(study.roles.choose) & set(study.roles.judge) == set()
    if study.choosing:
        assert study.choosing[-1].cut_us < study.judging[0].cut_us


def one_day():
    plain = plain_world(200)
    ages = dict.fromkeys(plain.leads["lead_id"].to_pylist(), 60.0)
    wins = {lead: (50.0, "won") for k, lead in enumerate(ages) if k % 3 == 0}
    return World(make_leads(ages), make_events({}), make_outcomes(wins))


def test_leads_all_created_on_one_day_are_split_by_a_hash_of_their_id():
    study = prepare(one_day().crm, PLAIN)
    assert study.origins.kind == "hash"
    assert not study.roles.weak
    for cut in study.origins.cuts:
        assert cut.cut_us == AS_OF_US
        lead = study.snapshots.lead
        assert not np.intersect1d(lead[cut.train], lead[cut.test]).size
    tested = np.logical_or.reduce([cut.test for cut in study.origins.cuts])
    assert tested.all()


def test_the_hash_split_depends_on_ids_and_not_on_the_order_of_leads():
    def folds(tables):
        study = prepare(tables.crm, PLAIN)
        names = np.array(study.crm.table["lead_id"].to_pylist())
        return [set(names[study.snapshots.lead[cut.test]]) for cut in study.origins.cuts]

    straight = one_day()
    turned = replace(straight, leads=straight.leads.take(pa.array(np.arange(200)[::-1])))
    assert folds(straight) == folds(turned)


def test_a_cut_at_which_only_one_kind_is_known_is_left_out():
    plain = plain_world()
    early = pc.less(plain.outcomes["closed_at"], pa.scalar(at(130), TIME))
    then_lost = pc.if_else(early, "lost", plain.outcomes["outcome"])
    changed = replace(plain, outcomes=plain.outcomes.set_column(2, "outcome", then_lost))
    every = [cut.cut_us for cut in prepare(plain.crm, PLAIN).origins.cuts]
    kept = [cut.cut_us for cut in prepare(changed.crm, PLAIN).origins.cuts]
    assert len(every) == 4
    assert kept == [cut for cut in every if cut > at(100)]


# Large histories


def test_of_more_snapshots_than_can_be_judged_some_leads_are_judged_wholly(monkeypatch):
    plain = plain_world()
    whole = prepare(plain.crm, PLAIN)
    monkeypatch.setattr(under_test, "MOST_SNAPSHOTS_TO_JUDGE", len(whole.snapshots) // 2)
    study = prepare(plain.crm, PLAIN)
    assert len(study.snapshots) == len(whole.snapshots)
    for some, every in zip(study.origins.cuts, whole.origins.cuts, strict=True):
        kept = np.unique(study.snapshots.lead[some.test])
        assert 0.3 < len(kept) / len(np.unique(study.snapshots.lead[every.test])) < 0.7
        np.testing.assert_array_equal(some.test, every.test & np.isin(study.snapshots.lead, kept))


def test_of_a_sample_as_many_snapshots_are_judged_as_of_a_history_that_fits(monkeypatch):
    crm, most = simulated_world().crm, 1_500
    monkeypatch.setattr(under_test, "MOST_SNAPSHOTS_TO_JUDGE", most)
    for memory in (None, 4_000 * sampling.BYTES_OF_SNAPSHOT):
        study = prepare(crm, Config(), memory=memory)
        judged = np.logical_or.reduce([cut.train | cut.test for cut in study.origins.cuts])
        assert 0.7 < judged.sum() / most < 1.3


def test_of_more_snapshots_than_can_be_fitted_some_leads_are_taken_wholly(monkeypatch):
    plain = plain_world()
    whole = prepare(plain.crm, PLAIN).snapshots
    monkeypatch.setattr(sampling, "MOST_SNAPSHOTS_TO_FIT", len(whole) // 2)
    study = prepare(plain.crm, PLAIN)
    some = study.snapshots
    assert study.crm.source_rows is not None
    kept = study.crm.source_rows[np.unique(some.lead)]
    assert 0.2 < study.rest.share < 0.6
    assert abs(len(kept) / 400 - study.rest.share) < 0.1
    np.testing.assert_array_equal(some.as_of_us, whole.as_of_us[np.isin(whole.lead, kept)])


def test_where_there_is_room_winners_are_kept_and_the_others_count_for_what_they_stand_for():
    study = prepare(simulated_world().crm, Config(), memory=6_000 * sampling.BYTES_OF_SNAPSHOT)
    whole = prepare(simulated_world().crm, Config())
    rest, crm = study.rest, study.crm
    assert rest.crm is not None
    assert rest.snapshots == len(whole.snapshots) > 6_000
    every = study.snapshots.followed_by(rest.won)
    assert abs(len(every) / 6_000 - 1) < 0.1
    won = np.concatenate([of_winners(study.snapshots, crm), of_winners(rest.won, rest.crm)])
    assert won[len(study.snapshots) :].all()
    taken, beside = (set(each.table["lead_id"].to_pylist()) for each in (crm, rest.crm))
    assert not taken & beside
    assert won.sum() == of_winners(whole.snapshots, whole.crm).sum()
    counts = rest.counts(won[: len(study.snapshots)])
    assert (counts[won] == 1).all()
    others = len(whole.snapshots) - won.sum()
    assert abs(counts[~won].sum() / others - 1) < 0.1
    weight = study.labels(every, crm.until_us, counts=counts).weight
    known = whole.at_until
    share = (weight * (every.win_us < NEVER)).sum() / weight.sum()
    expected = (known.weight * (whole.snapshots.win_us < NEVER)).sum() / known.weight.sum()
    assert abs(share / expected - 1) < 0.1


def test_winners_that_are_all_in_the_sample_still_make_the_others_count_for_more():
    crm = plain_world().crm
    total = len(prepare(crm, PLAIN).snapshots)
    one = replace(crm, outcomes=under_test_outcomes(crm, 1))
    counted = []
    for seed in range(8):
        ids = pa.array([f"{seed}-{row}" for row in range(len(crm.leads))])
        renamed = replace(one, table=crm.table.set_column(0, "lead_id", ids))
        taken = sample(renamed, PLAIN, total // 3 * sampling.BYTES_OF_SNAPSHOT)
        counts = taken.rest.counts(of_winners(taken.snapshots, taken.crm))
        counted.append((len(taken.rest.won), counts.sum() / taken.rest.snapshots))
    assert {0} < {won for won, _ in counted}
    assert all(0.7 < share < 1.3 for _, share in counted)


def test_of_many_winners_there_is_no_room_and_all_leads_are_drawn_alike():
    whole = prepare(plain_world().crm, PLAIN)
    study = prepare(plain_world().crm, PLAIN, memory=300 * sampling.BYTES_OF_SNAPSHOT)
    assert len(study.rest.won) == 0
    assert (study.rest.counts(of_winners(study.snapshots, study.crm)) == 1).all()
    assert whole.rest.share == 1


def under_test_outcomes(crm, wins):
    """Keep so many of the wins."""
    kept = np.flatnonzero(crm.outcomes.won)[:wins]
    known = crm.outcomes
    return Outcomes(known.lead[kept], known.closed_us[kept], known.known_us[kept], known.won[kept])


# What rules are fixed on


def test_leads_had_time_once_they_could_have_stood_at_the_oldest_age():
    ages = {"winner": 100, "loser": 100, "just": 20, "young": 19.99}
    stated = config(snapshots=SnapshotGrid(ages_days=(0, 20)))
    study = prepare(world(ages, ONE_EACH).crm, stated)
    lead = study.snapshots.lead
    timely = study.had_time(np.arange(len(lead)))
    assert set(lead[timely]) == {0, 1, 2}
    assert set(lead[~timely]) == {3}


def test_arrivals_are_counted_in_whole_weeks_back_from_the_export():
    ages = {"winner": 100, "loser": 100, "a": 0, "b": 6.99, "c": 7, "d": 13.9, "e": 14}
    study = prepare(world(ages, ONE_EACH).crm, config())
    assert study.arrivals_per_week().tolist() == [2, 2, 1, *[0] * 11]
    old = prepare(world({**ages, "ancient": 400}, ONE_EACH).crm, config())
    assert len(old.arrivals_per_week()) == 26
    assert old.arrivals_per_week().sum() == 7


# For work outside


def test_the_learning_table_says_what_is_known_of_each_moment():
    events = make_events({"open": [99, 92], "winner": [98]})
    stated = config(snapshots=SnapshotGrid(ages_days=(0, 3, 10, 95)))
    table = learning_table(replace(BOTH, events=events).crm, stated)
    columns = ["lead_id", "age_days", "known", "won", "events_all"]
    assert [tuple(row.values()) for row in table.select(columns).to_pylist()] == [
        ("winner", 0, True, 1, 0),
        ("winner", 3, True, 1, 1),
        ("loser", 0, True, 0, 0),
        ("loser", 3, True, 0, 0),
        ("open", 0, True, 0, 0),
        ("open", 3, True, 0, 1),
        ("open", 10, True, 0, 2),
        ("open", 95, False, None, 2),
    ]
    assert table["as_of"].cast(pa.int64()).to_pylist()[:2] == [at(100), at(97)]
    assert table["follow_up_days"].to_pylist()[-1] == 5
    assert table["weight"].to_pylist()[-1] == 0
    assert table["days_since_last_event"].to_pylist()[:2] == [None, 1]
