"""A year and a half of a CRM in minutes: the service collects, flags, hands off, and learns again.

A simulated CRM is replayed through the running service over HTTP, in Segment's shape, by a clock
that is moved day by day. The service begins with what the CRM knew four months before the end. A
model learns from the service's own database and is promoted; a simulated sales team accepts,
rejects and works what is handed off; two months later a second model learns from what the service
has collected by then, is promoted, and takes over while the service runs. In the end the service's
figures must be those that the simulator knows.

    python examples/funnel.py [--leads 3000] [--folder funnel]

Only two things are not as in production: the clock, and that the service runs in this process.
"""

import argparse
import http.client
import io
import json
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import uvicorn

from serving.follower import Follower, Source
from serving.http.app import create_app
from serving.served_model import ModelSlot
from serving.store.database import Database

LEADQUAL = Path(sys.executable).with_name("leadqual")
NAME, REGISTRY = "funnel", "sqlite:///{}/mlflow.db"
MONTHS, LIVE_DAYS, SECOND_MODEL_DAYS = 18, 120, 60
AT_ONCE = 200
REJECTED_SHARE, REJECT_REASON = 0.08, "outside the agreed criteria"
UNTAKEN = {"proposed", "waiting", "rejected", "expired", "overridden"}
HOST = "127.0.0.1"

Row = dict[str, Any]


