"""How fast events become features, and with how much memory: against Polars and DuckDB.

    python benchmarks/features.py --data FOLDER

turns a million leads with 18 million events from Parquet into a float32 matrix of more than a
hundred features as of one moment: by the readers (which also check the tables), the history and the
kernel, in Polars (`benchmarks/peers/features_in_polars.py`) and in DuckDB
(`benchmarks/peers/features_in_duckdb.py`), each in a process of its own with two threads. All are
told which event types and categories have a feature. Before anything is timed, all must give the
same features of a sample of leads. A process does the work several times. The first time is shown
by itself: besides imports and compilation it holds what the machine takes to hand out two GB of
memory, which on a virtual one can be a second. The ratio of processor seconds is printed beside
that of seconds: other work on the machine disturbs it less.

All take events in any order: a log in order of time, and events that already stand by lead and
time. For comparison there is a Polars query that relies on the latter and sorts nothing.
featuretools is no peer here: 1.31, its newest, installs beside pandas 3 and then cannot make an
entity set (`WoodworkNotInitError`).
The million is simulated once into ``--data``, where the next run finds it.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # features.py beside this hides it

from benchmarks import results
from benchmarks.processes import DATA, measured, simulated

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from benchmarks.peers.features_in_polars import Spec

LEADS, MONTHS = 1_000_000, 19
SAMPLE_LEADS = 3_000
REPEATS = 2
THREADS = 2
BAR_RATIO, BAR_GB = 5.0, 2.2
BY_TIME, BY_LEAD = "events_by_time.parquet", "events.parquet"
CASES = (
    ("by time", BY_TIME, "polars"),
    ("by time", BY_TIME, "duckdb"),
    ("by lead", BY_LEAD, "polars"),
    ("by lead", BY_LEAD, "duckdb"),
    ("by lead", BY_LEAD, "unsorted"),
)
"""How the events stand, their file, and the peer; the last one is under no bar."""


@dataclass(frozen=True)
class Ran:
    """What a process did: seconds, processor seconds, seconds of the first time, GB at most."""

    seconds: float
    features: int
    cpu_seconds: float = 0.0
    first_seconds: float = 0.0
    peak_gb: float = 0.0


@dataclass(frozen=True)
class Turn:
    """A peer and ours, one after the other."""

    peer: Ran
    ours: Ran

    @property
    def ratio(self) -> float:
        """How many times faster ours was."""
        return self.peer.seconds / self.ours.seconds

    @property
    def of_cpu(self) -> float:
        """How many times less of the processors ours took."""
        return self.peer.cpu_seconds / self.ours.cpu_seconds


def main() -> None:
    """Check, measure, print, and exit with 1 when a bar is missed."""
    options = _options()
    if options.work:
        print(json.dumps(asdict(_work(options.work, options.data, options.events))))
        return
    crm = simulated(options.data, options.leads, MONTHS)
    _run("prepare", crm, BY_LEAD)
    turns = {
        (stand, side): [
            Turn(_run(side, crm, events), _run("ours", crm, events)) for _ in range(options.turns)
        ]
        for stand, events, side in CASES
    }
    sys.exit(_report(turns))


def _ours(leads: Path, events: Path, spec: "Spec", as_of_us: int) -> "npt.NDArray[np.float32]":
    """From Parquet to the matrix, as the commands do it."""
    import numpy as np  # noqa: PLC0415

    from features.attributes import Attribute  # noqa: PLC0415
    from features.history import from_arrow  # noqa: PLC0415
    from features.matrix import FeatureSpec, leads_from_arrow, matrix  # noqa: PLC0415
    from features.readers import read_tables  # noqa: PLC0415

    tables = read_tables(leads, events)
    history = from_arrow(tables.events, tables.event_segment, tables.leads.num_rows)
    known = leads_from_arrow(tables.leads, history)
    del tables
    wanted = FeatureSpec(
        spec.types, spec.channels, attributes=tuple(Attribute(**each) for each in spec.attributes)
    )
    rows = np.arange(len(known))
    return matrix(wanted, known, rows, np.full(len(rows), as_of_us), threads=THREADS)


def _in_polars(
    leads: Path, events: Path, spec: "Spec", as_of_us: int, *, sort: bool = True
) -> "npt.NDArray[np.float32]":
    from benchmarks.peers import features_in_polars  # noqa: PLC0415

    return features_in_polars.features(leads, events, spec, as_of_us, sort=sort)


def _in_duckdb(leads: Path, events: Path, spec: "Spec", as_of_us: int) -> "npt.NDArray[np.float32]":
    from benchmarks.peers import features_in_duckdb  # noqa: PLC0415

    return features_in_duckdb.features(leads, events, spec, as_of_us, threads=THREADS)


SIDES: dict[str, Callable[..., "npt.NDArray[np.float32]"]] = {
    "ours": _ours,
    "polars": _in_polars,
    "unsorted": partial(_in_polars, sort=False),
    "duckdb": _in_duckdb,
}


def _work(work: str, crm: Path, events: str) -> Ran:
    """Do one side's work; what it imports and compiles at first use comes before."""
    from benchmarks.peers.features_in_polars import Spec  # noqa: PLC0415
    from training.simulator import NOW_US  # noqa: PLC0415

    if work == "prepare":
        _prepare(crm, NOW_US)
    spec = Spec.read(crm / "spec.json")
    leads, some = crm / "sample" / "leads.parquet", crm / "sample" / "events.parquet"
    if work == "prepare":
        ours = _ours(leads, some, spec, NOW_US)
        for peer in (_in_polars, _in_duckdb):
            _agree(ours, peer(leads, some, spec, NOW_US), spec)
        return Ran(0.0, ours.shape[1])
    side = SIDES[work]
    seconds, worked, features = [], [], 0
    for _ in range(1 + REPEATS):
        started, busy = time.perf_counter(), time.process_time()
        features = side(crm / "leads.parquet", crm / events, spec, NOW_US).shape[1]
        seconds.append(time.perf_counter() - started)
        worked.append(time.process_time() - busy)
    return Ran(median(seconds[1:]), features, median(worked[1:]), seconds[0])


