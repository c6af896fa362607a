"""A backlog through `LeadScorer` in blocks; where it comes from and goes to is not here."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from features.threads import in_order
from serving.backlog_rows import Backlog
from training.scorer import WHYS, LeadScorer, Scores

ROWS_PER_BLOCK = 32_768


def score_backlog(
    scorer: LeadScorer,
    backlog: Backlog,
    *,
    threads: int = 2,
    rows_per_block: int = ROWS_PER_BLOCK,
    done: Callable[[int], None] = lambda rows: None,
) -> Scores:
    """Score every row: what one call of ``LeadScorer.score`` gives, without its whole matrix."""
    return _joined(_scored(scorer, backlog, blocks(len(backlog), rows_per_block), threads, done))


def blocks(rows: int, rows_per_block: int) -> list[slice]:
    """Cut rows into blocks; no rows are one empty block."""
    starts = range(0, max(rows, 1), rows_per_block)
    return [slice(start, min(start + rows_per_block, rows)) for start in starts]


def _scored(
    scorer: LeadScorer,
    backlog: Backlog,
    blocks: Sequence[slice],
    threads: int,
    done: Callable[[int], None],
) -> Iterator[Scores]:
    def score(rows: slice) -> Scores:
        block = backlog.block(rows)
        return scorer.score(block.leads, block.as_of_us, suppress=block.suppress)

    for part in in_order(score, blocks, threads):
        yield part
        done(len(part))


def _joined(scored: Iterator[Scores]) -> Scores:
    parts = list(scored)
    whys = (*WHYS, *sorted({why for part in parts for why in part.whys} - set(WHYS)))
    return Scores(
        np.concatenate([part.score for part in parts]),
        np.concatenate([part.percentile for part in parts]),
        np.concatenate([part.grade for part in parts]),
        np.concatenate([part.decision for part in parts]),
        np.concatenate([np.array([whys.index(why) for why in p.whys])[p.why] for p in parts]),
        whys,
    )
