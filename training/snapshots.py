"""Snapshots: the moments at which leads are judged, and what came after; no labels or weights."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from features.history import DAY_US

Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]

NEVER = int(np.iinfo(np.int64).max)
"""The moment of what has not happened."""

AGES_DAYS = (0.0, 1.0, 3.0, 7.0, 14.0, 30.0, 60.0, 90.0)
CALENDAR_DAYS = 30.0
COHORT_SHARE, COHORT_QUIET_DAYS = 1 / 3, 90.0
HEADLINE_OPEN_SHARE = 0.1
EPISODES_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Outcomes:
    """Wins and losses in any order, any number per lead.

    Attributes
    ----------
    lead : int64 [m]
        Row of the leads table.
    closed_us, known_us : int64 [m]
        When it closed and when that was recorded; known before it closed counts as known at the
        close.
    won : bool [m]
    """

    lead: Int64
    closed_us: Int64
    known_us: Int64
    won: Bool

    def of_leads(self, row: Int64) -> "Outcomes":
        """Return those of some leads, in order; `row` is each lead's new row, negative for none."""
        lead = row[self.lead]
        kept = np.flatnonzero(lead >= 0)
        keys = (self.won, self.known_us, self.closed_us, lead)
        order = kept[np.lexsort([column[kept] for column in keys])]
        return Outcomes(lead[order], self.closed_us[order], self.known_us[order], self.won[order])


@dataclass(frozen=True)
class Episodes:
    """When leads are open: ``[start_us, end_us)``, sorted by lead and start; NEVER while open."""

    lead: Int64
    start_us: Int64
    end_us: Int64

    def __len__(self) -> int:
        return len(self.lead)

    @property
    def first(self) -> "Episodes":
        """The first one of each lead: what is left where no lead is open again after a loss."""
        return self.rows(np.unique(self.lead, return_index=True)[1])

    def rows(self, chosen: npt.NDArray[Any] | slice) -> "Episodes":
        """Return those of a mask, of indices or of a slice."""
        return Episodes(self.lead[chosen], self.start_us[chosen], self.end_us[chosen])

    def of_leads(self, row: Int64) -> "Episodes":
        """Return those of some leads; `row` is each lead's new row, negative for none."""
        some = self.rows(row[self.lead] >= 0)
        return replace(some, lead=row[some.lead])


@dataclass(frozen=True)
class Grid:
    """Where snapshots stand, and why: at ages of the episode, or on a calendar up to `until`."""

    ages_days: tuple[float, ...]
    every_days: float | None
    reason: str


