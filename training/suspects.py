"""Columns and event types that look like the outcome, with the evidence; who may pass is not here.

The bars stand in docs/decisions with what was measured on honest tables. All are lower bounds, on
other leads, so that chance alone passes none.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from scipy.stats import beta, rankdata

from features.attributes import Attribute, encode
from features.changes import Timeline
from features.faults import shown
from features.history import DAY_US
from features.matrix import records
from training.crm import Crm
from training.overview import NO_FINGERPRINT
from training.sampling import open_episodes
from training.separation import Bool, Float64, Int64, Split, levels, numbers
from training.snapshots import NEVER

ATTRIBUTE_AUC = 0.80
MISSING_AUC = 0.85
NAMED_AUC, DOUBTFUL_AUC = 0.65, 0.75
COUNTER_CORRELATION = 0.95
LEAST_TO_CORRELATE, COUNTED_TYPES = 50, 8
NOT_WON_SHARE = 0.15
"""Of those with the event at most so large a share of the usual non-winners."""
AT_CREATION_US, AT_CREATION_SHARE = 60_000_000, 0.9
EVENT_KINDS = ("event_back_dated", "event_of_winners")
COPIES_SHARE, FEWEST_COPIES = 0.01, 20
MOST_LEADS = 50_000

OUTCOME_WORDS = frozenset(
    ("won", "win", "lost", "closed", "close", "outcome", "converted", "conversion", "signed")
)
DOUBTFUL_WORDS = frozenset(
    (
        *("status", "stage", "lifecycle", "lifecyclestage", "customer", "deal", "rating", "result"),
        *("quality", "contract", "last", "latest", "modified", "updated"),
    )
)
"""They name honest columns, too, such as marital status: the bar is higher."""
JAPANESE_WORDS = ("成約", "受注", "失注")
DOUBTFUL_JAPANESE = ("契約", "商談", "ステータス", "フェーズ", "最終", "更新")


@dataclass(frozen=True)
class Suspect:
    """A column of the leads table, or an event type, that cannot be trusted.

    Attributes
    ----------
    column : str
        Its name.
    kind : str
    evidence, why, mend : str
        What was seen, what it means, what to do.
    """

    column: str
    kind: str
    evidence: str
    why: str
    mend: str


@dataclass(frozen=True)
class Evidence:
    """What is known of the leads at the export, as suspicion needs it.

    Attributes
    ----------
    crm : Crm
    attributes : tuple of Attribute
        Those that would be features.
    sales : tuple of str
        Event types that are no features.
    """

    crm: Crm
    attributes: tuple[Attribute, ...]
    sales: tuple[str, ...]

    @cached_property
    def won(self) -> Bool:
        """Which leads had a win on record."""
        won = np.zeros(len(self.crm.leads), np.bool_)
        won[self.crm.outcomes.lead[self.crm.outcomes.won]] = True
        return won

    @cached_property
    def closed_us(self) -> Int64:
        """When each lead closed first."""
        closed = np.full(len(self.crm.leads), NEVER)
        np.minimum.at(closed, self.crm.outcomes.lead, self.crm.outcomes.closed_us)
        return closed

    @cached_property
    def unseen_us(self) -> Int64:
        """Since when no snapshot sees each lead: the end of its last time open to marketing."""
        open_ = open_episodes(self.crm, self.sales)
        unseen = np.zeros(len(self.crm.leads), np.int64)
        np.maximum.at(unseen, open_.lead, open_.end_us)
        return unseen

    @cached_property
    def rows(self) -> Int64:
        """The leads in order of creation, those of one moment by a hash of their ids."""
        order = np.lexsort((self.crm.hashes, self.crm.leads.created_us))
        return order[:: max(-(-len(order) // MOST_LEADS), 1)]

    @cached_property
    def values(self) -> Float64:
        """The attributes of all leads at their creation as numbers, float64 [n, attributes]."""
        leads = self.crm.leads
        every = np.arange(len(leads))
        return records(self.attributes, leads, every, leads.created_us).astype(np.float64)


def suspects(evidence: Evidence) -> tuple[Suspect, ...]:
    """Find all suspects: at most one per column or event type, the surest kind first."""
    found = (
        *_columns(evidence),
        *_events(evidence),
        *_changes(evidence),
        *_copies(evidence),
    )
    return tuple({suspect.column: suspect for suspect in reversed(found)}.values())[::-1]


def _columns(evidence: Evidence) -> Iterator[Suspect]:
    won = Split.of(evidence.won, evidence.rows)
    closed = Split.of(evidence.closed_us < NEVER, evidence.rows)
    counters = tuple(_counters(evidence))
    for at, attribute in enumerate(evidence.attributes):
        values = evidence.values[:, at]
        found = (
            _missing(attribute.name, values, won, closed)
            or _counter(attribute, values, counters)
            or _told(attribute, values, won)
        )
        if found:
            yield found


def _missing(name: str, values: Float64, won: Split, closed: Split) -> Suspect | None:
    missing = np.isnan(values).astype(np.int64)
    for split, whom, kind in (
        (won, "were won", "missingness"),
        (closed, "were closed, won or lost,", "filled_at_close"),
    ):
        auc = split.auc(missing)
        if auc.low >= MISSING_AUC:
            filled = missing == 0
            return Suspect(
                name,
                kind,
                f"whether it is filled tells other leads that {whom} with an AUC of "
                f"{auc.value:.3f} (at least {auc.low:.3f}, bar {MISSING_AUC}); filled in "
                f"{100 * filled[split.won].mean():.0f} % of them and in "
                f"{100 * filled[~split.won].mean():.0f} % of the others",
                "it is filled in when a lead closes, so it is empty when a lead must be scored",
                _leave_out(name),
            )
    return None


def _told(attribute: Attribute, values: Float64, won: Split) -> Suspect | None:
    codes = numbers(values, won.fit) if attribute.kind == "number" else levels(values)
    auc = won.auc(codes)
    name, figure = attribute.name, f"AUC of {auc.value:.3f} (at least {auc.low:.3f}, bar "
    told = f"alone it tells the winners among other leads with an {figure}"
    word = outcome_word(name)
    bar = NAMED_AUC if word in OUTCOME_WORDS or word in JAPANESE_WORDS else DOUBTFUL_AUC
    if word and auc.low >= bar:
        return Suspect(
            name,
            "names_outcome",
            f"its name says {word!r}, and {told}{bar} for such names)",
            "it is written as the lead moves on and says what became of it",
            _leave_out(name),
        )
    if auc.low >= ATTRIBUTE_AUC:
        return Suspect(
            name,
            "too_good",
            f"{told}{ATTRIBUTE_AUC})",
            "what a record says of a new lead is never that sure: it was written after the outcome",
            _leave_out(name),
        )
    return None


def outcome_word(name: str) -> str:
    """Give the word by which a column's name tells of the outcome or of the present; or nothing.

    >>> outcome_word("lifecycleStage"), outcome_word("poutcome"), outcome_word("最終活動日")
    ('lifecycle', '', '最終')
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    parts = re.split(r"[^a-z]+", words)
    sure = [word for word in parts if word in OUTCOME_WORDS]
    sure += [word for word in JAPANESE_WORDS if word in name]
    doubtful = [word for word in parts if word in DOUBTFUL_WORDS]
    doubtful += [word for word in DOUBTFUL_JAPANESE if word in name]
    return next(iter((*sure, *doubtful)), "")


