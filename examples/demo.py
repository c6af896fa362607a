"""The main job as a user would do it, by the command and over HTTP; nothing is computed here.

Everything is written to `demo/` of the checkout, which is made anew each time.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

FOLDER = Path(__file__).resolve().parent.parent / "demo"
LEADQUAL = Path(sys.executable).with_name("leadqual")
NAME = "demo"
MODEL = f"models:/{NAME}@champion"
TABLES = ("--leads", "crm/leads.parquet", "--events", "crm/events.parquet")
BACKLOG_DAYS = 90
EVENT_FIELDS = ("event_type", "occurred_at", "channel", "value")
SHOWN = 5
READY_SECONDS = 60
STOP_SECONDS = 20

GO_ON = """Written to demo/:
  crm/             leads, events and outcomes of the simulated CRM, and the truth behind them
  model/           the model; report.html says how good it is, report.json says it to programs
  scores.parquet   the scored backlog
  mlflow.db        the registry, with the model as its champion

Go on:
  make serve       serve the model; then its documentation is at http://127.0.0.1:8000/docs, and
  curl -H 'Content-Type: application/json' -d @demo/request.json http://127.0.0.1:8000/v1/score
  .venv/bin/leadqual --help        all commands
  .venv/bin/leadqual train --leads … --events … --outcomes … --output model   your own CRM"""

Row = dict[str, Any]


def main() -> int:
    """Run the job; 0 when the backlog and the service give one lead the same score."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    leadqual("simulate", "crm", "--leads", "4000")
    leadqual(
        "train", *TABLES, "--outcomes", "crm/outcomes.parquet", "--config", "crm/leadqual.toml",
        "--output", "model", "--register", NAME,
    )  # fmt: skip
    leadqual("promote", NAME)
    as_of = write_backlog()
    leadqual(
        "score", "--model", MODEL, "--leads", "backlog.parquet", "--events", "crm/events.parquet",
        "--as-of", as_of.isoformat(), "--output", "scores.parquet",
    )  # fmt: skip
    best = show_backlog()
    with service() as port:
        result = ask(port, best["lead_id"], as_of)
    return conclude(best, result)


def leadqual(*arguments: str) -> None:
    """Show a command and run it in the demo's folder; if it fails, end with its exit code."""
    say(f"\n$ leadqual {' '.join(arguments)}")
    done = subprocess.run([LEADQUAL, *arguments], cwd=FOLDER, env=environment(), check=False)
    if done.returncode:
        say(f"leadqual {arguments[0]} ended with exit code {done.returncode}")
        sys.exit(done.returncode)


