import asyncio
import json
import random
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.history import DAY_US, from_arrow
from features.matrix import Leads, leads_from_arrow
from features.moments import iso
from serving.http import answers, routes
from serving.http.schemas import LARGEST_BODY
from serving.served_model import ServedModel
from tests.http_service import Service
from tests.scorers import AS_OF_US, EPOCH_US, json_leads, leads_of, small_scorer
from training.handoff import DECISIONS, GRADES

AS_OF = iso(AS_OF_US)
UTC_TIME = pa.timestamp("us", "UTC")


@pytest.fixture(scope="module")
def scorer():
    return small_scorer(5)


@pytest.fixture(scope="module")
def service(scorer):
    return Service(scorer)


def lead(lead_id="L-1", *events, created_at="2026-01-01T00:00:00Z", **more):
    return {"lead_id": lead_id, "created_at": created_at, "events": list(events), **more}


def event(occurred_at="2026-01-10T00:00:00Z", event_type="inquiry", **more):
    return {"event_type": event_type, "occurred_at": occurred_at, **more}


def codes(answer):
    return [(error["pointer"], error["code"]) for error in answer.json()["errors"]]


# --- the answer ---


def test_one_lead_is_answered_with_everything(service, scorer):
    requested = json_leads(1, 1)[0]
    answer = service.score(requested, as_of=AS_OF).json()
    expected = scorer.score(leads_of([requested]), np.array([AS_OF_US]))
    assert answer == {
        "as_of": "2026-01-31T00:00:00Z",
        "model": {
            "name": "leadqual",
            "version": "local",
            "digest": "",
            "horizon_days": 90,
            "trained_until": "2026-02-01T00:00:00Z",
        },
        "results": [
            {
                "lead_id": "L-0",
                "score": expected.score[0],
                "percentile": expected.percentile[0],
                "grade": GRADES[expected.grade[0]],
                "decision": DECISIONS[expected.decision[0]],
                "why": expected.whys[expected.why[0]],
                "reasons": [],
                "warnings": answer["results"][0]["warnings"],
            }
        ],
    }


@given(seed=st.integers(0, 10_000), count=st.integers(1, 12))
@settings(max_examples=15, deadline=None)
def test_a_lead_scores_over_http_as_in_the_scorer_alone_and_in_a_batch(
    service, scorer, seed, count
):
    """Law 3, to the last digit."""
    requested = json_leads(seed, count)
    expected = scorer.score(leads_of(requested), np.full(count, AS_OF_US))
    together = service.results(*requested, as_of=AS_OF)
    alone = [service.results(item, as_of=AS_OF)[0] for item in requested]
    assert [r["score"] for r in together] == expected.score.tolist()
    assert [r["percentile"] for r in together] == expected.percentile.tolist()
    assert [r["decision"] for r in together] == [DECISIONS[d] for d in expected.decision]
    assert [r["lead_id"] for r in together] == [item["lead_id"] for item in requested]
    assert alone == together


def test_a_lead_scores_over_http_as_from_tables(service, scorer):
    """Law 3 on the backlog's way: Arrow tables, events of all leads in one."""
    requested = json_leads(12, 30)
    events = [
        {"row": row, "recorded_at": None} | event
        for row, item in enumerate(requested)
        for event in item["events"]
    ]
    times = {"occurred_at", "recorded_at"}
    table = pa.table(
        {
            name: pa.array([each[name] for each in events], pa.string()).cast(UTC_TIME)
            if name in times
            else [each[name] for each in events]
            for name in ("row", "occurred_at", "recorded_at", "event_type", "channel", "value")
        }
    )
    history = from_arrow(table, table["row"].to_numpy(), len(requested))
    records = [item["attributes"] | {"created_at": item["created_at"]} for item in requested]
    columns = {a.name: [record.get(a.name) for record in records] for a in scorer.spec.attributes}
    created = pa.array([record["created_at"] for record in records]).cast(UTC_TIME)
    leads = leads_from_arrow(pa.table(columns | {"created_at": created}), history)
    expected = scorer.score(leads, np.full(len(requested), AS_OF_US))
    assert [r["score"] for r in service.results(*requested)] == expected.score.tolist()


