"""How fast `POST /v1/score` answers: against an endpoint of the same app that only validates.

    python benchmarks/serving.py --model DIR

starts the real server with one worker and an extra endpoint ``/bare``, which runs
``model_validate_json`` on the same body and answers constant bytes, and loads both by turns with
8 connections: one lead with 20 events, no reasons. Without ``--model`` it trains one first, on a
simulated CRM of 4,000 leads. The load comes from `wrk` where it is found, else from a client of
its own.
"""

import argparse
import json
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # this file hides `serving`

from benchmarks import results
from benchmarks.processes import HOST, served, trained

CONNECTIONS = 8
EVENTS = 20
BAR_RATIO, BAR_TAIL = 0.45, 4.0


@dataclass(frozen=True)
class Load:
    """What a client saw in one turn."""

    per_second: float
    p50_ms: float
    p99_ms: float
    errors: int


@dataclass
class _Waiting:
    """A connection that waits for an answer since `sent`, and what it has of it."""

    sent: float
    seen: bytes = b""


def main() -> None:
    """Measure, print, and exit with 1 when a bar is missed."""
    options = _options()
    if options.serve:
        _serve(options.model, options.port)
        return
    with tempfile.TemporaryDirectory() as work:
        model = options.model or trained(Path(work))[1]
        # As a module: this file hides `serving`.
        serve = [sys.executable, "-m", "benchmarks.serving", "--serve"]
        with served([*serve, f"--model={model.resolve()}"], "/readyz") as server:
            turn = partial(load(Path(work), body()), server.port, seconds=options.seconds)
            turn("/bare"), turn("/v1/score")  # warm
            turns = [(turn("/bare"), turn("/v1/score")) for _ in range(options.turns)]
    sys.exit(_report(turns, "wrk" if shutil.which("wrk") else "a client of its own"))


def body() -> bytes:
    """Return the request: one lead, 20 events, no reasons."""
    start = datetime(2026, 8, 1, tzinfo=UTC)
    kinds = ("web_visit", "newsletter_open", "document_request", "seminar_attended", "inquiry")
    lead = {
        "lead_id": "L-1",
        "created_at": start.isoformat(),
        "attributes": {"industry": "manufacturing", "employees": 120, "country": "JP"},
        "events": [
            {
                "event_type": kinds[k % len(kinds)],
                "occurred_at": (start + timedelta(hours=30 * k)).isoformat(),
                "channel": "web",
                "value": 1,
            }
            for k in range(EVENTS)
        ],
    }
    return json.dumps({"as_of": "2026-09-01T00:00:00Z", "leads": [lead]}).encode()


def _serve(model: Path, port: int) -> None:
    from fastapi import Request, Response  # noqa: PLC0415

    from serving import server  # noqa: PLC0415
    from serving.http.app import create_app  # noqa: PLC0415
    from serving.http.schemas import ScoreRequest  # noqa: PLC0415
    from serving.served_model import ModelSlot, ServedModel  # noqa: PLC0415
    from serving.settings import Settings  # noqa: PLC0415
    from training.scorer import LeadScorer  # noqa: PLC0415

    slot = ModelSlot(ServedModel.of(LeadScorer.load(model)))
    app = create_app(slot, now_us=server.now_us)

    async def bare(request: Request) -> Response:
        ScoreRequest.model_validate_json(await request.body())
        return Response(b'{"results":[]}', media_type="application/json")

    app.add_api_route("/bare", bare, methods=["POST"], include_in_schema=False)
    server.serve(app, Settings(host=HOST, port=port, log_level="warning"))


def load(work: Path, payload: bytes, key: str = "") -> Callable[..., Load]:
    """Give what loads a port's path with a body: `wrk` where it is found, else a loop of ours."""
    return _wrk(work, payload, key) if shutil.which("wrk") else partial(_loop, payload, key)


