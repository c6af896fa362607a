"""The documentation: what the OpenAPI document promises beside schemas, and its page."""

import re
import shutil
import subprocess
from urllib.parse import urljoin

import pytest

from tests.http_service import Service, listening
from tests.states import crm

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
LOADS = re.compile(r"""(?:src|href)="([^"]*)\"""")


@pytest.fixture
def service(sqlite_url):
    with crm(sqlite_url) as opened:
        yield opened


@pytest.fixture
def document(service):
    return service.get("/openapi.json").json()


def posts(document):
    return {
        path: operations["post"]
        for path, operations in document["paths"].items()
        if "post" in operations
    }


def headers(operation):
    """Return which headers an operation takes, and whether it must be sent them."""
    return {
        each["name"]: each["required"]
        for each in operation.get("parameters", ())
        if each["in"] == "header"
    }


def test_every_post_that_takes_an_idempotency_key_says_so_and_no_other(service, document):
    found = posts(document)
    assert len(found) > 15
    for path, operation in found.items():
        sent = {"idempotency-key": "x" * 256, "if-match": "1"}
        answer = service.post(re.sub(r"\{[^}]*\}", "1", path), {}, headers=sent)
        taken = answer.json()["errors"][0]["code"] == "bad_idempotency_key"
        assert ("Idempotency-Key" in headers(operation)) == taken, path
        assert ("Idempotency-Replayed" in operation["responses"]["200"].get("headers", {})) == taken
        assert taken == (path != "/v1/score")
        assert not headers(operation).get("Idempotency-Key")


def test_transitions_must_be_sent_a_version_and_nothing_else_must(document):
    for path, operation in posts(document).items():
        is_move = path.startswith("/v1/handoffs/")
        assert headers(operation).get("If-Match") == (True if is_move else None), path
        assert ("428" in operation["responses"]) == is_move


def test_the_files_of_an_export_are_named(service, document):
    told = document["paths"]["/v1/export/{table}.{form}"]["get"]["responses"]["200"]["headers"]
    assert told["Content-Disposition"]["required"]
    answer = service.get("/v1/export/leads.csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="leads.csv"'


def test_the_page_loads_nothing_from_elsewhere():
    service = Service()
    page = service.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'self'" in page.headers["content-security-policy"]
    loaded = LOADS.findall(page.text)
    assert len(loaded) == 4
    for url in loaded:
        assert not url.startswith("/")  # below whatever prefix a proxy puts before it
        answer = service.get(urljoin("/docs", url))
        assert answer.status_code == 200
        assert answer.content
    start = service.get("/docs/start.js").text
    for text in (page.text, start):
        assert "//" not in text
    (document,) = re.findall(r'url: "([^"]*)"', start)
    assert service.get(urljoin("/docs", document)).json()["openapi"].startswith("3.1")
    assert service.get("/redoc").status_code == 404


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")
def test_a_browser_shows_the_routes(service, document, tmp_path):
    with listening(service.app) as port:
        done = subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu",
             f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000",
             "--dump-dom", f"http://127.0.0.1:{port}/docs"],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
    shown = {*re.findall(r'data-path="([^"]*)"', done.stdout)}
    assert shown >= {*document["paths"]}
    assert "No API definition provided" not in done.stdout
