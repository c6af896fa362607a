"""What fails around the service: a 503 where it cannot do its work, and it recovers by itself."""

import http.client
import threading
import time

import psutil
import pytest
import sqlalchemy as sa

from features.moments import iso
from serving.http import state
from serving.store.database import Database, DatabaseError
from serving.store.tables import audit, events
from tests.postgres import postgres_server, server_url
from tests.running import key_of, running
from tests.scorers import EPOCH_US, json_leads, small_scorer
from tests.states import crm, put

EVENT = {"lead_id": "L-1", "event_type": "web_visit", "occurred_at": "2026-01-02T00:00:00Z"}
ENDPOINT = {"url": "https://crm.example/leadqual", "types": ["lead.erased"]}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults") / "model"
    small_scorer(5).save(folder)
    return folder


def is_refused(answer):
    return (answer.status_code, answer.headers.get("retry-after")) == (503, "5")


@pytest.mark.postgres
def test_a_database_that_is_stopped_is_a_503_and_it_goes_on_when_it_is_back():
    with postgres_server() as server:
        url = server_url(server).render_as_string(hide_password=False)
        with crm(url) as service:
            added = service.post("/v1/webhooks", ENDPOINT).json()
            pulse = service.app.state.pulse
            server.stop()
            for answer in (
                service.post("/v1/webhooks", ENDPOINT),
                service.get("/v1/leads/L-1"),
                service.get("/v1/handoffs"),
            ):
                assert is_refused(answer)
                assert answer.json()["errors"][0]["code"] == "no_database"
            with pytest.raises(DatabaseError):
                pulse.beat()
            assert is_refused(service.get("/readyz"))
            assert service.get("/livez").status_code == 200
            server.start()
            assert service.post("/v1/webhooks", ENDPOINT).status_code == 200
            pulse.beat()
            assert service.get("/readyz").status_code == 200
            listed = service.get("/v1/webhooks").json()["items"]
            assert added["endpoint_id"] in {item["endpoint_id"] for item in listed}
            assert len(listed) == 2


def test_a_disk_that_is_full_is_a_503_nothing_acknowledged_is_lost_and_it_goes_on(sqlite_url):
    with crm(sqlite_url) as service:
        endpoint = service.post("/v1/webhooks", ENDPOINT).json()["endpoint_id"]
        most = _pages_of(service.database)
        rotated = 0
        while (answer := _rotate(service, endpoint)).status_code == 200:
            rotated += 1
            assert rotated < 5_000
        assert is_refused(answer)
        leads = json_leads(1, 3)
        assert service.post("/v1/score", {"leads": leads}).status_code == 200
        assert len(_rotations(service)) == rotated
        most.clear()
        service.database.close()  # as when space was made: its connections know no limit
        assert _rotate(service, endpoint).status_code == 200
        assert len(_rotations(service)) == rotated + 1


def _pages_of(database):
    """Let the file grow by few pages only, until the list is emptied."""
    with database.reading() as connection:
        most = [connection.exec_driver_sql("PRAGMA page_count").scalar_one() + 2]

    @sa.event.listens_for(database.engine, "connect")
    def limit(connection, _record):
        for pages in most:
            connection.execute(f"PRAGMA max_page_count={pages}")

    database.close()
    return most


def _rotate(service, endpoint):
    return service.post(f"/v1/webhooks/{endpoint}/rotate", {})


def _rotations(service):
    route = "POST /v1/webhooks/{endpoint_id}/rotate"
    return service.rows(sa.select(audit.c.audit_id).where(audit.c.action == route))


def test_sigterm_while_many_write_loses_nothing_that_was_acknowledged(model, sqlite_url):
    token = key_of(sqlite_url)
    options = f"--model={model}", f"--database-url={sqlite_url}"
    with running(*options, LEADQUAL_RATE_LIMIT_PER_SECOND="0") as service:
        service.until(200, "GET", "/readyz")
        leads = {"leads": [{"lead_id": "L-1", "created_at": "2026-01-01T00:00:00Z"}]}
        assert service.ask("POST", "/v1/leads", token, leads)[0] == 200
        acknowledged: list[str] = []
        cut: list[str] = []

        def send(sender):
            for number in range(100_000):
                event = EVENT | {"event_id": f"E-{sender}-{number}"}
                try:
                    status, _, answer = service.ask(
                        "POST", "/v1/events", token, {"events": [event]}
                    )
                except (OSError, http.client.HTTPException):
                    cut.append(event["event_id"])
                    return
                assert (status, answer["results"][0]["status"]) == (200, "stored")
                acknowledged.append(event["event_id"])

        senders = [threading.Thread(target=send, args=(n,)) for n in range(4)]
        for sender in senders:
            sender.start()
        while len(acknowledged) < 40:
            time.sleep(0.01)
        took = service.terminate()
        for sender in senders:
            sender.join()
    assert took < 20
    assert service.process.returncode == 0
    database = Database.open(sqlite_url)
    with database.reading() as connection:
        stored = set(connection.execute(sa.select(events.c.event_id)).scalars())
    database.close()
    assert set(acknowledged) <= stored <= {*acknowledged, *cut}
    assert not [line for line in service.lines if line["level"] == "ERROR"]


