"""The backlog: files of many leads through `LeadScorer` in blocks, rows out as rows in."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from features import partitions, rejects
from features.contract import LEADS
from features.findings import ContractError, Finding, UsageError
from features.partitions import Split
from features.rules import MAX_REJECTED_SHARE
from features.sources import Source, locate
from features.threads import in_order
from serving import merge, shares, unshared
from serving.answer_file import answer_file, check_name
from serving.answers import Answers
from serving.backlog_rows import Backlog, Reader
from serving.blocks import ROWS_PER_BLOCK, blocks, score_backlog
from serving.run_folder import DONE, MANIFEST, RunFolder, digests, run_folder, unchanged
from serving.shares import Shares, Told
from training.scorer import DECISIONS, LeadScorer, Scores

FORMAT = 2
"""Of what a run keeps; another one is not taken up."""
MEMORY = 1 << 30
OWN_BYTES = 350 << 20
"""What the libraries and a model take."""
AT_ONCE = 3.0
"""How many times the bytes of a share are taken while it is scored."""

Engine = Literal["local", "spark"]
Progress = Callable[[int, str], AbstractContextManager[Callable[[int], None]]]
"""Is told the rows to do and what is done; gives a context that is told the rows done."""


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
    memory: int = MEMORY,
    resume: bool = False,
    engine: Engine = "local",
    threads: int = 2,
    rows_per_block: int = ROWS_PER_BLOCK,
    progress: Progress = lambda rows, what: nullcontext(lambda done: None),
) -> Summary:
    """Score every row of a leads table, and write one answer a row in the same order.

    Parameters
    ----------
    scorer : LeadScorer
    leads, events, as_of, timezone, columns, reject_file, max_rejected_share, now_us, changes
        As for ``Reader``.
    output : Path
        Ends in ``.parquet`` or ``.csv``; written whole or not at all. Beside it stands then what
        the run read and how many rows it wrote, ``<output>.manifest.json``.
    reasons : bool
        Give reasons for the hand-offs, in `language`.
    language : "en" or "ja"
    capacity : int, optional
        Hand-offs that sales can take of this file; those beyond are nurtured (``over_capacity``).
    memory : int
        Bytes that may be taken. Tables that need more go through the disk (see `shares`).
    resume : bool
        Take up such a run that was broken off.
    engine : "local" or "spark"
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
    check_name(output)
    with run_folder(output) as run:
        if not (resume and run.kept()):
            run.clear()
        with answer_file(output, run.path / "answers") as write:
            written = Written(write)
            job = Job(
                scorer,
                _located({"leads": leads, "events": events, "changes": changes}),
                Reader(as_of, timezone, columns or {}, now_us, scorer.card.undated),
                None if reject_file is None else Path(reject_file),
                max_rejected_share,
                language if reasons else None,
                capacity,
                threads,
                rows_per_block,
                progress,
            )
            if engine == "spark":
                done = job.on_spark(run, written, memory, resume=resume)
            elif job.bytes <= memory - OWN_BYTES:
                done = job.whole(written)
            else:
                done = job.in_shares(run, written, memory, resume=resume)
            run.write(DONE, done.manifest(job, written))
        run.beside(output)
    return written.summary(done.findings)


class Written:
    """Takes the answers to their file, and counts them."""

    def __init__(self, write: Callable[[pa.Table], None]) -> None:
        self._write, self.rows, self.scored = write, 0, 0
        self._decisions: Counter[str] = Counter()

    def __call__(self, table: pa.Table) -> None:
        """Write some answers."""
        self._write(table)
        self.rows += len(table)
        self.scored += len(table) - table["score"].null_count
        counted = table["decision"].cast(pa.string()).value_counts()
        self._decisions.update({each["values"]: each["counts"] for each in counted.to_pylist()})

    @property
    def decisions(self) -> dict[str, int]:
        """The rows of each decision."""
        return {name: self._decisions[name] for name in DECISIONS}

    def summary(self, findings: tuple[Finding, ...]) -> Summary:
        """Sum up what was written."""
        handed = self._decisions["hand_off"]
        return Summary(self.rows, self.scored, handed, self.decisions, findings)