@dataclass
class Clock:
    """The service's clock, moved by hand."""

    now: datetime

    def us(self) -> int:
        """Return it in microseconds since the epoch."""
        return (self.now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@dataclass
class Crm:
    """One connection to the service, with a key."""

    port: int
    key: str
    _connection: http.client.HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        self._connection = http.client.HTTPConnection(HOST, self.port, timeout=60)

    def ask(self, method: str, path: str, body: Any = None, version: int | None = None) -> Any:
        """Send a request, again if the connection was idle too long; return its 200, or end."""
        head = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        if version is not None:
            head["If-Match"] = f'"{version}"'
        sent = None if body is None else json.dumps(body)
        try:
            self._connection.request(method, path, sent, head)
            answer = self._connection.getresponse()
        except ConnectionError:  # sent twice is stored once
            self._connection.close()
            self._connection.request(method, path, sent, head)
            answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            sys.exit(f"{method} {path}: {answer.status} {content.decode()[:800]}")
        kind = answer.headers.get_content_type()
        return json.loads(content) if kind == "application/json" else content

    def post(self, path: str, name: str, items: Sequence[Row]) -> None:
        """Send items some at a time; end where one is rejected."""
        for start in range(0, len(items), AT_ONCE):
            answer = self.ask("POST", path, {name: items[start : start + AT_ONCE]})
            bad = [each for each in answer["results"] if each["status"] == "rejected"]
            if bad:
                sys.exit(f"POST {path} rejected {bad[:3]}")

    def pages(self, path: str) -> Iterator[Row]:
        """Give the items of all pages of a list."""
        cursor: str | None = ""
        while cursor is not None:
            page = self.ask("GET", f"{path}{'&' if '?' in path else '?'}limit=200{cursor}")
            yield from page["items"]
            cursor = f"&cursor={page['next']}" if page["next"] else None


@dataclass(frozen=True)
class World:
    """What the simulator knows, in order of time."""

    leads: list[Row]
    events: list[Row]
    outcomes: list[Row]
    end: datetime

    @classmethod
    def read(cls, folder: Path) -> "World":
        """Read its tables."""
        leads, events, outcomes = (
            pq.read_table(folder / f"{name}.parquet").sort_by(order).to_pylist()
            for name, order in (
                ("leads", "created_at"),
                ("events", "occurred_at"),
                ("outcomes", "closed_at"),
            )
        )
        for number, event in enumerate(events):
            event["message_id"] = f"E-{number}"
        newest = max(event["occurred_at"] for event in events)
        return cls(leads, events, outcomes, newest + timedelta(seconds=1))


def main() -> int:
    """Replay the world; 0 when the service counted what the simulator knows."""
    options = _options()
    folder = options.folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    run(folder, "simulate", "crm", "--leads", str(options.leads), "--months", str(MONTHS))
    world = World.read(folder / "crm")
    clock = Clock(world.end - timedelta(days=LIVE_DAYS))
    url = f"sqlite:///{folder / 'leadqual.db'}"
    key = made_key(folder, url)
    with service(folder, url, clock) as port:
        say(f"\nThe service begins on {clock.now:%Y-%m-%d} with what the CRM knows, and no model.")
        collect(Crm(port, key), world, datetime.min.replace(tzinfo=UTC), clock.now)
    learn(folder, url, clock, "first")
    with service(folder, url, clock) as port:
        crm = Crm(port, key)
        wait_for_model(crm, "1")
        team = SalesTeam(crm, random.Random(7))  # noqa: S311
        for day in range(LIVE_DAYS):
            if day == SECOND_MODEL_DAYS:
                learn(folder, url, clock, "second")
                wait_for_model(crm, "2")
            since, clock.now = clock.now, clock.now + timedelta(days=1)
            collect(crm, world, since, clock.now, outcomes=False)
            team.work(world, since, clock.now)
        return conclude(crm, world, clock)


def run(folder: Path, *arguments: str) -> str:
    """Show a command and run it in the folder; return what it prints, or end with its code."""
    say(f"\n$ leadqual {' '.join(arguments)}")
    done = subprocess.run(
        [LEADQUAL, *arguments], cwd=folder, check=False, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


def made_key(folder: Path, url: str) -> str:
    """Make a key for the CRM."""
    scopes = "score,read,write,admin"
    return run(folder, "keys", "create", "crm", "--scopes", scopes, "--database-url", url).strip()


def learn(folder: Path, url: str, clock: Clock, name: str) -> None:
    """Learn from the service's own database, and make the model the champion."""
    until = clock.now.isoformat()
    run(
        folder, "train", "--source", url, "--until", until, "--config", "crm/leadqual.toml",
        "--output", f"{name}-model", "--register", NAME, "--registry", REGISTRY.format(folder),
        "--allow-weak",
    )  # fmt: skip
    forced = ("--force", "--because", "the next one of the example") if name != "first" else ()
    run(folder, "promote", NAME, "--registry", REGISTRY.format(folder), *forced)


@contextmanager
def service(folder: Path, url: str, clock: Clock) -> Iterator[int]:
    """Run the service by our clock, on a free port; it takes up the champion when there is one."""
    database, slot = Database.open(url), ModelSlot()
    registry = Source(f"models:/{NAME}@champion", REGISTRY.format(folder), poll_seconds=0.5)
    app = create_app(
        slot, now_us=clock.us, database=database, follower=Follower(registry, slot, clock.us)
    )
    with socket.create_server((HOST, 0)) as listener:
        config = uvicorn.Config(app, log_level="error", lifespan="on", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            while not server.started:
                time.sleep(0.05)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()
            database.close()


def wait_for_model(crm: Crm, version: str) -> None:
    """Wait until the service has swapped its model."""
    give_up = time.monotonic() + 60
    while crm.ask("GET", "/v1/model")["version"] != version:
        if time.monotonic() > give_up:
            sys.exit(f"the service did not take up version {version}")
        time.sleep(0.2)
    say(f"The service scores with version {version} now.")


def collect(
    crm: Crm, world: World, since: datetime, until: datetime, *, outcomes: bool = True
) -> None:
    """Send what happened after a moment and until another, as a web site and a CRM send it."""
    crm.post(
        "/v1/batch",
        "batch",
        [
            *(identify(lead) for lead in world.leads if since < lead["created_at"] <= until),
            *(track(event) for event in world.events if since < event["occurred_at"] <= until),
        ],
    )
    if outcomes:
        closed = [each for each in world.outcomes if since < each["closed_at"] <= until]
        crm.post("/v1/outcomes", "outcomes", [outcome(each) for each in closed])


def identify(lead: Row) -> Row:
    """Give a lead in Segment's shape."""
    traits = {name: value for name, value in lead.items() if name != "lead_id"}
    created = traits.pop("created_at").isoformat()
    return {
        "type": "identify",
        "messageId": f"I-{lead['lead_id']}",
        "userId": lead["lead_id"],
        "timestamp": created,
        "traits": {**traits, "createdAt": created},
    }


def track(event: Row) -> Row:
    """Give an event in Segment's shape."""
    return {
        "type": "track",
        "messageId": event["message_id"],
        "userId": event["lead_id"],
        "event": event["event_type"],
        "timestamp": event["occurred_at"].isoformat(),
        "channel": event["channel"],
        "properties": {} if event["value"] is None else {"value": event["value"]},
    }


def outcome(closed: Row) -> Row:
    """Give an outcome as the service takes it."""
    return {
        "lead_id": closed["lead_id"],
        "closed_at": closed["closed_at"].isoformat(),
        "outcome": closed["outcome"],
        "amount": closed["amount"],
    }


@dataclass
class SalesTeam:
    """Accepts or rejects what is proposed, works what it accepted, and says how it ended."""

    crm: Crm
    rng: random.Random
    working: dict[str, Row] = field(default_factory=dict)

    def work(self, world: World, since: datetime, until: datetime) -> None:
        """Do a day's work: what was closed, then what is new."""
        for closed in world.outcomes:
            if not since < closed["closed_at"] <= until:
                continue
            worked = self.working.pop(closed["lead_id"], None)
            if worked is None:
                self.crm.post("/v1/outcomes", "outcomes", [outcome(closed)])
            else:
                self._do(worked, closed["outcome"], closed["closed_at"])
        for handoff in [*self.crm.pages("/v1/handoffs?status=proposed")]:
            if self.rng.random() < REJECTED_SHARE:
                self._do(handoff, "reject", until, reason=REJECT_REASON, kind="definitional")
                continue
            accepted = self._do(handoff, "accept", until)
            self.working[handoff["lead_id"]] = self._do(accepted, "contact", until)

    def _do(self, handoff: Row, action: str, at: datetime, **more: str) -> Row:
        path = f"/v1/handoffs/{handoff['handoff_id']}/{action}"
        body = {"at": at.isoformat(), **more}
        done: Row = self.crm.ask("POST", path, body, version=handoff["version"])
        return done


def conclude(crm: Crm, world: World, clock: Clock) -> int:
    """Print the funnel; 0 where all of its figures are those that the simulator knows."""
    stored = Counter({name: len(rows(crm, name)) for name in ("leads", "events", "outcomes")})
    closed = {(row["lead_id"], moment(row["closed_at"])): row for row in rows(crm, "outcomes")}
    handoffs = [*crm.pages("/v1/handoffs")]
    status = Counter(each["status"] for each in handoffs)
    wins = [each for each in world.outcomes if each["outcome"] == "won"]
    figures = [
        ("leads", stored["leads"], len(world.leads)),
        ("events", stored["events"], len(world.events)),
        ("outcomes", stored["outcomes"], len(world.outcomes)),
        ("won", sum(row["outcome"] == "won" for row in closed.values()), len(wins)),
        *(
            (f"hand-offs {name}", status[name], expected(world, handoffs, name, clock))
            for name in ("won", "lost")
        ),
    ]
    say(f"\n{'':>24} {'service':>9} {'simulator':>9}")
    for name, ours, theirs in figures:
        say(f"{name:>24} {ours:>9,} {theirs:>9,}{'' if ours == theirs else '   DIFFERENT'}")
    say("\n" + ", ".join(f"{count} {name}" for name, count in sorted(status.items())))
    taken = sum(status.values()) - status["proposed"] - status["waiting"] - status["expired"]
    say(f"accepted: {1 - status['rejected'] / max(taken, 1):.0%} of {taken} that sales answered")
    versions = Counter(row["model_version"] for row in rows(crm, "decisions"))
    said = ", ".join(f"{count:,} by version {name}" for name, count in sorted(versions.items()))
    say(f"decisions: {said}")
    return int(any(ours != theirs for _, ours, theirs in figures))


def expected(world: World, handoffs: Sequence[Row], outcome: str, clock: Clock) -> int:
    """Count the hand-offs whose lead, once sales had taken it up, was closed so next."""
    closes: dict[str, list[Row]] = {}
    for closed in world.outcomes:
        closes.setdefault(closed["lead_id"], []).append(closed)
    taken = [each for each in handoffs if each["status"] not in UNTAKEN]
    ends = []
    for each in taken:
        since = moment(each["proposed_at"])
        later = [row for row in closes.get(each["lead_id"], ()) if row["closed_at"] > since]
        ends += [row["outcome"] for row in later[:1] if row["closed_at"] <= clock.now]
    return sum(each == outcome for each in ends)


def rows(crm: Crm, table: str) -> list[Row]:
    """Export a table."""
    found = pq.read_table(io.BytesIO(crm.ask("GET", f"/v1/export/{table}.parquet")))
    listed: list[Row] = found.to_pylist()
    return listed


def moment(value: Any) -> datetime:
    """Give a moment of an answer, or of an export."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def say(text: str) -> None:
    """Print at once, so that the lines stand in order with those of the commands."""
    print(text, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--leads", type=int, default=3_000)
    parser.add_argument("--folder", type=Path, default=Path("funnel"), help="is made anew")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
