"""A history larger than the memory, on disk in shares by lead: what a run keeps of it is read."""

import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features import partitions, share_findings
from features.checked_table import Plan
from features.contract import LEADS
from features.findings import ContractError, Finding
from features.history import Int64
from features.partitions import Split
from features.readers import Tables
from features.rules import found as rule
from features.sources import Source
from training.config import Config
from training.crm import Crm, from_tables, joined
from training.overview import Overview
from training.result_folder import ABANDONED_SECONDS
from training.sampling import Taken, every_episode, taken
from training.snapshots import Episodes, Outcomes, stacked

OWN_BYTES = 350 << 20
"""What the libraries take."""
READING = 0.4
"""Of the memory may be taken by tables in memory, or by a share of them and what is made of it."""
AT_ONCE = 3.0
"""How many times the bytes of a share are taken while it is read."""
MOST_SHARES = 512

Bool = npt.NDArray[np.bool_]
Reader = Callable[[Mapping[str, Source], Path | None], Tables]
"""Reads a share under the contract; bad rows go into the file, where there is one."""
Progress = Callable[[int, str], AbstractContextManager[Callable[[int], None]]]
"""Is told the rows to do and what is done; gives a context that is told the rows done."""


def fit(sources: Mapping[str, Source], memory: int) -> bool:
    """Tell whether tables can be read whole."""
    return _bytes(sources) <= READING * (memory - OWN_BYTES)


@contextmanager
def split(
    plans: Mapping[str, Plan],
    sources: Mapping[str, Source],
    output: Path,
    memory: int,
    progress: Progress,
) -> Iterator[dict[str, Split]]:
    """Write tables into shares in a folder beside an output, which goes when the block ends.

    Raises
    ------
    ContractError
        A table cannot be read.
    OSError
        The disk is full.
    """
    each = max(READING * (memory - OWN_BYTES) / AT_ONCE, 1)
    number = min(max(math.ceil(_bytes(sources) / each), 2), MOST_SHARES)
    rows = sum(source.about()[0] for source in sources.values())
    with _folder(output) as folder:
        with _telling(output), progress(rows, "read") as done:
            found = {}
            for name, source in sources.items():
                own = folder / name
                own.mkdir()
                found[name] = partitions.split(plans[name], source, own, number, done)
        if not found[LEADS.name].rows and not found[LEADS.name].ragged:
            raise ContractError([rule("no_leads", LEADS.name)])
        yield found


@dataclass(frozen=True)
class Shares:
    """A history on disk.

    Attributes
    ----------
    splits : mapping of table name to Split
    read : callable
    reject_file : Path or None
    max_rejected_share : float
    """

    splits: Mapping[str, Split]
    read: Reader
    reject_file: Path | None
    max_rejected_share: float

    def taken(self, config: Config, memory: int) -> Taken:
        """Take what fits into memory: the very same as of tables that were read whole.

        Every share is read twice: once for what must be known of each lead, and once for the leads
        that are then taken. After that the shares are gone.

        Raises
        ------
        ContractError
            The tables break the contract.
        TooLittleHistory
            No lead was open at any age.
        """
        sales = (*config.events.sales, *config.events.handoff)
        told = [self._seen(at, sales) for at in self._numbers]
        findings = share_findings.of_whole(self.splits, [f for each in told for f in each.findings])
        if self.reject_file is not None:
            share_findings.set_aside(
                self.splits,
                [self._aside(at) for at in self._numbers],
                self.reject_file,
                self.max_rejected_share,
                findings,
            )
        if any(finding.severity == "error" for finding in findings):
            raise ContractError(findings)
        every = _Every.of([each.leads for each in told if each.leads is not None])
        del told

        def read(masks: Sequence[Bool]) -> list[Crm]:
            parts = [self._kept(at, every, masks) for at in self._numbers]
            return [joined(same, every.overview, findings) for same in zip(*parts, strict=True)]

        found = taken(
            every.overview, every.open_, read, config, until_us=every.until_us, memory=memory
        )
        shutil.rmtree(self._folder)
        return found

    @property
    def _numbers(self) -> range:
        return range(self.splits[LEADS.name].shares)

    def _seen(self, at: int, sales: tuple[str, ...]) -> "_Seen":
        tables = self._tables(at)
        if not tables.usable:
            return _Seen(tables.findings, None)
        crm = from_tables(tables)
        return _Seen(
            tables.findings,
            _Leads(crm.overview, every_episode(crm, sales), self._rows(at, crm), crm.until_us),
        )

    def _kept(self, at: int, every: "_Every", masks: Sequence[Bool]) -> list[Crm]:
        """Read the leads of a share that are in each mask."""
        crm = from_tables(replace(self._tables(at), until_us=every.until_us))
        crm = replace(crm, source_rows=self._rows(at, crm))
        return [crm.rows(kept[every.rank[at]]) for kept in masks]

    def _rows(self, at: int, crm: Crm) -> Int64:
        """Give the row of the whole leads table that each lead of a share is."""
        return self.splits[LEADS.name].source_rows(at, crm.source_rows)

    def _tables(self, at: int) -> Tables:
        own = {name: each.share(at) for name, each in self.splits.items()}
        return self.read(own, None if self.reject_file is None else self._aside(at))

    def _aside(self, at: int) -> Path:
        return self._folder / f"{at:04d}.csv"

    @property
    def _folder(self) -> Path:
        return self.splits[LEADS.name].folder.parent