@pytest.mark.postgres
def test_sigterm_ends_it_though_the_database_hangs(model):
    with postgres_server() as server:
        url = server_url(server).render_as_string(hide_password=False)
        token = key_of(url)
        with running(f"--model={model}", f"--database-url={url}") as service:
            service.until(200, "GET", "/readyz")
            assert service.ask("POST", "/v1/webhooks", token, ENDPOINT)[0] == 200
            frozen = _family(server.get_postmaster_info().pid)
            try:
                for each in frozen:
                    each.suspend()
                cut: list[int] = []
                waiting = threading.Thread(target=_add, args=(service, token, cut))
                waiting.start()
                assert service.until(503, "GET", "/readyz")["errors"][0]["code"] == "no_database"
                assert service.ask("GET", "/livez")[0] == 200
                took = service.terminate()
            finally:
                for each in frozen:
                    each.resume()
            waiting.join()
            assert took < 20
            assert cut == [503]
            assert service.process.returncode is not None


@pytest.mark.postgres
def test_no_request_waits_for_a_database_that_hangs(monkeypatch):
    monkeypatch.setattr(state, "ANSWER_SECONDS", 0.5)
    with postgres_server() as server:
        url = server_url(server).render_as_string(hide_password=False)
        with crm(url) as service:
            put(service, {"lead_id": "L-1", "created_at": iso(EPOCH_US)})
            assert service.get("/v1/leads/L-1").status_code == 200
            frozen = _family(server.get_postmaster_info().pid)
            for each in frozen:
                each.suspend()
            try:
                wrote = service.send_at_once(9, "POST", "/v1/webhooks", json=ENDPOINT)
                read = service.send_at_once(9, "GET", "/v1/leads/L-1")
            finally:
                for each in frozen:
                    each.resume()
            while service.database.engine.pool.checkedout():
                time.sleep(0.05)
            for answer in (*wrote, *read):
                assert is_refused(answer)
            assert service.get("/v1/leads/L-1").status_code == 200


def _family(pid):
    first = psutil.Process(pid)
    return [first, *first.children(recursive=True)]


def _add(service, token, statuses):
    statuses.append(service.ask("POST", "/v1/webhooks", token, ENDPOINT)[0])


def test_killed_again_and_again_it_keeps_every_event_once(model, database_url):
    token = key_of(database_url)
    options = f"--model={model}", f"--database-url={database_url}"
    created = {"created_at": "2026-01-01T00:00:00Z"}
    leads = {"leads": [{"lead_id": f"L-{n}", **created} for n in range(20)]}
    sent = [
        EVENT | {"event_id": f"E-{n}", "lead_id": f"L-{n % 20}", "event_type": "inquiry"}
        for n in range(400)
    ]
    waiting = [*sent[::-1], *sent[::3]]  # a third of them twice
    lock = threading.Lock()
    alive: list = []

    def send():
        while waiting:
            with lock:
                some = [waiting.pop() for _ in range(min(5, len(waiting)))]
            try:
                status, _, answer = alive[-1].ask("POST", "/v1/events", token, {"events": some})
            except (OSError, http.client.HTTPException):
                status = 0
            if status == 200:
                assert {each["status"] for each in answer["results"]} <= {"stored", "duplicate"}
                continue
            with lock:
                waiting.extend(some)
            time.sleep(0.1)

    senders = [threading.Thread(target=send) for _ in range(4)]
    for kills in range(3):
        with running(*options, LEADQUAL_POLICY__INBOUND_DAYS="3650") as service:
            alive.append(service)
            if not kills:
                assert service.ask("POST", "/v1/leads", token, leads)[0] == 200
                for sender in senders:
                    sender.start()
            if kills == 2:
                for sender in senders:
                    sender.join()
                handoffs = service.ask("GET", "/v1/handoffs?limit=200", token)[2]["items"]
            else:
                time.sleep(0.5)  # and it is killed
    database = Database.open(database_url)
    with database.reading() as connection:
        stored = connection.execute(sa.select(events.c.event_id)).scalars().all()
    database.close()
    assert sorted(stored) == sorted(event["event_id"] for event in sent)
    assert sorted(each["lead_id"] for each in handoffs) == sorted(f"L-{n}" for n in range(20))
