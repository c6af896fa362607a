from dataclasses import replace
from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from features.history import DAY_US
from tests.worlds import PLAIN, few_rounds, plain_world
from training import choosing, recipes
from training.choosing import choose, training_rows
from training.proxies import time_proxies
from training.recipes import MIXES, Recipe
from training.study import prepare

DAYS = np.arange(800)
MOMENTS = DAYS * DAY_US
LEADS = DAYS.copy()


def named(*columns):
    X = np.column_stack(columns).astype(np.float32)
    return time_proxies(X, [f"f{at}" for at in range(len(columns))], LEADS, MOMENTS)


def test_what_rises_and_falls_with_the_date_is_named():
    noise = np.random.default_rng(3).normal(size=len(DAYS))
    wave = np.cos(DAYS / 300)
    assert named(DAYS, -DAYS, wave, DAYS // 200, noise, DAYS % 7) == ("f0", "f1", "f2", "f3")


def test_a_column_that_only_began_to_be_filled_tells_the_date_by_being_missing():
    filled = np.where(DAYS < 400, np.nan, np.random.default_rng(3).integers(0, 5, len(DAYS)))
    assert named(filled) == ("f0",)


def test_chance_is_not_taken_for_a_date():
    noise = np.random.default_rng(5).normal(size=(len(DAYS), 60))
    assert named(*noise.T) == ()


def test_what_a_lead_says_at_all_its_ages_counts_once():
    number = np.random.default_rng(1).normal(size=40)
    lead = np.repeat(np.arange(40), 30)
    moment = np.repeat(np.arange(40) * 9, 30) * DAY_US
    assert time_proxies(number[lead][:, None].astype(np.float32), ["n"], lead, moment) == ()


def test_few_leads_or_one_moment_tell_nothing():
    X = DAYS[:, None].astype(np.float32)
    assert time_proxies(X[:60], ["n"], LEADS[:60], MOMENTS[:60]) == ()
    assert time_proxies(X, ["n"], LEADS, np.zeros(len(DAYS), np.int64)) == ()


@pytest.fixture(scope="module")
def study():
    """A world whose leads carry the number of the week that they were created in."""
    world = plain_world()
    week = pc.divide(pc.cast(world.leads["created_at"], pa.int64()), 7 * DAY_US)
    return prepare(replace(world, leads=world.leads.append_column("week", week)).crm, PLAIN)


def test_at_most_twelve_recipes_are_tried_each_with_and_without(study):
    with few_rounds():
        tried = [candidate.recipe for candidate in choose(study).candidates]
    assert len(set(tried)) == len(tried) == 12
    assert {(r.mix, r.proxies) for r in tried} == {(mix, p) for mix in MIXES for p in (True, False)}
    assert {r.half_life_days for r in tried} == set(recipes.HALF_LIVES_WITH_PROXIES_DAYS)


def test_they_are_looked_for_once_a_cut_however_many_recipes_are_tried(study, monkeypatch):
    moments = []

    def spy(X, names, lead, as_of_us, **more):
        assert len(np.unique(lead)) == len(lead) == len(X)
        moments.append(int(as_of_us.max()))
        return time_proxies(X, names, lead, as_of_us, **more)

    monkeypatch.setattr(choosing, "time_proxies", spy)
    with few_rounds():
        choose(study)
    assert len(moments) == len(set(moments)) == len(study.choosing)


def test_what_is_known_of_a_cut_already_changes_no_row(study):
    for cut, used in product(study.choosing, (True, False)):
        recipe = Recipe("blend", proxies=used)
        rows = training_rows(study, cut, recipe)
        again = training_rows(study, cut, recipe, choosing.vocabulary(study, cut))
        train = study.snapshots.rows(cut.train)
        X = study.matrix(study.spec(cut.cut_us)[0], train)
        names = study.spec(cut.cut_us)[0].names
        told = time_proxies(X, names, train.lead, train.as_of_us, seed=study.seed)
        assert again.proxies == rows.proxies == told
        assert np.array_equal(again.X, rows.X, equal_nan=True)


def test_a_recipe_without_them_neither_learns_from_them_nor_ships_them(study):
    cut = study.choosing[0]
    with_them, without = (
        training_rows(study, cut, Recipe("blend", proxies=used)) for used in (True, False)
    )
    assert "lead_week" in with_them.proxies == without.proxies
    assert set(with_them.spec.names) - set(without.spec.names) == set(with_them.proxies)
    assert without.X.shape[1] == len(without.spec.names)
    rows = study.snapshots.rows(cut.train)
    assert np.array_equal(without.X, study.matrix(without.spec, rows), equal_nan=True)