class _Leads(NamedTuple):
    """What is known of the leads of a share; `source_rows` are their rows of the whole table."""

    overview: Overview
    open_: Episodes
    source_rows: Int64
    until_us: int


class _Seen(NamedTuple):
    """What is found in a share; without `leads` where it breaks the contract."""

    findings: tuple[Finding, ...]
    leads: _Leads | None


@dataclass(frozen=True)
class _Every:
    """What is known of all leads, in the order of the leads table.

    Attributes
    ----------
    overview : Overview
    open_ : Episodes
    until_us : int
    rank : list of int64
        Of each share, where its leads stand.
    """

    overview: Overview
    open_: Episodes
    until_us: int
    rank: list[Int64]

    @classmethod
    def of(cls, parts: Sequence[_Leads]) -> "_Every":
        """Put the leads of all shares together."""
        order = np.argsort(np.concatenate([part.source_rows for part in parts]))
        rank = np.argsort(order)
        ends = np.cumsum([len(part.source_rows) for part in parts])
        ranks = np.split(rank, ends[:-1])
        views = [part.overview for part in parts]
        outcomes: list[Outcomes] = []
        open_: list[Episodes] = []
        for part, row in zip(parts, ranks, strict=True):
            closes = part.overview.outcomes
            outcomes.append(replace(closes, lead=row[closes.lead]))
            open_.append(replace(part.open_, lead=row[part.open_.lead]))
        return cls(
            Overview(
                _ids([view.lead_id for view in views], order),
                np.concatenate([view.created_us for view in views])[order],
                stacked(outcomes).of_leads(np.arange(len(order))),
                sum(view.events for view in views),
                np.concatenate([view.fingerprints for view in views])[order],
            ),
            _by_lead(stacked(open_)),
            max(part.until_us for part in parts),
            ranks,
        )


def _ids(parts: Sequence[pa.ChunkedArray], order: Int64) -> pa.ChunkedArray:
    chunks = [chunk for part in parts for chunk in part.chunks]
    every = pa.chunked_array(chunks, pa.string()).combine_chunks()
    return pa.chunked_array([every.take(pa.array(order))])


def _by_lead(open_: Episodes) -> Episodes:
    order = np.argsort(open_.lead, kind="stable")
    return Episodes(open_.lead[order], open_.start_us[order], open_.end_us[order])


def _bytes(sources: Mapping[str, Source]) -> int:
    return sum(source.about()[1] for source in sources.values())


@contextmanager
def _folder(output: Path) -> Iterator[Path]:
    """Give an empty folder on the disk of an output; what a killed run left long ago goes."""
    beside = next(path for path in output.absolute().parents if path.is_dir())
    start = f".{output.name}.shares-"
    with _telling(output):
        folder = Path(tempfile.mkdtemp(prefix=start, dir=beside))
    now = folder.stat().st_mtime
    for left in beside.glob(f"{start}*"):
        if now - left.stat().st_mtime > ABANDONED_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _telling(output: Path) -> Iterator[None]:
    """Say what cannot be written where the disk is full, which Arrow says without a path."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        why = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(f"{output} cannot be written ({why}): make room, and run again") from error
