"""Origins: the cuts at which recipes learn and the later leads that judge them; no fitting."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from features.history import DAY_US
from training.labels import Labels
from training.snapshots import NEVER, Snapshots

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
Bool = npt.NDArray[np.bool_]

SHARES = (0.4, 0.55, 0.7, 0.85)
FOLDS = 4
WINS_TO_LEARN = 10
WINS_TO_JUDGE = 30


@dataclass(frozen=True)
class Origin:
    """One cut: what is learned from and what is scored.

    Attributes
    ----------
    kind : str
        ``"time"``: test leads are created in ``(cut_us, next_us]``; ``"hash"``: they are a fold of
        all leads.
    cut_us, next_us : int
        Train on what was known at `cut_us`; NEVER after the last cut.
    train, test : bool [r]
        Masks over the snapshots; no lead is in both.
    """

    kind: str
    cut_us: int
    next_us: int
    train: Bool
    test: Bool


@dataclass(frozen=True)
class Origins:
    """All cuts in order, of one kind, and why that kind."""

    kind: str
    reason: str
    cuts: tuple[Origin, ...]


@dataclass(frozen=True)
class Roles:
    """Which cuts choose (recipe, calibration, rule) and which only give figures.

    Attributes
    ----------
    choose, judge : tuple of int
        Indices into the cuts; every cut is in exactly one.
    matured_wins : int
        Leads won among the matured headline snapshots of the judging cuts.
    seen_wins : int
        Leads with a win seen at any follow-up, on the test leads of all cuts.
    weak : bool
        Fewer than 30 of these: too little to judge anything.
    """

    choose: tuple[int, ...]
    judge: tuple[int, ...]
    matured_wins: int
    seen_wins: int
    weak: bool


def lead_hash(ids: Iterable[str]) -> UInt64:
    """Return a number per lead id that is the same on every machine and in every run, uint64 [n].

    Examples
    --------
    >>> lead_hash(["lead-1", "東京-1"]).tolist()
    [10330584217452369148, 8569550359376427421]
    """
    digests = b"".join(blake2b(lead_id.encode(), digest_size=8).digest() for lead_id in ids)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def origins(
    created_us: Int64,
    hashes: UInt64,
    snapshots: Snapshots,
    horizon_days: float,
    until_us: int,
    *,
    shares: tuple[float, ...] = SHARES,
) -> Origins:
    """Cut by time where later leads can judge, else split leads by a hash of their id.

    A cut stands where a share of the leads, in order of creation, has been created. It is used
    when, at that moment, a snapshot had matured, ten leads were known to be won and ten were not,
    and later leads have snapshots. With fewer than two such cuts, or without a win among the later
    leads, leads are split into four folds: each is scored by a recipe that learned from the others
    all that is known at `until_us`.

    Parameters
    ----------
    created_us : int64 [n]
    hashes : uint64 [n]
        From `lead_hash`.
    snapshots : Snapshots
    horizon_days : float
    until_us : int
    shares : tuple of float
        Ascending, between 0 and 1.
    """
    nominal = _cuts(created_us[created_us <= until_us], shares)
    cuts = [_time_origin(created_us, snapshots, *pair) for pair in nominal]
    usable = tuple(cut for cut in cuts if _can_learn(cut, snapshots, horizon_days))
    seen = _won_within(snapshots, horizon_days, until_us)
    later_wins = len(np.unique(snapshots.lead[seen & _any_test(usable, len(snapshots))]))
    facts = (
        f"{len(usable)} of {len(shares)} cuts in time can be learned from, "
        f"{later_wins} of the later leads were won"
    )
    if len(usable) >= 2 and later_wins:
        return Origins("time", facts, usable)
    return Origins("hash", facts, _folds(hashes, snapshots, until_us))


def roles(found: Origins, snapshots: Snapshots, at_until: Labels, headline: Bool) -> Roles:
    """Decide which cuts judge: the fewest last ones with 30 wins; at least one is left to choose.

    Parameters
    ----------
    found : Origins
    snapshots : Snapshots
    at_until : Labels
        What is known now.
    headline : bool [r]
        One snapshot per lead, from `training.snapshots.headline`.
    """
    last = len(found.cuts) - 1
    won = at_until.seen & at_until.matured & headline
    wins = [len(np.unique(snapshots.lead[won & cut.test])) for cut in found.cuts]
    first = next((k for k in range(last, 0, -1) if sum(wins[k:]) >= WINS_TO_JUDGE), min(1, last))
    tested = at_until.seen & _any_test(found.cuts, len(snapshots))
    seen_wins = len(np.unique(snapshots.lead[tested]))
    return Roles(
        choose=tuple(range(first)),
        judge=tuple(range(first, last + 1)),
        matured_wins=sum(wins[first:]),
        seen_wins=seen_wins,
        weak=seen_wins < WINS_TO_JUDGE,
    )


def _cuts(created_us: Int64, shares: tuple[float, ...]) -> list[tuple[int, int]]:
    if not len(created_us):
        return []
    ordered = np.sort(created_us)
    # Rounded first: 0.55 * 200 is a little more than 110 to the machine.
    place = np.ceil(np.round(np.asarray(shares) * len(ordered), 6)).astype(np.int64) - 1
    cuts = [int(cut) for cut in np.unique(ordered[np.maximum(place, 0)]) if cut < ordered[-1]]
    return list(zip(cuts, [*cuts[1:], NEVER], strict=True)) if cuts else []


def _time_origin(created_us: Int64, snapshots: Snapshots, cut_us: int, next_us: int) -> Origin:
    created = created_us[snapshots.lead]
    return Origin(
        "time",
        cut_us,
        next_us,
        train=(created <= cut_us) & (snapshots.as_of_us <= cut_us),
        test=(created > cut_us) & (created <= next_us),
    )


def _can_learn(origin: Origin, snapshots: Snapshots, horizon_days: float) -> bool:
    horizon_us = round(horizon_days * DAY_US)
    matured = origin.train & (snapshots.as_of_us + horizon_us <= origin.cut_us)
    won = origin.train & _won_within(snapshots, horizon_days, origin.cut_us)
    lost = matured & ~won
    enough = min(len(np.unique(snapshots.lead[rows])) for rows in (won, lost)) >= WINS_TO_LEARN
    return enough and bool(origin.test.any())


def _won_within(snapshots: Snapshots, horizon_days: float, known_us: int) -> Bool:
    within = snapshots.win_us <= snapshots.as_of_us + round(horizon_days * DAY_US)
    return within & (snapshots.win_known_us <= known_us)


def _any_test(cuts: tuple[Origin, ...], rows: int) -> Bool:
    return np.logical_or.reduce([np.zeros(rows, np.bool_), *(cut.test for cut in cuts)])


def _folds(hashes: UInt64, snapshots: Snapshots, until_us: int) -> tuple[Origin, ...]:
    fold = (hashes % FOLDS)[snapshots.lead]
    inside = snapshots.as_of_us <= until_us
    return tuple(
        Origin("hash", until_us, NEVER, train=inside & (fold != k), test=inside & (fold == k))
        for k in range(FOLDS)
    )
