"""Stateless scoring under load for minutes, with the model swapped three times meanwhile.

    python benchmarks/service_load.py [--minutes 10] [--models DIR DIR]

The real server follows ``models:/load@champion`` of a registry; 8 connections send one lead with 20
events, and the alias moves between two versions at a quarter, at half and at three quarters of the
time. Every answer must be a 200 whose score is the one that the version it names gives to the last
digit; memory must stay within 5 %.
"""

import argparse
import http.client
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # serving.py beside this hides it

from benchmarks import results
from benchmarks.processes import HOST, ROOT, TABLES, Server, leadqual, served, trained
from benchmarks.serving import body

CONNECTIONS, SWAPS = 8, 3
NAME = "load"
BAR_DRIFT = 0.05
SECONDS_TO_SWAP = 15
"""Within which a move of the alias must be seen; the registry is asked every second."""


@dataclass
class Seen:
    """What the clients saw: latencies in seconds, answers by version, and what was wrong.

    And what was seen of the server: its memory in MB, every second, and the seconds a swap took.
    """

    seconds: list[float] = field(default_factory=list)
    versions: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    memory: list[float] = field(default_factory=list)
    swaps: list[float] = field(default_factory=list)


def main() -> None:
    """Measure, print, and exit with 1 when a bar is missed."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        models = options.models or _two_models(work)
        uri = _registered(models, work)
        expected = {str(n): _scored(model) for n, model in enumerate(models, 1)}
        assert expected["1"] != expected["2"], "the two models answer alike"
        command = [sys.executable, str(ROOT / "leadqual.py"), "serve"]
        command += [f"--model=models:/{NAME}@champion", f"--registry={uri}"]
        settings = {
            "LEADQUAL_MODEL_POLL_SECONDS": "1",
            "LEADQUAL_MODEL_CACHE": str(work / "cache"),
            "LEADQUAL_LOG_LEVEL": "warning",
        }
        with served(command, "/readyz", settings) as server:
            seen = _load(server, options.minutes * 60, uri, expected)
    sys.exit(_report(seen, options.minutes))


def _two_models(work: Path) -> tuple[Path, Path]:
    crm, first = trained(work)
    second = work / "second"
    tables = [f"--{name}={crm / name}.parquet" for name in TABLES]
    leadqual("train", *tables, "--horizon-days=60", f"--output={second}")
    return first, second


def _registered(models: tuple[Path, Path], work: Path) -> str:
    from training import registry  # noqa: PLC0415

    uri = f"sqlite:///{work / 'mlflow.db'}"
    for model in models:
        registry.register(model, NAME, uri=uri)
    registry.promote(NAME, "1", instead_of=None, uri=uri)
    return uri


def _scored(model: Path) -> list[Any]:
    """Return the results of the request by a model, as this process computes them."""
    from serving.http import answers  # noqa: PLC0415
    from serving.http.meters import Meters  # noqa: PLC0415
    from serving.http.requests import parse  # noqa: PLC0415
    from serving.served_model import ServedModel  # noqa: PLC0415
    from training.scorer import LeadScorer  # noqa: PLC0415

    answer = answers.score(ServedModel.of(LeadScorer.load(model)), parse(body()), 0, Meters())
    return list(json.loads(answer)["results"])


def _load(
    server: Server,
    seconds: float,
    uri: str,
    expected: Mapping[str, list[Any]],
) -> Seen:
    from training import registry  # noqa: PLC0415

    seen, stop = Seen(), threading.Event()
    clients = [
        threading.Thread(target=_send, args=(server.port, expected, seen, stop))
        for _ in range(CONNECTIONS)
    ]
    for client in clients:
        client.start()
    process = psutil.Process(server.pid)
    started, champion = time.monotonic(), "1"
    moments = [seconds * k / (SWAPS + 1) for k in range(1, SWAPS + 1)]
    while (passed := time.monotonic() - started) < seconds:
        if moments and passed >= moments[0]:
            moments.pop(0)
            other = {"1": "2", "2": "1"}[champion]
            registry.promote(NAME, other, instead_of=champion, uri=uri)
            champion = other
            seen.swaps.append(_seconds_until(partial(_serves, server.port, champion)))
        seen.memory.append(process.memory_info().rss / 1e6)
        time.sleep(1)
    stop.set()
    for client in clients:
        client.join()
    return seen


def _send(port: int, expected: Mapping[str, list[Any]], seen: Seen, stop: threading.Event) -> None:
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    payload, head = body(), {"Content-Type": "application/json"}
    while not stop.is_set():
        began = time.perf_counter()
        try:
            connection.request("POST", "/v1/score", payload, head)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            seen.wrong[type(error).__name__] += 1
            connection.close()
            continue
        seen.seconds.append(time.perf_counter() - began)
        if answer.status != 200:
            seen.wrong[str(answer.status)] += 1
            continue
        found = json.loads(content)
        version = found["model"]["version"]
        seen.versions[version] += 1
        if found["results"] != expected[version]:
            seen.wrong["mixed"] += 1


def _serves(port: int, version: str) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    connection.request("GET", "/readyz")
    found = json.loads(connection.getresponse().read())["model"]
    connection.close()
    return bool(found == f"{NAME}/{version}")


def _seconds_until(true: Any) -> float:
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < SECONDS_TO_SWAP, "the alias moved, the model did not"
        time.sleep(0.1)
    return time.monotonic() - started


def _report(seen: Seen, minutes: float) -> int:
    memory, fifth = seen.memory, len(seen.memory) // 5
    before, after = median(memory[fifth : 2 * fifth]), median(memory[-fifth:])
    milliseconds = np.array(seen.seconds) * 1e3
    found = {
        "minutes": minutes,
        "answers": len(milliseconds),
        "wrong": sum(seen.wrong.values()),
        "p50 ms": float(np.quantile(milliseconds, 0.5)),
        "p99 ms": float(np.quantile(milliseconds, 0.99)),
        "swaps": len(seen.swaps),
        "slowest swap, seconds": max(seen.swaps),
        "memory after a fifth, MB": before,
        "memory at the end, MB": after,
    }
    for name, value in found.items():
        print(f"{name:>26}: {value:>12,.1f}")
    print(f"{'answers by version':>26}: {dict(seen.versions)}; wrong: {dict(seen.wrong)}")
    results.keep("service_load", [found])
    drifted = abs(after / before - 1) > BAR_DRIFT
    return int(bool(seen.wrong) or drifted or len(seen.swaps) < SWAPS or len(seen.versions) < 2)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument(
        "--models", type=Path, nargs=2, help="two artifacts; trained where left out"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
