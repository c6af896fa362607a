"""A backlog larger than the memory: split by lead, scored share by share, merged in order."""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import partitions, rejects
from features.contract import LEADS
from features.findings import ContractError, Example, Finding
from features.history import Int64
from features.partitions import ROW, Split
from features.profile import Look
from features.rules import found as rule
from features.sources import Source
from features.threads import in_order
from serving import merge, unshared
from serving.answers import Answers
from serving.backlog_rows import Backlog, Reader
from serving.blocks import ROWS_PER_BLOCK, blocks
from serving.run_folder import MANIFEST, RunFolder, digests, refuse_others, unchanged
from training.scorer import LeadScorer, Scores

LEAST_ROWS = 256
MOST_SHARES = 512
"""All are open at once when they are merged."""

Scored = Callable[[Backlog], Scores]


@dataclass(frozen=True)
class Told:
    """What is known of a share beside its answers.

    Attributes
    ----------
    findings : tuple of Finding
    types : mapping of event type to int
        How many events there are.
    looks : tuple of Look
        How attributes look.
    rejected : mapping of table name to int
        How many rows were set aside.
    rows : int
        Of leads.
    """

    findings: tuple[Finding, ...]
    types: Mapping[str, int] = field(default_factory=dict)
    looks: tuple[Look, ...] = ()
    rejected: Mapping[str, int] = field(default_factory=dict)
    rows: int = 0

    @classmethod
    def of(cls, scorer: LeadScorer, backlog: Backlog, rejected: Mapping[str, int]) -> "Told":
        """Tell of a backlog."""
        return cls(
            (*backlog.findings, *unshared.of_records(scorer, backlog)),
            unshared.counts(backlog.leads.history),
            unshared.looks(scorer, backlog),
            rejected,
            len(backlog),
        )

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Told":
        """Rebuild it from JSON."""
        findings = tuple(
            Finding(**each | {"examples": tuple(Example(**case) for case in each["examples"])})
            for each in stored["findings"]
        )
        looks = tuple(Look(**each) for each in stored["looks"])
        return cls(**{**stored, "findings": findings, "looks": looks})


