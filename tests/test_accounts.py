"""Leads of one account are not independent: intervals are over accounts where they are named."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tests.worlds import PLAIN, learn_quickly, plain_world
from training.config import ConfigError, Split
from training.study import clusters, prepare

BY_ACCOUNT = PLAIN.model_copy(update={"split": Split(account="company")})


def world_of(names):
    world = plain_world()
    return replace(world, leads=world.leads.append_column("company", pa.array(names)))


def few_companies(leads=400, companies=20):
    """Companies whose leads win alike: a company's first letter tells whether they do."""
    return [f"社-{lead % companies}" for lead in range(leads)]


def width(report, name):
    figure = report["test"]["model"][name]
    return figure["high"] - figure["low"]


def test_a_lead_without_an_account_is_one_of_its_own():
    crm = world_of(["a", None, "a", "b", None] + ["c"] * 395).crm
    codes = clusters(crm, "company")
    same = codes[:, None] == codes[None, :]
    assert same[0].nonzero()[0].tolist() == [0, 2]
    assert [same[row].sum() for row in (1, 3, 4, 5)] == [1, 1, 1, 395]
    assert clusters(crm, None).tolist() == list(range(400))


def test_every_lead_as_its_own_account_gives_the_intervals_of_leads():
    names = [f"c{lead}" for lead in range(400)]
    plain = learn_quickly(world_of(names), PLAIN).report["test"]["model"]
    assert learn_quickly(world_of(names), BY_ACCOUNT).report["test"]["model"] == plain


def test_few_accounts_make_intervals_of_few():
    by_lead = learn_quickly(world_of(few_companies()), PLAIN).report
    by_account = learn_quickly(world_of(few_companies(companies=4)), BY_ACCOUNT).report
    for figures in (by_lead, by_account):
        assert figures["test"]["model"]["log_loss"]["value"] > 0
    assert by_account["test"]["model"] != by_lead["test"]["model"]
    ages = [each["leads"] for each in by_account["test"]["by_age"]]
    assert ages == [each["leads"] for each in by_lead["test"]["by_age"]]


def test_the_account_itself_is_no_feature():
    study = prepare(world_of(few_companies()).crm, BY_ACCOUNT)
    assert "lead_company" not in study.spec(study.crm.until_us)[0].names
    plain = prepare(world_of(few_companies()).crm, PLAIN)
    assert "lead_company" in plain.spec(plain.crm.until_us)[0].names


def test_leads_of_one_account_stand_in_one_fold():
    names = few_companies()
    world = world_of(names)
    day = pa.array([world.leads["created_at"][0].as_py()] * 400, world.leads["created_at"].type)
    same_day = replace(world, leads=world.leads.set_column(1, "created_at", day))
    study = prepare(same_day.crm, BY_ACCOUNT)
    assert study.origins.kind == "hash"
    for cut in study.origins.cuts:
        judged = set(np.array(names)[study.snapshots.lead[cut.test]].tolist())
        learned = set(np.array(names)[study.snapshots.lead[cut.train]].tolist())
        assert not judged & learned


@pytest.mark.parametrize(
    ("names", "account", "message"),
    [
        (["one"] * 400, "company", "all leads have one value of company, 'one'"),
        (["one"] * 400, "firm", "the leads table has no column firm, it has lead_id"),
    ],
)
def test_accounts_that_say_nothing_are_refused(names, account, message):
    with pytest.raises(ConfigError, match=message):
        clusters(world_of(names).crm, account)
