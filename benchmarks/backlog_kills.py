"""Whether `leadqual score` comes to the same file however often it is killed on its way.

    python benchmarks/backlog_kills.py --data FOLDER --model DIR

scores a million leads undisturbed, through the disk, and once more with ``--resume``, killed (-9)
at ten moments drawn by lot; then both files must be equal, row for row in order.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # serving.py beside this hides it

from benchmarks import results
from benchmarks.processes import DATA, ROOT, simulated, trained

LEADS, MONTHS, KILLS = 1_000_000, 19, 10


def main() -> None:
    """Kill, resume, compare, and exit with 1 when the files differ."""
    import pyarrow.parquet as pq  # noqa: PLC0415

    options = _options()
    with tempfile.TemporaryDirectory() as temporary:
        model = options.model or trained(Path(temporary))[1]
        crm = simulated(options.data, options.leads, MONTHS)
        started = time.monotonic()
        _score(crm, model, "calm.parquet")
        usual = time.monotonic() - started
        print(f"undisturbed: {usual:.1f} s")
        rng, moments = random.Random(options.seed), []  # noqa: S311  # moments to kill
        for _ in range(options.kills):
            after = rng.uniform(0.1, 0.9) * usual
            done = _score(crm, model, "killed.parquet", after)
            moments.append(round(after, 1))
            print(f"killed after {after:.1f} s" if not done else "done before it was killed")
        _score(crm, model, "killed.parquet")
    calm, killed = (pq.read_table(crm / f"{name}.parquet") for name in ("calm", "killed"))
    left = [path.name for path in crm.glob(".*")]
    same = calm.equals(killed) and not left
    print(f"{len(calm):,} rows, {'equal' if calm.equals(killed) else 'NOT EQUAL'}, left: {left}")
    results.keep("backlog_kills", [{"killed_after_seconds": moments, "equal": same}])
    sys.exit(int(not same))


def _score(crm: Path, model: Path, output: str, seconds: float | None = None) -> bool:
    """Score, or begin to; say whether it ended by itself."""
    from features.moments import iso  # noqa: PLC0415
    from training.simulator import NOW_US  # noqa: PLC0415

    places = {
        "model": model,
        "leads": crm / "leads.parquet",
        "events": crm / "events.parquet",
        "output": crm / output,
    }
    options = [f"--{name}={path.resolve()}" for name, path in places.items()]
    command = [sys.executable, str(ROOT / "leadqual.py"), "score", "--resume", *options]
    process = subprocess.Popen([*command, f"--as-of={iso(NOW_US)}"], stderr=subprocess.DEVNULL)
    try:
        if process.wait(seconds):
            sys.exit(f"score failed with exit code {process.returncode}")
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA, help="a folder for simulated tables")
    parser.add_argument("--model", type=Path, help="a folder that `leadqual train` wrote")
    parser.add_argument("--leads", type=int, default=LEADS)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