@dataclass(frozen=True)
class Done:
    """What a job did.

    Attributes
    ----------
    findings : tuple of Finding
    rejected : mapping of table name to int
        Rows that were set aside.
    rows_in : int
        Rows of the leads table.
    inputs : mapping
        Of each table its files: name, size and digest.
    shares, temporary_bytes : int
        In how many shares the leads were scored, and what those took of the disk.
    """

    findings: tuple[Finding, ...]
    rejected: Mapping[str, int]
    rows_in: int
    inputs: Mapping[str, Any]
    shares: int = 1
    temporary_bytes: int = 0

    def manifest(self, job: "Job", written: Written) -> dict[str, Any]:
        """Say what was read, with which model, and that no row was lost, as JSON can hold it."""
        rejected = self.rejected.get(LEADS.name, 0)
        if written.rows + rejected != self.rows_in:
            raise RuntimeError(
                f"{self.rows_in} rows came in, {written.rows} were written and {rejected} set aside"
            )
        return {
            **job.identity,
            "inputs": self.inputs,
            "rows_in": self.rows_in,
            "rows_out": written.rows,
            "rows_rejected": dict(self.rejected),
            "scored": written.scored,
            "decisions": written.decisions,
            "capacity": job.capacity,
            "shares": self.shares,
            "temporary_bytes": self.temporary_bytes,
        }


