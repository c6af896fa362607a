"""What machines do in a lead's name is marked, kept, and counted apart."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import sqlalchemy as sa

from features.history import DAY_US
from features.moments import iso, to_us
from serving.served_model import ServedModel
from serving.store.database import Database
from serving.store.items import Event
from serving.store.replay import replay
from serving.store.tables import decisions, events
from serving.store.verification import CLICK, OPEN, machine_made, mark
from tests.scorers import EPOCH_US, SPEC, small_scorer
from tests.states import crm, sqlite_steps
from training.simulator import HOUR_US, NOW_US, simulate

SECOND_US = 1_000_000
SENT, DELIVERED = "newsletter_sent", "newsletter_delivered"


def marked(*mail):
    """Tell of (kind, second) whether a machine made it."""
    ordered = sorted(mail, key=lambda each: each[1])
    made = machine_made([kind for kind, _ in ordered], [s * SECOND_US for _, s in ordered])
    return [each for each, machine in zip(ordered, made, strict=True) if machine]


@pytest.mark.parametrize(
    ("mail", "machine"),
    [
        ([(OPEN, 0), (CLICK, 4)], []),
        ([(CLICK, 0), (CLICK, 1)], []),
        ([(CLICK, 0), (CLICK, 15), (CLICK, 30)], [0, 15, 30]),
        ([(CLICK, 0), (CLICK, 15), (CLICK, 31)], []),
        ([(CLICK, 0), (CLICK, 20), (CLICK, 30), (CLICK, 50)], [0, 20, 30, 50]),
        ([(OPEN, -30), (CLICK, 0), (CLICK, 0), (CLICK, 0), (OPEN, 30)], [-30, 0, 0, 0, 30]),
        ([(OPEN, -31), (CLICK, 0), (CLICK, 0), (CLICK, 0), (OPEN, 31)], [0, 0, 0]),
        ([(OPEN, 0), (OPEN, 1), (OPEN, 2)], [0, 1, 2]),
        ([(OPEN, 0), (OPEN, 1), (CLICK, 2)], []),
        ([(SENT, 0), (OPEN, 10), (CLICK, 11)], [10]),
        ([(DELIVERED, 0), (CLICK, 9)], [9]),
        ([(OPEN, 0), (DELIVERED, 1)], []),
    ],
)
def test_what_a_machine_made(mail, machine):
    assert [second for _, second in marked(*mail)] == machine


@pytest.fixture
def service(database_url):
    """A CRM whose model knows newsletters."""
    spec = replace(SPEC, types=("inquiry", CLICK, OPEN, "seminar_attended"))
    with crm(database_url, model=ServedModel.of(small_scorer(5, spec))) as opened:
        yield opened


def mail(event_id, kind, seconds, lead_id="L-1"):
    at = iso(EPOCH_US + 20 * DAY_US + seconds * SECOND_US)
    return {"event_id": event_id, "lead_id": lead_id, "event_type": kind, "occurred_at": at}


BURST = [mail("o", OPEN, 0), *(mail(f"c-{n}", CLICK, 2 + n) for n in range(3))]
ALONE = [mail("far", CLICK, 500), mail("other", CLICK, 3, "L-2")]


def send(service, *items):
    answer = service.post("/v1/events", {"events": list(items)})
    assert {each["status"] for each in answer.json()["results"]} == {"stored"}


def new_leads(service, *ids):
    made = [{"lead_id": each, "created_at": iso(EPOCH_US)} for each in ids]
    assert service.post("/v1/leads", {"leads": made}).status_code == 200


def unverified(service):
    rows = service.rows(sa.select(events.c.event_id).where(~events.c.verified))
    return {row.event_id for row in rows}


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
def test_a_burst_is_marked_in_whatever_order_and_batches_it_comes(service, order, cut):
    new_leads(service, "L-1")
    ordered = [BURST[at] for at in order]
    for some in (ordered[:cut], ordered[cut:]):
        service.now_us += 1
        if some:
            send(service, *some)
    assert unverified(service) == {"o", "c-0", "c-1", "c-2"}


def test_only_what_the_rule_marks_is_unverified(service):
    send(service, *BURST, *ALONE, mail("v", "web_visit", 3))
    assert unverified(service) == {"o", "c-0", "c-1", "c-2"}


def test_bursts_of_many_leads_and_days_are_found_in_one_batch(service):
    burst = [
        mail(f"{lead_id}/{day}/{n}", CLICK, day * 86_400 + 14 * n, lead_id)
        for lead_id in map(str, range(40))
        for day in (0, 1, 9)
        for n in range(3)
    ]
    alone = [mail(f"alone {n}", CLICK, 3_600 * n, "alone") for n in range(80)]
    last = burst[2::3]
    send(service, *(each for each in burst if each not in last), *alone)
    service.now_us += 1
    assert unverified(service) == set()
    send(service, *last)
    assert unverified(service) == {each["event_id"] for each in burst}


def test_what_lies_near_the_first_of_a_batch_is_seen_whatever_comes_after_it(service):
    send(service, mail("c-0", CLICK, 0), mail("c-1", CLICK, 1))
    service.now_us += 1
    send(service, mail("c-2", CLICK, 2), mail("later", OPEN, 100))
    assert unverified(service) == {"c-0", "c-1", "c-2"}


def test_judging_an_event_does_not_take_longer_with_the_history_of_its_lead(sqlite_url):
    database, steps = Database.open(sqlite_url), {}
    with database.writing() as connection:
        for lead_id, earlier in (("short", 100), ("long", 10_000)):
            at = {"lead_id": lead_id, "event_type": OPEN, "source": "crm", "verified": True}
            rows = [
                {"event_id": f"{lead_id}/{n}", "occurred_us": n * DAY_US, "received_us": 1, **at}
                for n in range(earlier)
            ]
            connection.execute(events.insert(), rows)
            new = Event("crm", "new", lead_id, OPEN, DAY_US, DAY_US)
            steps[lead_id] = sqlite_steps(
                connection, lambda new=new: mark(connection, [new], DAY_US)
            )
    database.close()
    assert 0 < steps["long"] < 2 * steps["short"]


def test_a_burst_counts_as_a_type_of_its_own(service):
    new_leads(service, "L-1")
    send(service, *BURST)
    found = service.get("/v1/leads/L-1").json()
    named = {suffix: _score(service, suffix) for suffix in ("", "_unverified")}
    assert found["events"] == 4
    assert found["current"]["score"] == named["_unverified"] != named[""]


def _score(service, suffix):
    kept = ("event_id", "occurred_at")
    renamed = [
        {name: each[name] for name in kept} | {"event_type": each["event_type"] + suffix}
        for each in BURST
    ]
    one = {"lead_id": "L-1", "created_at": iso(EPOCH_US), "events": renamed}
    body = {"leads": [one], "as_of": iso(service.now_us)}
    return service.post("/v1/score", body).json()["results"][0]["score"]


def test_a_score_from_before_the_burst_was_seen_can_be_made_again(service):
    new_leads(service, "L-1")
    send(service, *BURST[:3])
    before = service.rows(sa.select(sa.func.max(decisions.c.decision_id)))[0][0]
    service.now_us += 1
    send(service, BURST[3])
    with service.database.reading() as connection:
        assert replay(connection, before, service.slot.model).same == "bit for bit"
        assert replay(connection, before + 1, service.slot.model).same == "bit for bit"


def test_the_rule_finds_the_scanners_of_the_simulated_world_and_nobody_else():
    world = simulate(leads=2_000, months=6, seed=3, scenario="bots")
    mail = world.events.filter(pc.is_in(world.events["event_type"], pa.array([OPEN, CLICK])))
    since_us = NOW_US - 5 * DAY_US + 10 * HOUR_US  # the last newsletter; one each four weeks
    of_lead: dict[str, list] = {}
    for row in mail.to_pylist():
        of_lead.setdefault(row["lead_id"], []).append(
            (to_us(row["occurred_at"]), row["event_type"])
        )
    found = {True: [0, 0], False: [0, 0]}
    for rows in of_lead.values():
        rows.sort()
        made = machine_made([kind for _, kind in rows], [us for us, _ in rows])
        for (us, _), machine in zip(rows, made, strict=True):
            scanner = (us - since_us) % (28 * DAY_US) < 30 * SECOND_US
            found[scanner][machine] += 1
    assert found[True][True] > 1_000
    assert found[True][False] == 0
    assert found[False][True] <= 2
    assert found[False][False] > 1_000
