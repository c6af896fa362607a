"""What the service tells whoever runs it: readiness, metrics, log lines."""

import asyncio
import json
import logging
import re
import time
from dataclasses import replace

import pytest
import sqlalchemy as sa

from features.moments import iso
from serving import logs
from serving.store import figures, outbox
from serving.store.database import DatabaseError
from serving.store.pulse import HANGS_AFTER_SECONDS, Pulse
from serving.store.tables import endpoints, events, handoffs, leads
from tests.scorers import AS_OF_US, EPOCH_US
from tests.states import crm, put

SECOND_US = 1_000_000


@pytest.fixture
def service(database_url):
    with crm(database_url) as opened:
        yield opened


def lead(lead_id="L-1", *occurred_us):
    happened = [{"event_type": "inquiry", "occurred_at": iso(moment)} for moment in occurred_us]
    return {"lead_id": lead_id, "created_at": iso(EPOCH_US), "events": happened}


def pulse_of(service):
    return service.app.state.pulse


def read(service, now_us=None):
    with service.database.reading() as connection:
        return figures.read(connection, now_us or service.now_us)


def test_an_empty_database_has_figures(service):
    assert read(service) == figures.Figures()


def test_figures_count_what_stands_in_the_database(service):
    put(service, lead("L-1", AS_OF_US - 10 * SECOND_US), lead("L-2", AS_OF_US - 30 * SECOND_US))
    put(service, lead("L-3"), model=None)
    found = read(service, service.now_us + 60 * SECOND_US)
    assert found.decisions == 2
    assert found.stale == 1
    assert found.lag_seconds == {0.5: 30.0, 0.95: 30.0}
    assert found.last_event_age_seconds == 60.0
    assert sum(found.handoffs.values()) == len(service.rows(sa.select(handoffs.c.seq)))


def test_the_outbox_is_as_deep_as_what_is_still_to_be_delivered(service):
    with service.database.writing() as connection:
        row = {"endpoint_id": "ep", "url": "https://example.com", "types": "[]", "secrets": "[]"}
        connection.execute(endpoints.insert().values(row | {"created_us": service.now_us}))
        for later in (0, 5):
            moment = service.now_us + later * SECOND_US
            outbox.put(connection, "lead.erased", f"L-{later}", {}, moment)
    found = read(service, service.now_us + 65 * SECOND_US)
    assert (found.outbox, found.outbox_age_seconds) == (2, 65.0)


def test_ages_are_never_negative_when_the_clock_steps_back(service):
    put(service, lead("L-1", AS_OF_US + 100 * SECOND_US))
    found = read(service, service.now_us - 3_600 * SECOND_US)
    assert found.last_event_age_seconds == 0.0
    assert found.lag_seconds == {0.5: 0.0, 0.95: 0.0}


def test_after_the_clock_stepped_back_the_order_is_that_of_receipt(service):
    """What is received by a clock that was put back counts, at the moment of what came before."""
    put(service, lead("L-1", AS_OF_US - 86_400 * SECOND_US))
    service.now_us -= 3_600 * SECOND_US
    put(service, lead("L-1", AS_OF_US - 7_200 * SECOND_US))
    found = service.get("/v1/leads/L-1").json()
    assert found["events"] == 2
    history = service.get("/v1/leads/L-1/history").json()["items"]
    assert [each["as_of"] for each in history] == [iso(AS_OF_US)] * 2
    assert found["as_of"] == iso(AS_OF_US)
    seqs = [row.seq for row in service.rows(sa.select(events.c.seq).order_by(events.c.seq))]
    assert len(set(seqs)) == 2


def test_metrics_tell_the_figures_and_that_the_database_is_up(service):
    put(service, lead("L-1", AS_OF_US - 10 * SECOND_US))
    assert "leadqual_figures_age_seconds" not in service.get("/metrics").text
    pulse_of(service).beat()
    pulse_of(service).count(service.now_us)
    text = service.get("/metrics").text
    for line in (
        "leadqual_database_up 1.0",
        "leadqual_decisions_stored_total 1.0",
        "leadqual_outbox_depth 0.0",
        "leadqual_outbox_age_seconds 0.0",
        "leadqual_leads_stale 0.0",
        'leadqual_event_lag_seconds{quantile="0.5"} 10.0',
        "leadqual_last_event_age_seconds 0.0",
        "leadqual_model_loaded 1.0",
    ):
        assert line in text
    (age,) = re.findall(r"^leadqual_figures_age_seconds (.*)$", text, re.M)
    assert 0 <= float(age) < 60


def items(service):
    """Return what is counted of items, by route and result, where it is not 0."""
    line = r'^leadqual_items_total\{result="(\w+)",route="(.*)"\} (.*)$'
    found = re.findall(line, service.get("/metrics").text, re.M)
    return {(route, result): int(float(count)) for result, route, count in found if float(count)}


