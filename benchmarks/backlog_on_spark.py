"""What `--engine spark` costs on one machine, and that it gives the same file.

    python benchmarks/backlog_on_spark.py --data FOLDER --model DIR

scores 300,000 leads by both engines, whose files must be equal to the last digit, and then times a
million leads: the local engine and Spark in a process of its own each, on all cores. Spark's time
is with its start, as a user waits for it.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # serving.py beside this hides it

from benchmarks import results
from benchmarks.processes import DATA, ROOT, ran, simulated, trained

SOME, LEADS, MONTHS = 300_000, 1_000_000, 19
BAR = 6.0
ENGINES = ("local", "spark")


def main() -> None:
    """Compare, measure, print, and exit with 1 when the files differ or the bar is missed."""
    import pyarrow.parquet as pq  # noqa: PLC0415

    options = _options()
    with tempfile.TemporaryDirectory() as temporary:
        model = options.model or trained(Path(temporary))[1]
        figures = []
        for leads in (options.some, options.leads):
            crm = simulated(options.data, leads, MONTHS)
            figures += [_scored(crm, model, engine, leads) for engine in ENGINES]
            one, other = (pq.read_table(crm / f"{engine}.parquet") for engine in ENGINES)
            if not one.equals(other):
                sys.exit(f"the files of {leads:,} leads differ")
    for each in figures:
        print(f"{each['leads']:>10,} {each['engine']:>6} {each['seconds']:>7.1f} s")
    ratio = figures[-1]["seconds"] / figures[-2]["seconds"]
    print(f"equal files; Spark takes {ratio:.1f} times as long (bar {BAR:g})")
    results.keep("backlog_on_spark", figures)
    sys.exit(int(ratio > BAR))


def _scored(crm: Path, model: Path, engine: str, leads: int) -> dict[str, Any]:
    from features.moments import iso  # noqa: PLC0415
    from training.simulator import NOW_US  # noqa: PLC0415

    places = {
        "model": model,
        "leads": crm / "leads.parquet",
        "events": crm / "events.parquet",
        "output": crm / f"{engine}.parquet",
    }
    options = [f"--{name}={path.resolve()}" for name, path in places.items()]
    command = [sys.executable, str(ROOT / "leadqual.py"), "score", f"--engine={engine}"]
    found = ran([*command, *options, f"--as-of={iso(NOW_US)}", "--memory=4G"])
    return {"leads": leads, "engine": engine, "seconds": found.wall}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA, help="a folder for simulated tables")
    parser.add_argument("--model", type=Path, help="a folder that `leadqual train` wrote")
    parser.add_argument("--some", type=int, default=SOME)
    parser.add_argument("--leads", type=int, default=LEADS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