def _counters(evidence: Evidence) -> Iterator[tuple[str, Float64, Bool]]:
    """Give counters as of the export: what each counts, its values, where it grew after creation.

    A counter that still says what it said at the creation betrays nothing.
    """
    crm, history = evidence.crm, evidence.crm.leads.history
    lead = crm.lead_of_event
    late = history.occurred_us > crm.leads.created_us[lead]
    amounts = [("number of", np.ones(len(lead)))]
    if len(history.value):
        amounts.append(("sum of the values of", np.nan_to_num(history.value.astype(np.float64))))
    counts = np.bincount(history.type_code, minlength=len(history.types))
    often = np.argsort(-counts, kind="stable")[:COUNTED_TYPES]
    kinds = [("all events", np.ones(len(lead), np.bool_))]
    kinds += [(f"events {history.types[code]}", history.type_code == code) for code in often]
    for what, chosen in kinds:
        for of, amount in amounts:
            total, after = (
                np.bincount(lead[mask], amount[mask], len(crm.leads)).astype(np.float64)
                for mask in (chosen, chosen & late)
            )
            grown = after != 0
            if grown.sum() >= LEAST_TO_CORRELATE:
                yield f"{of} {what}", total, grown


def _counter(
    attribute: Attribute, values: Float64, counters: tuple[tuple[str, Float64, Bool], ...]
) -> Suspect | None:
    if attribute.kind != "number":
        return None
    for what, total, grown in counters:
        rows = np.flatnonzero(grown & ~np.isnan(values))
        rows = rows[:: max(-(-len(rows) // MOST_LEADS), 1)]
        together = _rank_correlation(values[rows], total[rows])
        if together >= COUNTER_CORRELATION:
            return Suspect(
                attribute.name,
                "as_of_now",
                f"it goes with the {what} up to the export (rank correlation {together:.3f} over "
                f"{len(rows):,} leads with such events after their creation, bar "
                f"{COUNTER_CORRELATION})",
                "it was counted at the export, so it holds what came after the moment of scoring",
                f"{_leave_out(attribute.name)}: the features count events as of each moment",
            )
    return None


def _rank_correlation(one: Float64, other: Float64) -> float:
    few = len(one) < LEAST_TO_CORRELATE
    if few or min(len(np.unique(one)), len(np.unique(other))) < 3:
        return 0.0
    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])


def _events(evidence: Evidence) -> Iterator[Suspect]:
    history = evidence.crm.leads.history
    before = history.occurred_us < evidence.closed_us[evidence.crm.lead_of_event]
    for code, name in enumerate(history.types):
        if name not in evidence.sales:
            found = _event(evidence, name, np.flatnonzero(before & (history.type_code == code)))
            if found:
                yield found


def _event(evidence: Evidence, name: str, events: Int64) -> Suspect | None:
    lead, moment = evidence.crm.lead_of_event[events], evidence.crm.leads.history.occurred_us
    whose = _of_winners(evidence, lead)
    if whose is None:
        return None
    winners = events[evidence.won[lead]]
    winner = evidence.crm.lead_of_event[winners]
    age_us = moment[winners] - evidence.crm.leads.created_us[winner]
    at_creation = float((np.abs(age_us) <= AT_CREATION_US).mean())
    days = float(np.median(evidence.closed_us[winner] - moment[winners])) / DAY_US
    back_dated = at_creation >= AT_CREATION_SHARE
    kind = EVENT_KINDS[0 if back_dated else 1]
    seen_where = f"{100 * at_creation:.0f} % at the creation, in the median {days:.1f} days before"
    return Suspect(
        name,
        kind,
        f"event type on {whose}; {seen_where} the win",
        "it is written because the lead was won, dated back to its creation"
        if back_dated
        else "it belongs to closing the deal: who has it is as good as won",
        f"leave events of type {name} out of the events table, or export when they were recorded "
        "(recorded_at)"
        if back_dated
        else f'add "{name}" to [events] sales, which ends the snapshots there',
    )


def _of_winners(evidence: Evidence, lead: Int64) -> str | None:
    """Say how many leads something is seen on, where they are almost only winners."""
    seen = np.unique(lead)
    wins, base = int(evidence.won[seen].sum()), evidence.won.mean()
    others = len(seen) - wins
    if not wins or beta.ppf(0.95, others + 1, wins) > NOT_WON_SHARE * (1 - base):
        return None
    return (
        f"{len(seen):,} leads before any close, of which {wins:,} were won "
        f"({100 * wins / len(seen):.1f} %; of all leads {100 * base:.1f} %)"
    )


def _changes(evidence: Evidence) -> Iterator[Suspect]:
    for attribute in evidence.attributes:
        timeline = evidence.crm.leads.changes.get(attribute.name)
        found = None if timeline is None else _change(evidence, attribute, timeline)
        if found:
            yield found


def _change(evidence: Evidence, attribute: Attribute, timeline: Timeline) -> Suspect | None:
    """Hold changes after the creation that a snapshot can see against the outcomes.

    What is looked at is whether there is one at all, and each value that they set: a level, a
    twentieth of the numbers, or anything else.
    """
    lead, closed = timeline.lead, evidence.closed_us
    late = timeline.changed_us > evidence.crm.leads.created_us[lead]
    moment = np.maximum(timeline.changed_us, timeline.known_us)
    rows = np.flatnonzero(late & (moment < np.minimum(closed, evidence.unseen_us)[lead]))
    if not len(rows):
        return None
    values = encode({attribute.name: timeline.values}, [attribute], len(lead))[rows, 0]
    number = attribute.kind == "number"
    codes = numbers(values, np.arange(len(rows))) if number else levels(values)
    for chosen in (rows, *(rows[codes == code] for code in np.unique(codes))):
        whose = _of_winners(evidence, lead[chosen])
        if whose is None:
            continue
        winners = chosen[evidence.won[lead[chosen]]]
        days = float(np.median(closed[lead[winners]] - moment[winners])) / DAY_US
        what = "changed" if len(chosen) == len(rows) else f"set to {_said(timeline, chosen)}"
        return Suspect(
            attribute.name,
            "change_of_winners",
            f"{what} on {whose}, in the median {days:.1f} days before the win",
            "it is written as the deal closes: whose record says so is as good as won",
            f'add "{attribute.name}" to [features] exclude, or leave changes of after the hand-off '
            "out of the table",
        )
    return None


def _said(timeline: Timeline, rows: Int64) -> str:
    """Show what a few changes say."""
    said = sorted({shown(value) for value in timeline.values.take(pa.array(rows)).to_pylist()})
    return " or ".join(repr(value) for value in said[:2]) + (" …" if len(said) > 2 else "")


def _copies(evidence: Evidence) -> Iterator[Suspect]:
    """Find leads whose events all happened at the same moments as another lead's, among all."""
    every = evidence.crm.overview
    rows = np.flatnonzero(every.fingerprints != NO_FINGERPRINT)
    first = np.unique(every.fingerprints[rows], return_index=True)[1]
    copies = len(rows) - len(first)
    if copies >= max(FEWEST_COPIES, COPIES_SHARE * len(every)):
        ids = every.lead_id
        again = np.setdiff1d(np.arange(len(rows)), first)[:3]
        examples = ", ".join(ids[int(rows[at])].as_py() for at in again)
        yield Suspect(
            "lead_id",
            "duplicates",
            f"{copies:,} leads have exactly the events of another lead, at the same moments (such "
            f"as {examples}; bar {100 * COPIES_SHARE:.0f} % of the leads)",
            "a copy among the judged leads is scored by a model that learned its twin's outcome",
            "merge the duplicates in the export: one lead_id with the union of the events",
        )


def _leave_out(name: str) -> str:
    return f'add "{name}" to [features] exclude, or export its value at created_at'