def test_requests_at_the_same_time_do_not_mix(service):
    requests = [json_leads(seed, 3) for seed in range(16)]
    expected = [service.results(*requested, reasons=True) for requested in requests]

    async def together():
        transport = httpx.ASGITransport(service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            bodies = [{"leads": requested, "reasons": True} for requested in requests]
            sent = [client.post("/v1/score", json=body) for body in bodies]
            return [answer.json()["results"] for answer in await asyncio.gather(*sent)]

    assert asyncio.run(together()) == expected


def test_shuffled_events_change_nothing(service):
    requested = json_leads(8, 6)
    shuffled = [item | {"events": item["events"][::-1]} for item in requested]
    assert service.results(*requested) == service.results(*shuffled)


def test_many_leads_and_reasons_take_the_pool_and_say_the_same(service):
    requested = json_leads(2, 60)
    plain = service.results(*requested)
    explained = service.results(*requested, reasons=True)
    assert [result | {"reasons": []} for result in explained] == plain
    assert plain[:5] == service.results(*requested[:5])
    assert sum(len(result["reasons"]) for result in explained) > 60


def test_a_body_that_is_parsed_in_the_pool_says_the_same(service, monkeypatch):
    requested = json_leads(2, 3)
    inline = service.results(*requested)
    monkeypatch.setattr(routes, "INLINE_BYTES", 10)
    assert service.results(*requested) == inline
    assert service.raw(b"not JSON, but long").status_code == 400


def test_the_limits_of_a_request_are_allowed(service):
    leads = [lead(f"L-{n}", *[event()] * 20) for n in range(1_000)]
    assert len(service.results(*leads)) == 1_000


def test_reasons_speak_the_language_that_is_asked_for(service):
    requested = lead("L-1", event(), event(event_type="seminar_attended"))
    said = {
        language: service.results(requested, reasons=True, language=language)[0]["reasons"]
        for language in ("en", "ja", "ja-JP", "tlh")
    }
    assert "speaks" in said["en"][0]["text"]
    assert "傾向" in said["ja"][0]["text"]
    assert said["ja"] == said["ja-JP"]
    assert said["en"] == said["tlh"]
    first = said["en"][0]
    assert set(first) == {"concept", "direction", "strength", "text", "evidence"}


def test_as_of_is_the_clock_where_it_is_left_out(service):
    assert service.score(lead()).json()["as_of"] == AS_OF
    assert service.score(lead(), as_of=None).json()["as_of"] == AS_OF
    offset = service.score(lead(), as_of="2026-01-31T09:30:00.25+09:00").json()
    assert offset["as_of"] == "2026-01-31T00:30:00.250000Z"


def test_before_it_was_created_a_lead_has_no_score(service):
    (result,) = service.results(lead(created_at="2026-03-01T00:00:00Z"), reasons=True)
    assert (result["decision"], result["why"]) == ("abstain", "not_created")
    assert result["score"] is result["percentile"] is result["grade"] is None
    assert result["reasons"] == []


def test_a_suppressed_lead_is_scored_and_never_flagged(service):
    plain, customer, objected = service.results(
        lead("a", event()),
        lead("b", event(), suppress=["customer", "partner"]),
        lead("c", event(), suppress=["customer", "objected"]),
        reasons=True,
    )
    assert (customer["decision"], customer["why"]) == ("suppressed", "customer")
    assert customer["score"] == plain["score"]
    assert (objected["decision"], objected["why"]) == ("suppressed", "objected")
    assert objected["score"] is None
    assert objected["reasons"] == []


def test_a_rule_that_asks_for_history_abstains_below_it(scorer):
    service = Service(replace(scorer, rule=replace(scorer.rule, minimum_events=2)))
    short, enough = service.results(lead("a", event()), lead("b", event(), event()))
    assert (short["decision"], short["why"]) == ("abstain", "too_little_history")
    assert short["score"] is None
    assert enough["score"] is not None


# --- warnings ---


def warned(service, requested, **fields):
    return [(w["code"], w["detail"]) for w in service.results(requested, **fields)[0]["warnings"]]


def test_nothing_to_warn_of(service):
    requested = lead(
        "L-1",
        event(channel="web"),
        event(event_type="call"),
        attributes={"industry": "never seen", "employees": "12", "customer_of_partner": "true"},
    )
    assert warned(service, requested) == []


def test_what_the_model_does_not_know_is_a_warning(service):
    requested = lead(
        "L-1",
        event(event_type="デモ", channel="pigeon"),
        event(event_type="x" * 100),
        attributes={"zodiac": "Leo", "employees": "many", "customer_of_partner": "perhaps"},
    )
    assert warned(service, requested) == [
        ("unknown_attribute", "zodiac is not known to the model: ignored"),
        ("attribute_kind", "employees must be a number: taken as missing"),
        ("attribute_kind", "customer_of_partner must be a boolean: taken as missing"),
        (
            "unknown_event_type",
            "x" * 59 + "… is not known to the model: counted as other activity",
        ),
        ("unknown_event_type", "デモ is not known to the model: counted as other activity"),
        ("unknown_channel", "pigeon is not known to the model: counted as another channel"),
    ]


def test_a_flood_of_strangers_is_summed_up(service):
    found = warned(service, lead(attributes={f"a{n:02}": n for n in range(25)}))
    assert len(found) == 21
    assert found[-1] == ("unknown_attribute", "5 more are not known to the model: ignored")


def test_strangers_of_one_lead_are_not_held_against_another(service):
    strange, plain = service.results(
        lead("a", event(event_type="demo", channel="pigeon")), lead("b", event(channel="web"))
    )
    assert len(strange["warnings"]) == 2
    assert plain["warnings"] == []


def test_events_after_as_of_are_ignored_and_said(service):
    now, later = event(AS_OF), event("2026-01-31T00:00:00.000001Z", "web_visit")
    assert warned(service, lead("L-1", now)) == []
    assert warned(service, lead("L-1", now, later)) == [
        ("events_after_as_of", "1 after as_of: ignored")
    ]
    with_it, without = service.results(lead("a", now, later), lead("b", now))
    assert with_it["score"] == without["score"]


def test_events_that_became_known_after_as_of_are_not_seen(service):
    late = event("2026-01-20T00:00:00Z", recorded_at="2026-02-02T00:00:00Z")
    early = event("2026-01-20T00:00:00Z", recorded_at="2026-01-02T00:00:00Z")
    unseen, nothing, seen, plain = service.results(
        lead("a", late), lead("b"), lead("c", early), lead("d", event("2026-01-20T00:00:00Z"))
    )
    assert unseen["score"] == nothing["score"]
    assert seen["score"] == plain["score"] != nothing["score"]


def test_events_before_the_lead_are_kept_and_said(service):
    before = event("2025-12-31T23:59:59Z")
    assert warned(service, lead("L-1", before)) == [
        ("events_before_created_at", "1 before created_at: kept")
    ]
    kept, nothing = service.results(lead("a", before), lead("b"))
    assert kept["score"] != nothing["score"]


# --- bad input ---

NOT_JSON = [
    b"",
    b"{",
    b"nonsense",
    b"\xff\xfe",
    "{}".encode("utf-16"),
    b"\xef\xbb\xbf{}",
    b'{"leads": [{"lead_id": "\\ud800"}]}',
    b"[" * 100_000,
    b'{"leads":' * 5_000,
    b'{"leads": [' + b'{"events": [' * 2_000,
    b'{"leads": 1' + b"0" * 5_000 + b"}",
]


@pytest.mark.parametrize("body", NOT_JSON, ids=range(len(NOT_JSON)))
def test_what_is_no_json_is_a_400(service, body):
    answer = service.raw(body)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert codes(answer) == [("#", "invalid_json")]


SHAPES: list[tuple[Any, str, str]] = [
    (None, "#", "wrong_type"),
    ([], "#", "wrong_type"),
    ({}, "#/leads", "missing"),
    ({"leads": []}, "#/leads", "too_few"),
    ({"leads": {}}, "#/leads", "wrong_type"),
    ({"leads": [None]}, "#/leads/0", "wrong_type"),
    ({"leads": [lead()], "lead": 1}, "#/lead", "unknown_field"),
    ({"leads": [lead()], "reasons": "yes"}, "#/reasons", "wrong_type"),
    ({"leads": [lead()], "reasons": 1}, "#/reasons", "wrong_type"),
    ({"leads": [lead()], "language": "x" * 36}, "#/language", "too_long"),
    ({"leads": [lead()], "as_of": 1_700_000_000}, "#/as_of", "not_a_time"),
    ({"leads": [lead()], "as_of": "1700000000"}, "#/as_of", "not_a_time"),
    ({"leads": [lead()], "as_of": "2026-09-01"}, "#/as_of", "not_a_time"),
    ({"leads": [lead()], "as_of": "2026-09-01T00:00:00"}, "#/as_of", "no_time_zone"),
    ({"leads": [lead()], "as_of": "1969-12-31T23:59:59Z"}, "#/as_of", "time_out_of_range"),
    ({"leads": [lead()], "as_of": "2200-01-01T00:00:00Z"}, "#/as_of", "time_out_of_range"),
    ({"leads": [lead(1)]}, "#/leads/0/lead_id", "wrong_type"),
    ({"leads": [lead("")]}, "#/leads/0/lead_id", "too_short"),
    ({"leads": [lead("x" * 257)]}, "#/leads/0/lead_id", "too_long"),
    ({"leads": [lead(created_at=None)]}, "#/leads/0/created_at", "not_a_time"),
    ({"leads": [lead(created_at="yesterday")]}, "#/leads/0/created_at", "not_a_time"),
    ({"leads": [lead(attributes=[])]}, "#/leads/0/attributes", "wrong_type"),
    ({"leads": [lead(attributes={"a/b": [1]})]}, "#/leads/0/attributes/a~1b", "wrong_type"),
    ({"leads": [lead(attributes={"業": {}})]}, "#/leads/0/attributes/%E6%A5%AD", "wrong_type"),
    ({"leads": [lead(attributes={"a": 1e16})]}, "#/leads/0/attributes/a", "out_of_range"),
    ({"leads": [lead(attributes={"a": 10**400})]}, "#/leads/0/attributes/a", "out_of_range"),
    ({"leads": [lead(suppress="customer")]}, "#/leads/0/suppress", "wrong_type"),
    ({"leads": [lead(events={})]}, "#/leads/0/events", "wrong_type"),
    ({"leads": [lead("a", {})]}, "#/leads/0/events/0/event_type", "missing"),
    ({"leads": [lead("a", event(event_type=""))]}, "#/leads/0/events/0/event_type", "too_short"),
    (
        {"leads": [lead("a", event(event_type="x" * 201))]},
        "#/leads/0/events/0/event_type",
        "too_long",
    ),
    ({"leads": [lead("a", event(value=False))]}, "#/leads/0/events/0/value", "wrong_type"),
    ({"leads": [lead("a", event(value="1"))]}, "#/leads/0/events/0/value", "wrong_type"),
    ({"leads": [lead("a", event(value=-1e16))]}, "#/leads/0/events/0/value", "out_of_range"),
    ({"leads": [lead("a", event(typ="x"))]}, "#/leads/0/events/0/typ", "unknown_field"),
    ({"leads": [lead("a", event(recorded_at=""))]}, "#/leads/0/events/0/recorded_at", "not_a_time"),
    ({"leads": [lead("a"), lead("b"), lead("a")]}, "#/leads/2/lead_id", "duplicate_lead_id"),
    ({"leads": [lead(str(n)) for n in range(1_001)]}, "#/leads", "too_many"),
    ({"leads": [lead("a", *[event()] * 20_001)]}, "#/leads/0/events", "too_many"),
    (
        {"leads": [lead("a", *[event()] * 10_000), lead("b", *[event()] * 10_001)]},
        "#/leads",
        "too_many_events",
    ),
]


@pytest.mark.parametrize(("body", "pointer", "code"), SHAPES, ids=range(len(SHAPES)))
def test_what_is_not_as_the_schema_asks_is_a_422_that_says_where(service, body, pointer, code):
    answer = service.raw(json.dumps(body))
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert (pointer, code) in codes(answer)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_numbers_are_finite(service, number):
    in_value = json.dumps({"leads": [lead("a", event(value=0.5))]}).replace("0.5", number)
    in_attribute = json.dumps({"leads": [lead(attributes={"a": 0.5})]}).replace("0.5", number)
    assert codes(service.raw(in_value)) == [("#/leads/0/events/0/value", "not_finite")]
    assert codes(service.raw(in_attribute)) == [("#/leads/0/attributes/a", "not_finite")]


@pytest.mark.parametrize(
    "written", ["2026-01-10t00:00:00z", "2026-01-10 00:00Z", "2026-01-10T09:00:00.0+09:00"]
)
def test_times_may_be_written_as_rfc_3339_allows(service, written):
    usual, other = service.results(lead("a", event()), lead("b", event(written)))
    assert usual["score"] == other["score"]


def test_odd_but_meant_input_is_scored(service):
    requested = lead(
        "名前 \U0001f600",
        event(value=-3.5, channel="", event_type="class"),
        event(value=1e15, event_id="e-1", source="crm"),
        attributes={"industry": "製造業", "employees": -5, "None": None, "": "x"} | {"def": True},
        account_id="A-1",
    )
    del requested["attributes"][""]
    (result,) = service.results(requested, reasons=True, language="ja")
    assert 0 < result["score"] < 1
    assert result["lead_id"] == requested["lead_id"]


def test_thousands_of_errors_are_counted_and_fifty_are_listed(service):
    answer = service.raw(json.dumps({"leads": [lead("a", *[{}] * 500)]}))
    assert len(codes(answer)) == 50
    assert answer.json()["detail"].startswith("1000 values are not as the schema asks")


def test_no_message_repeats_what_was_sent(service):
    secret = "yamada@example.com"
    for body in (
        {"leads": [lead(secret, event(secret, value=secret), created_at=secret)]},
        {"leads": [lead(secret), lead(secret)]},
        {"leads": [lead(attributes={"mail": [secret]})], "as_of": secret, "language": secret * 9},
    ):
        answer = service.raw(json.dumps(body))
        assert answer.status_code == 422
        assert "yamada" not in answer.text
    assert "yamada" not in service.raw(secret.encode()).text


def test_a_body_that_is_too_large_is_a_413_declared_or_not(service):
    async def chunks():
        for _ in range(11):
            yield b" " * 1_000_000

    for body in (b" " * (LARGEST_BODY + 1), chunks()):
        answer = service.raw(body)
        assert (answer.status_code, codes(answer)) == (413, [("#", "too_large")])
        assert answer.headers["content-type"] == "application/problem+json"
    assert service.raw(b" " * LARGEST_BODY).status_code == 400


def test_a_body_in_pieces_is_read_whole(service):
    body = json.dumps({"leads": [lead("L-1", event())]}).encode()

    async def pieces():
        for start in range(0, len(body), 7):
            yield body[start : start + 7]

    assert service.raw(pieces()).json()["results"] == service.results(lead("L-1", event()))


def test_only_json_is_taken(service):
    body = json.dumps({"leads": [lead()]})
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "application/jsonp"):
        answer = service.raw(body, **{"content-type": media_type})
        assert (answer.status_code, codes(answer)[0][1]) == (415, "unsupported_media_type")
    for media_type in ("application/json; charset=utf-8", "application/cloudevents+json"):
        assert service.raw(body, **{"content-type": media_type}).status_code == 200
    assert service.send("POST", "/v1/score", content=body.encode()).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("POST", "/v1/score/", 404, "not_found"),
        ("GET", "/v1/score", 405, "method_not_allowed"),
        ("DELETE", "/v1/model", 405, "method_not_allowed"),
        ("BREW", "/readyz", 405, "method_not_allowed"),
    ],
)
def test_other_paths_and_methods_are_problems_too(service, method, path, status, code):
    answer = service.send(method, path)
    assert (answer.status_code, codes(answer)) == (status, [("#", code)])
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.json()) == {"type", "title", "status", "detail", "errors"}
    assert (status == 405) == ("allow" in answer.headers)


