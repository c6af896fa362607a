"""How long `leadqual score` takes, and how much memory: against its bare parts alone.

    python benchmarks/backlog.py --data FOLDER --model DIR

scores a million leads with 18 million events from Parquet to Parquet, with memory to hold all, and
in another process reads the same files, runs the model's bare predict on a matrix that is ready, in
as many threads, and writes ids and scores. Then it says what each part of the work takes of the
processors. Without ``--model`` it trains one first, on a simulated CRM of 4,000 leads. The million
is simulated once into ``--data``, where the next run finds it.
"""

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # serving.py beside this hides it

from benchmarks import results
from benchmarks.processes import DATA, Measured, measured, simulated, trained

LEADS, MONTHS = 1_000_000, 19
BAR_RATIO, BAR_GB = 1.5, 1.8
HOLDS_ALL = 16 << 30
THREADS = 2
ROWS_PER_BLOCK = 32_768


@dataclass(frozen=True)
class Ran:
    """What a process did.

    Attributes
    ----------
    read, predict, total : float
        Seconds; for the score only the total.
    wall : float
        Seconds with the start of the process and opening the model.
    peak_gb : float
        Its largest resident memory.
    """

    read: float
    predict: float
    total: float
    wall: float = 0.0
    peak_gb: float = 0.0


def main() -> None:
    """Measure, print, and exit with 1 when a bar is missed."""
    options = _options()
    if options.work:
        work = {"score": _score, "bound": _bound, "parts": _parts}[options.work]
        print(json.dumps(work(options.data, options.model)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        model = options.model or trained(Path(temporary))[1]
        crm = simulated(options.data, options.leads, MONTHS)
        turns = [
            (_run("bound", crm, model), _run("score", crm, model)) for _ in range(options.turns)
        ]
        parts = json.loads(_measured("parts", crm, model).said)
    sys.exit(_report(turns, parts))


def _score(crm: Path, model: Path) -> dict[str, float]:
    from serving.backlog import score_files  # noqa: PLC0415
    from training.scorer import LeadScorer  # noqa: PLC0415
    from training.simulator import NOW_US  # noqa: PLC0415

    scorer = LeadScorer.load(model)
    started = time.perf_counter()
    score_files(
        scorer,
        crm / "leads.parquet",
        crm / "events.parquet",
        crm / "scores.parquet",
        as_of=NOW_US,
        threads=THREADS,
        rows_per_block=ROWS_PER_BLOCK,
        memory=HOLDS_ALL,
    )
    return asdict(Ran(0.0, 0.0, time.perf_counter() - started))


def _bound(crm: Path, model: Path) -> dict[str, float]:
    import numpy as np  # noqa: PLC0415
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    from serving.backlog_rows import Reader  # noqa: PLC0415
    from training.scorer import LeadScorer  # noqa: PLC0415
    from training.simulator import NOW_US  # noqa: PLC0415

    scorer = LeadScorer.load(model)
    tables = [crm / "leads.parquet", crm / "events.parquet"]
    backlog = Reader(NOW_US).read(dict(zip(("leads", "events"), tables, strict=True)))
    X = scorer.matrix(backlog.leads, backlog.as_of_us)
    ids = backlog.lead_id
    del backlog
    blocks = [X[start : start + ROWS_PER_BLOCK] for start in range(0, len(X), ROWS_PER_BLOCK)]
    scorer.estimator.log_odds(blocks[0])  # compiled

    started = time.perf_counter()
    rows = sum(pq.read_table(path).num_rows for path in tables)
    read = time.perf_counter() - started
    with ThreadPoolExecutor(THREADS) as pool:
        predicted = np.concatenate(list(pool.map(scorer.estimator.log_odds, blocks)))
    predict = time.perf_counter() - started - read
    pq.write_table(pa.table({"lead_id": ids, "score": predicted}), crm / "bound.parquet")
    assert rows > len(predicted) == len(X)
    return asdict(Ran(read, predict, time.perf_counter() - started))


def _parts(crm: Path, model: Path) -> dict[str, float]:
    """Do the work part by part: the processor seconds of each."""
    from serving.answer_file import answer_file  # noqa: PLC0415
    from serving.answers import Answers  # noqa: PLC0415
    from serving.backlog_rows import Reader  # noqa: PLC0415
    from serving.blocks import score_backlog  # noqa: PLC0415
    from training.scorer import LeadScorer  # noqa: PLC0415
    from training.simulator import NOW_US  # noqa: PLC0415

    scorer = LeadScorer.load(model)
    clock = [time.process_time()]
    backlog = Reader(NOW_US).read({name: crm / f"{name}.parquet" for name in ("leads", "events")})
    clock.append(time.process_time())
    starts = range(0, len(backlog), ROWS_PER_BLOCK)
    blocks = [slice(at, min(at + ROWS_PER_BLOCK, len(backlog))) for at in starts]
    for rows in blocks:
        block = backlog.block(rows)
        scorer.matrix(block.leads, block.as_of_us)
    clock.append(time.process_time())
    scores = score_backlog(scorer, backlog, threads=THREADS)
    clock.append(time.process_time())
    with (
        tempfile.TemporaryDirectory() as folder,
        answer_file(Path(folder) / "scores.parquet", Path(folder) / "staged") as write,
    ):
        answers = Answers(scorer, backlog, scores)
        for rows in blocks:
            write(answers.of(rows))
    clock.append(time.process_time())
    read, features, score, wrote = (after - before for before, after in pairwise(clock))
    return {
        "read, check and group": read,
        "features": features,
        "predict and decide": score - features,
        "write": wrote,
    }


def _measured(work: str, crm: Path, model: Path) -> Measured:
    return measured("backlog", work, data=crm.resolve(), model=model.resolve())


def _run(work: str, crm: Path, model: Path) -> Ran:
    """Run one side in a process of its own, and add its wall time and its peak memory."""
    found = _measured(work, crm, model)
    return Ran(**json.loads(found.said) | {"wall": found.wall, "peak_gb": found.peak_gb})


def _report(turns: list[tuple[Ran, Ran]], parts: dict[str, float]) -> int:
    print("seconds, Parquet to Parquet, against reading + bare predict of a ready matrix + writing")
    print(
        f"{'turn':>4} {'read':>6} {'predict':>8} {'bound':>6} {'score':>6} {'ratio':>6} "
        f"{'with start':>11} {'peak GB':>8}"
    )
    for number, (bound, score) in enumerate(turns, 1):
        print(
            f"{number:>4} {bound.read:>6.1f} {bound.predict:>8.1f} {bound.total:>6.1f} "
            f"{score.total:>6.1f} {score.total / bound.total:>6.2f} {score.wall:>11.1f} "
            f"{score.peak_gb:>8.2f}"
        )
    ratio = median(score.total / bound.total for bound, score in turns)
    peak = max(score.peak_gb for _, score in turns)
    print(f"median ratio {ratio:.2f} (bar {BAR_RATIO:g}), peak {peak:.2f} GB (bar {BAR_GB:g})")
    print("processor seconds of each part, all held in memory:")
    for name, seconds in parts.items():
        print(f"  {name:22} {seconds:6.1f} {seconds / sum(parts.values()):5.0%}")
    figures = [{"bound": asdict(one), "score": asdict(own)} for one, own in turns]
    results.keep("backlog", [*figures, {"processor_seconds": parts}])
    return int(ratio > BAR_RATIO or peak > BAR_GB)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA, help="a folder for simulated tables")
    parser.add_argument("--model", type=Path, help="a folder that `leadqual train` wrote")
    parser.add_argument("--leads", type=int, default=LEADS)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--work", choices=("score", "bound", "parts"), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
