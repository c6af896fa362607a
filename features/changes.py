"""What attributes of leads said, and since when; which of them are features stands elsewhere."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.attributes import RESERVED
from features.faults import NO_ROWS, Fault, Int64, fault
from features.history import frozen
from features.readings import Reading, clues, readings, said_first
from features.relations import NO_LEAD, Int32, rows_of
from features.timestamps import NOT_A_TIME, micros

NEVER_KNOWN = -1


@dataclass(frozen=True)
class Timeline:
    """The values of one attribute, sorted by lead and the moment since when they hold.

    Of values of one lead and moment, the row that stood last in the table comes last, and counts.

    Attributes
    ----------
    lead : int32 [m]
        The row of the leads table.
    changed_us, known_us : int64 [m]
        Since when the value holds and when that became known, microseconds since the epoch (UTC).
    values : pa.ChunkedArray [m]
        Null where the attribute was emptied.
    source_row : int64 [m]
        The row of the table of changes.
    before : pa.ChunkedArray [leads] or None
        What the leads table says, where that holds until a lead's first change; None where it may
        be of today.
    """

    lead: Int32
    changed_us: Int64
    known_us: Int64
    values: pa.ChunkedArray
    source_row: Int64
    before: pa.ChunkedArray | None = None

    @property
    def said(self) -> pa.ChunkedArray:
        """All that was ever said: `values`, then `before`."""
        if self.before is None:
            return self.values
        return pa.chunked_array([*self.values.chunks, *self.before.chunks], self.values.type)

    def places(self, lead: npt.NDArray[np.integer[Any]], as_of_us: Int64) -> Int64:
        """Give the place in `said` of what was known of leads at moments; see `last`."""
        place = self.last(lead, as_of_us)
        if self.before is None:
            return place
        return np.where(place == NEVER_KNOWN, len(self.values) + np.asarray(lead), place)

    def last(self, lead: npt.NDArray[np.integer[Any]], as_of_us: Int64) -> Int64:
        """Give the last change at or before a moment that was known then.

        Parameters
        ----------
        lead : int [r]
            Rows of the leads table.
        as_of_us : int64 [r]

        Returns
        -------
        int64 [r]
            Places in `values`, ``NEVER_KNOWN`` where nothing was known.
        """
        wanted = (np.asarray(lead, np.int64), np.asarray(as_of_us, np.int64))
        kernel: Callable[..., Int64] = _last
        return kernel(*frozen((self.lead, self.changed_us, self.known_us, *wanted)))

    def at(self, lead: npt.NDArray[np.integer[Any]], as_of_us: Int64) -> pa.ChunkedArray:
        """Give what was known of leads at moments; null where nothing was."""
        place = self.places(lead, as_of_us)
        return self.said.take(pa.array(place, mask=place == NEVER_KNOWN))

    def rows(self, kept: npt.NDArray[np.bool_]) -> "Timeline":
        """Return the changes of a mask, whose lead is `lead` there."""
        return Timeline(
            self.lead[kept],
            self.changed_us[kept],
            self.known_us[kept],
            self.values.filter(pa.array(kept)),
            self.source_row[kept],
            self.before,
        )

    def of_leads(self, row: npt.NDArray[np.integer[Any]], until_us: int) -> "Timeline":
        """Return what was known of some leads at a moment.

        Parameters
        ----------
        row : int [n]
            The new row of each lead, ascending; ``NO_LEAD`` where it goes. One more at the end.
        until_us : int
        """
        lead = row[self.lead].astype(np.int32)
        late = np.maximum(self.changed_us, self.known_us) > until_us
        before = self.before and self.before.filter(pa.array(row[:-1] != NO_LEAD))
        return replace(self, lead=lead, before=before).rows((lead != NO_LEAD) & ~late)

    @classmethod
    def joined(cls, parts: Sequence["Timeline"], rows: Sequence[Int64]) -> "Timeline":
        """Put the histories of an attribute together that were read of some leads each.

        Parameters
        ----------
        parts : sequence of Timeline
            Read in the same way; their `source_row` stays.
        rows : sequence of int64
            For each part the new row of each of its leads.
        """
        own = [row[part.lead] for part, row in zip(parts, rows, strict=True)]
        lead = np.concatenate(own).astype(np.int32)
        order = np.argsort(lead, kind="stable")
        before = [part.before for part in parts if part.before is not None]
        return cls(
            lead[order],
            np.concatenate([part.changed_us for part in parts])[order],
            np.concatenate([part.known_us for part in parts])[order],
            _taken([part.values for part in parts], order),
            np.concatenate([part.source_row for part in parts])[order],
            _taken(before, np.argsort(np.concatenate(rows))) if before else None,
        )

    @property
    def conflicting(self) -> Int64:
        """Rows of the table of changes that are overruled by another value of the same moment."""
        same = (np.diff(self.lead) == 0) & (np.diff(self.changed_us) == 0)
        at = np.flatnonzero(same)
        one, other = (self.values.take(pa.array(at + k)).combine_chunks() for k in (0, 1))
        differ = pc.or_(
            pc.fill_null(pc.not_equal(one, other), False),
            pc.not_equal(pc.is_null(one), pc.is_null(other)),
        )
        return self.source_row[at[differ.to_numpy(zero_copy_only=False)]]


COLUMNS = {"lead_id", "changed_at", "attribute", "value"}
NO_HISTORY = Timeline(
    np.empty(0, np.int32), NO_ROWS, NO_ROWS, pa.chunked_array([], pa.string()), NO_ROWS
)


def timelines(
    changes: pa.Table,
    lead: Int32,
    names: Mapping[str, str],
    leads: pa.Table,
    known: Mapping[str, Reading] | None = None,
) -> dict[str, Timeline]:
    """Sort a table of changes by attribute, lead and moment.

    What the leads table says of an attribute holds until a lead's first change where that cannot be
    what the lead turned into: where all histories begin with their lead, so that a lead without one
    has kept its value, or where most leads with a history say otherwise than their last change.
    Else nothing is known before the first change, of leads that never changed neither: told apart,
    they would give away who is to change.

    Parameters
    ----------
    changes : pa.Table
        Under the contract; a row without an attribute or a moment is left out.
    lead : int32 [rows of changes]
        The row of the leads table; changes at ``NO_LEAD`` are left out.
    names : mapping of their name of an attribute to ours
    leads : pa.Table
        Under the contract.
    known : mapping of our name to Reading, optional
        How all histories are read, where these are some leads only.

    Returns
    -------
    dict of our name to Timeline, in alphabetical order
    """
    if COLUMNS - {*changes.column_names}:
        return {}
    found = histories(changes, lead, names)
    if known is None:
        known = readings([clues(found, leads, found)])
    return {name: _read(name, found.get(name, NO_HISTORY), leads, known[name]) for name in known}


def histories(changes: pa.Table, lead: Int32, names: Mapping[str, str]) -> dict[str, Timeline]:
    """Sort a table of changes as `timelines` does, with all values as text."""
    if COLUMNS - {*changes.column_names}:
        return {}
    attribute, ours = _attributes(changes["attribute"], names)
    changed = micros(changes["changed_at"])
    rows = np.flatnonzero((lead != NO_LEAD) & (attribute >= 0) & (changed != NOT_A_TIME))
    rows = rows[np.lexsort((changed[rows], lead[rows], attribute[rows]))]
    known = changed
    if "recorded_at" in changes.column_names:
        known = np.maximum(changed, micros(changes["recorded_at"]))
    bounds = np.searchsorted(attribute[rows], np.arange(len(ours) + 1))
    return dict(_cut(ours, bounds, rows, changes["value"], lead, changed, known))


def odd_histories(
    known: Mapping[str, Timeline], changes: pa.Table, leads: pa.Table
) -> Iterator[Fault]:
    """Find changes that tell of no attribute, contradict another, or begin after their lead."""
    reserved = (known[name].source_row for name in RESERVED & known.keys())
    rows = np.sort(np.concatenate([NO_ROWS, *reserved]))
    if len(rows):
        yield fault("reserved_attribute", "attribute", rows, changes["attribute"])
    timelines = {name: known[name] for name in known if name not in RESERVED}
    rows = np.sort(np.concatenate([NO_ROWS, *(each.conflicting for each in timelines.values())]))
    if len(rows):
        yield fault("conflicting_change", "value", rows, changes["value"])
    if {"lead_id", "created_at"} <= {*leads.column_names}:
        created_us, own = micros(leads["created_at"]), rows_of(leads["lead_id"], leads["lead_id"])
        once = own == np.arange(len(own))
        for name in sorted(timelines.keys() & set(leads.column_names)):
            begun = timelines[name].places(own, created_us) != NEVER_KNOWN
            late = np.count_nonzero(once & ~begun & pc.is_valid(leads[name]).to_numpy())
            if late:
                yield Fault("late_history", name, count=int(late))


def _taken(parts: Sequence[pa.ChunkedArray], order: Int64) -> pa.ChunkedArray:
    chunks = [chunk for part in parts for chunk in part.chunks]
    return pa.chunked_array(chunks, parts[0].type).take(pa.array(order))


def _cut(  # noqa: PLR0917
    names: list[str],
    bounds: Int64,
    rows: Int64,
    values: pa.ChunkedArray,
    lead: Int32,
    changed_us: Int64,
    known_us: Int64,
) -> Iterator[tuple[str, Timeline]]:
    for name, start, end in zip(names, bounds[:-1], bounds[1:], strict=True):
        at = rows[start:end]
        if len(at):
            own = values.take(pa.array(at))
            yield name, Timeline(lead[at], changed_us[at], known_us[at], own, at)


def _read(name: str, history: Timeline, leads: pa.Table, reading: Reading) -> Timeline:
    """Give a history of texts its type, and what the leads table says where that came first."""
    said = said_first(name, leads) if reading.first else None
    before = None if said is None else reading.typed(said)
    return replace(history, values=reading.typed(history.values), before=before)


def _attributes(column: pa.ChunkedArray, names: Mapping[str, str]) -> tuple[Int64, list[str]]:
    """Give each row's attribute as a place in the list of our names, -1 where it has none."""
    coded = column.dictionary_encode().unify_dictionaries().combine_chunks()
    theirs = coded.dictionary.to_pylist() if len(coded) else []
    ours = [name if name is None else names.get(name, name) for name in theirs]
    order = sorted({name for name in ours if name is not None})
    places = np.array([*(order.index(n) if n is not None else -1 for n in ours), -1], np.int64)
    index = pc.fill_null(coded.indices.cast(pa.int64()), len(theirs)).to_numpy()
    return places[index], order


@nb.njit(cache=True, nogil=True)
def _last(lead: Int32, changed_us: Int64, known_us: Int64, wanted: Int64, as_of_us: Int64) -> Int64:
    found = np.full(wanted.shape[0], NEVER_KNOWN, np.int64)
    for i in range(wanted.shape[0]):
        low, high = 0, lead.shape[0]
        while low < high:  # the first change that comes after the lead's moment
            middle = (low + high) // 2
            before = lead[middle] < wanted[i]
            if before or (lead[middle] == wanted[i] and changed_us[middle] <= as_of_us[i]):
                low = middle + 1
            else:
                high = middle
        at = low - 1
        while at >= 0 and lead[at] == wanted[i] and known_us[at] > as_of_us[i]:
            at -= 1
        if at >= 0 and lead[at] == wanted[i]:
            found[i] = at
    return found
