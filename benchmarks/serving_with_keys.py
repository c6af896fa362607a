"""What a key and its rate limit cost `POST /v1/score`: the real service with both, and without.

    python benchmarks/serving_with_keys.py --model DIR

starts the service twice, as it is started without a database and with one (SQLite), one worker
each, and loads them by turns with 8 connections: one lead with 20 events, no reasons. Requests are
counted against a limit that is not reached.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # serving.py beside this hides it

from benchmarks import results
from benchmarks.clients import key
from benchmarks.processes import ROOT, served, trained
from benchmarks.serving import CONNECTIONS, EVENTS, Load, body, load

BAR_RATIO = 0.85
SETTINGS = {"LEADQUAL_LOG_LEVEL": "warning", "LEADQUAL_RATE_LIMIT_PER_SECOND": "1000000"}


def main() -> None:
    """Measure, print, and exit with 1 when a bar is missed."""
    options = _options()
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = options.model or trained(work)[1]
        serve = [sys.executable, str(ROOT / "leadqual.py"), "serve", f"--model={model.resolve()}"]
        url = f"sqlite:///{work / 'leadqual.db'}"
        token = key(url, "crm")
        kinds: tuple[tuple[list[str], Callable[..., Load]], ...] = (
            ([], load(work, body())),
            ([f"--database-url={url}"], load(work, body(), token)),
        )
        bare, keyed = (
            partial(
                loaded,
                stack.enter_context(served([*serve, *more], "/readyz", SETTINGS)).port,
                "/v1/score",
                seconds=options.seconds,
            )
            for more, loaded in kinds
        )
        bare(), keyed()  # warm
        turns = [(bare(), keyed()) for _ in range(options.turns)]
    sys.exit(_report(turns))


def _report(turns: list[tuple[Load, Load]]) -> int:
    print(f"one worker, {CONNECTIONS} connections, one lead, {EVENTS} events")
    print(f"{'turn':>6} {'without /s':>11} {'with a key /s':>14} {'ratio':>6} {'errors':>7}")
    for number, (bare, keyed) in enumerate(turns, 1):
        print(
            f"{number:>6} {bare.per_second:>11,.0f} {keyed.per_second:>14,.0f} "
            f"{keyed.per_second / bare.per_second:>6.2f} {bare.errors + keyed.errors:>7}"
        )
    ratio = median(keyed.per_second / bare.per_second for bare, keyed in turns)
    errors = sum(bare.errors + keyed.errors for bare, keyed in turns)
    print(f"median ratio {ratio:.2f} (bar {BAR_RATIO}), {errors} errors (bar 0)")
    results.keep(
        "serving_with_keys",
        [{"without": asdict(bare), "with": asdict(keyed)} for bare, keyed in turns],
    )
    return int(ratio < BAR_RATIO or errors > 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, help="a folder that `leadqual train` wrote")
    parser.add_argument("--seconds", type=float, default=6, help="of one turn")
    parser.add_argument("--turns", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