def _wrk(work: Path, payload: bytes, key: str) -> Callable[..., Load]:
    stored = Path(tempfile.mkdtemp(dir=work))
    (stored / "body.json").write_bytes(payload)
    script = stored / "post.lua"
    script.write_text(
        f'local file = io.open("{stored / "body.json"}", "rb")\n'
        'wrk.method, wrk.body = "POST", file:read("*a")\n'
        'wrk.headers["Content-Type"] = "application/json"\n'
        f'wrk.headers["Authorization"] = "Bearer {key}"\n'
        "function done(summary, latency)\n"
        "  local e = summary.errors\n"
        "  local lost = e.connect + e.read + e.write + e.status + e.timeout\n"
        '  print(string.format("{%d, %d, %d, %d, %d}", summary.requests, summary.duration,\n'
        "    latency:percentile(50), latency:percentile(99), lost))\n"
        "end\n".replace("{%d, %d, %d, %d, %d}", "[%d, %d, %d, %d, %d]")
    )

    def turn(port: int, path: str, *, seconds: float) -> Load:
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "-s", str(script)]
        ran = subprocess.run(
            [*command, f"http://{HOST}:{port}{path}"], check=True, capture_output=True, text=True
        )
        requests, micros, p50, p99, errors = json.loads(ran.stdout.strip().splitlines()[-1])
        return Load(requests / micros * 1e6, p50 / 1e3, p99 / 1e3, errors)

    return turn


def _loop(payload: bytes, key: str, port: int, path: str, *, seconds: float) -> Load:
    """Keep every connection busy from one loop, with as little work a request as can be."""
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
    head += f"Authorization: Bearer {key}\r\n"
    request = f"{head}Content-Length: {len(payload)}\r\n\r\n".encode() + payload
    ready = selectors.DefaultSelector()
    for _ in range(CONNECTIONS):
        connection = socket.create_connection((HOST, port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(request)
        ready.register(connection, selectors.EVENT_READ, _Waiting(time.perf_counter()))
    started, took, errors = time.perf_counter(), [], 0
    while time.perf_counter() - started < seconds:
        for found, _ in ready.select():
            found.data.seen += found.fileobj.recv(65_536)  # type: ignore[union-attr]
            if not _is_whole(found.data.seen):
                continue
            now = time.perf_counter()
            took.append(now - found.data.sent)
            errors += not found.data.seen.startswith(b"HTTP/1.1 200")
            found.data.sent, found.data.seen = now, b""
            found.fileobj.sendall(request)  # type: ignore[union-attr]
    elapsed = time.perf_counter() - started
    for found in list(ready.get_map().values()):
        found.fileobj.close()  # type: ignore[union-attr]
    took.sort()
    p50, p99 = (took[int(len(took) * share)] * 1e3 for share in (0.5, 0.99))
    return Load(len(took) / elapsed, p50, p99, errors)


def _is_whole(answer: bytes) -> bool:
    head, found, content = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    return len(content) >= int(length)


def _report(turns: list[tuple[Load, Load]], client: str) -> int:
    print(f"one worker, {CONNECTIONS} connections, one lead, {EVENTS} events; load from {client}")
    print(
        f"{'turn':>6} {'validate only /s':>17} {'score /s':>9} {'ratio':>6} {'p50 ms':>7} "
        f"{'p99 ms':>7} {'p99/p50':>8} {'errors':>7}"
    )
    for number, (bare, score) in enumerate(turns, 1):
        print(
            f"{number:>6} {bare.per_second:>17,.0f} {score.per_second:>9,.0f} "
            f"{score.per_second / bare.per_second:>6.2f} {score.p50_ms:>7.2f} "
            f"{score.p99_ms:>7.2f} {score.p99_ms / score.p50_ms:>8.2f} "
            f"{bare.errors + score.errors:>7}"
        )
    ratio = median(score.per_second / bare.per_second for bare, score in turns)
    tail = median(score.p99_ms / score.p50_ms for _, score in turns)
    errors = sum(bare.errors + score.errors for bare, score in turns)
    print(
        f"median ratio {ratio:.2f} (bar {BAR_RATIO}), p99/p50 {tail:.2f} (bar {BAR_TAIL:g}), "
        f"{errors} errors (bar 0)"
    )
    results.keep("serving", [{"bare": asdict(bare), "score": asdict(own)} for bare, own in turns])
    return int(ratio < BAR_RATIO or tail > BAR_TAIL or errors > 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, help="a folder that `leadqual train` wrote")
    parser.add_argument("--seconds", type=float, default=6, help="of one turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