def environment() -> Mapping[str, str]:
    """Give the commands a registry of the demo's own, whatever MLflow is set up here."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")
    }
    return inherited | {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}


def write_backlog() -> datetime:
    """Write the open leads of the last 90 days as a backlog; return the moment to judge them at."""
    leads, outcomes = read("crm/leads.parquet"), read("crm/outcomes.parquet")
    newest: datetime = pc.max(read("crm/events.parquet")["occurred_at"]).as_py()
    as_of = newest.replace(hour=0, minute=0, second=0, microsecond=0)
    wanted = (
        ~pc.field("lead_id").isin(outcomes["lead_id"].combine_chunks())
        & (pc.field("created_at") > as_of - timedelta(days=BACKLOG_DAYS))
        & (pc.field("created_at") <= as_of)
    )
    pq.write_table(leads.filter(wanted), FOLDER / "backlog.parquet")
    return as_of


def show_backlog() -> Row:
    """Print how the backlog was decided and its best leads; return the best one."""
    scores = read("scores.parquet").sort_by([("score", "descending"), ("lead_id", "ascending")])
    decisions = ", ".join(
        f"{count['counts']} {count['values']}"
        for count in pc.value_counts(scores["decision"]).to_pylist()
    )
    say(f"\nBacklog of {scores.num_rows} open leads: {decisions}. The first {SHOWN}:")
    best: list[Row] = scores.slice(0, SHOWN).to_pylist()
    for row in best:
        say(
            f"  {row['lead_id']}  score {row['score']:.4f}  grade {row['grade']}  {row['decision']}"
        )
    return best[0]


@contextmanager
def service() -> Iterator[int]:
    """Start `leadqual serve` on a free port, wait until it is ready, and stop it with SIGTERM."""
    port = free_port()
    arguments = ["serve", "--model", MODEL, "--port", str(port)]
    say(f"\n$ leadqual {' '.join(arguments)}   (its log: demo/serve.log)")
    with (FOLDER / "serve.log").open("w") as log:
        process = subprocess.Popen(
            [LEADQUAL, *arguments], cwd=FOLDER, env=environment(), stdout=log, stderr=log
        )
        try:
            wait_until_ready(process, port)
            yield port
        finally:
            stop(process)


def free_port() -> int:
    """Return a port on the loopback address that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    """Ask /readyz until it answers 200; end the demo with the service's log if it never does."""
    give_up = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        try:
            status, _ = request(port, "GET", "/readyz")
        except OSError:
            status = 0
        if status == http.client.OK:
            return
        time.sleep(0.2)
    say((FOLDER / "serve.log").read_text())
    say(f"The service was not ready within {READY_SECONDS} s.")
    sys.exit(1)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the service as an operator would, and see that it does end."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        say(f"The service did not end within {STOP_SECONDS} s of SIGTERM.")
        sys.exit(1)


def ask(port: int, lead_id: str, as_of: datetime) -> Row:
    """Score a lead over HTTP with its events in the CRM; print the answer, return its result."""
    question = {"as_of": as_of.isoformat(), "leads": [lead_with_events(lead_id, as_of)]}
    body = json.dumps(question, ensure_ascii=False).encode()
    (FOLDER / "request.json").write_bytes(body)
    say(f"\nPOST http://127.0.0.1:{port}/v1/score   (the request: demo/request.json)")
    status, answer = request(port, "POST", "/v1/score", body)
    if status != http.client.OK:
        say(answer.decode())
        sys.exit(1)
    said: Row = json.loads(answer)
    say(json.dumps(said, indent=2))
    result: Row = said["results"][0]
    return result


def lead_with_events(lead_id: str, as_of: datetime) -> Row:
    """Bring a lead of the CRM and its events up to as_of into the form that /v1/score takes."""
    this = pc.field("lead_id") == lead_id
    (lead,) = rows("crm/leads.parquet", this)
    events = rows("crm/events.parquet", this & (pc.field("occurred_at") <= as_of))
    return {
        "lead_id": lead.pop("lead_id"),
        "created_at": lead.pop("created_at"),
        "attributes": lead,
        "events": [
            {name: event[name] for name in EVENT_FIELDS if name in event} for event in events
        ],
    }


def rows(name: str, wanted: pc.Expression) -> list[Row]:
    """Read rows as JSON has them: times as text, what is missing left out."""
    return [
        {
            column: value.isoformat() if isinstance(value, datetime) else value
            for column, value in row.items()
            if value is not None
        }
        for row in read(name).filter(wanted).to_pylist()
    ]


def request(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Send one HTTP request to the service; return status and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=READY_SECONDS)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def conclude(backlog: Row, result: Row) -> int:
    """Compare the two scores of the lead, and say what was written and how to go on."""
    say(f"\nLead {backlog['lead_id']} in the backlog: {backlog['score']!r}")
    say(f"Lead {result['lead_id']} over HTTP:      {result['score']!r}")
    if backlog["score"] != result["score"]:
        say("They differ: that is a bug.")
        return 1
    say(f"The same number.\n\n{GO_ON}")
    return 0


def read(name: str) -> pa.Table:
    """Read a Parquet file of the demo."""
    return pq.read_table(FOLDER / name)


def say(text: str) -> None:
    """Print at once, so that the lines stand in order with those of the commands."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
