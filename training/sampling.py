"""Which leads a run learns from: all, or a random share of them where memory is short."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.history import Int64
from features.moments import iso
from features.relations import NO_LEAD
from training.config import Config
from training.crm import Crm
from training.labels import REOPENED_SHARE, TooLittleHistory
from training.overview import Overview, UInt64
from training.snapshots import (
    Episodes,
    Grid,
    Outcomes,
    Snapshots,
    counts,
    episodes,
    grid,
    reopened_share,
    take,
)

MOST_SNAPSHOTS_TO_FIT = 1_000_000
BYTES_OF_SNAPSHOT = 4_096
"""What a run takes for each at its peak, the history of its lead included."""

Bool = npt.NDArray[np.bool_]
Float64 = npt.NDArray[np.float64]

Read = Callable[[Sequence[Bool]], Sequence[Crm]]
"""Gives the leads of each mask over all leads."""


@dataclass(frozen=True)
class Rest:
    """Leads that are not in the sample.

    Attributes
    ----------
    share : float
        Of the leads, that is in the sample.
    snapshots : int
        Of the sample and of the rest.
    won : Snapshots
        Of those that were won, where there is room for all of them: the refit learns from them,
        too, and each lead of the sample that was not won counts for ``1 / share``.
    crm : Crm or None
        The leads of `won`; None where winners are not taken apart.
    """

    share: float
    snapshots: int
    won: Snapshots
    crm: Crm | None = None

    def counts(self, won: Bool) -> Float64:
        """Say for how many rows each row of the sample stands, then each of `self.won`.

        `won` tells which rows of the sample are of leads that were ever won.
        """
        if self.crm is None:
            return np.ones(len(won))
        return np.concatenate([np.where(won, 1.0, 1.0 / self.share), np.ones(len(self.won))])


@dataclass(frozen=True)
class Taken:
    """What a run keeps of a history.

    Attributes
    ----------
    crm : Crm
        The leads in the sample: all, or a share of them by a hash of their ids.
    grid : Grid
        Where snapshots stand.
    snapshots : Snapshots
        All of these leads.
    rest : Rest
    """

    crm: Crm
    grid: Grid
    snapshots: Snapshots
    rest: Rest


def sample(crm: Crm, config: Config, memory: int | None = None) -> Taken:
    """Take all leads of a history, or as many as can be learned from in so many bytes.

    Raises
    ------
    TooLittleHistory
        No lead was open at any age.
    """

    def read(masks: Sequence[Bool]) -> list[Crm]:
        return [crm.rows(kept) for kept in masks]

    open_ = every_episode(crm, (*config.events.sales, *config.events.handoff))
    return taken(crm.overview, open_, read, config, until_us=crm.until_us, memory=memory)


def taken(
    every: Overview,
    open_: Episodes,
    read: Read,
    config: Config,
    *,
    until_us: int,
    memory: int | None = None,
) -> Taken:
    """Take what fits into memory of a history, wherever it is read from; see `sample`.

    Parameters
    ----------
    every : Overview
    open_ : Episodes
        From `every_episode`.
    read : callable
        Gives the leads of masks.
    config : Config
    until_us : int
    memory : int, optional
        By default, as many leads as have a million snapshots.
    """
    where, open_ = _grid(every.created_us, config, until_us), _that_count(open_, every.outcomes)
    many = counts(open_, where, until_us, len(every))
    if not many.any():
        raise TooLittleHistory(_no_snapshots(len(every), until_us))
    won = np.zeros(len(every), np.bool_)
    won[every.outcomes.lead[every.outcomes.won]] = True
    most = MOST_SNAPSHOTS_TO_FIT if memory is None else memory // BYTES_OF_SNAPSHOT
    share, apart = _share(int(many.sum()), int(many[won].sum()), most)
    kept = in_share(every.hashes, share)
    beside = won & ~kept & (many > 0) & apart
    own, *winners = read([kept, beside] if apart else [kept])

    def snapshots(chosen: Bool) -> Snapshots:
        row = np.where(chosen, np.cumsum(chosen) - 1, NO_LEAD)
        outcomes = every.outcomes.of_leads(row)
        return take(open_.of_leads(row), outcomes, where, until_us, int(chosen.sum()))

    rest = Rest(share, int(many.sum()), snapshots(beside), *winners)
    return Taken(own, where, snapshots(kept), rest)


def all_snapshots(crm: Crm, config: Config) -> Snapshots:
    """Take every snapshot that the configuration asks for."""
    open_ = every_episode(crm, (*config.events.sales, *config.events.handoff))
    where = _grid(crm.leads.created_us, config, crm.until_us)
    counting = _that_count(open_, crm.outcomes)
    return take(counting, crm.outcomes, where, crm.until_us, len(crm.leads))


def of_winners(snapshots: Snapshots, crm: Crm) -> Bool:
    """Tell which rows are of leads that were ever won."""
    return np.isin(snapshots.lead, crm.outcomes.lead[crm.outcomes.won])


def in_share(hashes: UInt64, share: float) -> Bool:
    """Tell by their hashes which leads are in a random share of all."""
    return hashes // np.uint64(2**11) < share * 2.0**53


def open_episodes(crm: Crm, sales: tuple[str, ...]) -> Episodes:
    """Tell when leads are open to marketing, which events of the types `sales` end."""
    return _that_count(every_episode(crm, sales), crm.overview.outcomes)


def every_episode(crm: Crm, sales: tuple[str, ...]) -> Episodes:
    """Tell the same as if lost leads came back, whether they do or not."""
    sales_lead, sales_us = crm.of_types(sales)
    history = crm.leads.history
    return episodes(
        crm.leads.created_us,
        crm.outcomes,
        sales_lead=sales_lead,
        sales_us=sales_us,
        event_ptr=history.ptr,
        event_us=history.occurred_us,
    )


def _that_count(open_: Episodes, outcomes: Outcomes) -> Episodes:
    return open_ if reopened_share(outcomes) > REOPENED_SHARE else open_.first


def _grid(created_us: Int64, config: Config, until_us: int) -> Grid:
    stated = config.snapshots
    if stated.ages_days is not None:
        return Grid(tuple(stated.ages_days), None, "stated in the configuration")
    if stated.every_days is not None:
        return Grid((), stated.every_days, "stated in the configuration")
    return grid(created_us, until_us)


def _share(total: int, won: int, most: int) -> tuple[float, bool]:
    """Say which share of the leads has room, and whether all winners have it besides."""
    if total <= most:
        return 1.0, False
    apart = 2 * won <= most
    return ((most - won) / (total - won) if apart else most / total), apart


def _no_snapshots(leads: int, until_us: int) -> str:
    return (
        f"no moment to learn from: none of the {leads} leads was open at any age by "
        f"{iso(until_us)}; check created_at, closed_at and --until"
    )
