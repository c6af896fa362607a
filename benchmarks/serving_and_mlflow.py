"""How many more requests `leadqual serve` answers than `mlflow models serve` with the same version.

    python benchmarks/serving_and_mlflow.py --model DIR

registers the model, starts both servers on the version with one worker each, and loads them by
turns with 8 connections: one lead with 20 events, no reasons. MLflow's runs as its documentation
says, in this environment (``--env-manager local``), and gets the raw lead as the version's
signature has it. Before anything is timed, both must give the same score, to the last digit.
Beside requests a second it prints the processor time that the server spends on one, which neither
the client nor other work on the machine slows down.
Without ``--model`` it trains one first, on a simulated CRM of 4,000 leads.
"""

import argparse
import json
import os
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # serving.py beside this hides it

from benchmarks import results
from benchmarks.processes import HOST, ROOT, Server, served, trained
from benchmarks.serving import CONNECTIONS, EVENTS, Load, body, load
from training import registry

BAR = 30.0
MODEL = "models:/leads/1"
OURS, THEIRS = "/v1/score", "/invocations"


@dataclass(frozen=True)
class Turn:
    """What a client saw, and the server's processor time, in milliseconds a request."""

    load: Load
    cpu_ms: float


def main() -> None:
    """Check, measure, print, and exit with 1 when the bar is missed."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        uri = f"sqlite:///{work}/mlflow.db"
        registry.register(options.model or trained(work)[1], "leads", uri=uri)
        # MLflow looks for uvicorn on PATH.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        settings = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true", "PATH": path}
        settings["PYTHONPATH"] = str(ROOT)
        leadqual = [sys.executable, str(ROOT / "leadqual.py"), "serve", f"--model={MODEL}"]
        mlflow = [sys.executable, "-m", "mlflow", "models", "serve", f"--model-uri={MODEL}"]
        mlflow += ["--env-manager=local", f"--host={HOST}", "--workers=1"]
        with (
            served(leadqual, "/readyz", settings) as server,
            served(mlflow, "/ping", settings) as other,
        ):
            _agree(server.port, other.port)
            ours = partial(_turn, server, OURS, load(work, body()), options.seconds)
            theirs = partial(_turn, other, THEIRS, load(work, raw()), options.seconds)
            ours(), theirs()  # warm
            turns = [(theirs(), ours()) for _ in range(options.turns)]
    sys.exit(_report(turns))


def _turn(server: Server, path: str, client: Callable[..., Load], seconds: float) -> Turn:
    before = server.cpu_seconds()
    seen = client(server.port, path, seconds=seconds)
    return Turn(seen, (server.cpu_seconds() - before) * 1e3 / (seen.per_second * seconds))


def raw() -> bytes:
    """Return the same lead as MLflow is asked: a row of text, record and events as JSON."""
    request = json.loads(body())
    lead = request["leads"][0]
    row = {
        "lead_id": lead["lead_id"],
        "created_at": lead["created_at"],
        "as_of": request["as_of"],
        "attributes": json.dumps(lead["attributes"]),
        "events": json.dumps(lead["events"]),
    }
    split = {"columns": list(row), "data": [list(row.values())]}
    return json.dumps({"dataframe_split": split}).encode()


def _agree(port: int, other_port: int) -> None:
    ours = _asked(port, OURS, body())["results"][0]["score"]
    theirs = _asked(other_port, THEIRS, raw())["predictions"][0]["score"]
    assert ours == theirs, (ours, theirs)
    print(f"both score it {ours!r}")


def _asked(port: int, path: str, payload: bytes) -> Any:
    kind = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{HOST}:{port}{path}", payload, kind)
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  # our own
        return json.loads(answer.read())


def _report(turns: list[tuple[Turn, Turn]]) -> int:
    print(f"one worker each, {CONNECTIONS} connections, one lead, {EVENTS} events")
    print(
        f"{'turn':>4} {'mlflow /s':>10} {'p50 ms':>7} {'cpu ms':>7} {'leadqual /s':>12} "
        f"{'p50 ms':>7} {'cpu ms':>7} {'ratio':>6} {'of cpu':>7} {'errors':>7}"
    )
    for number, (theirs, ours) in enumerate(turns, 1):
        print(
            f"{number:>4} {theirs.load.per_second:>10,.0f} {theirs.load.p50_ms:>7.2f} "
            f"{theirs.cpu_ms:>7.2f} {ours.load.per_second:>12,.0f} {ours.load.p50_ms:>7.2f} "
            f"{ours.cpu_ms:>7.3f} {ours.load.per_second / theirs.load.per_second:>6.1f} "
            f"{theirs.cpu_ms / ours.cpu_ms:>7.1f} {theirs.load.errors + ours.load.errors:>7}"
        )
    ratio = median(ours.load.per_second / theirs.load.per_second for theirs, ours in turns)
    of_cpu = median(theirs.cpu_ms / ours.cpu_ms for theirs, ours in turns)
    errors = sum(theirs.load.errors + ours.load.errors for theirs, ours in turns)
    print(
        f"median ratio {ratio:.1f} (bar {BAR:g}), of processor time {of_cpu:.1f}, "
        f"{errors} errors (bar 0)"
    )
    figures = [{"mlflow": asdict(theirs), "leadqual": asdict(ours)} for theirs, ours in turns]
    results.keep("serving_and_mlflow", figures)
    return int(ratio < BAR or errors > 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, help="a folder that `leadqual train` wrote")
    parser.add_argument("--seconds", type=float, default=6, help="of one turn")
    parser.add_argument("--turns", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
