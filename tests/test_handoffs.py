import threading
from dataclasses import replace

import pytest
import sqlalchemy as sa

from features.history import DAY_US
from serving.served_model import ServedModel
from serving.store import tables
from serving.store.overdue import Overdue
from serving.store.policy import HOUR_US
from tests.sales import (
    add_change,
    add_event,
    add_lead,
    close,
    decide,
    handoffs,
    merge,
    steps,
)
from tests.scorers import AS_OF_US
from tests.states import crm, served_model

MONDAY_US = AS_OF_US // DAY_US * DAY_US - 5 * DAY_US
"""2026-01-31 is a Saturday."""


@pytest.fixture
def service(database_url):
    with crm(database_url) as opened:
        add_lead(opened)
        yield opened


def of_capacity(capacity, stated=True):
    scorer = served_model().scorer
    rule = replace(scorer.rule, kind="capacity", stated=stated, capacity_per_week=capacity)
    return ServedModel.of(replace(scorer, rule=rule))


def only(rows):
    (row,) = rows
    return row


def end(service, lead_id=None, **values):
    """End the newest hand-off (of a lead) as it may be, without the steps to it."""
    of = {} if lead_id is None else {"lead_id": lead_id}
    with service.database.writing() as connection:
        newest = sa.select(sa.func.max(tables.handoffs.c.seq)).filter_by(**of).scalar_subquery()
        own = sa.update(tables.handoffs).where(tables.handoffs.c.seq == newest)
        connection.execute(own.values(**values))


def at_once(threads, work):
    ready, failed = threading.Barrier(threads), []

    def run(number):
        ready.wait()
        try:
            work(number)
        except Exception as error:  # noqa: BLE001
            failed.append(error)

    running = [threading.Thread(target=run, args=(n,)) for n in range(threads)]
    for each in running:
        each.start()
    for each in running:
        each.join()
    assert failed == []


def test_a_flagged_lead_is_proposed_and_the_clock_starts(service):
    decide(service, "L-1")
    row = only(handoffs(service))
    assert (row.kind, row.status, row.episode, row.version) == ("flagged", "proposed", 1, 1)
    assert row.proposed_us == service.now_us
    assert row.due_us == service.now_us + 24 * HOUR_US
    assert steps(service) == [("propose", "proposed")]
    assert service.rows(sa.select(tables.leads.c.episode)) == [(1,)]


@pytest.mark.parametrize("decision", ["nurture", "abstain"])
def test_a_lead_that_is_not_flagged_is_not_proposed(service, decision):
    decide(service, "L-1", decision=decision)
    assert handoffs(service) == []


def test_whatever_is_decided_again_there_is_one_hand_off(service):
    for _ in range(3):
        decide(service, "L-1")
    assert len(handoffs(service)) == 1


def test_many_at_once_propose_a_lead_once(service):
    at_once(16, lambda _: decide(service, "L-1"))
    assert steps(service) == [("propose", "proposed")]


def test_an_inquiry_goes_straight_through_whatever_the_score(service):
    decide(service, "L-1", decision="nurture", score=0.01, inquired=True)
    row = only(handoffs(service))
    assert (row.kind, row.status, row.score) == ("inbound", "proposed", 0.01)
    assert row.due_us == service.now_us + HOUR_US
    decide(service, "L-1", decision="nurture", score=0.01)
    assert only(handoffs(service)).status == "proposed"


def test_an_inquiry_hurries_a_proposal(service):
    decide(service, "L-1")
    service.now_us += HOUR_US
    decide(service, "L-1", inquired=True)
    row = only(handoffs(service))
    assert (row.kind, row.status, row.version) == ("inbound", "proposed", 2)
    assert row.due_us == service.now_us + HOUR_US
    assert row.proposed_us == AS_OF_US
    decide(service, "L-1", inquired=True)
    assert only(handoffs(service)).version == 2


def test_an_inquiry_does_not_give_a_proposal_more_time(service):
    decide(service, "L-1")
    service.now_us += 24 * HOUR_US - 1
    decide(service, "L-1", inquired=True)
    assert only(handoffs(service)).due_us == AS_OF_US + 24 * HOUR_US


@pytest.mark.parametrize(
    "reason", ["opted_out", "objected", "customer", "competitor", "partner", "open_opportunity"]
)
@pytest.mark.parametrize("inquired", [False, True])
def test_suppression_comes_before_anything(service, reason, inquired):
    decide(service, "L-1", suppress=[reason], inquired=inquired)
    assert handoffs(service) == []


