"""How many events the service takes in with their leads scored anew, beside a bare insert.

    python benchmarks/service.py [--database postgres]

One process. Events in batches of 100 about 2,000 leads that have 20 each already, then single ones
by eight connections; the bar is 1,500 events and 300 single requests a second. Beside it, the same
rows by one bare INSERT a batch into a table of the same form.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # serving.py beside this hides it

from benchmarks import results
from benchmarks.clients import Crm, key
from benchmarks.processes import ROOT, served, trained
from benchmarks.service_kills import KINDS, SETTINGS, database

LEADS, EVENTS_BEFORE, AT_ONCE = 2_000, 20, 100
BATCHES, SINGLES, CONNECTIONS = 100, 1_500, 8
BAR_EVENTS, BAR_SINGLES = 1_500.0, 300.0


def main() -> None:
    """Measure, print, and exit with 1 when a bar is missed."""
    options = _options()
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = options.model or trained(work)[1]
        url = stack.enter_context(database(options.database, work))
        token = key(url, "crm")
        command = [sys.executable, str(ROOT / "leadqual.py"), "serve", f"--model={model}"]
        server = stack.enter_context(
            served([*command, f"--database-url={url}"], "/readyz", SETTINGS)
        )
        crm, rng = Crm(server.port, token), random.Random(7)  # noqa: S311
        _fill(crm, rng)
        batches = [_events(rng, AT_ONCE, f"b{n}") for n in range(BATCHES)]
        events_per_second = len(batches) * AT_ONCE / _seconds(lambda: _post(crm, batches))
        singles = [_events(rng, 1, f"s{n}") for n in range(SINGLES)]
        singles_per_second = len(singles) / _seconds(
            lambda: _post_by_many(server.port, token, singles)
        )
        bare = len(batches) * AT_ONCE / _seconds(lambda: _insert(url, batches))
    found = {
        "events a second in batches": events_per_second,
        "single events a second": singles_per_second,
        "rows a second of a bare insert": bare,
    }
    for name, value in found.items():
        print(f"{name:>32}: {value:>9,.0f}")
    results.keep(f"service_{options.database}", [found])
    sys.exit(int(events_per_second < BAR_EVENTS or singles_per_second < BAR_SINGLES))


def _fill(crm: Crm, rng: random.Random) -> None:
    created = (datetime.now(UTC) - timedelta(days=20)).isoformat()
    for start in range(0, LEADS, 1_000):
        leads = [
            {"lead_id": f"L-{n}", "created_at": created, "attributes": {"employees": 10 + n}}
            for n in range(start, start + 1_000)
        ]
        crm.ask("POST", "/v1/leads", {"leads": leads})
    for start in range(0, LEADS * EVENTS_BEFORE, 1_000):
        crm.ask("POST", "/v1/events", {"events": _events(rng, 1_000, f"f{start}")})


def _events(rng: random.Random, count: int, name: str) -> list[dict[str, Any]]:
    now = datetime.now(UTC)
    return [
        {
            "event_id": f"{name}-{n}",
            "lead_id": f"L-{rng.randrange(LEADS)}",
            "event_type": rng.choice(KINDS),
            "occurred_at": (now - timedelta(minutes=rng.uniform(1, 19 * 24 * 60))).isoformat(),
            "channel": "web",
        }
        for n in range(count)
    ]


def _post(crm: Crm, batches: list[list[dict[str, Any]]]) -> None:
    for events in batches:
        answer = crm.ask("POST", "/v1/events", {"events": events})
        assert all(each["status"] == "stored" for each in answer["results"]), answer


def _post_by_many(port: int, token: str, batches: list[list[dict[str, Any]]]) -> None:
    threads = [
        threading.Thread(target=_post, args=(Crm(port, token), batches[n::CONNECTIONS]))
        for n in range(CONNECTIONS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _insert(url: str, batches: list[list[dict[str, Any]]]) -> None:
    import sqlalchemy as sa  # noqa: PLC0415

    from serving.store.database import Database  # noqa: PLC0415

    opened = Database.open(url)
    names = ("event_id", "lead_id", "event_type", "occurred_at", "channel")
    bare = sa.Table("bare", sa.MetaData(), *(sa.Column(name, sa.Text) for name in names))
    with opened.writing() as connection:
        bare.create(connection)
    for events in batches:
        with opened.writing() as connection:
            connection.execute(bare.insert(), events)
    opened.close()


def _seconds(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, help="a folder that `leadqual train` wrote")
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    return parser.parse_args()


if __name__ == "__main__":
    main()