@dataclass(frozen=True)
class Snapshots:
    """Rows to learn from, sorted by lead and moment.

    Attributes
    ----------
    lead : int64 [r]
        Row of the leads table.
    as_of_us : int64 [r]
        The moment of judging.
    age_days : float32 [r]
        Days since the start of the episode.
    win_us, win_known_us, loss_us, loss_known_us : int64 [r]
        The first win and the first loss strictly after `as_of_us` and when they became known; NEVER
        where there is none.
    """

    lead: Int64
    as_of_us: Int64
    age_days: Float32
    win_us: Int64
    win_known_us: Int64
    loss_us: Int64
    loss_known_us: Int64

    def __len__(self) -> int:
        return len(self.lead)

    def rows(self, chosen: npt.NDArray[Any]) -> "Snapshots":
        """Return the rows of a mask or of indices."""
        return Snapshots(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def followed_by(self, others: "Snapshots") -> "Snapshots":
        """Return these rows and then others, whatever their leads."""
        return stacked([self, others])


Rows = TypeVar("Rows", Outcomes, Episodes, Snapshots)


def stacked(parts: Sequence[Rows]) -> Rows:
    """Put rows one after the other, whatever their leads."""
    names = [field.name for field in fields(parts[0])]
    columns = ([getattr(part, name) for part in parts] for name in names)
    return type(parts[0])(*map(np.concatenate, columns))


def grid(created_us: Int64, until_us: int) -> Grid:
    """Choose where snapshots stand when nobody has said so.

    Ages of the lead, unless all leads come from a short time long ago (a cohort): there ages would
    see its first weeks only, and every age one season only, so snapshots stand on a calendar.

    Examples
    --------
    >>> grid(np.array([0, 50 * DAY_US]), 100 * DAY_US).every_days is None
    True
    >>> grid(np.array([0, 5 * DAY_US]), 100 * DAY_US).every_days
    30.0
    """
    created = created_us[created_us <= until_us]
    if not len(created):
        return Grid(AGES_DAYS, None, "no lead was created by then")
    first, last = int(created.min()), int(created.max())
    span, observed, quiet = (
        (b - a) / DAY_US for a, b in ((first, last), (first, until_us), (last, until_us))
    )
    facts = (
        f"leads were created over {span:.0f} of {observed:.0f} days, "
        f"the last {quiet:.0f} days before the end"
    )
    if span < COHORT_SHARE * observed and quiet > COHORT_QUIET_DAYS:
        return Grid((), CALENDAR_DAYS, f"a cohort: {facts}")
    return Grid(AGES_DAYS, None, f"leads keep coming: {facts}")


def reopened_share(outcomes: Outcomes) -> float:
    """Return the share of the losses after which the same lead was won; 0 without losses.

    Where lost leads do not come back, what happens after a loss is paperwork: snapshots of it would
    be easy rows that teach nothing and make every figure look better than it is.

    Examples
    --------
    >>> lead, closed = np.array([0, 0, 1]), np.array([5, 9, 7])
    >>> reopened_share(Outcomes(lead, closed, closed, np.array([False, True, False])))
    0.5
    """
    last_win = np.full(int(outcomes.lead.max(initial=-1)) + 1, -NEVER)
    np.maximum.at(last_win, outcomes.lead[outcomes.won], outcomes.closed_us[outcomes.won])
    lost = ~outcomes.won
    again = last_win[outcomes.lead[lost]] > outcomes.closed_us[lost]
    return float(again.mean()) if lost.any() else 0.0


def episodes(
    created_us: Int64,
    outcomes: Outcomes,
    *,
    sales_lead: Int64,
    sales_us: Int64,
    event_ptr: Int64,
    event_us: Int64,
) -> Episodes:
    """Return when leads are open to marketing.

    The first episode starts at ``created_us``; after a loss the next one starts at the first event
    after it, if nothing closes in between. An episode ends at its first outcome or at the first
    event of the sales process, itself excluded. An outcome before the creation (dates without an
    hour) closes the first episode; an earlier sales event does not.

    Parameters
    ----------
    created_us : int64 [n]
    outcomes : Outcomes
    sales_lead, sales_us : int64 [s]
        Lead and moment of the events of the sales process, in any order.
    event_ptr, event_us : int64 [n + 1], int64 [e]
        The events of lead i are ``event_us[event_ptr[i]:event_ptr[i + 1]]``, in order of time.

    Examples
    --------
    >>> lost = Outcomes(np.array([0]), np.array([10]), np.array([10]), np.array([False]))
    >>> none = np.empty(0, np.int64)
    >>> found = episodes(
    ...     np.array([0]),
    ...     lost,
    ...     sales_lead=none,
    ...     sales_us=none,
    ...     event_ptr=np.array([0, 2]),
    ...     event_us=np.array([5, 25]),
    ... )
    >>> found.start_us.tolist(), found.end_us.tolist() == [10, NEVER]
    ([0, 25], True)
    """
    leads = len(created_us)
    closed = _by_lead(outcomes, leads)
    lead, start = _restarts(closed, created_us, event_ptr, event_us)
    first_close = _pick(closed.time_us, *_found(closed, np.arange(leads), np.full(leads, -NEVER)))
    again_close = _pick(closed.time_us, *_found(closed, lead, start - 1))
    lead = np.concatenate([np.arange(leads), lead])
    start = np.concatenate([created_us, start])
    sales = _sorted(sales_lead, sales_us, sales_us, leads)
    worked = _pick(sales.time_us, *_found(sales, lead, start - 1))
    end = np.minimum(np.concatenate([first_close, again_close]), worked)
    order = np.lexsort((start, lead))
    return Episodes(lead[order], start[order], end[order])


def take(open_: Episodes, outcomes: Outcomes, where: Grid, until_us: int, leads: int) -> Snapshots:
    """Take the snapshots of all episodes up to `until_us` (included), while open (end excluded).

    Parameters
    ----------
    open_ : Episodes
    outcomes : Outcomes
    where : Grid
    until_us : int
    leads : int
        Number of rows of the leads table.

    Examples
    --------
    >>> day_2, day_3 = np.array([2 * DAY_US]), np.array([3 * DAY_US])
    >>> lost = Outcomes(np.array([0]), day_2, day_3, np.array([False]))
    >>> open_ = Episodes(np.array([0]), np.array([0]), day_2)
    >>> rows = take(open_, lost, Grid(AGES_DAYS, None, "stated"), 90 * DAY_US, 1)
    >>> rows.age_days.tolist(), (rows.loss_known_us // DAY_US).tolist(), rows.win_us[0] == NEVER
    ([0.0, 1.0], [3, 3], np.True_)
    """
    episode, as_of = _moments(open_, where, until_us)
    lead = open_.lead[episode]
    age = ((as_of - open_.start_us[episode]) / DAY_US).astype(np.float32)
    won = _by_lead(outcomes, leads, won=True)
    lost = _by_lead(outcomes, leads, won=False)
    win, loss = _found(won, lead, as_of), _found(lost, lead, as_of)
    return Snapshots(
        lead, as_of, age,
        _pick(won.time_us, *win), _pick(won.known_us, *win),
        _pick(lost.time_us, *loss), _pick(lost.known_us, *loss),
    )  # fmt: skip


def counts(open_: Episodes, where: Grid, until_us: int, leads: int) -> Int64:
    """Count the snapshots of each lead that `take` would take, int64 [leads]."""
    found = np.zeros(leads, np.int64)
    for start in range(0, len(open_), EPISODES_AT_ONCE):
        few = open_.rows(slice(start, start + EPISODES_AT_ONCE))
        np.add.at(found, few.lead[_moments(few, where, until_us)[0]], 1)
    return found


def headline_age(snapshots: Snapshots, wanted_days: float) -> float:
    """Return the age at which leads are judged once: the wanted one, or an earlier one.

    Earlier, where fewer than a tenth of the leads have a snapshot of that age or older.

    Examples
    --------
    >>> age, none = np.float32([0, 1]), [np.full(2, NEVER)] * 4
    >>> rows = Snapshots(np.array([0, 0]), np.array([0, DAY_US]), age, *none)
    >>> headline_age(rows, 7.0)
    1.0
    """
    ages = np.unique(snapshots.age_days)[::-1]
    if not len(ages):
        return wanted_days
    enough = HEADLINE_OPEN_SHARE * len(np.unique(snapshots.lead))
    for age in [wanted_days, *ages[ages < wanted_days].tolist()]:
        if len(np.unique(snapshots.lead[snapshots.age_days >= age])) >= enough:
            return float(age)
    return float(ages[-1])


def headline(snapshots: Snapshots, age_days: float) -> Bool:
    """Mark one snapshot per lead: its first of at least this age, bool [r].

    Examples
    --------
    >>> age, none = np.float32([0, 7, 14]), [np.full(3, NEVER)] * 4
    >>> rows = Snapshots(np.array([0, 0, 0]), np.array([0, 7, 14]) * DAY_US, age, *none)
    >>> headline(rows, 7.0).tolist()
    [False, True, False]
    """
    marked = np.zeros(len(snapshots), np.bool_)
    old = np.flatnonzero(snapshots.age_days >= age_days)
    marked[old[np.unique(snapshots.lead[old], return_index=True)[1]]] = True
    return marked


@dataclass(frozen=True)
class _Timeline:
    """Moments in CSR form, each lead's in order of time."""

    ptr: Int64
    time_us: Int64
    known_us: Int64
    won: Bool


def _by_lead(outcomes: Outcomes, leads: int, won: bool | None = None) -> _Timeline:
    kept = np.ones(len(outcomes.won), np.bool_) if won is None else outcomes.won == won
    known = np.maximum(outcomes.known_us, outcomes.closed_us)
    return _sorted(
        outcomes.lead[kept], outcomes.closed_us[kept], known[kept], leads, outcomes.won[kept]
    )


def _sorted(
    lead: Int64, time_us: Int64, known_us: Int64, leads: int, won: Bool | None = None
) -> _Timeline:
    # A win stands after a loss of the same moment: what the lead is, is what came last.
    won = np.zeros(len(lead), np.bool_) if won is None else won
    order = np.lexsort((known_us, won, time_us, lead))
    ptr = np.concatenate([[0], np.cumsum(np.bincount(lead, minlength=leads))])
    return _Timeline(ptr.astype(np.int64), time_us[order], known_us[order], won[order])


def _restarts(
    closed: _Timeline, created_us: Int64, event_ptr: Int64, event_us: Int64
) -> tuple[Int64, Int64]:
    """Lead and moment of the first event after a loss, where no other outcome lies between."""
    lead = np.repeat(np.arange(len(created_us)), np.diff(closed.ptr))
    at = np.arange(len(lead))
    last = at + 1 == closed.ptr[lead + 1]
    following = _pick(closed.time_us, at + 1, ~last)
    events = _Timeline(event_ptr, event_us, event_us, np.empty(0, np.bool_))
    start = _pick(event_us, *_found(events, lead, np.maximum(closed.time_us, created_us[lead] - 1)))
    again = ~closed.won & (start < following)
    return lead[again], start[again]


def _found(moments: _Timeline, lead: Int64, after_us: Int64) -> tuple[Int64, Bool]:
    """Index of each lead's first moment strictly after a time, and whether there is one."""
    low, end = moments.ptr[lead], moments.ptr[lead + 1]
    high = end.copy()
    active = np.flatnonzero(low < high)
    while len(active):  # binary search in all segments at once
        middle = (low[active] + high[active]) >> 1
        later = moments.time_us[middle] > after_us[active]
        high[active[later]] = middle[later]
        low[active[~later]] = middle[~later] + 1
        active = active[low[active] < high[active]]
    return low, low < end


def _pick(values: Int64, index: Int64, found: Bool) -> Int64:
    out = np.full(len(index), NEVER, np.int64)
    out[found] = values[index[found]]
    return out


def _moments(open_: Episodes, where: Grid, until_us: int) -> tuple[Int64, Int64]:
    """Give the episode and the moment of each snapshot."""
    if where.every_days is None:
        return _at_ages(open_, where.ages_days, until_us)
    return _on_calendar(open_, where.every_days, until_us)


def _at_ages(open_: Episodes, ages_days: tuple[float, ...], until_us: int) -> tuple[Int64, Int64]:
    ages = np.rint(np.sort(np.asarray(ages_days)) * DAY_US).astype(np.int64)
    as_of = open_.start_us[:, None] + ages
    episode, age = np.nonzero((as_of < open_.end_us[:, None]) & (as_of <= until_us))
    return episode, as_of[episode, age]


def _on_calendar(open_: Episodes, every_days: float, until_us: int) -> tuple[Int64, Int64]:
    """All until - k * every with start <= as_of < end, in order of time."""
    step = round(every_days * DAY_US)
    oldest = (until_us - open_.start_us) // step
    newest = np.where(
        open_.end_us <= until_us, (until_us - np.minimum(open_.end_us, until_us)) // step + 1, 0
    )
    count = np.maximum(oldest - newest + 1, 0)
    episode = np.repeat(np.arange(len(count)), count)
    place = np.arange(len(episode)) - np.repeat(np.cumsum(count) - count, count)
    return episode, until_us - (oldest[episode] - place) * step