@pytest.mark.parametrize("inquired", [False, True])
def test_a_proposal_of_a_lead_that_becomes_suppressed_is_withdrawn(service, inquired):
    decide(service, "L-1", inquired=inquired)
    decide(service, "L-1", suppress=["customer"])
    row = only(handoffs(service))
    assert (row.status, row.why, row.again_on) == ("expired", "suppressed", None)
    reasons = sa.select(tables.steps.c.reason).where(tables.steps.c.version == 2)
    assert service.rows(reasons) == [("customer",)]
    decide(service, "L-1")
    assert [row.status for row in handoffs(service)] == ["expired", "proposed"]


def test_what_sales_works_is_left_alone(service):
    decide(service, "L-1")
    end(service, status="accepted")
    decide(service, "L-1", suppress=["customer"])
    decide(service, "L-1", decision="nurture")
    decide(service, "L-1", inquired=True)
    row = only(handoffs(service))
    assert (row.status, row.kind) == ("accepted", "flagged")


def test_a_proposal_that_has_cooled_expires_and_comes_back_with_engagement(service):
    add_event(service)
    decide(service, "L-1")
    decide(service, "L-1", decision="nurture")
    row = only(handoffs(service))
    assert (row.status, row.why, row.again_on) == ("expired", "cooled", "engagement")
    decide(service, "L-1")
    assert len(handoffs(service)) == 1
    add_event(service)
    decide(service, "L-1")
    assert [(row.status, row.episode) for row in handoffs(service)] == [
        ("expired", 1),
        ("proposed", 2),
    ]


@pytest.mark.parametrize(
    ("event_type", "verified", "comes"),
    [("web_visit", True, True), ("web_visit", False, False), ("call", True, False)],
)
def test_engagement_is_what_the_lead_itself_did(service, event_type, verified, comes):
    decide(service, "L-1")
    decide(service, "L-1", decision="nurture")
    add_event(service, event_type=event_type, verified=verified)
    decide(service, "L-1")
    assert (len(handoffs(service)) == 2) == comes


def test_engagement_of_another_lead_is_none(service):
    add_lead(service, "L-2")
    decide(service, "L-1")
    decide(service, "L-1", decision="nurture")
    add_event(service, "L-2")
    decide(service, "L-1")
    assert len(handoffs(service)) == 1


def test_a_lead_comes_back_when_its_record_was_repaired(service):
    add_change(service)
    decide(service, "L-1")
    end(service, status="rejected", again_on="repair", again_after=1)
    add_event(service)
    decide(service, "L-1")
    assert len(handoffs(service)) == 1
    add_change(service, value="manufacturing")
    decide(service, "L-1")
    assert len(handoffs(service)) == 2


def test_a_lead_rests_until_its_date(service):
    decide(service, "L-1")
    end(service, status="recycled", again_us=service.now_us + 90 * DAY_US)
    add_event(service)
    service.now_us += 90 * DAY_US - 1
    decide(service, "L-1")
    assert len(handoffs(service)) == 1
    service.now_us += 1
    decide(service, "L-1")
    assert len(handoffs(service)) == 2


def test_an_inquiry_does_not_wait_for_a_date(service):
    decide(service, "L-1")
    end(service, status="recycled", again_us=service.now_us + 90 * DAY_US)
    decide(service, "L-1", decision="nurture", inquired=True)
    assert [row.kind for row in handoffs(service)] == ["flagged", "inbound"]


def test_a_lead_that_was_won_never_comes_back_by_itself(service):
    decide(service, "L-1")
    end(service, status="won", again_on="never")
    add_event(service)
    decide(service, "L-1")
    decide(service, "L-1", inquired=True)
    assert len(handoffs(service)) == 1


# Merged leads


def test_a_merged_lead_has_one_open_hand_off(service):
    add_lead(service, "L-2")
    decide(service, "L-1")
    decide(service, "L-2")
    merge(service, "L-2", into="L-1")
    end(service, status="accepted")
    decide(service, "L-1")
    assert [(row.status, row.why) for row in handoffs(service)] == [
        ("expired", "merged"),
        ("accepted", None),
    ]
    end(service, status="recycled", again_us=service.now_us + 1)
    decide(service, "L-1")
    assert len(handoffs(service)) == 2


