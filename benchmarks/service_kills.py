"""Whether the service keeps every fact exactly once, though it is killed again and again.

    python benchmarks/service_kills.py [--database postgres]

Eight clients send 2,000 events each about 400 leads, three of ten of them twice, while the process
is killed with SIGKILL five times at moments drawn by lot and started again. They repeat a request
until it is acknowledged. In the end: as many events are stored as there are ids, no lead has two
open hand-offs of one episode, there are at least 50 hand-offs, and the receiver of webhooks got
every message at least once.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # serving.py beside this hides it

from benchmarks import results
from benchmarks.clients import Crm, key, receiver, sqlite_url
from benchmarks.processes import ROOT, served, trained

SENDERS, EVENTS, TWICE, LEADS, KILLS = 8, 2_000, 0.3, 400, 5
AT_ONCE = 20
LEAST_HANDOFFS = 50
KINDS = ("web_visit", "newsletter_click", "document_request", "seminar_attended", "card_exchange")
SETTINGS = {
    "LEADQUAL_POLICY__PRIVATE_WEBHOOKS": "true",
    "LEADQUAL_RATE_LIMIT_PER_SECOND": "0",
    "LEADQUAL_LOG_LEVEL": "warning",
}
SETTLE_SECONDS = 60


def main() -> None:
    """Send, kill, count, and exit with 1 where anything is missing or there twice."""
    options = _options()
    rng = random.Random(options.seed)  # noqa: S311
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = options.model or trained(work)[1]
        url = stack.enter_context(database(options.database, work))
        token = key(url, "admin")
        hook, seen = stack.enter_context(receiver())
        service = _Service(model, url)
        stack.callback(service.kill)
        crm = Crm(service.port, token)
        crm.ask("POST", "/v1/webhooks", {"url": hook})
        _send_leads(crm)
        tokens = [key(url, f"sender-{n}") for n in range(SENDERS)]
        senders = [
            threading.Thread(target=_send, args=(Crm(service.port, tokens[n]), n, options.seed))
            for n in range(SENDERS)
        ]
        for sender in senders:
            sender.start()
        killed = service.killed_at_random(rng, senders)
        for sender in senders:
            sender.join()
        sys.exit(_report(Crm(service.port, token), seen, killed, options.database))


class _Service:
    """The service as a process on one port, which can be killed and started again."""

    def __init__(self, model: Path, url: str) -> None:
        self._command = [sys.executable, str(ROOT / "leadqual.py"), "serve", f"--model={model}"]
        self._command += [f"--database-url={url}"]
        self._running: Any = None
        self.port = 0
        self.start()

    def start(self) -> None:
        """Start it on the port that it had."""
        self._running = served(self._command, "/readyz", SETTINGS, port=self.port)
        self._server = self._running.__enter__()
        self.port = self._server.port

    def kill(self) -> None:
        """Kill it."""
        os.killpg(self._server.pid, signal.SIGKILL)
        self._running.__exit__(None, None, None)

    def killed_at_random(self, rng: random.Random, senders: list[threading.Thread]) -> int:
        """Kill it and start it again while there is anyone who sends."""
        done = 0
        while done < KILLS and any(sender.is_alive() for sender in senders):
            time.sleep(rng.uniform(0.3, 2.0))
            self.kill()
            self.start()
            done += 1
        return done


@contextmanager
def database(kind: str, work: Path) -> Iterator[str]:
    """Give the URL of an empty database: a file, or a PostgreSQL out of a wheel."""
    if kind == "sqlite":
        yield sqlite_url(work)
        return
    from tests.postgres import postgres  # noqa: PLC0415

    with postgres() as url:
        yield url.render_as_string(hide_password=False)


def _send_leads(crm: Crm) -> None:
    created = (datetime.now(UTC) - timedelta(days=20)).isoformat()
    leads = [
        {"lead_id": f"L-{n}", "created_at": created, "attributes": {"employees": 10 + n}}
        for n in range(LEADS)
    ]
    crm.until_answered("/v1/leads", {"leads": leads})


def _send(crm: Crm, number: int, seed: int) -> None:
    """Send this client's events, some in a second request, until each was acknowledged."""
    rng = random.Random(seed * 1_000 + number)  # noqa: S311
    events = [_event(rng, number, n) for n in range(EVENTS)]
    sent = events + rng.sample(events, round(TWICE * EVENTS))
    rng.shuffle(sent)
    for start in range(0, len(sent), AT_ONCE):
        some = sent[start : start + AT_ONCE]
        answer = crm.until_answered("/v1/events", {"events": some})
        bad = [each for each in answer["results"] if each["status"] == "rejected"]
        if bad or len(answer["results"]) != len(some):
            raise SystemExit(f"rejected: {bad[:3]}")


def _event(rng: random.Random, sender: int, number: int) -> dict[str, Any]:
    at = datetime.now(UTC) - timedelta(minutes=rng.uniform(5, 19 * 24 * 60))
    return {
        "event_id": f"E-{sender}-{number}",
        "lead_id": f"L-{rng.randrange(LEADS)}",
        "event_type": rng.choice(KINDS),
        "occurred_at": at.isoformat(),
        "channel": "web",
    }


def _report(crm: Crm, seen: Counter[str], killed: int, database: str) -> int:
    stored = sum(crm.ask("GET", f"/v1/leads/L-{n}")["events"] for n in range(LEADS))
    handoffs = [*crm.pages("/v1/handoffs")]
    episodes = Counter((each["lead_id"], each["episode"]) for each in handoffs)
    messages = {each["message_id"] for each in crm.pages("/v1/messages")}
    give_up = time.monotonic() + SETTLE_SECONDS
    while messages - seen.keys() and time.monotonic() < give_up:
        time.sleep(0.5)
    found = {
        "killed": killed,
        "ids sent": SENDERS * EVENTS,
        "events stored": stored,
        "hand-offs": len(handoffs),
        "hand-offs twice": sum(count - 1 for count in episodes.values()),
        "messages": len(messages),
        "messages that never came": len(messages - seen.keys()),
        "messages that came again": sum(count - 1 for count in seen.values()),
    }
    for name, value in found.items():
        print(f"{name:>26}: {value:,}")
    results.keep(f"service_kills_{database}", [found])
    right = (
        killed == KILLS
        and stored == SENDERS * EVENTS
        and len(handoffs) >= LEAST_HANDOFFS
        and not found["hand-offs twice"]
        and not found["messages that never came"]
    )
    print("every fact exactly once" if right else "WRONG")
    return int(not right)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, help="a folder that `leadqual train` wrote")
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


if __name__ == "__main__":
    main()
