"""The backlog: files of many leads through `LeadScorer` in blocks, rows out as rows in."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

from features.arrow_types import is_text
from features.attributes import encode
from features.faults import shown
from features.findings import EXAMPLES, Example, Finding
from features.matrix import Leads, unknown_types
from features.profile import moved, spread
from features.rules import MAX_REJECTED_SHARE
from serving.answer_file import answer_file
from serving.answers import Answers
from serving.backlog_rows import Backlog, read_backlog
from training.scorer import DECISIONS, WHYS, LeadScorer, Scores

ROWS_PER_BLOCK = 32_768
MOST_NAMES = 20

Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Is told the rows to do; gives a context that is told the rows done."""

Done = TypeVar("Done")


@dataclass(frozen=True)
class Summary:
    """What became of a backlog.

    Attributes
    ----------
    rows, scored, hand_offs : int
    decisions : mapping of str to int
        Rows of each decision.
    findings : tuple of Finding
        What the readers found, and what only one of model and tables knows.
    """

    rows: int
    scored: int
    hand_offs: int
    decisions: Mapping[str, int]
    findings: tuple[Finding, ...]


def score_files(
    scorer: LeadScorer,
    leads: str | Path,
    events: str | Path,
    output: Path,
    *,
    as_of: int | str,
    reasons: bool = False,
    language: str = "en",
    capacity: int | None = None,
    timezone: str | None = None,
    columns: Mapping[str, Mapping[str, str]] | None = None,
    reject_file: str | Path | None = None,
    max_rejected_share: float = MAX_REJECTED_SHARE,
    now_us: int | None = None,
    changes: str | Path | None = None,
    threads: int = 2,
    rows_per_block: int = ROWS_PER_BLOCK,
    progress: Progress = lambda rows: nullcontext(lambda done: None),
) -> Summary:
    """Score every row of a leads table, and write one answer a row in the same order.

    Parameters
    ----------
    scorer : LeadScorer
    leads, events, as_of, timezone, columns, reject_file, max_rejected_share, now_us, changes
        As for ``read_backlog``.
    output : Path
        Ends in ``.parquet`` or ``.csv``; written whole or not at all.
    reasons : bool
        Give reasons for the hand-offs, in `language`.
    language : "en" or "ja"
    capacity : int, optional
        Hand-offs that sales can take of this file; those beyond are nurtured (``over_capacity``).
    threads, rows_per_block : int
        How the work is cut; the answers don't depend on it.
    progress : Progress, optional

    Returns
    -------
    Summary

    Raises
    ------
    UsageError, OutputError, ContractError
    """
    with answer_file(output) as write:
        backlog = read_backlog(
            leads,
            events,
            as_of=as_of,
            timezone=timezone,
            columns=columns,
            reject_file=reject_file,
            max_rejected_share=max_rejected_share,
            now_us=now_us,
            undated=scorer.card.undated,
            changes=changes,
        )
        blocks = _blocks(len(backlog), rows_per_block)
        with progress(len(backlog) * (2 if reasons else 1)) as done:
            scores, rank = _joined(_scored(scorer, backlog, blocks, threads, done)), None
            if capacity is not None:
                scores, rank = scores.within_capacity(backlog.lead_id, capacity)
            answers = Answers(scorer, backlog, scores, rank, language if reasons else None)
            for table in _in_order(answers.of, blocks, threads):
                write(table)
                if reasons:
                    done(len(table))
    counts = np.bincount(scores.decision, minlength=len(DECISIONS)).tolist()
    decisions = dict(zip(DECISIONS, counts, strict=True))
    return Summary(
        rows=len(scores),
        scored=int(np.isfinite(scores.score).sum()),
        hand_offs=decisions["hand_off"],
        decisions=decisions,
        findings=(*backlog.findings, *unshared(scorer, backlog.leads)),
    )


