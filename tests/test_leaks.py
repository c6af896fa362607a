"""The leak gate: what is planted is caught, honest columns pass, and who lets pass is recorded."""

import pickle
from dataclasses import replace
from functools import cache

import numpy as np
import pyarrow as pa
import pytest

from tests.factories import TIME, at, event, make_events
from tests.worlds import PLAIN, World, learn_quickly, plain_world
from training import leaks, simulated_changes, simulator
from training.config import AllowedLeak, Config, ConfigError, Leaks
from training.gates import GateRefused
from training.learning import STAGES, Stopwatch
from training.scorer import LeadScorer
from training.study import prepare


@cache
def simulated(scenario, seed, leads=2_500):
    world = simulator.simulate(leads, 18, seed, scenario)
    return World(world.leads, world.events, world.outcomes, simulator.NOW_US)


def found_in(world, config=PLAIN):
    return {leak.column: leak for leak in leaks.find(prepare(world.crm, config))}


def with_column(name, values, world=None):
    world = world or plain_world()
    return World(world.leads.append_column(name, pa.array(values)), world.events, world.outcomes)


def won_in(world):
    wins = {
        lead
        for lead, outcome in zip(
            world.outcomes["lead_id"].to_pylist(),
            world.outcomes["outcome"].to_pylist(),
            strict=True,
        )
        if outcome == "won"
    }
    return np.array([lead in wins for lead in world.leads["lead_id"].to_pylist()])


def with_leaks(**settings):
    return PLAIN.model_copy(update={"leaks": Leaks(**settings)})


def with_changes(world, seed, *, leaky):
    return replace(world, changes=simulated_changes.changes(world, seed, leaky=leaky))


# What is planted, and what is not


@pytest.mark.parametrize("seed", [1, 2])
def test_every_planted_leak_is_caught_and_nothing_else(seed):
    found = found_in(simulated("leaky", seed), Config())
    assert set(found) == {name for name, _ in simulator.LEAKS}
    assert {leak.action for leak in found.values()} == {"refused"}
    for leak in found.values():
        assert leak.evidence, leak
        assert leak.why, leak
        assert leak.mend, leak
    assert found["days_to_close"].kind == "filled_at_close"
    assert found["events_total"].kind == "as_of_now"
    assert found["conversion"].kind == "event_back_dated"
    assert found["contract_sent"].kind == "event_of_winners"


@pytest.mark.parametrize("scenario", [name for name in simulator.SCENARIOS if name != "leaky"])
def test_honest_worlds_raise_no_alarm(scenario):
    assert found_in(simulated(scenario, 3), Config()) == {}


def test_a_strong_honest_signal_is_no_leak():
    assert found_in(plain_world()) == {}  # of those who inquire, seven in ten are won


# One leak at a time, and what is much like it


def test_a_column_filled_for_winners_only_is_caught_and_one_filled_at_random_is_not():
    rng, won = np.random.default_rng(1), won_in(plain_world())
    texts = [
        word if w else None
        for w, word in zip(won, rng.choice(["price", "service"], 400), strict=True)
    ]
    assert found_in(with_column("why", texts))["why"].kind == "missingness"
    texts = ["price" if given else None for given in rng.random(400) < 0.3]
    assert found_in(with_column("why", texts)) == {}


def test_a_number_that_is_the_outcome_with_noise_is_caught_and_a_weaker_one_is_not():
    rng, won = np.random.default_rng(2), won_in(plain_world())
    assert found_in(with_column("x", won * 3 + rng.normal(0, 1, 400)))["x"].kind == "too_good"
    assert found_in(with_column("x", won * 1.0 + rng.normal(0, 1, 400))) == {}


def test_a_name_of_the_outcome_needs_evidence_and_evidence_needs_a_name():
    rng, won = np.random.default_rng(3), won_in(plain_world())
    telling = np.where(rng.random(400) < 0.75, won, ~won).astype(int).astype(str).tolist()
    assert found_in(with_column("成約見込", telling))["成約見込"].kind == "names_outcome"
    assert found_in(with_column("colour", telling)) == {}
    assert found_in(with_column("marital_status", telling)) == {}  # an honest name needs more
    surer = np.where(rng.random(400) < 0.86, won, ~won).astype(int).astype(str).tolist()
    assert found_in(with_column("ステータス", surer))["ステータス"].kind == "names_outcome"
    silent = rng.choice(["married", "single"], 400).tolist()
    assert found_in(with_column("household_status", silent)) == {}