def bugs(caplog):
    return [record.message for record in caplog.records if record.levelname == "ERROR"]


def test_a_bug_is_a_500_that_gives_nothing_away(service, monkeypatch, caplog):
    def fails(*_):
        raise RuntimeError("yamada@example.com")

    monkeypatch.setattr(answers, "remarks", fails)
    answer = service.score(lead("L-1", event()))
    assert (answer.status_code, codes(answer)) == (500, [("#", "internal")])
    assert "yamada" not in answer.text
    assert bugs(caplog) == ["a request failed"]
    monkeypatch.undo()
    assert service.score(lead()).status_code == 200


def test_when_too_many_large_requests_wait_the_next_is_told_to_come_again(service, monkeypatch):
    monkeypatch.setattr(routes, "MOST_WAITING", 0)
    answer = service.score(lead(), reasons=True)
    assert (answer.status_code, codes(answer)) == (503, [("#", "busy")])
    assert answer.headers["retry-after"] == "5"
    assert service.score(lead()).status_code == 200


def test_a_client_that_leaves_is_no_bug(service, caplog):
    async def left():
        async def receive():
            return {"type": "http.disconnect"}

        async def send(_):
            raise AssertionError("nobody is there")

        scope = {"type": "http", "method": "POST", "path": "/v1/score", "headers": []}
        await service.app(scope | {"query_string": b"", "root_path": ""}, receive, send)

    asyncio.run(left())
    assert not bugs(caplog)
    assert 'status="499"' in service.get("/metrics").text