def test_what_expired_in_a_merger_sets_no_condition(service):
    add_lead(service, "L-2")
    decide(service, "L-1")
    end(service, status="accepted")
    decide(service, "L-2")
    merge(service, "L-2", into="L-1")
    decide(service, "L-1")
    assert [(row.status, row.why) for row in handoffs(service)] == [
        ("accepted", None),
        ("expired", "merged"),
    ]
    end(service, "L-1", status="recycled", again_us=service.now_us + 1)
    add_event(service)
    decide(service, "L-1")
    assert len(handoffs(service)) == 2


# Outcomes that are sent by themselves


@pytest.mark.parametrize("outcome", ["won", "lost"])
def test_an_outcome_ends_what_sales_works(service, outcome):
    decide(service, "L-1")
    end(service, status="contacted")
    service.now_us += HOUR_US
    close(service, outcome)
    decide(service, "L-1")
    row = only(handoffs(service))
    assert (row.status, row.again_on) == (outcome, {"won": "never", "lost": "engagement"}[outcome])
    assert steps(service)[-1] == (outcome, outcome)
    assert service.rows(sa.select(tables.outcomes.c.outcome)) == [(outcome,)]


def test_an_outcome_of_an_earlier_time_leaves_what_sales_works(service):
    decide(service, "L-1")
    end(service, status="contacted")
    close(service, "lost", closed_us=service.now_us - 1)
    decide(service, "L-1")
    assert only(handoffs(service)).status == "contacted"


@pytest.mark.parametrize(("outcome", "on"), [("won", "never"), ("lost", "engagement")])
def test_an_outcome_ends_a_proposal(service, outcome, on):
    decide(service, "L-1")
    close(service, outcome)
    decide(service, "L-1")
    row = only(handoffs(service))
    assert (row.status, row.why, row.again_on) == ("expired", outcome, on)


@pytest.mark.parametrize("inquired", [False, True])
def test_a_lead_that_is_closed_is_not_proposed(service, inquired):
    add_event(service)
    close(service, "lost")
    decide(service, "L-1", inquired=inquired)
    assert handoffs(service) == []
    service.now_us += 1
    add_event(service)
    decide(service, "L-1", inquired=inquired)
    assert only(handoffs(service)).status == "proposed"
    decide(service, "L-1", inquired=inquired)
    assert only(handoffs(service)).status == "proposed"


@pytest.mark.parametrize("inquired", [False, True])
def test_a_lead_that_was_won_elsewhere_is_not_proposed(service, inquired):
    close(service, "won")
    service.now_us += 1
    add_event(service)
    decide(service, "L-1", inquired=inquired)
    assert handoffs(service) == []


def test_a_lead_that_was_won_after_its_last_hand_off_is_not_proposed(service):
    decide(service, "L-1")
    end(service, status="recycled", again_us=service.now_us)
    service.now_us += HOUR_US
    close(service, "won")
    decide(service, "L-1")
    assert len(handoffs(service)) == 1


# Capacity


def test_beyond_the_capacity_of_a_week_the_best_are_proposed(service):
    service.slot.model = of_capacity(2)
    names = ["L-1", "L-2", "L-3", "L-4"]
    for name in names:
        add_lead(service, name)
    decide(service, *names, score=[0.7, 0.9, 0.8, 0.9])
    assert {row.lead_id: row.status for row in handoffs(service)} == {
        "L-1": "waiting",
        "L-2": "proposed",
        "L-3": "waiting",
        "L-4": "proposed",
    }
    waits = only(handoffs(service, lead_id="L-3"))
    assert (waits.proposed_us, waits.due_us, waits.why) == (None, None, "over_capacity")
    assert steps(service, "L-3") == [("wait", "waiting")]


def test_an_unstated_rule_has_no_weekly_limit(service):
    service.slot.model = of_capacity(1, stated=False)
    for name in ("L-1", "L-2"):
        add_lead(service, name)
    decide(service, "L-1", "L-2")
    assert [row.status for row in handoffs(service)] == ["proposed", "proposed"]


def test_places_are_free_again_on_monday_for_the_best(service):
    service.slot.model, service.now_us = of_capacity(1), MONDAY_US
    for name in ("L-1", "L-2", "L-3"):
        add_lead(service, name)
    decide(service, "L-1", "L-2", "L-3", score=[0.9, 0.7, 0.8])
    overdue = Overdue(service.database, service.slot, service.policy)
    service.now_us += 7 * DAY_US - 1
    overdue.run(service.now_us)
    assert [row.status for row in handoffs(service)] == ["expired", "waiting", "waiting"]
    service.now_us += 1
    overdue.run(service.now_us)
    assert [row.status for row in handoffs(service)] == ["expired", "waiting", "proposed"]
    row = only(handoffs(service, lead_id="L-3"))
    assert row.proposed_us == service.now_us
    assert row.due_us == service.now_us + 24 * HOUR_US
    assert steps(service, "L-3") == [("wait", "waiting"), ("propose", "proposed")]


