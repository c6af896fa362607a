"""How the history of an attribute is read, as far as only the whole of it tells.

What a share cannot tell is which attributes have a history, what all of their text means, and
whether the leads table says what held before the first change; their clues add up.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.arrow_types import Meanings, read_as
from features.attributes import RESERVED
from features.columns import texts
from features.timestamps import micros

if TYPE_CHECKING:
    from features.changes import Timeline

SAME_AS_TODAY = 0.5
"""Of leads with a history: a leads table that agrees with their last change less often is older."""
POINT_ZERO = r"^(-?\d+)\.0+$"


@dataclass(frozen=True)
class Reading:
    """How one history is read.

    Attributes
    ----------
    first : bool
        The leads table says what held before the first change.
    meaning : int or None
        What the text means, as `Meanings.found` says.
    """

    first: bool
    meaning: int | None

    def typed(self, said: pa.ChunkedArray) -> pa.ChunkedArray:
        """Give text its type."""
        return read_as(self.meaning, said)


@dataclass(frozen=True)
class Clues:
    """What some leads tell of an attribute's history; clues of other leads can be added.

    Attributes
    ----------
    changes : int
        How many there are.
    leads, late, same : int
        Leads with a change, where the leads table has the attribute: all of them, those whose first
        change comes after their creation, those whose last value is what the leads table says.
    values, said : Meanings
        Of the changes and of the leads table.
    """

    changes: int = 0
    leads: int = 0
    late: int = 0
    same: int = 0
    values: Meanings = field(default_factory=Meanings)
    said: Meanings = field(default_factory=Meanings)

    def __add__(self, other: "Clues") -> "Clues":
        """Add what other leads tell."""
        return Clues(
            self.changes + other.changes,
            self.leads + other.leads,
            self.late + other.late,
            self.same + other.same,
            self.values.merged(other.values),
            self.said.merged(other.said),
        )

    @property
    def reading(self) -> Reading:
        """How the history is read if these are the clues of all leads."""
        first = self.leads > 0 and (not self.late or self.same / self.leads < SAME_AS_TODAY)
        return Reading(first, (self.values.merged(self.said) if first else self.values).found)

    def to_list(self) -> list[Any]:
        """Return the clues as JSON can hold them."""
        every = (getattr(self, each.name) for each in fields(self))
        return [each.to_list() if isinstance(each, Meanings) else each for each in every]

    @classmethod
    def from_list(cls, stored: list[Any]) -> "Clues":
        """Rebuild them from JSON."""
        return cls(*stored[:4], *map(Meanings.from_list, stored[4:]))


def clues(
    histories: Mapping[str, "Timeline"], leads: pa.Table, names: Iterable[str]
) -> dict[str, Clues]:
    """Give what leads tell of attributes; `histories` are of text, and of some of the names."""
    return {name: _clues(histories.get(name), said_first(name, leads), leads) for name in names}


def readings(every: Iterable[Mapping[str, Clues]]) -> dict[str, Reading]:
    """Say of each attribute with a history how it is read, by the clues of all leads."""
    total: dict[str, Clues] = {}
    for each in every:
        total |= {name: total.get(name, Clues()) + found for name, found in each.items()}
    return {name: total[name].reading for name in sorted(total) if total[name].changes}


def said_first(name: str, leads: pa.Table) -> pa.ChunkedArray | None:
    """Give as text what the leads table says of an attribute, None where that cannot be first."""
    if name in RESERVED or not {name, "created_at"} <= {*leads.column_names}:
        return None
    return texts(name, leads[name], whole=False).values


def _clues(timeline: "Timeline | None", said: pa.ChunkedArray | None, leads: pa.Table) -> Clues:
    values, says = Meanings(), Meanings()
    if said is not None:
        says.see(said)
    if timeline is None:
        return Clues(said=says)
    values.see(timeline.values)
    number = len(timeline.lead)
    if said is None:
        return Clues(number, values=values)
    lead, start = np.unique(timeline.lead, return_index=True)
    late = timeline.changed_us[start] > micros(leads["created_at"])[lead]
    last = np.append(start[1:], number) - 1
    today = timeline.values.take(pa.array(last))
    same = pc.equal(_plain(today), _plain(said.take(pa.array(lead))))
    return Clues(number, len(lead), int(late.sum()), int(pc.sum(same).as_py() or 0), values, says)


def _plain(said: pa.ChunkedArray) -> pa.ChunkedArray:
    """Write whole numbers alike, and what is missing as nothing."""
    return pc.fill_null(pc.replace_substring_regex(said, POINT_ZERO, r"\1"), "")