def _mutations(rng, body):
    """Break a body somewhere: cut it, double it, or put something else there."""
    tokens = [
        b"null",
        b"-1",
        b"1e400",
        b"{",
        b"]",
        b'"',
        b"\x00",
        b"\xff",
        b"[[[[",
        b"true",
        b'"",',
    ]
    at, to = sorted(rng.randrange(len(body) + 1) for _ in range(2))
    return rng.choice(
        [
            body[:at],
            body[:at] + body[to:],
            body[:at] + rng.choice(tokens) + body[at:],
            body[:at] + rng.choice(tokens) + body[to:],
            body[:at] + bytes([rng.randrange(256)]) + body[at + 1 :],
            body[:to] + body[at:],
        ]
    )


def test_no_body_makes_the_service_fail(service):
    """Mutations of good bodies, as bytes and as JSON: never a 5xx, always an answer of ours."""
    rng = random.Random(20)
    good = [
        json.dumps({"leads": json_leads(n, 1 + n % 2), "as_of": AS_OF}).encode() for n in range(6)
    ]
    replacements: list[Any] = [
        None,
        True,
        0,
        -1,
        1.5,
        1e308,
        10**30,
        "",
        "x",
        "\x00",
        [],
        {},
        [[]],
        {"a": {}},
    ]

    def inner(value):
        if isinstance(value, dict) and value and rng.random() < 0.9:
            name = rng.choice(list(value))
            return {**value, name: inner(value[name])}
        if isinstance(value, list) and value and rng.random() < 0.9:
            place = rng.randrange(len(value))
            return [*value[:place], inner(value[place]), *value[place + 1 :]]
        return rng.choice(replacements)

    bodies = [_mutations(rng, rng.choice(good)) for _ in range(700)]
    bodies += [json.dumps(inner(json.loads(rng.choice(good)))).encode() for _ in range(700)]

    async def all_of_them():
        transport = httpx.ASGITransport(service.app)
        headers = {"content-type": "application/json"}
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return [
                await client.post("/v1/score", content=body, headers=headers) for body in bodies
            ]

    found = asyncio.run(all_of_them())
    statuses = {answer.status_code for answer in found}
    assert statuses == {200, 400, 422}
    for answer in found:
        assert "results" in answer.json() if answer.status_code == 200 else codes(answer)


