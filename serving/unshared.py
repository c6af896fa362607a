"""What a model knows and tables lack, and what they hold that it does not know, as findings."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from features import profile
from features.arrow_types import is_text
from features.attributes import encode
from features.contract import CHANGES, LEADS
from features.faults import shown
from features.findings import EXAMPLES, Example, Finding
from features.history import DAY_US, History
from features.matrix import Leads, unknown_types
from features.profile import Look
from serving.backlog_rows import Backlog
from training.scorer import LeadScorer

MOST_NAMES = 20


def of_records(scorer: LeadScorer, backlog: Backlog) -> tuple[Finding, ...]:
    """Say which attributes are missing, or of another kind."""
    return (*_missing_attributes(scorer, backlog.leads), *_other_kinds(scorer, backlog))


def looks(scorer: LeadScorer, backlog: Backlog) -> tuple[Look, ...]:
    """Say how attributes look; a lead that stands repeatedly decides once."""
    leads = backlog.leads
    return profile.looks(
        scorer.profiles,
        scorer.spec.attributes,
        leads.columns,
        np.arange(len(leads)),
        sample=np.unique(leads.segment, return_index=True)[1],
        age_days=(backlog.as_of_us - leads.created_us) / DAY_US,
    )


def moved_since(scorer: LeadScorer, every: Iterable[Look]) -> Iterator[Finding]:
    """Find attributes that look otherwise than on the leads the model learned from."""
    return profile.far_off(scorer.profiles, every, who="scored")


def counts(history: History) -> dict[str, int]:
    """Count the events of each type."""
    counted = np.bincount(history.type_code, minlength=len(history.types)).tolist()
    return dict(zip(history.types, counted, strict=True))


def of_events(scorer: LeadScorer, count_of: Mapping[str, int]) -> Iterator[Finding]:
    """Say which types of events the model does not know, and how many there are."""
    unknown = sorted(unknown_types(scorer.spec, count_of), key=lambda name: -count_of[name])
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


def _other_kinds(scorer: LeadScorer, backlog: Backlog) -> Iterator[Finding]:
    """Find text where the model knows a number or yes/no, as far as it cannot be read as one."""
    for attribute in scorer.spec.attributes:
        column = backlog.leads.columns.get(attribute.name)
        if attribute.kind == "category" or not isinstance(column, pa.ChunkedArray):
            continue
        if not is_text(column.type):
            continue
        lost = np.isnan(encode({attribute.name: column}, [attribute], len(column))[:, 0])
        texts = column.filter(pa.array(lost)).drop_null()
        if len(texts):
            first = sorted({shown(text) for text in texts.unique().to_pylist()})[:EXAMPLES]
            yield Finding(
                CHANGES.name if attribute.name in backlog.changed else LEADS.name,
                attribute.name,
                "other_kind",
                "warning",
                len(texts),
                tuple(Example("", text) for text in first),
                f"The model knows a {attribute.kind} here: taken as missing. Write it as one.",
            )


def _events(number: int) -> str:
    return f"{number:,} event{'s' * (number != 1)}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MOST_NAMES])
    return shown if len(names) <= MOST_NAMES else f"{shown} and {len(names) - MOST_NAMES} more"