def test_one_that_waits_has_the_score_that_it_has_now(service):
    service.slot.model = of_capacity(1)
    for name in ("L-1", "L-2", "L-3"):
        add_lead(service, name)
    decide(service, "L-1", "L-2", "L-3", score=[0.9, 0.8, 0.7])
    decide(service, "L-3", score=0.95)
    service.slot.model = of_capacity(2)
    Overdue(service.database, service.slot, service.policy).run(service.now_us)
    assert {row.lead_id: (row.status, row.score) for row in handoffs(service)} == {
        "L-1": ("proposed", 0.9),
        "L-2": ("waiting", 0.8),
        "L-3": ("proposed", 0.95),
    }


def test_inquiries_do_not_wait_but_count(service):
    service.slot.model = of_capacity(1)
    for name in ("L-1", "L-2", "L-3"):
        add_lead(service, name)
    decide(service, "L-1", inquired=True)
    decide(service, "L-2")
    decide(service, "L-3", inquired=True)
    assert [row.status for row in handoffs(service)] == ["proposed", "waiting", "proposed"]
    decide(service, "L-2", inquired=True)
    row = only(handoffs(service, lead_id="L-2"))
    assert (row.status, row.kind) == ("proposed", "inbound")
    assert row.due_us == service.now_us + HOUR_US


def test_one_that_waits_and_cools_was_never_proposed(service):
    service.slot.model = of_capacity(1)
    for name in ("L-1", "L-2"):
        add_lead(service, name)
    decide(service, "L-1", "L-2", score=[0.9, 0.8])
    decide(service, "L-2", decision="nurture")
    row = only(handoffs(service, lead_id="L-2"))
    assert (row.status, row.why, row.proposed_us) == ("expired", "cooled", None)


def test_many_at_once_keep_the_capacity(service):
    service.slot.model = of_capacity(5)
    names = [f"L-{n}" for n in range(16)]
    for name in names:
        add_lead(service, name)
    at_once(16, lambda n: decide(service, names[n], score=n / 16))
    found = [row.status for row in handoffs(service)]
    assert (found.count("proposed"), found.count("waiting")) == (5, 11)


def test_a_rule_without_a_limit_proposes_all_that_wait(service):
    service.slot.model = of_capacity(1)
    names = [f"L-{n}" for n in range(5)]
    for name in names:
        add_lead(service, name)
    decide(service, *names)
    service.slot.model = served_model()
    Overdue(service.database, service.slot, service.policy).run(service.now_us)
    assert {row.status for row in handoffs(service)} == {"proposed"}


# The clock


def test_what_nobody_took_in_time_goes_back_to_marketing(service):
    overdue = Overdue(service.database, service.slot, service.policy)
    decide(service, "L-1")
    service.now_us += 24 * HOUR_US - 1
    assert overdue.run(service.now_us) == 0
    service.now_us += 1
    assert overdue.run(service.now_us) == 1
    row = only(handoffs(service))
    assert (row.status, row.why, row.again_on) == ("expired", "sla", "engagement")
    assert steps(service) == [("propose", "proposed"), ("expire", "expired")]
    assert overdue.run(service.now_us) == 0
    decide(service, "L-1")
    assert len(handoffs(service)) == 1


def test_what_was_accepted_does_not_expire(service):
    decide(service, "L-1")
    end(service, status="accepted")
    service.now_us += 48 * HOUR_US
    assert Overdue(service.database, service.slot, service.policy).run(service.now_us) == 0


def test_of_several_processes_one_expires(service):
    names = [f"L-{n}" for n in range(30)]
    for name in names:
        add_lead(service, name)
    decide(service, *names)
    service.now_us += 24 * HOUR_US
    overdue = Overdue(service.database, service.slot, service.policy)
    expired = []
    at_once(4, lambda _: expired.append(overdue.run(service.now_us)))
    assert sum(expired) == 30
    assert service.rows(sa.select(sa.func.count(tables.steps.c.version))) == [(60,)]


def test_without_a_model_proposals_still_expire(service):
    decide(service, "L-1")
    service.slot.model = None
    service.now_us += 24 * HOUR_US
    assert Overdue(service.database, service.slot, service.policy).run(service.now_us) == 1
