import base64
import time

import pytest

from serving.http import gate
from serving.http.gate import MOST_FAILURES, SECOND_US
from serving.http.rate_limits import RateLimit
from serving.store import keys
from serving.store.database import DatabaseError
from tests.scorers import json_leads
from tests.states import crm


@pytest.fixture
def service(database_url):
    with crm(database_url) as opened:
        yield opened


@pytest.fixture
def embedded(sqlite_url):
    """Where the database makes no difference."""
    with crm(sqlite_url) as opened:
        yield opened


def score(service, **options):
    return service.post("/v1/score", {"leads": json_leads(1, 1)}, **options)


def code(answer):
    return answer.status_code, answer.json()["errors"][0]["code"]


def revoke(service, token):
    with service.database.writing() as connection:
        keys.revoke(connection, token.split("_")[1], service.now_us)


def gate_of(service):
    return service.app.state.gate


def stop(service, monkeypatch):
    """Let the database be away; returned is what grows with each time it is asked."""
    lookups = []

    def refuse():
        lookups.append(1)
        raise DatabaseError("gone")

    monkeypatch.setattr(type(service.database), "reading", lambda _self: refuse())
    return lookups


def test_a_key_opens_the_routes_of_its_scopes(service):
    assert score(service).status_code == 200
    reader = service.key("reader", ["read"])
    refused = score(service, token=reader)
    assert code(refused) == (403, "forbidden")


def test_a_key_may_come_as_the_basic_user_name(service):
    given = base64.b64encode(f"{service.token}:".encode()).decode()
    assert score(service, headers={"authorization": f"Basic {given}"}).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        *("", "Bearer ", "Bearer lk_0_0", "Basic ä", "Basic !", "lk_"),
        "Basic " + base64.b64encode(b"lk_\0:").decode(),
        "Basic " + base64.b64encode("lk_\ud83d:".encode("utf-8", "surrogatepass")).decode(),
        "Bearer " + "lk_0123456789ab_" + "x" * 43,
        "Bearer ' OR 1=1 --",
    ],
)
def test_without_a_key_that_lives_nothing_is_answered(service, header):
    refused = score(service, headers={"authorization": header.encode()})
    assert refused.status_code == 401
    assert "Bearer" in refused.headers["www-authenticate"]


def test_a_key_with_another_secret_is_nobodys_however_often_the_right_one_was_used(embedded):
    wrong = embedded.token[:-1] + ("A" if embedded.token[-1] != "A" else "B")
    for _ in range(2):
        assert score(embedded).status_code == 200
        assert score(embedded, token=wrong).status_code == 401


def test_a_revoked_key_ends_within_five_seconds(service):
    assert score(service).status_code == 200
    revoke(service, service.token)
    service.now_us += 5 * SECOND_US
    assert score(service).status_code == 401
    assert score(service).status_code == 401


def test_a_key_that_expires_is_not_let_through_by_memory(embedded):
    with embedded.database.writing() as connection:
        short = keys.create(connection, "short", ["score"], embedded.now_us, embedded.now_us + 2)
    embedded.now_us += 1
    assert score(embedded, token=short).status_code == 200
    embedded.now_us += 1
    assert score(embedded, token=short).status_code == 401


def test_a_key_is_looked_up_once_in_five_seconds_and_when_the_clock_was_put_back(
    embedded, monkeypatch
):
    find, asked = keys.find, []

    def counted(*given):
        asked.append(1)
        return find(*given)

    monkeypatch.setattr(keys, "find", counted)
    for step_us, expected in ((0, 1), (1, 1), (5 * SECOND_US - 2, 1), (1, 2), (-10 * SECOND_US, 3)):
        embedded.now_us += step_us
        assert score(embedded).status_code == 200
        assert len(asked) == expected


def test_known_keys_go_on_for_a_minute_without_the_database(embedded, monkeypatch):
    unknown = embedded.key("late")
    assert score(embedded).status_code == 200
    with monkeypatch.context() as away:
        asked = stop(embedded, away)
        embedded.now_us += 30 * SECOND_US
        assert score(embedded).status_code == 200
        assert score(embedded).status_code == 200
        assert len(asked) == 1  # the second did not wait for it again
        refused = score(embedded, token=unknown)
        assert code(refused) == (503, "no_database")
        assert "retry-after" in refused.headers
        embedded.now_us += 30 * SECOND_US
        assert score(embedded).status_code == 503
    assert score(embedded).status_code == 200
    assert score(embedded, token=unknown).status_code == 200


