"""What a model knows and tables lack, and what they hold that it does not know, as findings."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from features.arrow_types import is_text
from features.attributes import encode
from features.faults import shown
from features.findings import EXAMPLES, Example, Finding
from features.history import DAY_US, History, Int64
from features.matrix import Leads, unknown_types
from features.profile import moved, spread
from training.scorer import LeadScorer

MOST_NAMES = 20


def of_records(scorer: LeadScorer, leads: Leads, as_of_us: Int64) -> tuple[Finding, ...]:
    """Say which attributes are missing, of another kind, or look otherwise than they used to."""
    return (
        *_missing_attributes(scorer, leads),
        *_other_kinds(scorer, leads),
        *_moved(scorer, leads, as_of_us),
    )


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


def _moved(scorer: LeadScorer, leads: Leads, as_of_us: Int64) -> Iterator[Finding]:
    """Find attributes that look otherwise than on the leads the model learned from."""
    rows = np.arange(len(leads))
    few = spread(rows)
    once = few[np.unique(leads.segment[few], return_index=True)[1]]  # a lead may stand repeatedly
    known = scorer.spec.attributes
    return moved(
        scorer.profiles,
        known,
        leads.columns,
        rows,
        who="scored",
        sample=once,
        age_days=(as_of_us - leads.created_us) / DAY_US,
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


def _other_kinds(scorer: LeadScorer, leads: Leads) -> Iterator[Finding]:
    """Find text where the model knows a number or yes/no, as far as it cannot be read as one."""
    for attribute in scorer.spec.attributes:
        column = leads.columns.get(attribute.name)
        if attribute.kind == "category" or not isinstance(column, pa.ChunkedArray):
            continue
        if not is_text(column.type):
            continue
        lost = np.isnan(encode({attribute.name: column}, [attribute], len(column))[:, 0])
        texts = column.filter(pa.array(lost)).drop_null()
        if len(texts):
            yield Finding(
                "leads",
                attribute.name,
                "other_kind",
                "warning",
                len(texts),
                tuple(Example("", shown(text)) for text in texts[:EXAMPLES].to_pylist()),
                f"The model knows a {attribute.kind} here: taken as missing. Write it as one.",
            )


def _events(number: int) -> str:
    return f"{number:,} event{'s' * (number != 1)}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MOST_NAMES])
    return shown if len(names) <= MOST_NAMES else f"{shown} and {len(names) - MOST_NAMES} more"