def _prepare(crm: Path, as_of_us: int) -> None:
    """Write what has a feature, the events by time, and the tables of a sample of leads."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    from features.history import from_arrow  # noqa: PLC0415
    from features.matrix import learn_spec  # noqa: PLC0415
    from features.readers import read_tables  # noqa: PLC0415

    tables = read_tables(crm / "leads.parquet", crm / BY_LEAD)
    history = from_arrow(tables.events, tables.event_segment, tables.leads.num_rows)
    spec, _ = learn_spec(tables.leads, history, until_us=as_of_us)
    known = json.dumps(spec.to_dict() | {"names": spec.names})
    (crm / "spec.json").write_text(known, encoding="utf-8")
    leads, events = pq.read_table(crm / "leads.parquet"), pq.read_table(crm / BY_LEAD)
    (crm / "sample").mkdir(exist_ok=True)
    some = leads.take(pa.array(range(0, len(leads), max(1, len(leads) // SAMPLE_LEADS))))
    pq.write_table(some, crm / "sample" / "leads.parquet")
    theirs = events.filter(pc.is_in(events["lead_id"], some["lead_id"].combine_chunks()))
    pq.write_table(theirs, crm / "sample" / "events.parquet")
    if not (crm / BY_TIME).exists():
        order = pc.sort_indices(events["occurred_at"])
        pq.write_table(events.take(order), crm / BY_TIME, compression="zstd")


def _agree(
    ours: "npt.NDArray[np.float32]", theirs: "npt.NDArray[np.float32]", spec: "Spec"
) -> None:
    """Compare both matrices of the sample; float32 and the order of sums may show in digit 5."""
    import numpy as np  # noqa: PLC0415

    for name, one, other in zip(spec.names, ours.T, theirs.T, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-5, err_msg=name)


def _run(work: str, crm: Path, events: str) -> Ran:
    """Run one side in a process of its own, and add its peak memory."""
    found = measured("features", work, data=crm.resolve(), events=events)
    return Ran(**json.loads(found.said) | {"peak_gb": found.peak_gb})


def _report(turns: dict[tuple[str, str], list[Turn]]) -> int:
    print("seconds from Parquet to the matrix, those of the first time, and the process's memory")
    print(
        f"{'events':>8} {'peer':>9} {'turn':>4} {'features':>8} {'peer s':>7} {'first':>6} "
        f"{'GB':>5} {'leadqual s':>11} {'first':>6} {'GB':>5} {'ratio':>6} {'of cpu':>7}"
    )
    figures = []
    for (stand, side), done in turns.items():
        for number, turn in enumerate(done, 1):
            figures.append({"events": stand, "peer": side, "turn": number, **asdict(turn)})
            print(
                f"{stand:>8} {side:>9} {number:>4} {turn.ours.features:>8} "
                f"{turn.peer.seconds:>7.1f} {turn.peer.first_seconds:>6.1f} "
                f"{turn.peer.peak_gb:>5.2f} {turn.ours.seconds:>11.2f} "
                f"{turn.ours.first_seconds:>6.2f} {turn.ours.peak_gb:>5.2f} {turn.ratio:>6.1f} "
                f"{turn.of_cpu:>7.1f}"
            )
    results.keep("features", figures)
    peak = max(turn.ours.peak_gb for done in turns.values() for turn in done)
    missed = peak > BAR_GB
    for (stand, side), done in turns.items():
        ratio = median(turn.ratio for turn in done)
        verdict = f"bar {BAR_RATIO:g}: {'below' if ratio < BAR_RATIO else 'PASS'}"
        if side == "unsorted":
            verdict = "no bar"
        missed |= verdict.endswith("below")
        of_cpu = median(turn.of_cpu for turn in done)
        print(f"{stand:>8} {side:>9}: median ratio {ratio:.1f} ({verdict}), of cpu {of_cpu:.1f}")
    print(f"peak {peak:.2f} GB (bar {BAR_GB:g}: {'above' if peak > BAR_GB else 'PASS'})")
    return int(missed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA, help="a folder for simulated tables")
    parser.add_argument("--leads", type=int, default=LEADS)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--work", choices=("prepare", *SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--events", default=BY_LEAD, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
