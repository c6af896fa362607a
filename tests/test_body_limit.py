import asyncio
import json

import pytest

from serving.http.body_limit import BodyLimit
from serving.http.problems import Problem


def answer(path, *pieces, declared=None):
    """Return the status of a body that comes in pieces; its length is declared or not."""
    given = iter(pieces)
    sent = []

    async def receive():
        piece = next(given, b"")
        return {"type": "http.request", "body": piece, "more_body": bool(piece)}

    async def send(message):
        sent.append(message)

    async def app(_scope, receive, send):
        while (await receive())["more_body"]:
            pass
        await send({"type": "http.response.start", "status": 200})

    headers = [] if declared is None else [(b"content-length", str(declared).encode())]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
    limited = BodyLimit(app, 10, by_path={"/small": 5, "/large": 20})
    try:
        asyncio.run(limited(scope, receive, send))
    except Problem as problem:
        return problem.status
    body = b"".join(message.get("body", b"") for message in sent)
    if sent[0]["status"] != 200:
        assert json.loads(body)["errors"][0]["code"] == "too_large"
    return sent[0]["status"]


@pytest.mark.parametrize(("path", "most"), [("/", 10), ("/small", 5), ("/large", 20)])
def test_a_body_has_at_most_so_many_bytes_by_its_path(path, most):
    assert answer(path, b"x" * most, declared=most) == 200
    assert answer(path, b"x" * most) == 200
    assert answer(path, declared=most + 1) == 413
    assert answer(path, b"x" * most, b"x") == 413


def test_a_length_that_is_no_number_is_counted():
    assert answer("/", b"x" * 11, declared="-1") == 413
    assert answer("/", b"x" * 10, declared="ten") == 200