# --- model, health, metrics, documentation ---


def test_the_model_describes_itself(service, scorer):
    answer = service.get("/v1/model").json()
    assert answer["rule"] == scorer.rule.as_dict()
    assert answer["metrics"] == {"auc": {"value": 0.8, "low": 0.7, "high": 0.9}}
    assert answer["features"] == list(scorer.spec.names)
    assert answer["recipe"] == "blend"


def test_without_a_model_the_service_lives_and_is_not_ready():
    service = Service()
    assert service.get("/livez").json() == {"status": "alive"}
    for answer in (service.get("/readyz"), service.score(lead()), service.get("/v1/model")):
        assert (answer.status_code, codes(answer)) == (503, [("#", "no_model")])
        assert answer.json()["detail"] == "no model is loaded yet"
        assert answer.headers["retry-after"] == "5"


def test_a_model_that_is_set_into_the_slot_is_served(scorer):
    service = Service()
    service.slot.model = ServedModel.of(scorer)
    assert service.get("/readyz").json() == {"status": "ready", "model": "leadqual/local"}
    assert service.score(lead()).status_code == 200


def test_an_empty_slot_is_filled_before_the_first_request(scorer):
    service = Service(load=lambda: scorer)
    service.start()
    assert service.get("/readyz").status_code == 200
    assert "leadqual_model_info{" in service.get("/metrics").text