@dataclass(frozen=True)
class Job:
    """A backlog to score, and how.

    Attributes
    ----------
    scorer : LeadScorer
    sources : mapping of table name to Source
    reader : Reader
    reject_file, max_rejected_share
        As for ``Reader.read``.
    language : str or None
        Of the reasons; None for none.
    capacity, threads, rows_per_block, progress
        As for `score_files`.
    """

    scorer: LeadScorer
    sources: Mapping[str, Source]
    reader: Reader
    reject_file: Path | None
    max_rejected_share: float
    language: str | None
    capacity: int | None
    threads: int
    rows_per_block: int
    progress: Progress

    @property
    def identity(self) -> dict[str, Any]:
        """What a run that is taken up must have been begun with, as JSON can hold it."""
        return {
            "format": FORMAT,
            "model": self.scorer.label,
            **self.reader.to_dict(),
            "reasons": self.language,
            "max_rejected_share": None if self.reject_file is None else self.max_rejected_share,
        }

    @property
    def bytes(self) -> int:
        """About how much memory the whole takes."""
        return sum(source.about()[1] for source in self.sources.values())

    def whole(self, written: Written) -> Done:
        """Score everything in memory."""
        with ThreadPoolExecutor(1) as pool:
            inputs = pool.submit(digests, self.sources)
            check = unchanged(self.sources)
            backlog = self.reader.read(
                self.sources,
                reject_file=self.reject_file,
                max_rejected_share=self.max_rejected_share,
            )
            check()
            self._answer(backlog, written)
        rejected = {} if self.reject_file is None else rejects.counts(self.reject_file)
        told = Told.of(self.scorer, backlog, rejected)
        return Done(
            self._findings([told], told.findings),
            rejected,
            len(backlog) + rejected.get(LEADS.name, 0),
            inputs.result(),
        )

    def in_shares(self, run: RunFolder, written: Written, memory: int, *, resume: bool) -> Done:
        """Score a share of the leads after the other; what is done stays in the run's folder."""
        kept = shares.taken_up(run, self.sources, self.identity) if resume else None
        parts = Shares(
            run,
            kept or self._split(run, memory),
            self.scorer,
            self.reader,
            self._score,
            self.language,
            rejecting=self.reject_file is not None,
        )
        leads = parts.splits[LEADS.name]
        with self.progress(leads.rows, "scored") as done:
            told = parts.told(done, self.threads)
        if self.reject_file is not None:
            parts.reject(told, self.reject_file, self.max_rejected_share)
        with self.progress(leads.rows, "written") as done:
            for table in parts.merged(self.capacity):
                written(table)
                done(len(table))
        rejected = sum((Counter(each.rejected) for each in told), Counter())
        return Done(
            self._findings(told, parts.findings(told)),
            rejected,
            leads.rows + len(leads.ragged),
            run.read(MANIFEST)["inputs"],
            parts.number,
            run.bytes(),
        )

    def on_spark(self, run: RunFolder, written: Written, memory: int, *, resume: bool) -> Done:
        """Score everything by a job of Spark."""
        from serving import spark  # noqa: PLC0415  # only with the extra

        refused = {
            "--reject-file": self.reject_file is not None,
            "--resume": resume,
        }
        for option in (option for option, given in refused.items() if given):
            raise UsageError(f"{option} is not for --engine spark: use --engine local")
        check = unchanged(self.sources)
        parts, rows, told = spark.run(
            self.sources,
            self.reader,
            self.scorer,
            self.language,
            folder=run.path,
            memory=memory,
        )
        check()
        with self.progress(rows, "written") as done:
            for table in merge.merged(parts, rows, self.capacity):
                written(table)
                done(len(table))
        findings = self._findings(told, told[0].findings)
        return Done(findings, {}, rows, digests(self.sources), len(parts), run.bytes())

    def _split(self, run: RunFolder, memory: int) -> dict[str, Split]:
        each = max(memory - OWN_BYTES, 1) / self.threads / AT_ONCE
        number = min(max(math.ceil(self.bytes / each), 2), shares.MOST_SHARES)
        rows = sum(source.about()[0] for source in self.sources.values())
        with self.progress(rows, "read") as done:
            splits = shares.split_tables(self.sources, self.reader, run, number, done)
        rejecting = self.reject_file is not None
        clues = partial(self.reader.clues, rejecting=rejecting)
        splits = partitions.with_readings(splits, clues, self.threads)
        shares.keep(run, self.sources, self.identity, splits)
        return splits

    def _score(
        self, backlog: Backlog, threads: int = 1, done: Callable[[int], None] = lambda rows: None
    ) -> Scores:
        return score_backlog(
            self.scorer, backlog, threads=threads, rows_per_block=self.rows_per_block, done=done
        )

    def _answer(self, backlog: Backlog, written: Written) -> None:
        parts = blocks(len(backlog), self.rows_per_block)
        steps = 1 if self.language is None else 2
        with self.progress(len(backlog) * steps, "scored") as done:
            scores, rank = self._score(backlog, self.threads, done), None
            if self.capacity is not None:
                scores, rank = scores.within_capacity(backlog.lead_id, self.capacity)
            answers = Answers(self.scorer, backlog, scores, rank, self.language)
            for table in in_order(answers.of, parts, self.threads):
                written(table)
                done(len(table) if steps > 1 else 0)

    def _findings(self, told: Sequence[Told], findings: Sequence[Finding]) -> tuple[Finding, ...]:
        types = sum((Counter(each.types) for each in told), Counter())
        looks = (look for each in told for look in each.looks)
        moved = unshared.moved_since(self.scorer, looks)
        return (*findings, *moved, *unshared.of_events(self.scorer, types))


def _located(places: Mapping[str, str | Path | None]) -> dict[str, Source]:
    """Find all tables; raises `ContractError` of all that cannot be found."""
    found: dict[str, Source] = {}
    refused: list[Finding] = []
    for name, place in places.items():
        if place is not None:
            try:
                found[name] = locate(name, place)
            except ContractError as error:
                refused += error.findings
    if refused:
        raise ContractError(refused)
    return found