def test_what_became_of_items_is_counted_by_route(service):
    record = {"lead_id": "L-1", "created_at": iso(EPOCH_US)}
    event = {"event_id": "E-1", "lead_id": "L-1", "event_type": "x", "occurred_at": iso(EPOCH_US)}
    outcome = {"lead_id": "L-1", "closed_at": iso(EPOCH_US), "outcome": "won"}
    message = {"type": "track", "messageId": "m", "userId": "L-1", "event": "y"}
    assert items(service) == {}
    news = record | {"attributes": {"industry": "it"}}
    service.post("/v1/leads", {"leads": [record, record, news, {"lead_id": "L-2"}]})
    both = {"events": [event, event, event | {"value": 2}]}
    for _ in range(2):  # the answer that is given again counts once
        service.post("/v1/events", both, headers={"idempotency-key": "once"})
    service.post("/v1/outcomes", {"outcomes": [outcome]})
    service.post("/v1/batch", {"batch": [message, {"type": "page"}]})
    service.post("/v1/leads/L-1/merge", {"into": "L-1"})
    assert items(service) == {
        ("/v1/leads", "stored"): 1,
        ("/v1/leads", "duplicate"): 1,
        ("/v1/leads", "updated"): 1,
        ("/v1/leads", "rejected"): 1,
        ("/v1/events", "stored"): 1,
        ("/v1/events", "duplicate"): 1,
        ("/v1/events", "conflict"): 1,
        ("/v1/outcomes", "stored"): 1,
        ("/v1/batch", "stored"): 1,
        ("/v1/batch", "rejected"): 1,
    }


def test_what_is_not_kept_is_not_counted(service):
    event = {"event_id": "E-1", "lead_id": "L-1", "event_type": "x", "occurred_at": iso(EPOCH_US)}

    def full(_connection):
        raise DatabaseError("the disk is full")

    sa.event.listen(service.database.engine, "commit", full)
    assert service.post("/v1/events", {"events": [event]}).status_code == 503
    sa.event.remove(service.database.engine, "commit", full)
    assert items(service) == {}
    service.post("/v1/events", {"events": [event]})
    assert items(service) == {("/v1/events", "stored"): 1}


def test_every_chore_is_told_of_from_the_start(service):
    found = service.get("/metrics").text
    told = re.findall(r'^leadqual_chore_failures_total\{chore="(\w+)"\} 0.0$', found, re.M)
    assert sorted(told) == ["deliver", "figures", "keys", "overdue", "pulse", "rescore", "retain"]


class Refusing:
    """A database that is down, or hangs."""

    def __init__(self, error=None):
        self.error = error

    def reading(self):
        raise self.error


def test_readiness_follows_the_database(service, monkeypatch):
    pulse = pulse_of(service)
    assert service.get("/readyz").json()["status"] == "ready"
    monkeypatch.setattr(pulse, "database", Refusing(DatabaseError("down")))
    with pytest.raises(DatabaseError):
        pulse.beat()
    refused = service.get("/readyz")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert refused.json()["errors"][0]["code"] == "no_database"
    assert "leadqual_database_up 0.0" in service.get("/metrics").text
    assert service.get("/livez").status_code == 200
    monkeypatch.undo()
    pulse.beat()
    assert service.get("/readyz").status_code == 200


def test_a_database_that_hangs_is_not_up(service):
    pulse = Pulse(service.database)
    pulse._asked = time.perf_counter() - HANGS_AFTER_SECONDS + 60
    assert pulse.up
    pulse._asked -= 60
    assert not pulse.up


def test_an_application_that_runs_counts_by_itself(service):
    async def lived():
        async with service.app.router.lifespan_context(service.app):
            for _ in range(100):
                if pulse_of(service).figures is not None:
                    return
                await asyncio.sleep(0.1)

    asyncio.run(lived())
    assert pulse_of(service).figures == figures.Figures()


# --- the log ---


@pytest.fixture
def lines(caplog):
    """What the process would write, as JSON."""

    def written():
        own = (record for record in caplog.records if record.name.startswith("serving"))
        return [json.loads(logs.JsonLines().format(record)) for record in own]

    with caplog.at_level(logging.DEBUG, "serving"):
        yield written


def requests(lines):
    return [line for line in lines() if line["logger"] == "serving.access"]


def test_every_request_is_one_line(service, lines):
    service.get("/v1/leads/yamada?cursor=suzuki")
    service.get("/nowhere/tanaka")
    first, second = requests(lines)
    assert first["message"] == "request"
    assert (first["method"], first["route"], first["status"]) == (
        "GET",
        "/v1/leads/{lead_id}",
        404,
    )
    assert first["ms"] > 0
    assert f"lk_{first['key_id']}_" in service.token
    assert (second["route"], second["key_id"]) == ("unmatched", None)


def test_probes_are_logged_for_debugging_only(service, lines):
    service.get("/readyz")
    assert [line["level"] for line in requests(lines)] == ["DEBUG"]


def test_no_line_holds_a_lead_or_a_key(service, lines):
    strange = replace(service.slot.model, attributes=None)
    for model in (service.slot.model, strange):  # answered, and failing on a bug
        service.slot.model = model
        body = {"leads": [lead("yamada@example.com", AS_OF_US)]}
        body["leads"][0]["attributes"] = {"industry": "suzuki"}
        service.post("/v1/score", body)
        service.get("/v1/leads/yamada@example.com/history?cursor=suzuki")
        service.post("/v1/score?yamada", {"yamada": "suzuki"}, headers={"suzuki": "yamada"})
        service.get("/v1/yamada", token="lk_0123456789ab_" + "yamada0".ljust(43, "x"))
    text = json.dumps(lines())
    assert "yamada" not in text
    assert "suzuki" not in text
    assert service.token.split("_", 2)[2] not in text
    assert len(requests(lines)) == 8


def test_leads_that_were_merged_away_are_not_stale(service):
    put(service, lead("L-1"), model=None)
    assert read(service).stale == 1
    with service.database.writing() as connection:
        connection.execute(leads.update().values(merged_into="L-2"))
    assert read(service).stale == 0