def test_a_database_that_does_not_answer_is_not_waited_for(embedded, monkeypatch):
    assert score(embedded).status_code == 200
    monkeypatch.setattr(embedded.app.state.gate._lookups, "_seconds", 0.05)
    monkeypatch.setattr(keys, "find", lambda *_given: time.sleep(1))
    embedded.now_us += 30 * SECOND_US
    assert score(embedded).status_code == 200
    embedded.now_us += 31 * SECOND_US
    assert score(embedded).status_code == 503


def test_a_key_that_was_seen_is_looked_up_once_at_a_time(embedded, monkeypatch):
    assert score(embedded).status_code == 200
    asked, real = [], keys.find

    def find(*given):
        asked.append(1)
        time.sleep(0.3)
        return real(*given)

    monkeypatch.setattr(keys, "find", find)
    embedded.now_us += 6 * SECOND_US
    answers = embedded.send_at_once(50, "POST", "/v1/score", json={"leads": json_leads(1, 1)})
    assert {answer.status_code for answer in answers} == {200}
    assert len(asked) == 1


def test_only_so_many_keys_are_remembered(embedded, monkeypatch):
    monkeypatch.setattr(gate, "MOST_KNOWN", 2)
    for client in ("a", "b", "c"):
        assert score(embedded, token=embedded.key(client)).status_code == 200
    assert score(embedded).status_code == 200


# --- how often ---


def test_a_key_may_ask_so_often_in_ten_seconds_and_others_are_not_concerned(sqlite_url):
    with crm(sqlite_url, rate_limit_per_second=1) as service:
        other = service.key("other")
        answers = [score(service) for _ in range(30)]
        refused = answers[-1]
        assert [answer.status_code for answer in answers[:10]] == [200] * 10
        assert code(refused) == (429, "too_many_requests")
        assert 1 <= int(refused.headers["retry-after"]) <= 10
        assert refused.headers["ratelimit-policy"] == '"requests";q=10;w=10'
        assert refused.headers["ratelimit"].startswith('"requests";r=0;t=')
        assert score(service, token=other).status_code == 200


def test_requests_beyond_the_scope_count_too(sqlite_url):
    with crm(sqlite_url, rate_limit_per_second=1) as service:
        reader = service.key("reader", ["read"])
        assert {score(service, token=reader).status_code for _ in range(30)} == {403, 429}


def test_who_sends_keys_that_are_none_is_not_looked_up_for_a_while(embedded, monkeypatch):
    unknown = "lk_0123456789ab_" + "x" * 43
    late = embedded.key("late")
    assert score(embedded).status_code == 200
    monkeypatch.setattr(gate_of(embedded), "_failures", RateLimit("failed-keys", 3, 60))
    found = [score(embedded, token=unknown).status_code for _ in range(5)]
    assert found == [401, 401, 401, 429, 429]
    assert score(embedded, token=late).status_code == 429
    embedded.now_us += 30 * SECOND_US
    assert score(embedded).status_code == 200  # a key that was found before
    assert MOST_FAILURES >= 100


# --- last used ---


def last_used(service):
    with service.database.reading() as connection:
        return {key.client: key.last_used_us for key in keys.listed(connection, service.now_us)}


def test_the_last_use_is_noted_beside_the_requests(service):
    service.key("idle")
    assert score(service).status_code == 200
    assert last_used(service) == {"crm": None, "idle": None}
    gate_of(service).tend()
    first = service.now_us
    assert last_used(service) == {"crm": first, "idle": None}
    service.now_us += 1
    assert score(service).status_code == 200
    gate_of(service).tend()
    assert last_used(service) == {"crm": first + 1, "idle": None}


def test_a_use_that_could_not_be_noted_is_noted_later(embedded, monkeypatch):
    assert score(embedded).status_code == 200

    def refuse(*_given):
        raise DatabaseError("gone")

    with monkeypatch.context() as away:
        away.setattr(keys, "used", refuse)
        with pytest.raises(DatabaseError):
            gate_of(embedded).tend()
    gate_of(embedded).tend()
    assert last_used(embedded) == {"crm": embedded.now_us}


def test_while_nobody_has_a_key_the_log_says_how_to_make_one(embedded, caplog):
    gate_of(embedded).tend()
    assert "leadqual keys create" not in caplog.text
    revoke(embedded, embedded.token)
    gate_of(embedded).tend()
    assert "leadqual keys create" in caplog.text
