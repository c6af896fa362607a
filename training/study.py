"""What stays the same through a run: snapshots, what is known of them now, cuts; nothing fitted."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.contract import Finding
from features.history import DAY_US, Float32, Int64
from features.matrix import FeatureSpec, event_counts, learn_spec, matrix
from training.config import Config, ConfigError
from training.crm import Crm
from training.labels import DelayCurve, Labels, TooLittleHistory, delay_curve, labels
from training.origins import Origin, Origins, Roles, origins, roles
from training.overview import UInt64
from training.recipes import importance
from training.sampling import Rest, Taken, in_share, sample
from training.snapshots import Grid, Snapshots, headline, headline_age

MOST_SNAPSHOTS_TO_JUDGE = 100_000
HEADLINE_AGE_DAYS = 7.0
WEEKS_OF_ARRIVALS = 26

Bool = npt.NDArray[np.bool_]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Study:
    """The tables, the snapshots, what is known of them now, and the cuts of a run.

    Attributes
    ----------
    crm : Crm
        The leads that are taken: all, or a random share of them.
    config : Config
    grid : Grid
    snapshots : Snapshots
        Of these leads.
    rest : Rest
        The other leads, as far as they are learned from.
    at_until : Labels
        What is known of each snapshot at the end.
    headline_age : float
    headline : bool [r]
        One snapshot per lead.
    origins : Origins
    roles : Roles
    seed, threads : int
    """

    crm: Crm
    config: Config
    grid: Grid
    snapshots: Snapshots
    at_until: Labels
    headline_age: float
    headline: Bool
    origins: Origins
    roles: Roles
    seed: int
    threads: int
    rest: Rest

    @property
    def horizon_days(self) -> int:
        """The horizon."""
        return self.config.label.horizon_days

    @cached_property
    def arrivals(self) -> DelayCurve:
        """How wins arrive within the horizon, by all leads."""
        return delay_curve(self.at_until.delay_days, self.at_until.follow_up_days)

    @cached_property
    def arrivals_to_choose(self) -> DelayCurve:
        """How wins arrive within the horizon, by the leads that do not judge."""
        rows = ~np.logical_or.reduce([np.zeros(len(self.snapshots), np.bool_), *self._judging_rows])
        return delay_curve(self.at_until.delay_days[rows], self.at_until.follow_up_days[rows])

    @property
    def _judging_rows(self) -> tuple[Bool, ...]:
        return tuple(cut.test for cut in self.judging)

    @property
    def choosing(self) -> tuple[Origin, ...]:
        """The cuts that choose."""
        return tuple(self.origins.cuts[k] for k in self.roles.choose)

    @property
    def judging(self) -> tuple[Origin, ...]:
        """The cuts that judge."""
        return tuple(self.origins.cuts[k] for k in self.roles.judge)

    @cached_property
    def cluster(self) -> Int64:
        """The account of each lead, a code; without accounts, each lead is one of its own."""
        return clusters(self.crm, self.config.split.account)

    @cached_property
    def hashes(self) -> UInt64:
        """A number per lead, by its id, and the same for all leads of an account."""
        return _one_an_account(self.crm.hashes, self.cluster)

    @property
    def digest(self) -> str:
        """SHA-256 of what is learned from."""
        if self.rest.crm is None:
            return self.crm.digest
        return hashlib.sha256((self.crm.digest + self.rest.crm.digest).encode()).hexdigest()

    def spec(self, until_us: int) -> tuple[FeatureSpec, tuple[Finding, ...]]:
        """Learn the feature spec from what was known at a moment."""
        wanted, events = self.config.features, self.config.events
        spec, findings = learn_spec(
            self.crm.table,
            self.crm.leads.history,
            until_us=until_us,
            told=pa.table(self.told(np.flatnonzero(self.snapshots.as_of_us <= until_us))),
            sales=(*events.sales, *events.handoff),
            exclude=(*wanted.exclude, *filter(None, [self.config.split.account])),
            sensitive=wanted.sensitive,
            windows_days=wanted.windows_days,
        )
        return (spec.of_attributes() if self.config.split.undated else spec), findings

    def told(self, row: Int64) -> dict[str, pa.ChunkedArray]:
        """Give what attributes with a history said at some snapshots, by name."""
        lead, moment = self.snapshots.lead[row], self.snapshots.as_of_us[row]
        known = self.crm.leads.changes.items()
        return {name: timeline.at(lead, moment) for name, timeline in known}

    def days_since_creation(self, row: Int64) -> Float64:
        """Tell how old the leads of some snapshots were."""
        created_us = self.crm.leads.created_us[self.snapshots.lead[row]]
        return (self.snapshots.as_of_us[row] - created_us) / DAY_US

    def matrix(self, spec: FeatureSpec, snapshots: Snapshots, crm: Crm | None = None) -> Float32:
        """Compute the features of snapshots; `crm` has their leads, by default those taken."""
        leads = (crm or self.crm).leads
        return matrix(spec, leads, snapshots.lead, snapshots.as_of_us, threads=self.threads)

    def labels(
        self,
        snapshots: Snapshots,
        known_us: int,
        half_life_days: float | None = None,
        counts: Float64 | float = 1.0,
    ) -> Labels:
        """Label snapshots with what was known then; with a half-life, older ones weigh less.

        `counts` says for how many snapshots each stands.
        """
        return labels(
            snapshots,
            self.horizon_days,
            known_us,
            by_age=self.grid.every_days is None,
            importance=importance(snapshots.as_of_us, known_us, half_life_days) * counts,
        )

    def flaggable(self, row: Int64, score: Float64) -> Float64:
        """Give scores of snapshots as the hand-off rule sees them: -inf where it abstains.

        It does where a lead has fewer events by then than the rule asks for.
        """
        minimum = self.config.rule.min_events
        if not minimum:
            return score
        events, rows = self.config.events, self.snapshots.rows(row)
        sales = (*events.sales, *events.handoff)
        seen = event_counts(sales, self.crm.leads, rows.lead, rows.as_of_us, threads=self.threads)
        return np.where(seen < minimum, -np.inf, score)

    def had_time(self, row: Int64) -> Bool:
        """Tell which snapshots are of leads that could have stood at every age by now."""
        longest = max(self.grid.ages_days, default=0.0) * DAY_US
        created = self.crm.leads.created_us[self.snapshots.lead[row]]
        return created + longest <= self.crm.until_us

    def arrivals_per_week(self) -> Int64:
        """Count the leads created in each of the last whole weeks, those left out among them."""
        ago = (self.crm.until_us - self.crm.overview.created_us) // (7 * DAY_US)
        weeks = int(min(WEEKS_OF_ARRIVALS, max(ago.max(), 1)))
        return np.bincount(ago[(ago >= 0) & (ago < weeks)], minlength=weeks)

    def everything(self) -> Origin:
        """Return the cut at the end: all snapshots to learn from, none to judge."""
        rows = np.ones(len(self.snapshots), np.bool_)
        return Origin("all", self.crm.until_us, self.crm.until_us, train=rows, test=~rows)


def prepare(
    crm: Crm, config: Config, *, seed: int = 0, threads: int = 1, memory: int | None = None
) -> Study:
    """Take the snapshots, or as many as fit into so many bytes, label them, and set the cuts."""
    return study_of(sample(crm, config, memory), config, seed=seed, threads=threads)


def study_of(taken: Taken, config: Config, *, seed: int = 0, threads: int = 1) -> Study:
    """Label the snapshots that were taken, and set the cuts.

    Raises
    ------
    TooLittleHistory
        Nothing can be labelled, or all that can be is of one kind.
    """
    crm, where, snapshots, rest = taken.crm, taken.grid, taken.snapshots, taken.rest
    horizon = config.label.horizon_days
    at_until = labels(snapshots, horizon, crm.until_us, by_age=where.every_days is None)
    learned = at_until.won[at_until.weight > 0]
    if len(np.unique(learned)) < 2:
        raise TooLittleHistory(_one_kind(crm, horizon, won=bool(learned.any())))
    share = rest.share * min(MOST_SNAPSHOTS_TO_JUDGE / max(len(snapshots), 1), 1.0)
    judged = in_share(crm.hashes, share)[snapshots.lead]
    hashes = _one_an_account(crm.hashes, clusters(crm, config.split.account))
    found = origins(crm.leads.created_us, hashes, snapshots, horizon, crm.until_us)
    cuts = tuple(
        replace(cut, train=cut.train & judged, test=cut.test & judged) for cut in found.cuts
    )
    found = replace(
        found, cuts=tuple(cut for cut in cuts if _fittable(snapshots, cut, horizon, where))
    )
    age = headline_age(snapshots, HEADLINE_AGE_DAYS)
    first = headline(snapshots, age)
    part = (
        roles(found, snapshots, at_until, first) if found.cuts else Roles((), (), 0, 0, weak=True)
    )
    return Study(
        crm, config, where, snapshots, at_until, age, first, found, part, seed, threads, rest
    )


def clusters(crm: Crm, account: str | None) -> Int64:
    """Give each lead the code of its account; a lead without one is an account of its own.

    Raises
    ------
    ConfigError
        The leads table has no such column, or there is only one account: intervals over one account
        cannot be given.
    """
    if account is None:
        return np.arange(len(crm.leads))
    records = crm.records_at(crm.until_us)
    if account not in records.column_names:
        known = ", ".join(records.column_names)
        raise ConfigError(
            f"split.account: the leads table has no column {account}, it has {known}; name one"
        )
    column = records[account]
    coded = column.cast(pa.string()).combine_chunks().dictionary_encode().indices
    known = pc.fill_null(coded.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    codes = np.where(known < 0, len(known) + np.arange(len(known)), known)
    if len(np.unique(codes)) < 2:
        raise ConfigError(
            f"split.account: all leads have one value of {account}, {column[0].as_py()!r}: "
            "intervals over one account cannot be given; name another column, or drop the key"
        )
    return codes


def learning_table(crm: Crm, config: Config) -> pa.Table:
    """Give the snapshots with features, label, weight and follow-up, for work outside."""
    study = prepare(crm, config)
    spec, _ = study.spec(crm.until_us)
    rows, known = study.snapshots, study.at_until
    X = study.matrix(spec, rows)
    table = pa.table(
        {
            "lead_id": crm.table["lead_id"].take(pa.array(rows.lead)),
            "as_of": pa.array(rows.as_of_us).cast(pa.timestamp("us", "UTC")),
            "age_days": rows.age_days,
            "known": known.known,
            "won": pa.array(known.won, mask=~known.known),
            "weight": known.weight,
            "follow_up_days": known.follow_up_days,
        }
    )
    for at, name in enumerate(spec.names):
        table = table.append_column(name, pa.array(X[:, at], from_pandas=True))
    return table


def _fittable(snapshots: Snapshots, cut: Origin, horizon_days: int, where: Grid) -> bool:
    """Whether a cut has rows of both kinds to learn from, and any to score."""
    if not cut.test.any():
        return False
    try:
        learned = labels(
            snapshots.rows(cut.train), horizon_days, cut.cut_us, by_age=where.every_days is None
        )
    except TooLittleHistory:
        return False
    return len(np.unique(learned.won[learned.weight > 0])) == 2


def _one_an_account(hashes: UInt64, cluster: Int64) -> UInt64:
    return hashes[np.unique(cluster, return_index=True)[1]][cluster]


def _one_kind(crm: Crm, horizon_days: int, *, won: bool) -> str:
    leads = f"of the {len(crm.overview)} leads that were open at any age"
    if won:
        return (
            f"{leads} every one that can be labelled is won: there is nothing to tell winners "
            "from; export the leads that were lost or never closed, too"
        )
    return (
        f"{leads} none is won within {horizon_days} days: there is nothing to learn; check the "
        "outcomes, or choose a longer horizon (horizon_days)"
    )