def test_a_model_that_cannot_be_loaded_is_said_and_logged_not_replaced(caplog):
    def load():
        raise OSError("/secret/folder")

    service = Service(load=load)
    service.start()
    answer = service.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["detail"] == "the model could not be loaded: the log says why"
    assert "secret" not in answer.text
    assert "the model could not be loaded" in [record.message for record in caplog.records]


def test_metrics_count_requests_scores_and_decisions(scorer):
    service = Service(replace(scorer, name="leads", version="3", digest="abc"))
    service.results(*json_leads(1, 3))
    service.results(lead(suppress=["objected"]))
    service.get("/nowhere")
    service.send("BREW", "/readyz")
    service.raw(b"{")
    text = service.get("/metrics").text
    for line in (
        'leadqual_request_seconds_count{method="POST",route="/v1/score",status="200"} 2.0',
        'leadqual_request_seconds_count{method="POST",route="/v1/score",status="400"} 1.0',
        'leadqual_request_seconds_count{method="GET",route="unmatched",status="404"} 1.0',
        'leadqual_request_seconds_count{method="other",route="/readyz",status="405"} 1.0',
        "leadqual_score_count 3.0",
        'leadqual_decisions_total{decision="suppressed"} 1.0',
        'leadqual_model_info{digest="abc",name="leads",version="3"} 1.0',
        'leadqual_score_bucket{le="1.0"} 3.0',
    ):
        assert line in text
    assert "process_resident_memory_bytes" in text


