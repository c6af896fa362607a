"""How many more requests `leadqual serve` answers than `mlflow models serve` with the same model.

    python benchmarks/serving_and_mlflow.py --model DIR

loads three servers by turns, one worker and 8 connections each, no reasons:

- `leadqual serve`: one lead with 20 events;
- `mlflow models serve` with the same model as most people log it (`peers/ready_row.py`): a row of
  features that is ready, each with its name and type in the signature; no event is looked at;
- `mlflow models serve` with the registered version itself, which takes the raw lead in five columns
  of text and does all that `leadqual serve` does.

MLflow's run as its documentation says, in this environment (``--env-manager local``). Before
anything is timed, all must give the same score, to the last digit. Beside requests a second it
prints the processor time that the server spends on one, which neither the client nor other work on
the machine slows down. Without ``--model`` it trains one first, on a simulated CRM of 4,000 leads.
"""

import argparse
import json
import os
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
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
"""Over a ready row; over the registered version there is none."""
OURS, READY, RAW = "leadqual", "mlflow, ready row", "mlflow, raw lead"
READY_MODEL = "models:/ready-row/1"
MODEL = "models:/leads/1"


@dataclass(frozen=True)
class Turn:
    """What a client saw, and the server's processor time, in milliseconds a request."""

    load: Load
    cpu_ms: float


def main() -> None:
    """Check, measure, print, and exit with 1 when the bar is missed."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        work = Path(folder)
        uri = f"sqlite:///{work}/mlflow.db"
        model = options.model or trained(work)[1]
        registry.register(model, "leads", uri=uri)
        row = _log_ready_row(model, uri)
        # MLflow looks for uvicorn on PATH.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        settings = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true", "PATH": path}
        settings["PYTHONPATH"] = str(ROOT)
        leadqual = [sys.executable, str(ROOT / "leadqual.py"), "serve", f"--model={MODEL}"]
        mlflow = [sys.executable, "-m", "mlflow", "models", "serve"]
        mlflow += ["--env-manager=local", f"--host={HOST}", "--workers=1"]
        asked = {
            OURS: (leadqual, "/readyz", "/v1/score", body()),
            READY: ([*mlflow, f"--model-uri={READY_MODEL}"], "/ping", "/invocations", row),
            RAW: ([*mlflow, f"--model-uri={MODEL}"], "/ping", "/invocations", raw()),
        }
        scores, turns = {}, {}
        for name, (command, ready, route, payload) in asked.items():
            server = running.enter_context(served(command, ready, settings))
            scores[name] = _score(_asked(server.port, route, payload))
            turns[name] = partial(_turn, server, route, load(work, payload), options.seconds)
        assert len(set(scores.values())) == 1, scores
        print(f"all score it {scores[OURS]!r}")
        for turn in turns.values():
            turn()  # warm
        seen = [{name: turn() for name, turn in turns.items()} for _ in range(options.turns)]
    sys.exit(_report(seen))


def _log_ready_row(model: Path, uri: str) -> bytes:
    """Log the model under a signature of its features, and return the lead's row as it is asked."""
    import mlflow  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    from serving.http.requests import parse, to_leads  # noqa: PLC0415
    from training.scorer import LeadScorer  # noqa: PLC0415

    scorer, request = LeadScorer.load(model), parse(body())
    assert request.as_of is not None
    leads = to_leads(request.leads, scorer.spec.attributes)
    X = scorer.matrix(leads, np.array([request.as_of]))
    row = pd.DataFrame(X, columns=scorer.spec.names)
    mlflow.set_tracking_uri(uri)
    mlflow.pyfunc.log_model(
        name="ready-row",
        python_model=str(ROOT / "benchmarks" / "peers" / "ready_row.py"),
        artifacts={"leadqual": str(model)},
        signature=mlflow.models.infer_signature(row, scorer.probability(X)),
        registered_model_name="ready-row",
    )
    values = [None if np.isnan(value) else float(value) for value in X[0]]
    split = {"columns": list(row.columns), "data": [values]}
    return json.dumps({"dataframe_split": split}).encode()


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


def _score(answer: Any) -> float:
    found = answer["results"] if "results" in answer else answer["predictions"]
    return float(found[0]["score"] if isinstance(found[0], dict) else found[0])


def _asked(port: int, path: str, payload: bytes) -> Any:
    kind = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{HOST}:{port}{path}", payload, kind)
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  # our own
        return json.loads(answer.read())


def _report(turns: list[dict[str, Turn]]) -> int:
    print(f"one worker each, {CONNECTIONS} connections, one lead, {EVENTS} events")
    print(f"{'turn':>4}  {'server':<18} {'a second':>9} {'p50 ms':>7} {'cpu ms':>7} {'errors':>7}")
    for number, turn in enumerate(turns, 1):
        for name, seen in turn.items():
            print(
                f"{number:>4}  {name:<18} {seen.load.per_second:>9,.0f} {seen.load.p50_ms:>7.2f} "
                f"{seen.cpu_ms:>7.3f} {seen.load.errors:>7}"
            )
    times = {}
    for name in (READY, RAW):
        times[name] = median(t[OURS].load.per_second / t[name].load.per_second for t in turns)
        of_cpu = median(t[name].cpu_ms / t[OURS].cpu_ms for t in turns)
        bar = f" (bar {BAR:g})" if name == READY else ""
        print(f"{times[name]:.1f} times {name}{bar}, of processor time {of_cpu:.1f}")
    errors = sum(seen.load.errors for turn in turns for seen in turn.values())
    print(f"{errors} errors (bar 0)")
    results.keep(
        "serving_and_mlflow",
        [{name: asdict(seen) for name, seen in turn.items()} for turn in turns],
    )
    return int(times[READY] < BAR or errors > 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, help="a folder that `leadqual train` wrote")
    parser.add_argument("--seconds", type=float, default=6, help="of one turn")
    parser.add_argument("--turns", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
