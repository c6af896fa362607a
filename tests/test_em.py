"""Labels that wins are still to come for: what a lead without a win so far may yet do."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worlds import PLAIN, few_rounds, plain_world
from training import recipes
from training.choosing import training_rows
from training.config import Config
from training.labels import win_to_come
from training.recipes import Recipe, effective
from training.study import prepare

EM = Config.model_validate({"label": {"strategy": "em"}})
SHARES = st.floats(0, 1)


@given(p=SHARES, arrived=SHARES)
def test_a_win_to_come_is_what_bayes_says(p, arrived):
    (found,) = win_to_come(np.array([p]), np.array([arrived]))
    assert 0 <= found <= p or found == pytest.approx(p)
    if p * arrived < 1:
        assert found * (1 - p * arrived) == pytest.approx(p * (1 - arrived), abs=1e-9)


def test_the_longer_without_a_win_the_less_of_one_is_to_come():
    found = win_to_come(np.full(5, 0.3), np.linspace(0, 1, 5))
    assert (np.diff(found) < 0).all()
    assert (found[0], found[-1]) == (0.3, 0.0)


@pytest.fixture(scope="module")
def study():
    return prepare(plain_world().crm, EM)


def fitted(rows, monkeypatch, rounds=1):
    """The rows, labels and weights of each round's fit."""
    seen = []
    fit = recipes.fit

    def spy(X, y, weight, **options):
        seen.append((len(X), y, weight))
        return fit(X, y, weight, **options)

    monkeypatch.setattr(recipes, "ROUNDS", rounds)
    monkeypatch.setattr(recipes, "fit", spy)
    with few_rounds():
        rows.fit("blend", 0)
    return seen


def test_every_row_counts_once_however_it_is_split(study, monkeypatch):
    rows = training_rows(study, study.everything(), Recipe("blend", 90.0))
    _, (length, y, weight) = fitted(rows, monkeypatch)
    known, open_ = rows.known.known, ~rows.known.known
    assert length == known.sum() + 2 * open_.sum()
    counted = effective(rows.importance)
    assert weight.sum() == pytest.approx(counted.sum())
    as_won, as_not = np.split(weight[known.sum() :], 2)
    assert as_won + as_not == pytest.approx(counted[open_])
    assert y[: known.sum()].tolist() == rows.known.won[known].tolist()
    assert 0 < as_won.sum() < as_not.sum()


def test_an_open_lead_counts_neither_as_lost_nor_not_at_all(study, monkeypatch):
    rows = training_rows(study, study.everything(), Recipe("blend"))
    rounds = fitted(rows, monkeypatch, rounds=3)
    assert len(rounds) == 4
    share = [(y * weight).sum() / weight.sum() for _, y, weight in rounds[1:]]
    known = rows.known
    open_is_lost = known.won[known.known].sum() / len(known.won)
    dropped = known.won[known.known].mean()
    assert all(open_is_lost < each < dropped for each in share)


def test_where_all_is_known_it_is_the_plain_fit(study, monkeypatch):
    rows = training_rows(study, study.everything(), Recipe("blend"))
    matured = rows.known.matured
    whole = replace(
        rows,
        X=rows.X[matured],
        importance=rows.importance[matured],
        known=replace(
            rows.known,
            **{
                name: getattr(rows.known, name)[matured]
                for name in (
                    "known", "won", "weight", "follow_up_days", "seen", "matured", "delay_days"
                )
            },
        ),
    )  # fmt: skip
    assert whole.known.known.all()
    assert len(fitted(whole, monkeypatch)) == 1


def test_without_it_nothing_is_split(monkeypatch):
    plain = prepare(plain_world().crm, PLAIN)
    rows = training_rows(plain, plain.everything(), Recipe("blend"))
    assert len(fitted(rows, monkeypatch)) == 1