def score_backlog(
    scorer: LeadScorer,
    backlog: Backlog,
    *,
    threads: int = 2,
    rows_per_block: int = ROWS_PER_BLOCK,
) -> Scores:
    """Score every row: what one call of ``LeadScorer.score`` gives, without its whole matrix."""
    blocks = _blocks(len(backlog), rows_per_block)
    return _joined(_scored(scorer, backlog, blocks, threads, lambda done: None))


def unshared(scorer: LeadScorer, leads: Leads) -> tuple[Finding, ...]:
    """Say what the model knows and the tables lack, and what they hold that it does not know."""
    return (
        *_missing_attributes(scorer, leads),
        *_other_kinds(scorer, leads),
        *_unknown_types(scorer, leads),
        *_moved(scorer, leads),
    )


def _moved(scorer: LeadScorer, leads: Leads) -> Iterator[Finding]:
    """Find attributes that look otherwise than on the leads the model learned from."""
    rows = np.arange(len(leads))
    few = spread(rows)
    once = few[np.unique(leads.segment[few], return_index=True)[1]]  # a lead may stand repeatedly
    known = scorer.spec.attributes
    return moved(scorer.profiles, known, leads.columns, rows, who="scored", sample=once)


def _missing_attributes(scorer: LeadScorer, leads: Leads) -> Iterator[Finding]:
    missing = [a.name for a in scorer.spec.attributes if a.name not in leads.columns]
    if missing:
        yield Finding(
            "leads",
            "",
            "missing_attribute",
            "warning",
            0,
            (),
            f"The model knows {_listed(missing)}, the table does not: taken as missing for every "
            "lead. Add the columns, or map them in [columns.leads].",
        )


def _other_kinds(scorer: LeadScorer, leads: Leads) -> Iterator[Finding]:
    """Find text where the model knows a number or yes/no, as far as it cannot be read as one."""
    for attribute in scorer.spec.attributes:
        column = leads.columns.get(attribute.name)
        if attribute.kind == "category" or not isinstance(column, pa.ChunkedArray):
            continue
        if not is_text(column.type):
            continue
        lost = np.isnan(encode({attribute.name: column}, [attribute], len(column))[:, 0])
        texts = column.filter(pa.array(lost)).drop_null()
        if len(texts):
            yield Finding(
                "leads",
                attribute.name,
                "other_kind",
                "warning",
                len(texts),
                tuple(Example("", shown(text)) for text in texts[:EXAMPLES].to_pylist()),
                f"The model knows a {attribute.kind} here: taken as missing. Write it as one.",
            )


def _unknown_types(scorer: LeadScorer, leads: Leads) -> Iterator[Finding]:
    types = leads.history.types
    counts = np.bincount(leads.history.type_code, minlength=len(types)).tolist()
    count_of = dict(zip(types, counts, strict=True))
    unknown = sorted(unknown_types(scorer.spec, types), key=lambda name: -count_of[name])
    if unknown:
        yield Finding(
            "events",
            "event_type",
            "unknown_type",
            "warning",
            sum(count_of[name] for name in unknown),
            tuple(Example(name, _events(count_of[name])) for name in unknown[:MOST_NAMES]),
            "The model does not know these types: they count as other activity. If they matter, "
            "train a model on a history that has them.",
        )


def _events(number: int) -> str:
    return f"{number:,} event{'s' * (number != 1)}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MOST_NAMES])
    return shown if len(names) <= MOST_NAMES else f"{shown} and {len(names) - MOST_NAMES} more"


def _blocks(rows: int, rows_per_block: int) -> list[slice]:
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

    for part in _in_order(score, blocks, threads):
        yield part
        done(len(part))


def _in_order(
    work: Callable[[slice], Done], blocks: Sequence[slice], threads: int
) -> Iterator[Done]:
    """Work on blocks in threads and give the results in order, never far ahead of the taker."""
    waiting: deque[Future[Done]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for block in blocks:
            waiting.append(pool.submit(work, block))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


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
