import json
from itertools import pairwise

import pytest
import sqlalchemy as sa

from features.findings import UsageError
from features.history import DAY_US
from features.moments import iso
from serving.served_model import ServedModel
from serving.store.policy import Policy
from serving.store.replay import replay
from serving.store.tables import decisions, events, leads, merges
from tests.commands import run
from tests.scorers import EPOCH_US, json_leads, small_scorer
from tests.states import crm, put, served_model


@pytest.fixture
def service(database_url):
    with crm(database_url) as opened:
        yield opened


def again(service, decision_id, model=None):
    with service.database.reading() as connection:
        return replay(connection, decision_id, model or served_model())


def ids(service):
    return [row[0] for row in service.rows(sa.select(decisions.c.decision_id))]


def event(day, event_type="inquiry"):
    return {"event_type": event_type, "occurred_at": iso(EPOCH_US + day * DAY_US)}


def test_every_decision_comes_out_again_whatever_came_later(service):
    sent = json_leads(4, 30)
    put(service, *sent)
    for day in (1, 2, 3):
        service.now_us += DAY_US
        put(
            service,
            *(
                {**lead, "attributes": {"employees": day}, "events": [event(day)]}
                for lead in sent[::2]
            ),
        )
    assert len(ids(service)) == 30 + 3 * 15
    for decision_id in ids(service):
        found = again(service, decision_id)
        assert found.same == "bit for bit", found
        assert not found.missing


def test_a_flag_that_was_kept_by_the_margin_is_kept_again(database_url):
    with crm(database_url, policy=Policy(margin=50.0)) as service:
        sent = json_leads(4, 30)
        put(service, *sent)
        service.now_us += 90 * DAY_US
        put(service, *({**lead, "attributes": {}, "events": []} for lead in sent))
        whys = [row[0] for row in service.rows(sa.select(decisions.c.why))]
        assert "kept_within_margin" in whys
        assert {again(service, each).same for each in ids(service)} == {"bit for bit"}


def test_decisions_before_and_between_mergers_come_out_again(service):
    sent = json_leads(4, 4)
    names = [lead["lead_id"] for lead in sent]
    put(service, *sent)
    for lead_id, into in pairwise(names):
        answer = service.post(f"/v1/leads/{lead_id}/merge", {"into": into})
        assert answer.status_code == 200, answer.text
    made = service.rows(sa.select(decisions.c.lead_id, decisions.c.features_digest))
    assert [row.lead_id for row in made] == [*names, *names[1:]]
    assert len({row.features_digest for row in made}) == len(made)
    for decision_id in ids(service):
        found = again(service, decision_id)
        assert (found.same, found.missing) == ("bit for bit", ()), found


def test_mergers_that_are_not_kept_are_said_to_be_missing(service):
    put(service, *json_leads(4, 2))
    assert service.post("/v1/leads/L-0/merge", {"into": "L-1"}).status_code == 200
    with service.database.writing() as connection:
        connection.execute(sa.delete(merges))
    found = again(service, ids(service)[-1])
    assert found.same == "no"
    assert found.missing[-1] == "which leads had been merged into it is not kept any more"


def test_a_lead_that_objected_replays_as_it_did(service):
    put(service, *json_leads(4, 1), suppress='["objected"]')
    found = again(service, ids(service)[0])
    assert (found.same, found.now["score"]) == ("bit for bit", None)


def test_what_is_missing_is_said(service):
    put(service, *json_leads(4, 3))
    gone, kept, erased = ids(service)
    with service.database.writing() as connection:
        lead = sa.select(decisions.c.lead_id).where(decisions.c.decision_id == gone)
        connection.execute(sa.delete(events).where(events.c.lead_id == lead.scalar_subquery()))
        lead = sa.select(decisions.c.lead_id).where(decisions.c.decision_id == erased)
        connection.execute(sa.delete(leads).where(leads.c.lead_id == lead.scalar_subquery()))
    assert again(service, kept).same == "bit for bit"
    found = again(service, gone)
    assert (found.same, len(found.missing)) == ("no", 1)
    with pytest.raises(UsageError, match="erased"):
        again(service, erased)
    with pytest.raises(UsageError, match="no decision 999"):
        again(service, 999)


def test_another_model_is_refused(service):
    put(service, *json_leads(4, 1))
    with pytest.raises(UsageError, match="give that one"):
        again(service, ids(service)[0], served_model(6))


def test_the_command_makes_a_decision_again(sqlite_url, tmp_path):
    folder = tmp_path / "model"
    scorer = small_scorer(5).save(folder)
    with crm(sqlite_url, model=ServedModel.of(scorer)) as service:
        put(service, *json_leads(4, 1))
        (decision_id,) = ids(service)
    given = ("--database-url", sqlite_url, "--model", folder, "--json")
    done = run("replay", decision_id, *given)
    assert done.code == 0, done.err
    assert json.loads(done.out)["same"] == "bit for bit"
    small_scorer(6).save(folder)
    assert run("replay", decision_id, *given).code == 4
    assert run("replay", 999, *given).code == 2
    assert run("replay", decision_id, "--model", folder).code == 2
