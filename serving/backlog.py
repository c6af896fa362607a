"""The backlog: files of many leads through `LeadScorer`, block by block, rows out as rows in; it decides nothing itself."""

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.contract import Example, Finding
from features.history import Int64, from_arrow
from features.matrix import Leads, leads_from_arrow, unknown_types
from features.readers import Tables, read_tables
from serving.answer_file import UsageError, answer_file
from training import handoff
from training.handoff import DECISIONS, GRADES
from training.scorer import OBJECTED, WHYS, LeadScorer, Scores

ROWS_PER_BLOCK = 32_768
MOST_EXAMPLES = 3

Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Told the rows to do, gives a context in which rows done are reported."""

Block = TypeVar("Block")

REASON = pa.struct(
    [(name, pa.string()) for name in ("concept", "direction", "strength", "text", "evidence")]
)
"""A reason in Parquet; its evidence is JSON text, because evidence of different kinds has different keys."""


@dataclass(frozen=True)
class Backlog:
    """Rows to score.

    Attributes
    ----------
    lead_id : pa.ChunkedArray
    leads : Leads
        One entry a row; rows of one lead share its segment.
    as_of_us : int64 [rows]
    suppress : sequence of str or None [rows], or None
        Why a lead is never flagged.
    findings : tuple of Finding
        What the readers found.
    """

    lead_id: pa.ChunkedArray
    leads: Leads
    as_of_us: Int64
    suppress: Sequence[str | None] | None = None
    findings: tuple[Finding, ...] = ()

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.leads)

    def block(self, rows: slice) -> "Backlog":
        """Return some rows; nothing is copied but the slices of Arrow columns."""
        leads = self.leads
        columns = {name: column[rows] for name, column in leads.columns.items()}
        return Backlog(
            self.lead_id[rows],
            Leads(leads.created_us[rows], columns, leads.history, leads.segment[rows]),
            self.as_of_us[rows],
            self.suppress and self.suppress[rows],
        )


@dataclass(frozen=True)
class Summary:
    """What became of a backlog.

    Attributes
    ----------
    rows, scored, hand_offs : int
    decisions : mapping of decision to rows
    findings : tuple of Finding
        Warnings of the readers, and what the model and the tables do not share.
    """

    rows: int
    scored: int
    hand_offs: int
    decisions: Mapping[str, int]
    findings: tuple[Finding, ...]


def score_files(
    scorer: LeadScorer,
    leads: str,
    events: str,
    output: Path,
    *,
    as_of: int | str,
    reasons: bool = False,
    language: str = "en",
    capacity: int | None = None,
    timezone: str | None = None,
    columns: Mapping[str, Mapping[str, str]] | None = None,
    reject_file: str | None = None,
    threads: int = 2,
    rows_per_block: int = ROWS_PER_BLOCK,
    progress: Progress | None = None,
) -> Summary:
    """Score every row of a leads table and write one answer a row, in the same order.

    Parameters
    ----------
    scorer : LeadScorer
    leads, events : str
        As the readers take them: CSV, Parquet, a folder of parts or a SQL URL.
    output : Path
        Ends in ``.parquet`` or ``.csv``; written whole or not at all.
    as_of : int or str
        Microseconds since the epoch (UTC) for all rows, or the column of the leads table that holds each row's moment;
        with such a column a lead may stand several times.
    reasons : bool
        Give reasons for the hand-offs.
    language : "en" or "ja"
    capacity : int, optional
        Hand-offs that sales can take of this file; rows beyond it are nurtured, with ``over_capacity``.
    timezone, columns, reject_file
        As for the readers.
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
    with answer_file(output) as begin:
        backlog = read_backlog(
            leads, events, as_of=as_of, timezone=timezone, columns=columns, reject_file=reject_file
        )
        found = (*backlog.findings, *unshared(scorer, backlog.leads))
        blocks = [
            slice(start, min(start + rows_per_block, len(backlog)))
            for start in range(0, len(backlog), rows_per_block)
        ]
        with (progress or _unseen)(len(backlog) * (2 if reasons else 1)) as done:
            scores = score_backlog(scorer, backlog, blocks, threads=threads, done=done)
            rank, scores = _within_capacity(scores, backlog, capacity)
            writer = begin(_schema(rank is not None, reasons))
            answer = _Answer(scorer, backlog, scores, rank, language if reasons else None)
            for table in _in_order(answer, blocks, threads):
                writer.write_table(table)
                if reasons:
                    done(table.num_rows)
    decided = np.bincount(scores.decision, minlength=len(DECISIONS)).tolist()
    return Summary(
        len(backlog),
        int(np.isfinite(scores.score).sum()),
        decided[handoff.HAND_OFF],
        dict(zip(DECISIONS, decided, strict=True)),
        found,
    )


def score_backlog(
    scorer: LeadScorer,
    backlog: Backlog,
    *,
    threads: int = 2,
    rows_per_block: int = ROWS_PER_BLOCK,
    done: Callable[[int], None] = lambda rows: None,
) -> Scores:
    """Score every row; the same as one call of ``LeadScorer.score``, without its whole matrix in memory."""

    def score(rows: slice) -> Scores:
        block = backlog.block(rows)
        return scorer.score(block.leads, block.as_of_us, suppress=block.suppress)

    parts = []
    for part in _in_order(score, _blocks(backlog, rows_per_block), threads):
        parts.append(part)
        done(len(part))
    return _joined(parts)