def test_a_column_that_tells_the_date_of_an_older_and_so_closed_lead_is_no_leak():
    world = plain_world()
    assert found_in(with_column("campaign_number", np.arange(400) // 40, world)) == {}


def test_a_counter_as_of_the_export_is_caught_and_one_as_of_the_creation_is_not():
    rng, world = np.random.default_rng(4), plain_world()
    ids, events = world.leads["lead_id"].to_pylist(), world.events["lead_id"].to_pylist()
    now = np.array([events.count(lead) for lead in ids])
    assert found_in(with_column("visits", now + 1))["visits"].kind == "as_of_now"
    assert found_in(with_column("visits", rng.poisson(3, 400))) == {}


def with_event_type(chosen, age_days, name="paper_sent"):
    world = plain_world()
    ids = np.array(world.leads["lead_id"].to_pylist())
    more = make_events(
        {lead: [event(age, name)] for lead, age in zip(ids[chosen], age_days[chosen], strict=True)}
    )
    events = pa.concat_tables([world.events, more]).unify_dictionaries()
    return World(world.leads, events, world.outcomes)


def test_an_event_type_of_winners_is_caught_unless_it_is_of_sales_or_some_others_have_it():
    won, age = won_in(plain_world()), np.linspace(300, 1, 400).round(3)
    few_days_on = np.maximum(age - 5, 0.1)
    world = with_event_type(won, few_days_on)
    assert found_in(world)["paper_sent"].kind == "event_of_winners"
    events = PLAIN.events.model_copy(update={"sales": ("paper_sent",)})
    assert found_in(world, PLAIN.model_copy(update={"events": events})) == {}
    rng = np.random.default_rng(5)
    some = rng.random(400) < np.where(won, 0.5, 0.2)
    assert found_in(with_event_type(some, few_days_on)) == {}


def test_events_at_or_after_the_close_stop_nothing():
    won, age = won_in(plain_world()), np.linspace(300, 1, 400).round(3)
    assert found_in(with_event_type(won, np.maximum(age - 26, 0.0))) == {}


@pytest.mark.parametrize("seed", [1, 2])
def test_an_attribute_that_is_written_before_nearly_every_win_is_caught_in_its_history(seed):
    found = found_in(with_changes(simulated("stationary", seed), seed, leaky=True), Config())
    assert set(found) == set(simulated_changes.LEAKS)
    assert {leak.kind for leak in found.values()} == {"change_of_winners"}
    assert found["contract_status"].evidence.startswith("changed on ")
    assert found["deal_probability"].evidence.startswith("set to '0.9")
    for leak in found.values():
        assert "days before the win" in leak.evidence
        assert f'add "{leak.column}" to [features] exclude' in leak.mend


@pytest.mark.parametrize("scenario", ["stationary", "growth", "rare", "slow-wins"])
def test_an_honest_funnel_and_histories_by_lot_raise_no_alarm(scenario):
    assert found_in(with_changes(simulated(scenario, 3), 3, leaky=False), Config()) == {}


def test_changes_at_the_close_or_known_only_then_stop_nothing():
    """No snapshot sees them."""
    world = with_changes(simulated("stationary", 1), 1, leaky=True)
    closes = dict(
        zip(*(world.outcomes[name].to_pylist() for name in ("lead_id", "closed_at")), strict=True)
    )
    first = dict(
        zip(*(world.leads[name].to_pylist() for name in ("lead_id", "created_at")), strict=True)
    )
    late = [
        closes.get(lead, moment)
        if name in simulated_changes.LEAKS and moment > first[lead]
        else moment
        for lead, moment, name in zip(
            *(world.changes[n].to_pylist() for n in ("lead_id", "changed_at", "attribute")),
            strict=True,
        )
    ]
    for name in ("changed_at", "recorded_at"):
        changes = world.changes
        if name in changes.column_names:
            changes = changes.drop_columns([name])
        changes = changes.append_column(name, pa.array(late, TIME))
        found = found_in(replace(world, changes=changes), Config())
        assert found == {}


def test_changes_after_the_hand_off_to_sales_stop_nothing_unless_snapshots_go_on():
    won, age = won_in(plain_world()), np.linspace(300, 1, 400).round(3)
    with_calls = with_event_type(won | (np.arange(400) % 3 == 0), age - 0.5, "call")
    ids = np.array(with_calls.leads["lead_id"].to_pylist())
    rows = [(ids, age, "none"), (ids[won], np.maximum(age - 0.7, 0.1)[won], "sent")]
    changes = pa.concat_tables(
        pa.table(
            {
                "lead_id": who,
                "changed_at": pa.array([at(days) for days in when], TIME),
                "attribute": ["paper"] * len(who),
                "value": [value] * len(who),
            }
        )
        for who, when, value in rows
    )
    lots = np.random.default_rng(0).choice(["x", "y"], 40).tolist()
    few = changes.slice(0, 40).set_column(3, "value", pa.array(lots))
    world = replace(with_calls, changes=pa.concat_tables([changes.slice(40), few]))
    assert found_in(world) == {}
    events = PLAIN.events.model_copy(update={"sales": ()})
    found = found_in(world, PLAIN.model_copy(update={"events": events}))
    assert found["paper"].kind == "change_of_winners"


def test_who_allows_a_change_of_winners_lets_it_pass():
    world = with_changes(simulated("stationary", 1), 1, leaky=True)
    allow = tuple(
        AllowedLeak(column=name, name="佐藤", reason="known") for name in simulated_changes.LEAKS
    )
    config = Config(leaks=Leaks(allow=allow))
    assert {leak.action for leak in found_in(world, config).values()} == {"allowed"}


def test_copies_of_leads_are_caught_and_named():
    rng = np.random.default_rng(6)
    world = plain_world()
    ids = world.leads["lead_id"].to_pylist()
    same = {lead: [event(a) for a in rng.uniform(2, 9, 3)] for lead in ids[:30]}
    copies = {f"{lead} (2)": events for lead, events in same.items()}
    rows = world.leads.slice(0, 30)
    named = pa.array(list(copies), pa.string())
    rows = rows.set_column(0, "lead_id", named)
    bare = world.events.filter(~np.isin(world.events["lead_id"].to_numpy(), ids[:30]))
    events = pa.concat_tables([bare, make_events(same), make_events(copies)]).unify_dictionaries()
    doubled = World(pa.concat_tables([world.leads, rows]), events, world.outcomes)
    found = found_in(doubled)["lead_id"]
    assert found.kind == "duplicates"
    assert "30 leads" in found.evidence


# Who says what


def test_a_declared_column_is_refused_unless_it_is_left_out():
    assert found_in(plain_world(), with_leaks(as_of_now=["employees"]))["employees"].kind == (
        "declared"
    )
    features = PLAIN.features.model_copy(update={"exclude": ("employees",)})
    settings = with_leaks(as_of_now=["employees"]).model_copy(update={"features": features})
    assert found_in(plain_world(), settings) == {}


def test_a_declared_column_that_does_not_exist_is_named():
    with pytest.raises(ConfigError, match=r"employes.*lead_id, created_at, employees"):
        found_in(plain_world(), with_leaks(as_of_now=["employes"]))


def test_a_run_stops_before_there_is_a_model_and_the_message_names_all():
    seen: list[str] = []
    config = with_leaks(as_of_now=["employees", "industry"])
    with pytest.raises(GateRefused) as refused:
        learn_quickly(plain_world(), config, clock=Stopwatch(seen.append))
    assert seen[-1] == "look for leaks"
    assert STAGES[STAGES.index("look for leaks") + 1] == "choose the recipe"
    message = str(refused.value)
    for said in ("employees", "industry", "Why:", "Mend:", "[leaks] allow"):
        assert said in message
    report = refused.value.report
    assert [leak["column"] for leak in report["leaks"]] == ["employees", "industry"]
    assert report["gate"]["passed"] is False
    assert report["seconds"]["look for leaks"] >= 0
    assert pickle.loads(pickle.dumps(refused.value)).report == report


def test_what_a_named_person_allows_passes_and_is_recorded_in_report_and_artifact(tmp_path):
    allow = AllowedLeak(column="employees", name="佐藤", reason="never changes")
    config = with_leaks(as_of_now=["employees"], allow=[allow])
    learned = learn_quickly(plain_world(), config)
    (leak,) = learned.report["leaks"]
    assert (leak["action"], leak["name"], leak["reason"]) == ("allowed", "佐藤", "never changes")
    learned.scorer.save(tmp_path / "model")
    assert LeadScorer.load(tmp_path / "model").card.leaks == [leak]


def test_allowing_one_column_does_not_let_another_pass():
    allow = AllowedLeak(column="employees", name="x", reason="y")
    with pytest.raises(GateRefused, match="industry") as refused:
        learn_quickly(plain_world(), with_leaks(as_of_now=["employees", "industry"], allow=[allow]))
    actions = {leak["column"]: leak["action"] for leak in refused.value.report["leaks"]}
    assert actions == {"employees": "allowed", "industry": "refused"}