@dataclass(frozen=True)
class Shares:
    """A backlog on disk, and how it is scored.

    Attributes
    ----------
    run : RunFolder
    splits : mapping of table name to Split
    scorer : LeadScorer
    reader : Reader
    score : callable
        Scores a backlog.
    language : str or None
        Of the reasons; None for no such column.
    rejecting : bool
        Bad rows are set aside.
    """

    run: RunFolder
    splits: Mapping[str, Split]
    scorer: LeadScorer
    reader: Reader
    score: Scored
    language: str | None
    rejecting: bool

    @property
    def number(self) -> int:
        """How many shares there are."""
        return self.splits[LEADS.name].shares

    def told(self, done: Callable[[int], None], threads: int) -> list[Told]:
        """Score every share that is not done yet.

        Raises
        ------
        ContractError
            Of what is wrong in any share; the shares after the first such one are only read.
        """
        broken = threading.Event()
        found = []
        for told in in_order(partial(self._share, broken=broken), range(self.number), threads):
            found.append(told)
            done(told.rows)
        if broken.is_set():
            raise ContractError(self.findings(found))
        return found

    def _share(self, at: int, broken: threading.Event) -> Told:
        if self.run.has(_answers(at)):
            return Told.from_dict(self.run.read(_told(at)))
        own = {name: split.share(at) for name, split in self.splits.items()}
        aside = self.run.path / f".{_rejected(at)}"
        try:
            backlog = self.reader.read(
                own, reject_file=aside if self.rejecting else None, max_rejected_share=1.0
            )
        except ContractError as error:
            broken.set()
            return Told(error.findings)
        if broken.is_set():
            return Told(backlog.findings, rows=len(backlog))
        return self._scored(at, backlog, aside)

    def _scored(self, at: int, backlog: Backlog, aside: Path) -> Told:
        scores = self.score(backlog)
        rows = self.splits[LEADS.name].source_rows(at, backlog.source_rows)
        with self.run.writing(_answers(at)) as path:
            answers = Answers(self.scorer, backlog, scores, None, self.language)
            _write(path, answers, rows, max(ROWS_PER_BLOCK // self.number, LEAST_ROWS))
            told = Told.of(self.scorer, backlog, self._set_aside(at, aside))
            self.run.write(_told(at), asdict(told))
        return told

    def _set_aside(self, at: int, aside: Path) -> dict[str, int]:
        if not self.rejecting:
            return {}
        aside.replace(self.run.path / _rejected(at))
        return rejects.counts(self.run.path / _rejected(at))

    def findings(self, told: list[Told]) -> tuple[Finding, ...]:
        """Put the findings of all shares together, with where their first rows stand."""
        empty = [rule("empty_table", n) for n, split in self.splits.items() if not split.rows]
        layouts = {name: split.layout for name, split in self.splits.items()}
        every = [finding for each in told for finding in each.findings]
        return partitions.placed([*every, *empty], layouts)

    def reject(self, told: list[Told], path: Path, max_share: float) -> None:
        """Put the rows that were set aside into one file, under where they stand.

        Raises
        ------
        ContractError
            There are more of them than may be.
        """
        parts = [rejects.read(self.run.path / _rejected(at)) for at in range(self.number)]
        every = pa.concat_tables(parts)
        tables = []
        for name, split in self.splits.items():
            own = every.filter(pc.equal(every["table"], name))
            own = own.take(pa.array(np.argsort(partitions.rows_named(own["where"].to_pylist()))))
            places = pa.array(partitions.named(split.layout, own["where"].to_pylist()), pa.string())
            tables.append(own.set_column(own.schema.get_field_index("where"), "where", places))
        rejects.write(path, tables)
        over = [
            rejects.too_many(name, bad, split.rows + len(split.ragged), max_share)
            for name, split in self.splits.items()
            if (bad := sum(each.rejected.get(name, 0) for each in told))
        ]
        if any(over):
            raise ContractError([*filter(None, over), *map(rejects.left_in, self.findings(told))])

    def merged(self, capacity: int | None) -> Iterator[pa.Table]:
        """Give the answers in the order of the leads table, block by block."""
        paths = [self.run.path / _answers(at) for at in range(self.number)]
        return merge.merged(paths, self.splits[LEADS.name].rows, capacity)


def split_tables(
    sources: Mapping[str, Source],
    reader: Reader,
    run: RunFolder,
    shares: int,
    done: Callable[[int], None],
) -> dict[str, Split]:
    """Write every table into so many shares.

    Raises
    ------
    ContractError, UsageError
        A table cannot be read, or changed while it was.
    """
    check, plans = unchanged(sources), reader.plans(sources)
    found = {}
    for name, source in sources.items():
        folder = run.path / name
        folder.mkdir()
        found[name] = partitions.split(plans[name], source, folder, shares, done)
    check()
    if not found[LEADS.name].rows and not found[LEADS.name].ragged:
        raise ContractError([rule("no_leads", LEADS.name)])
    return found


def taken_up(
    run: RunFolder, sources: Mapping[str, Source], identity: Mapping[str, Any]
) -> dict[str, Split] | None:
    """Take up the run that was broken off, where there is one.

    Raises
    ------
    UsageError
        It was begun on other tables, with another model or other options.
    """
    kept = run.kept()
    if kept is None:
        return None
    refuse_others({key: kept.get(key) for key in identity}, identity)
    refuse_others(kept["inputs"], digests(sources))
    return {
        name: Split.from_dict(kept["splits"][name], source, run.path / name)
        for name, source in sources.items()
    }


def keep(
    run: RunFolder,
    sources: Mapping[str, Source],
    identity: Mapping[str, Any],
    splits: Mapping[str, Split],
) -> None:
    """Note what a run was begun on: from here on it can be taken up."""
    noted = {
        **identity,
        "inputs": digests(sources),
        "splits": {name: split.to_dict() for name, split in splits.items()},
    }
    run.write(MANIFEST, noted)


def _write(path: Path, answers: Answers, rows: Int64, rows_at_once: int) -> None:
    """Write a share's answers with their rows, a few at a time, so that they are read so."""
    parts = blocks(len(rows), ROWS_PER_BLOCK)
    tables = (answers.of(part).append_column(ROW, pa.array(rows[part])) for part in parts)
    first = next(tables)
    options = pa.ipc.IpcWriteOptions(compression=partitions.COMPRESSION)
    with (
        pa.OSFile(str(path), "wb") as file,
        pa.ipc.new_file(file, first.schema, options=options) as writer,
    ):
        for table in chain([first], tables):
            writer.write_table(table, max_chunksize=rows_at_once)


def _answers(at: int) -> str:
    return f"{at:04d}.arrow"


def _told(at: int) -> str:
    return f"{at:04d}.json"


def _rejected(at: int) -> str:
    return f"{at:04d}.csv"
