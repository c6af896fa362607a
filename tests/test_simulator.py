"""Tests of the simulated CRM: its promises about time, truth, scenarios and leaks."""

import tomllib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from training import simulator
from training.simulator import AGES_DAYS, DAY_US, LEAKS, NOW_US, SCENARIOS, World, simulate, write

CATALOGUE = {
    *("web_visit", "newsletter_signup", "newsletter_open", "newsletter_click", "document_request"),
    *("form_submit", "seminar_registration", "seminar_attended", "card_exchange", "inquiry"),
    *("call", "appointment", "visit", "closing_attempt"),
}
TABLES = ("leads", "events", "outcomes", "truth")
UTC_US = pa.timestamp("us", "UTC")


@pytest.fixture(scope="module")
def worlds() -> dict[str, World]:
    return {name: simulate(leads=4000, months=18, seed=7, scenario=name) for name in SCENARIOS}


@pytest.fixture(scope="module")
def stationary(worlds: dict[str, World]) -> World:
    return worlds["stationary"]


def microseconds(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    return column.cast(pa.int64()).to_numpy()


def created_of(world: World, table: pa.Table) -> npt.NDArray[np.int64]:
    place = pc.index_in(table["lead_id"], world.leads["lead_id"])
    assert place.null_count == 0
    return microseconds(world.leads["created_at"])[place.to_numpy()]


def won_rows(world: World) -> pa.Table:
    return world.outcomes.filter(pc.equal(world.outcomes["outcome"], "won"))


def truth_at(world: World, age: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    rows = world.truth.filter(pc.equal(world.truth["age_days"], age))
    return rows["probability"].to_numpy(), rows["won_within_horizon"].to_numpy()


def test_the_same_arguments_make_the_same_world(stationary: World) -> None:
    again = simulate(leads=4000, months=18, seed=7, scenario="stationary")
    other = simulate(leads=4000, months=18, seed=8, scenario="stationary")
    for table in TABLES:
        assert getattr(again, table).equals(getattr(stationary, table)), table
        assert not getattr(other, table).equals(getattr(stationary, table)), table


@pytest.mark.parametrize("scenario", ["Stationary", ""])
def test_an_unknown_scenario_is_refused_with_the_known_ones(scenario: str) -> None:
    with pytest.raises(ValueError, match="stationary, growth, drift, slow-wins, rare, new-product"):
        simulate(leads=10, months=18, seed=7, scenario=scenario)


@pytest.mark.parametrize(("leads", "months"), [(0, 18), (10, 0)])
def test_an_empty_world_is_refused(leads: int, months: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1, got {leads} and {months}"):
        simulate(leads=leads, months=months, seed=7, scenario="stationary")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_smallest_world_has_its_one_lead(scenario: str) -> None:
    world = simulate(leads=1, months=1, seed=7, scenario=scenario)
    assert world.leads["lead_id"].to_pylist() == ["L-0000001"]


def test_leads_are_numbered_in_order_of_creation_across_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(simulator, "CHUNK_LEADS", 30)
    world = simulate(leads=100, months=6, seed=7, scenario="leaky")
    assert world.leads["lead_id"].to_pylist() == [f"L-{n:07d}" for n in range(1, 101)]
    assert (np.diff(microseconds(world.leads["created_at"])) >= 0).all()
    assert set(world.events["lead_id"].to_pylist()) == set(world.leads["lead_id"].to_pylist())


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_tables_keep_the_contract(worlds: dict[str, World], scenario: str) -> None:
    world = worlds[scenario]
    assert pc.count_distinct(world.leads["lead_id"]).as_py() == world.leads.num_rows == 4000
    assert world.leads.schema.field("created_at").type == UTC_US
    assert world.events.column_names == [
        *("lead_id", "occurred_at", "event_type", "channel", "value"),
    ]
    assert set(world.outcomes["outcome"].to_pylist()) == {"won", "lost"}
    for table in TABLES:
        rows = getattr(world, table)
        created_us = created_of(world, rows)
        for name, column in zip(rows.column_names, rows.columns, strict=True):
            if not pa.types.is_timestamp(column.type):
                continue
            assert column.type == UTC_US, name
            assert column.null_count == 0, name
            assert (microseconds(column) <= NOW_US).all(), name
            assert (microseconds(column) >= created_us).all(), name


def test_events_stand_by_lead_then_time(stationary: World) -> None:
    lead = pc.index_in(stationary.events["lead_id"], stationary.leads["lead_id"]).to_numpy()
    order = np.lexsort((microseconds(stationary.events["occurred_at"]), lead))
    assert (order == np.arange(len(order))).all()


def test_every_event_type_has_one_channel(stationary: World) -> None:
    pairs = stationary.events.group_by(["event_type", "channel"]).aggregate([])
    channel = dict(zip(pairs["event_type"].to_pylist(), pairs["channel"].to_pylist(), strict=True))
    assert len(channel) == pairs.num_rows
    assert set(channel) == CATALOGUE
    assert channel["seminar_attended"] == "event"
    assert channel["newsletter_click"] == "email"
    assert channel["call"] == "phone"


def test_values_are_pages_and_minutes_and_empty_elsewhere(stationary: World) -> None:
    counts = stationary.events.group_by("event_type").aggregate(
        [("value", "count"), ("value", "min"), ("event_type", "count")]
    )
    for row in counts.to_pylist():
        measured = row["event_type"] in {"web_visit", "seminar_attended", "call"}
        assert row["value_count"] == (row["event_type_count"] if measured else 0), row
        assert not measured or row["value_min"] >= 1


def test_attributes_are_of_several_kinds_with_gaps_and_japanese(stationary: World) -> None:
    leads = stationary.leads
    kinds = {str(leads.schema.field(name).type) for name in leads.column_names[2:]}
    assert kinds == {"string", "int64", "double", "bool"}
    assert 0.08 < leads["employees"].null_count / 4000 < 0.16
    assert leads["source"].null_count == 0
    abroad = leads.filter(pc.not_equal(leads["country"], "JP"))
    assert abroad["region"].null_count == abroad.num_rows > 0
    assert "東京都" in leads["region"].to_pylist()


def test_the_default_world_is_a_plausible_funnel(stationary: World) -> None:
    _, won = truth_at(stationary, 0)
    assert 0.06 < won.mean() < 0.10
    assert 16 < stationary.events.num_rows / 4000 < 20
    wins = won_rows(stationary)
    created_us = created_of(stationary, wins)
    old = created_us < NOW_US - 270 * DAY_US
    delay_days = ((microseconds(wins["closed_at"]) - created_us) / DAY_US)[old]
    assert 30 < np.median(delay_days) < 55
    assert 0.1 < (delay_days > 90).mean() < 0.4


def test_outcomes_are_entered_hours_to_days_late(stationary: World) -> None:
    closed_us = microseconds(stationary.outcomes["closed_at"])
    late_days = (microseconds(stationary.outcomes["recorded_at"]) - closed_us) / DAY_US
    assert (late_days > 0).all()
    assert (late_days <= 15).all()
    assert np.median(late_days) < 1 < np.quantile(late_days, 0.95)


def test_some_losses_are_never_recorded_and_a_few_lost_leads_are_won(stationary: World) -> None:
    lead = stationary.outcomes["lead_id"].to_numpy()
    won = pc.equal(stationary.outcomes["outcome"], "won").to_numpy()
    assert len(lead[won]) == len(set(lead[won]))
    assert 1 <= len(set(lead[won]) & set(lead[~won])) < 0.1 * won.sum()
    old = stationary.leads["lead_id"].to_numpy()[:400]
    assert 0.2 < 1 - np.isin(old, lead).mean() < 0.5


def test_amounts_stand_on_wins_only(stationary: World) -> None:
    won = pc.equal(stationary.outcomes["outcome"], "won")
    assert pc.is_valid(stationary.outcomes["amount"]).equals(won)


def test_sales_works_leads_before_they_are_won_and_some_that_are_lost(stationary: World) -> None:
    events = stationary.events
    called = set(events.filter(pc.equal(events["event_type"], "call"))["lead_id"].to_pylist())
    outcomes = stationary.outcomes.group_by("outcome").aggregate([("lead_id", "distinct")])
    share = {
        row["outcome"]: np.mean([lead in called for lead in row["lead_id_distinct"]])
        for row in outcomes.to_pylist()
    }
    assert share["won"] == 1.0
    assert 0.2 < share["lost"] < 0.7


def test_events_go_on_after_some_wins(stationary: World) -> None:
    closed = won_rows(stationary).select(["lead_id", "closed_at"])
    joined = stationary.events.join(closed, "lead_id", join_type="inner")
    assert pc.any(pc.greater(joined["occurred_at"], joined["closed_at"])).as_py()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_truth_is_calibrated_and_ranks(worlds: dict[str, World], scenario: str) -> None:
    for age in (0, 7, 30):
        probability, won = truth_at(worlds[scenario], age)
        assert roc_auc_score(won, probability) > 0.75, age
        top = probability >= np.quantile(probability, 0.9)
        for rows in (top, ~top):
            noise = np.sqrt((probability[rows] * (1 - probability[rows])).sum())
            assert abs(won[rows].sum() - probability[rows].sum()) < 4 * noise, age


def test_the_mean_truth_is_within_a_few_percent_over_several_worlds() -> None:
    seeds = [
        simulate(leads=4000, months=18, seed=seed, scenario="stationary") for seed in (1, 2, 3)
    ]
    probability, won = map(np.concatenate, zip(*(truth_at(w, 7) for w in seeds), strict=True))
    assert won.mean() == pytest.approx(probability.mean(), rel=0.07)


def test_what_came_agrees_with_the_outcomes_on_record(stationary: World) -> None:
    truth = stationary.truth.filter(
        pc.less(stationary.truth["as_of"], pa.scalar(NOW_US - 110 * DAY_US, UTC_US))
    )
    closed = dict(
        zip(
            won_rows(stationary)["lead_id"].to_pylist(),
            microseconds(won_rows(stationary)["closed_at"]),
            strict=True,
        )
    )
    as_of_us = microseconds(truth["as_of"])
    closed_us = np.array([closed.get(lead, 2**62) for lead in truth["lead_id"].to_pylist()])
    expected = (as_of_us < closed_us) & (closed_us <= as_of_us + 90 * DAY_US)
    assert (truth["won_within_horizon"].to_numpy() == expected).all()


def test_the_truth_has_every_age_at_which_the_lead_was_open(stationary: World) -> None:
    truth = stationary.truth
    as_of_us = microseconds(truth["as_of"])
    age = truth["age_days"].to_numpy().astype(np.int64)
    assert (as_of_us == created_of(stationary, truth) + age * DAY_US).all()
    first = stationary.outcomes.group_by("lead_id").aggregate([("closed_at", "min")])
    closed = stationary.leads.select(["lead_id", "created_at"]).join(first, "lead_id")
    closed = closed.sort_by("lead_id").slice(0, 3500)  # later ones may close before it is recorded
    closed_us = microseconds(closed["closed_at_min"].fill_null(pa.scalar(2**62, UTC_US)))
    moments = microseconds(closed["created_at"])[:, None] + np.array(AGES_DAYS) * DAY_US
    expected = ((moments <= NOW_US) & (moments < closed_us[:, None])).sum()
    assert pc.sum(pc.less_equal(truth["lead_id"], "L-0003500")).as_py() == expected


def test_more_early_engagement_goes_with_more_wins(stationary: World) -> None:
    age_us = microseconds(stationary.events["occurred_at"]) - created_of(
        stationary, stationary.events
    )
    early = stationary.events.filter(pa.array(age_us <= 7 * DAY_US))
    counted = early.group_by("lead_id").aggregate([("event_type", "count")])
    rows = stationary.truth.filter(pc.equal(stationary.truth["age_days"], 7)).join(
        counted, "lead_id"
    )
    auc = roc_auc_score(rows["won_within_horizon"], rows["event_type_count"])
    assert 0.6 < auc < 0.8


def test_growth_brings_four_times_as_many_leads(worlds: dict[str, World]) -> None:
    def last_over_first_quarter(name: str) -> float:
        age_us = NOW_US - microseconds(worlds[name].leads["created_at"])
        return (age_us < 137 * DAY_US).sum() / (age_us > 411 * DAY_US).sum()

    assert last_over_first_quarter("stationary") == pytest.approx(1.0, abs=0.15)
    assert 2.3 < last_over_first_quarter("growth") < 3.5


def test_drift_lowers_the_wins_of_later_leads(worlds: dict[str, World]) -> None:
    def later_over_earlier(name: str) -> float:
        probability, _ = truth_at(worlds[name], 0)
        return probability[-1000:].mean() / probability[:1000].mean()

    assert later_over_earlier("stationary") == pytest.approx(1.0, abs=0.15)
    assert later_over_earlier("drift") < 0.7


def test_slow_wins_take_longer_at_the_end_of_the_history(worlds: dict[str, World]) -> None:
    def won_at_last(name: str) -> float:
        return float(truth_at(worlds[name], 0)[0][-1000:].mean())

    assert 0.6 < won_at_last("slow-wins") / won_at_last("stationary") < 0.9


def test_rare_wins_are_about_three_percent(worlds: dict[str, World]) -> None:
    probability, _ = truth_at(worlds["rare"], 0)
    assert 0.023 < probability.mean() < 0.034


def test_new_product_is_won_lately_only(worlds: dict[str, World]) -> None:
    world = worlds["new-product"]
    wins = won_rows(world)
    assert wins.num_rows >= 30
    assert (created_of(world, wins) > NOW_US - 111 * DAY_US).all()
    rows = world.truth.filter(pc.equal(world.truth["age_days"], 7))
    as_of_us, probability = microseconds(rows["as_of"]), rows["probability"].to_numpy()
    won = rows["won_within_horizon"].to_numpy()
    recent = probability[as_of_us > NOW_US - 30 * DAY_US].mean()
    assert recent > 0.06
    assert won[as_of_us <= NOW_US - 90 * DAY_US].mean() < 0.1 * recent


def test_scanners_click_in_bursts_whatever_the_interest(worlds: dict[str, World]) -> None:
    def burst_leads(world: World) -> set[str]:
        clicks = world.events.filter(pc.equal(world.events["event_type"], "newsletter_click"))
        lead = clicks["lead_id"].to_numpy()
        quick = np.diff(microseconds(clicks["occurred_at"])) < 30_000_000
        return set(lead[1:][quick & (lead[1:] == lead[:-1])])

    assert len(burst_leads(worlds["stationary"])) < 10
    scanned = burst_leads(worlds["bots"])
    assert 0.2 < len(scanned) / 4000 < 0.3
    rows = worlds["bots"].truth.filter(pc.equal(worlds["bots"].truth["age_days"], 0))
    old = rows.slice(0, 3500)
    probability = old["probability"].to_numpy()
    mine = np.isin(old["lead_id"].to_numpy(), list(scanned))
    assert probability[mine].mean() == pytest.approx(probability[~mine].mean(), rel=0.15)


def test_leaks_are_planted_in_the_leaky_world_only(worlds: dict[str, World]) -> None:
    planted = {name for name, _ in LEAKS}
    assert len({kind for _, kind in LEAKS}) >= 8
    for scenario, world in worlds.items():
        names = set(world.leads.column_names)
        names |= set(world.events["event_type"].combine_chunks().dictionary.to_pylist())
        assert planted & names == (planted if scenario == "leaky" else set()), scenario


def test_each_leak_tells_who_was_won(worlds: dict[str, World]) -> None:
    world = worlds["leaky"]
    won = np.isin(world.leads["lead_id"].to_numpy(), won_rows(world)["lead_id"].to_numpy())
    for name in ("close_reason", "deal_amount", "days_to_close", "sales_owner"):
        assert roc_auc_score(won, pc.is_valid(world.leads[name])) > 0.7, name
    assert (pc.equal(world.leads["lifecycle_stage"], "customer").to_numpy() == won).all()
    assert roc_auc_score(won, world.leads["status_score"]) > 0.95
    assert roc_auc_score(won, world.leads["last_modified"]) < 0.05
    sent = world.events.filter(pc.equal(world.events["event_type"], "conversion"))
    assert set(sent["lead_id"].to_pylist()) == set(world.leads["lead_id"].to_numpy()[won])
    assert (microseconds(sent["occurred_at"]) == created_of(world, sent)).all()
    total = world.events.group_by("lead_id").aggregate([("event_type", "count")])
    joined = world.leads.select(["lead_id", "events_total"]).join(total, "lead_id")
    assert joined["events_total"].equals(joined["event_type_count"])


def test_contracts_are_sent_to_winners_shortly_before_the_close(worlds: dict[str, World]) -> None:
    events = worlds["leaky"].events
    sent = events.filter(pc.equal(events["event_type"], "contract_sent"))
    closed = won_rows(worlds["leaky"]).select(["lead_id", "closed_at"])
    joined = sent.select(["lead_id", "occurred_at"]).join(closed, "lead_id")
    assert joined["closed_at"].null_count == 0
    before_us = microseconds(joined["closed_at"]) - microseconds(joined["occurred_at"])
    assert (before_us > 0).all()
    assert (before_us <= 3 * DAY_US).all()


def test_write_leaves_four_tables_and_an_unstated_rule(stationary: World, tmp_path: Path) -> None:
    write(stationary, tmp_path / "a world")
    for table in TABLES:
        read = pq.read_table(tmp_path / "a world" / f"{table}.parquet")
        assert read.equals(getattr(stationary, table)), table
    config = tomllib.loads((tmp_path / "a world" / "leadqual.toml").read_text(encoding="utf-8"))
    assert config["label"] == {"horizon_days": 90}
    assert config["rule"] == {"kind": "capacity"}
