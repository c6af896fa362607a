"""How `leadqual score` grows with its tables when they go through the disk.

    python benchmarks/backlog_growth.py --data FOLDER --model DIR

scores a million leads with 18 million events, and ten times as many, in a process of its own each,
with ``--memory 1G``: seconds, seconds a million leads, the largest memory, and how much of the disk
was taken meanwhile. The ten millions are copies of the one under other ids, in ten parts. They and
the shares take some 8 GB of the disk.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # serving.py beside this hides it

from benchmarks import results
from benchmarks.processes import DATA, ROOT, measured, ran, simulated, trained

LEADS, MONTHS, COPIES = 1_000_000, 19, 10
BAR_GROWTH, BAR_GB = 1.25, 1.2


def main() -> None:
    """Measure, print, and exit with 1 when a bar is missed."""
    options = _options()
    if options.work:
        _copy(options.data, options.copies)
        return
    with tempfile.TemporaryDirectory() as temporary:
        model = options.model or trained(Path(temporary))[1]
        one = simulated(options.data, options.leads, MONTHS)
        # in a process of its own: what this one holds would count as memory of those it starts
        measured("backlog_growth", "copy", data=one.resolve(), copies=options.copies)
        ten = _times(one, options.copies)
        turns = [
            [
                _scored(one, "leads.parquet", "events.parquet", model),
                _scored(ten, "leads", "events", model),
            ]
            for _ in range(options.turns)
        ]
    sys.exit(_report(turns))


def _times(crm: Path, copies: int) -> Path:
    return crm.with_name(f"{crm.name}-times-{copies}")


def _copy(crm: Path, copies: int) -> None:
    """Write copies of leads and events under other ids, a part each, unless they are there."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    folder = _times(crm, copies)
    for name in ("leads", "events"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        table = pq.read_table(crm / f"{name}.parquet")
        at = table.column_names.index("lead_id")
        for copy in range(copies):
            part = folder / name / f"part-{copy}.parquet"
            if not part.exists():
                ids = pc.binary_join_element_wise(
                    table["lead_id"].cast(pa.string()), str(copy), "-"
                )
                pq.write_table(table.set_column(at, "lead_id", ids), part)


def _scored(crm: Path, leads: str, events: str, model: Path) -> dict[str, Any]:
    from features.moments import iso  # noqa: PLC0415
    from training.simulator import NOW_US  # noqa: PLC0415

    output = crm / "scores.parquet"
    command = [sys.executable, str(ROOT / "leadqual.py"), "score", "--memory=1G"]
    places = {"model": model, "leads": crm / leads, "events": crm / events, "output": output}
    found = ran(
        [*command, *(f"--{n}={p.resolve()}" for n, p in places.items()), f"--as-of={iso(NOW_US)}"]
    )
    said = json.loads(output.with_name("scores.parquet.manifest.json").read_text("utf-8"))
    return {
        "leads": said["rows_out"],
        "seconds": found.wall,
        "seconds_per_million": found.wall / said["rows_out"] * 1e6,
        "peak_gb": found.peak_gb,
        "shares": said["shares"],
        "disk_gb": said["temporary_bytes"] / 1e9,
    }


def _report(turns: list[list[dict[str, Any]]]) -> int:
    heads = ("leads", "seconds", "s / million", "peak GB", "shares", "disk GB")
    print("{:>11} {:>8} {:>12} {:>8} {:>7} {:>8}".format(*heads))
    for run in (run for turn in turns for run in turn):
        print(
            f"{run['leads']:>11,} {run['seconds']:>8.1f} {run['seconds_per_million']:>12.1f} "
            f"{run['peak_gb']:>8.2f} {run['shares']:>7} {run['disk_gb']:>8.2f}"
        )
    growth = min(ten["seconds_per_million"] / one["seconds_per_million"] for one, ten in turns)
    peak = max(run["peak_gb"] for turn in turns for run in turn)
    print(f"growth {growth:.2f} (bar {BAR_GROWTH}), peak {peak:.2f} GB (bar {BAR_GB})")
    results.keep("backlog_growth", [run for turn in turns for run in turn])
    return int(growth > BAR_GROWTH or peak > BAR_GB)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA, help="a folder for simulated tables")
    parser.add_argument("--model", type=Path, help="a folder that `leadqual train` wrote")
    parser.add_argument("--leads", type=int, default=LEADS)
    parser.add_argument("--copies", type=int, default=COPIES)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--work", choices=("copy",), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