def unshared(scorer: LeadScorer, leads: Leads) -> tuple[Finding, ...]:
    """Say what the model knows and the tables lack, and what they hold that it does not know."""
    return (*_missing_attributes(scorer, leads), *_unknown_types(scorer, leads))


def _missing_attributes(scorer: LeadScorer, leads: Leads) -> Iterator[Finding]:
    missing = [a.name for a in scorer.spec.attributes if a.name not in leads.columns]
    if missing:
        yield Finding(
            "leads",
            ", ".join(missing),
            "missing_attribute",
            "warning",
            0,
            (),
            "the model knows it and the table lacks it: missing for every lead; add the column, or map it in [columns]",
        )


def _unknown_types(scorer: LeadScorer, leads: Leads) -> Iterator[Finding]:
    history = leads.history
    unknown = unknown_types(scorer.spec, history.types)
    counts = np.bincount(history.type_code, minlength=len(history.types))
    found = sorted((-int(counts[history.types.index(name)]), name) for name in unknown)
    if found:
        yield Finding(
            "events",
            "event_type",
            "unknown_type",
            "warning",
            -sum(count for count, _ in found),
            tuple(Example(name, f"{-count:,} events") for count, name in found[:MOST_EXAMPLES]),
            f"{len(found)} types that the model does not know are counted as other activity: {_listed(found)}; "
            "if one of them matters, retrain with `leadqual train`",
        )


def _listed(found: Sequence[tuple[int, str]], most: int = 20) -> str:
    names = ", ".join(name for _, name in found[:most])
    return names if len(found) <= most else f"{names} and {len(found) - most} more"


def _blocks(backlog: Backlog, rows_per_block: int) -> list[slice]:
    """Cut into blocks; a backlog of no rows is one empty block."""
    rows = len(backlog)
    starts = range(0, max(rows, 1), rows_per_block)
    return [slice(start, min(start + rows_per_block, rows)) for start in starts]


def _in_order(
    work: Callable[[slice], Done], blocks: Sequence[slice], threads: int
) -> Iterator[Done]:
    """Work on blocks in threads and give the results in order, only a few ahead of whoever takes them."""
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


def _joined(parts: Sequence[Scores]) -> Scores:
    whys = (*WHYS, *sorted({why for part in parts for why in part.whys} - set(WHYS)))
    return Scores(
        np.concatenate([part.score for part in parts]),
        np.concatenate([part.percentile for part in parts]),
        np.concatenate([part.grade for part in parts]),
        np.concatenate([part.decision for part in parts]),
        np.concatenate([np.array([whys.index(why) for why in p.whys])[p.why] for p in parts]),
        whys,
    )


def _within_capacity(scores: Scores, backlog: Backlog, capacity: int) -> tuple[Scores, Int64]:
    rank, over = handoff.apply_capacity(scores.score, backlog.lead_id, scores.decision, capacity)
    return (
        replace(
            scores,
            decision=np.where(over, handoff.NURTURE, scores.decision),
            why=np.where(over, WHYS.index("over_capacity"), scores.why),
        ),
        rank,
    )


@dataclass(frozen=True)
class _Answers:
    """The answers of a scored backlog as Arrow tables, made block by block; `language` asks for reasons."""

    scorer: LeadScorer
    backlog: Backlog
    scores: Scores
    rank: Int64 | None
    language: str | None

    @property
    def schema(self) -> pa.Schema:
        return self.of(slice(0, 0)).schema

    def of(self, rows: slice) -> pa.Table:
        scores = self.scores
        score = scores.score[rows]
        unscored = np.isnan(score)
        names: dict[str, Any] = {
            "lead_id": self.backlog.lead_id[rows],
            "as_of": pa.array(self.backlog.as_of_us[rows]).cast(pa.timestamp("us", "UTC")),
            "score": pa.array(score, mask=unscored),
            "percentile": pa.array(scores.percentile[rows], mask=unscored),
            "grade": _coded(scores.grade[rows], GRADES, unscored),
            "decision": _coded(scores.decision[rows], DECISIONS),
            "why": _coded(scores.why[rows], scores.whys),
        }
        if self.rank is not None:
            rank = self.rank[rows]
            names["rank"] = pa.array(rank, mask=rank == 0)
        if self.language is not None:
            names["reasons"] = self._reasons(rows, self.language)
        names["model"] = _coded(np.zeros(len(score), np.int8), (self.scorer.label,))
        return pa.table(names)

    def _reasons(self, rows: slice, language: str) -> pa.Array:
        handed = np.flatnonzero(self.scores.decision[rows] == handoff.HAND_OFF)
        block = self.backlog.block(rows)
        explained = self.scorer.explain(block.leads, block.as_of_us, handed, language)
        found: list[list[dict[str, str]] | None] = [None] * len(block)
        for row, why in zip(handed.tolist(), explained, strict=True):
            found[row] = [_reason(reason) for reason in why]
        return pa.array(found, pa.list_(REASON))


def _reason(reason: Reason) -> dict[str, str]:
    return {**asdict(reason), "evidence": json.dumps(reason.evidence, ensure_ascii=False)}


def _coded(
    codes: npt.NDArray[np.integer[Any]],
    names: Sequence[str],
    mask: npt.NDArray[np.bool_] | None = None,
) -> pa.DictionaryArray:
    indices = pa.array(codes.astype(np.int32), mask=mask)
    return pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string()))
