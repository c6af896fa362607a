"""Warnings about a lead in a request: what the model does not know, and what was ignored or odd."""

import math
from collections.abc import Iterator, Set
from dataclasses import dataclass

from features.history import History
from serving.http.schemas import LeadIn
from serving.served_model import ServedModel

LONGEST_NAME = 60
MOST_NAMES = 20
"""Names that one lead's warnings of one kind list."""


@dataclass(frozen=True)
class Strange:
    """Event types and channels of a request that the model does not know; mostly there are none."""

    types: frozenset[str]
    channels: frozenset[str]

    @classmethod
    def of(cls, model: ServedModel, history: History) -> "Strange":
        """Compare the vocabulary of a request with the model's."""
        if model.types.issuperset(history.types) and model.channels.issuperset(history.channels):
            return NOTHING_STRANGE
        types, channels = frozenset(history.types), frozenset(history.channels)
        return cls(types - model.types, channels - model.channels)


NOTHING_STRANGE = Strange(frozenset(), frozenset())


def remarks(
    model: ServedModel, lead: LeadIn, strange: Strange, as_of_us: int
) -> list[dict[str, str]]:
    """Return a lead's warnings as `schemas.WarningOut` has them."""
    found = list(_about_attributes(model, lead)) if lead.attributes else []
    if lead.events:
        if strange is not NOTHING_STRANGE:
            found += _about_names(lead, strange)
        found += _about_times(lead, as_of_us)
    return found


def _about_attributes(model: ServedModel, lead: LeadIn) -> Iterator[dict[str, str]]:
    if not lead.attributes.keys() <= model.attributes.keys():
        strangers = lead.attributes.keys() - model.attributes.keys()
        yield from unknown("attribute", strangers, "ignored")
    for name, value in lead.attributes.items():
        attribute = model.attributes.get(name)
        if attribute is None or attribute.kind == "category" or not isinstance(value, str):
            continue
        if math.isnan(attribute.code(value)):
            detail = f"{_short(name)} must be a {attribute.kind}: taken as missing"
            yield {"code": "attribute_kind", "detail": detail}


def _about_names(lead: LeadIn, strange: Strange) -> Iterator[dict[str, str]]:
    types = {event.event_type for event in lead.events} & strange.types
    yield from unknown("event_type", types, "counted as other activity")
    channels = {event.channel for event in lead.events if event.channel in strange.channels}
    yield from unknown("channel", channels, "counted as another channel")


def _about_times(lead: LeadIn, as_of_us: int) -> Iterator[dict[str, str]]:
    times = [event.occurred_at for event in lead.events]
    if max(times) > as_of_us:
        late = sum(time > as_of_us for time in times)
        yield {"code": "events_after_as_of", "detail": f"{late} after as_of: ignored"}
    if min(times) < lead.created_at:
        early = sum(time < lead.created_at for time in times)
        yield {"code": "events_before_created_at", "detail": f"{early} before created_at: kept"}


def unknown(what: str, names: Set[str], taken: str) -> Iterator[dict[str, str]]:
    """Give a warning for each name that the model does not know, up to a number."""
    for name in sorted(names)[:MOST_NAMES]:
        detail = f"{_short(name)} is not known to the model: {taken}"
        yield {"code": f"unknown_{what}", "detail": detail}
    if len(names) > MOST_NAMES:
        detail = f"{len(names) - MOST_NAMES} more are not known to the model: {taken}"
        yield {"code": f"unknown_{what}", "detail": detail}


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
