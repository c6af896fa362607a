"""How many more requests `leadqual serve` answers than `mlflow models serve` with the same version.

    python benchmarks/serving_and_mlflow.py --model DIR

registers the model, starts both servers on the version with one worker each, and loads them by
turns with 8 connections: one lead with 20 events, no reasons. MLflow's runs as its documentation
says, in this environment (``--env-manager local``), and gets the raw lead as the version's
signature has it. Before anything is timed, both must give the same score, to the last digit.
Without ``--model`` it trains one first, on a simulated CRM of 4,000 leads.
"""

import argparse
import json
import os
import sys
import tempfile
import urllib.request
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # serving.py beside this hides it

from benchmarks import results
from benchmarks.processes import HOST, ROOT, served, trained
from benchmarks.serving import CONNECTIONS, EVENTS, Load, body, load
from training import registry

BAR = 30.0
MODEL = "models:/leads/1"
OURS, THEIRS = "/v1/score", "/invocations"


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
            served(leadqual, "/readyz", settings) as port,
            served(mlflow, "/ping", settings) as other_port,
        ):
            _agree(port, other_port)
            ours = partial(load(work, body()), port, OURS, seconds=options.seconds)
            theirs = partial(load(work, raw()), other_port, THEIRS, seconds=options.seconds)
            ours(), theirs()  # warm
            turns = [(theirs(), ours()) for _ in range(options.turns)]
    sys.exit(_report(turns))


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


def _report(turns: list[tuple[Load, Load]]) -> int:
    print(f"one worker each, {CONNECTIONS} connections, one lead, {EVENTS} events")
    print(
        f"{'turn':>6} {'mlflow /s':>10} {'p50 ms':>7} {'leadqual /s':>12} {'p50 ms':>7} "
        f"{'ratio':>6} {'errors':>7}"
    )
    for number, (theirs, ours) in enumerate(turns, 1):
        print(
            f"{number:>6} {theirs.per_second:>10,.0f} {theirs.p50_ms:>7.2f} "
            f"{ours.per_second:>12,.0f} {ours.p50_ms:>7.2f} "
            f"{ours.per_second / theirs.per_second:>6.1f} {theirs.errors + ours.errors:>7}"
        )
    ratio = median(ours.per_second / theirs.per_second for theirs, ours in turns)
    errors = sum(theirs.errors + ours.errors for theirs, ours in turns)
    print(f"median ratio {ratio:.1f} (bar {BAR:g}), {errors} errors (bar 0)")
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
