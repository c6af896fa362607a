"""What reasons cost: against the bare predict of one row more, and a second of a backlog.

    python benchmarks/reasons.py --model DIR --data FOLDER

explains one lead with 20 events as a request brings it, and by turns with that runs the model's
bare predict on one row, and LightGBM's own of its trees; then writes a backlog in which every lead
is handed off, with and without reasons, in two threads. Without ``--model`` and ``--data`` it
simulates a CRM of 4,000 leads and trains on it first.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # serving.py hides the package

from benchmarks import results
from benchmarks.processes import trained

if TYPE_CHECKING:
    import pyarrow as pa

    from features.matrix import Leads
    from serving.backlog_rows import Backlog
    from training.scorer import LeadScorer

BAR_RATIO, BAR_LEADS = 10.0, 5_000
THREADS, REPEATS, BACKLOG = 2, 300, 60_000
EVENTS = 20


@dataclass(frozen=True)
class Turn:
    """Seconds of one turn.

    Attributes
    ----------
    bare, lightgbm : float
        Predicting one row more; by LightGBM's own call.
    reasons : float
        Explaining one lead that is scored already.
    leads_per_second : float
        Hand-offs of a backlog that get reasons in a second more.
    work : float
        The processor's seconds for each of them: others on the machine don't count in it.
    """

    bare: float
    lightgbm: float
    reasons: float
    leads_per_second: float
    work: float


def main() -> None:
    """Measure, print, and exit with 1 when a bar is missed."""
    options = _options()
    with tempfile.TemporaryDirectory() as temporary:
        if options.model is None or options.data is None:
            options.data, options.model = trained(Path(temporary))
        turns = _turns(options.data, options.model, options.turns)
    sys.exit(_report(turns))


def _turns(crm: Path, model: Path, turns: int) -> list[Turn]:
    from serving.backlog_rows import Reader  # noqa: PLC0415
    from training.scorer import LeadScorer  # noqa: PLC0415
    from training.simulator import NOW_US  # noqa: PLC0415

    scorer = LeadScorer.load(model)
    rule = replace(scorer.rule, threshold=0.0, grades=(1.0, 0.0, 0.0), deprioritise_below=0.0)
    scorer = replace(scorer, rule=rule)
    backlog = Reader(NOW_US).read({n: crm / f"{n}.parquet" for n in ("leads", "events")})
    return [_turn(scorer, backlog) for _ in range(turns + 1)][1:]  # the first one compiles


def _turn(scorer: "LeadScorer", backlog: "Backlog") -> Turn:
    import numpy as np  # noqa: PLC0415

    lead, moment = _alone(backlog, EVENTS), backlog.as_of_us[:1]
    row, X = np.zeros(1, np.int64), scorer.matrix(lead, moment)
    booster = scorer.estimator.trees.booster
    bare, lightgbm, explained = _medians(
        lambda: scorer.probability(X),
        lambda: booster.predict(X, num_threads=1),
        lambda: scorer.explain(lead, moment, row),
    )
    return Turn(bare, lightgbm, explained, *_of_a_backlog(scorer, backlog))


def _alone(backlog: "Backlog", events: int) -> "Leads":
    """Return the first lead with so many events, as a request brings it."""
    import numpy as np  # noqa: PLC0415

    from features.history import from_rows  # noqa: PLC0415
    from features.matrix import Leads  # noqa: PLC0415

    history, segment = backlog.leads.history, backlog.leads.segment
    counts = (history.ptr[1:] - history.ptr[:-1])[segment]
    row = int(np.argmax(counts >= events))
    first = int(history.ptr[segment[row]])
    channels = (*history.channels, None)
    rows = [
        (
            int(history.occurred_us[at]),
            int(history.known_us[at]),
            history.types[history.type_code[at]],
            channels[min(int(history.channel_code[at]), len(history.channels))],
            None,
        )
        for at in range(first, first + events)
    ]
    columns = {name: [column[row].as_py()] for name, column in _arrow(backlog).items()}
    created = backlog.leads.created_us[row : row + 1]
    return Leads(created, columns, from_rows([rows]), np.zeros(1, np.int64))


def _arrow(backlog: "Backlog") -> "dict[str, pa.ChunkedArray]":
    return dict(backlog.leads.columns)


def _medians(*works: Callable[[], object]) -> list[float]:
    """Time each by turns, so that all find the caches as others left them: as in a request."""
    took: list[list[float]] = [[] for _ in works]
    for _ in range(REPEATS):
        for work, seconds in zip(works, took, strict=True):
            started = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - started)
    return [median(seconds) for seconds in took]


def _of_a_backlog(scorer: "LeadScorer", backlog: "Backlog") -> tuple[float, float]:
    """Give the answers of a backlog as `leadqual score` does, and compare with those without."""
    import numpy as np  # noqa: PLC0415

    from features.threads import in_order  # noqa: PLC0415
    from serving.answers import Answers  # noqa: PLC0415
    from serving.backlog_rows import Backlog  # noqa: PLC0415
    from serving.blocks import score_backlog  # noqa: PLC0415

    rows = np.resize(np.arange(len(backlog)), BACKLOG)
    columns = {name: column.take(rows) for name, column in _arrow(backlog).items()}
    segment, created = backlog.leads.segment[rows], backlog.leads.created_us[rows]
    leads = replace(backlog.leads, created_us=created, columns=columns, segment=segment)
    many = Backlog(backlog.lead_id.take(rows), leads, backlog.as_of_us[rows])
    scores = score_backlog(scorer, many, threads=THREADS)
    blocks = [slice(start, start + 8_192) for start in range(0, BACKLOG, 8_192)]
    took, worked = [], []
    for language in (None, "en"):
        answers = Answers(scorer, many, scores, None, language)
        started, busy = time.perf_counter(), time.process_time()
        written = sum(len(table) for table in in_order(answers.of, blocks, THREADS))
        took.append(time.perf_counter() - started)
        worked.append(time.process_time() - busy)
        assert written == BACKLOG
    return BACKLOG / (took[1] - took[0]), (worked[1] - worked[0]) / BACKLOG


def _report(turns: list[Turn]) -> int:
    print(
        f"{'turn':>4} {'predict µs':>11} {'LightGBM µs':>12} {'reasons µs':>11} {'ratio':>6} "
        f"{'leads/s':>8} {'work µs':>8}"
    )
    for number, turn in enumerate(turns, 1):
        print(
            f"{number:>4} {turn.bare * 1e6:>11.1f} {turn.lightgbm * 1e6:>12.1f} "
            f"{turn.reasons * 1e6:>11.1f} {turn.reasons / turn.bare:>6.1f} "
            f"{turn.leads_per_second:>8,.0f} {turn.work * 1e6:>8.0f}"
        )
    ratio = median(turn.reasons / turn.bare for turn in turns)
    slower = median(turn.reasons / turn.lightgbm for turn in turns)
    leads = median(turn.leads_per_second for turn in turns)
    print(
        f"reasons of one lead cost {ratio:.1f} bare predicts (bar {BAR_RATIO:g}), {slower:.1f} of "
        f"LightGBM's own; {leads:,.0f} leads/s in {THREADS} threads (bar {BAR_LEADS:,})"
    )
    results.keep("reasons", [asdict(turn) for turn in turns])
    return int(ratio > BAR_RATIO or leads < BAR_LEADS)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, help="a folder that `leadqual train` wrote")
    parser.add_argument("--data", type=Path, help="the folder of the CRM")
    parser.add_argument("--turns", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
