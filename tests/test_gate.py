import base64

import pytest

from tests.scorers import json_leads
from tests.states import crm


@pytest.fixture
def service(database_url):
    with crm(database_url) as opened:
        yield opened


def score(service, **options):
    return service.post("/v1/score", {"leads": json_leads(1, 1)}, **options)


def test_a_key_opens_the_routes_of_its_scopes(service):
    assert score(service).status_code == 200
    reader = service.key("reader", ["read"])
    refused = score(service, token=reader)
    assert refused.status_code == 403
    assert refused.json()["errors"][0]["code"] == "forbidden"


def test_a_key_may_come_as_the_basic_user_name(service):
    given = base64.b64encode(f"{service.token}:".encode()).decode()
    assert score(service, headers={"authorization": f"Basic {given}"}).status_code == 200


@pytest.mark.parametrize("header", ["", "Bearer ", "Bearer lk_0_0", "Basic ä", "Basic !", "lk_"])
def test_without_a_key_that_lives_nothing_is_answered(service, header):
    refused = score(service, headers={"authorization": header.encode()})
    assert refused.status_code == 401
    assert "Bearer" in refused.headers["www-authenticate"]


def test_a_key_with_another_secret_is_nobodys(service):
    assert score(service, token=service.token[:-1] + "~").status_code == 401