def test_apps_do_not_share_their_counts(scorer, service):
    service.results(lead())
    assert "leadqual_score_count 0.0" in Service(scorer).get("/metrics").text


def test_the_documentation_names_every_endpoint_and_error(service):
    document = service.get("/openapi.json").json()
    assert set(document["paths"]) == {"/v1/score", "/v1/model", "/livez", "/readyz", "/metrics"}
    score = document["paths"]["/v1/score"]["post"]
    assert set(score["responses"]) == {"200", "400", "413", "415", "422", "503"}
    content = score["requestBody"]["content"]["application/json"]
    assert content["schema"]["$ref"] == "#/components/schemas/ScoreRequest"
    assert "application/problem+json" in score["responses"]["422"]["content"]
    schemas = document["components"]["schemas"]
    assert {"ScoreRequest", "LeadIn", "EventIn", "ScoreAnswer", "ProblemOut"} <= set(schemas)
    example = schemas["ScoreRequest"]["examples"][0]
    assert service.raw(json.dumps(example)).status_code == 200
    assert service.get("/docs").status_code == 200


def test_leads_are_not_changed_by_scoring(scorer):
    """Law 5: what is handed in stays as it is."""
    requested = json_leads(3, 4)
    leads = leads_of(requested)
    before = (leads.created_us.copy(), leads.history.occurred_us.copy(), dict(leads.columns))
    scorer.score(leads, np.full(4, AS_OF_US))
    assert isinstance(leads, Leads)
    assert np.array_equal(before[0], leads.created_us)
    assert np.array_equal(before[1], leads.history.occurred_us)
    assert before[2] == leads.columns


def test_whole_weeks_later_a_lead_scores_the_same(service):
    """Law 7: all times and as_of moved together change nothing."""
    later = 7 * DAY_US * 10
    requested = lead("L-1", event(iso(EPOCH_US + DAY_US)), created_at=iso(EPOCH_US))
    moved = lead("L-1", event(iso(EPOCH_US + DAY_US + later)), created_at=iso(EPOCH_US + later))
    assert (
        service.results(requested, as_of=AS_OF)[0]
        == service.results(moved, as_of=iso(AS_OF_US + later))[0]
    )
