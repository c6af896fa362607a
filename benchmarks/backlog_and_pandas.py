"""How much faster `leadqual score` is than a script in pandas and scikit-learn, as most write it.

    python benchmarks/backlog_and_pandas.py --data FOLDER --model DIR

scores a million leads with 18 million events, a log in order of time, from Parquet to Parquet: with
the memory that `leadqual score` takes by default, with enough to hold all, and by
`benchmarks/peers/backlog_in_pandas.py`, whose pipeline is fitted to a CRM of 4,000 leads before the
clock starts. Each has a process of its own, by turns. Before anything is timed, the features that
both compute must agree on a sample of leads. The ratio of processor seconds is printed beside that
of seconds: other work on the machine disturbs it less, and the script uses one core most of the
time.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # serving.py beside this hides it

from benchmarks import results
from benchmarks.features import BY_LEAD, BY_TIME, LEADS, MONTHS
from benchmarks.processes import DATA, measured, simulated, trained

BAR = 5.0
SMALL = 4_000
HOLDS_ALL = 16 << 30


@dataclass(frozen=True)
class Ran:
    """What a process did: seconds, processor seconds, how many features, its largest memory."""

    seconds: float
    cpu_seconds: float
    features: int
    peak_gb: float = 0.0


def main() -> None:
    """Check, measure, print, and exit with 1 when the bar is missed."""
    options = _options()
    if options.work:
        print(json.dumps(asdict(_work(options.work, options.data, options.model))))
        return
    with tempfile.TemporaryDirectory() as temporary:
        model = options.model or trained(Path(temporary))[1]
        crm = simulated(options.data, options.leads, MONTHS)
        simulated(options.data, SMALL, MONTHS)
        measured("features", "prepare", data=crm.resolve(), events=BY_LEAD)
        agreed = _run("agree", crm, model).features
        print(f"{agreed} features agree on a sample of leads")
        turns = [
            {work: _run(work, crm, model) for work in ("pandas", "score", "holds all")}
            for _ in range(options.turns)
        ]
    sys.exit(_report(turns))


def _work(work: str, crm: Path, model: Path) -> Ran:
    if work == "agree":
        return _agree(crm, model)
    return _pandas(crm) if work == "pandas" else _score(crm, model, holds_all=work == "holds all")


def _pandas(crm: Path) -> Ran:
    import pandas as pd  # noqa: PLC0415

    from benchmarks.peers import backlog_in_pandas  # noqa: PLC0415
    from training.simulator import NOW_US  # noqa: PLC0415

    as_of = pd.Timestamp(NOW_US, unit="us", tz="UTC")
    small = simulated(crm.parent, SMALL, MONTHS)
    tables = [small / f"{name}.parquet" for name in ("leads", "events", "outcomes")]
    pipeline = backlog_in_pandas.train(tables[0], tables[1], tables[2], as_of)
    started, busy = time.perf_counter(), time.process_time()
    features = backlog_in_pandas.score(
        crm / "leads.parquet", crm / BY_TIME, crm / "scores_in_pandas.parquet", as_of, pipeline
    )
    return Ran(time.perf_counter() - started, time.process_time() - busy, features)


def _score(crm: Path, model: Path, *, holds_all: bool) -> Ran:
    from serving import backlog  # noqa: PLC0415
    from training.scorer import LeadScorer  # noqa: PLC0415
    from training.simulator import NOW_US  # noqa: PLC0415

    scorer = LeadScorer.load(model)
    started, busy = time.perf_counter(), time.process_time()
    backlog.score_files(
        scorer,
        crm / "leads.parquet",
        crm / BY_TIME,
        crm / "scores.parquet",
        as_of=NOW_US,
        memory=HOLDS_ALL if holds_all else backlog.MEMORY,
    )
    took, worked = time.perf_counter() - started, time.process_time() - busy
    return Ran(took, worked, len(scorer.spec.names))


def _agree(crm: Path, model: Path) -> Ran:
    """Compare what both compute of a sample; float32 and the order of sums may show in digit 5."""
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    from benchmarks.peers import backlog_in_pandas  # noqa: PLC0415
    from serving.backlog_rows import Reader  # noqa: PLC0415
    from training.scorer import LeadScorer  # noqa: PLC0415
    from training.simulator import NOW_US  # noqa: PLC0415

    tables = {name: crm / "sample" / f"{name}.parquet" for name in ("leads", "events")}
    as_of = pd.Timestamp(NOW_US, unit="us", tz="UTC")
    read = {name: pd.read_parquet(path) for name, path in tables.items()}
    theirs = backlog_in_pandas.features(read["leads"], read["events"], as_of)
    scorer, backlog = LeadScorer.load(model), Reader(NOW_US).read(tables)
    ours = pd.DataFrame(scorer.matrix(backlog.leads, backlog.as_of_us), columns=scorer.spec.names)
    both = [name for name in theirs.select_dtypes(["number", "bool"]) if name in ours]
    for name in both:
        found = theirs[name].to_numpy(np.float32, na_value=np.nan)
        np.testing.assert_allclose(found, ours[name], rtol=2e-5, atol=1e-5, err_msg=name)
    assert len(both) > 80
    return Ran(0.0, 0.0, len(both))


def _run(work: str, crm: Path, model: Path) -> Ran:
    found = measured("backlog_and_pandas", work, data=crm.resolve(), model=model.resolve())
    return Ran(**json.loads(found.said) | {"peak_gb": found.peak_gb})


def _report(turns: list[dict[str, Ran]]) -> int:
    print("seconds from Parquet to Parquet, events in a log by time")
    print(
        f"{'turn':>4} {'':>10} {'features':>8} {'seconds':>8} {'ratio':>6} {'cpu s':>7} "
        f"{'of cpu':>7} {'peak GB':>8}"
    )
    figures = []
    for number, turn in enumerate(turns, 1):
        for work, ran in turn.items():
            ratio = turn["pandas"].seconds / ran.seconds
            figures.append({"turn": number, "work": work, **asdict(ran), "ratio": ratio})
            print(
                f"{number:>4} {work:>10} {ran.features:>8} {ran.seconds:>8.1f} {ratio:>6.1f} "
                f"{ran.cpu_seconds:>7.1f} {turn['pandas'].cpu_seconds / ran.cpu_seconds:>7.1f} "
                f"{ran.peak_gb:>8.2f}"
            )
    ratios = {
        work: median(turn["pandas"].seconds / turn[work].seconds for turn in turns)
        for work in ("score", "holds all")
    }
    for work, ratio in ratios.items():
        print(f"{work:>10}: median ratio {ratio:.1f} (bar {BAR:g})")
    results.keep("backlog_and_pandas", figures)
    return int(min(ratios.values()) < BAR)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA, help="a folder for simulated tables")
    parser.add_argument("--model", type=Path, help="a folder that `leadqual train` wrote")
    parser.add_argument("--leads", type=int, default=LEADS)
    parser.add_argument("--turns", type=int, default=2)
    works = ("agree", "pandas", "score", "holds all")
    parser.add_argument("--work", choices=works, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
