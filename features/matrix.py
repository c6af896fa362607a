"""History, attributes and as_of into a float32 matrix: the one door to features for all callers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features import attributes, catalogue, engagement
from features.attributes import Attribute, Column
from features.changes import Timeline
from features.findings import Finding
from features.history import DAY_US, Codes, Float32, History, Int64, from_rows
from features.rules import found
from features.threads import in_threads

WINDOWS_DAYS = catalogue.WINDOWS_DAYS
MAX_TYPES = 40
MAX_CHANNELS = 15
ROWS_PER_BLOCK = 16_384
NO_CHANGES: Mapping[str, Timeline] = {}


@dataclass(frozen=True)
class Leads:
    """n leads as the features see them: their records and their history.

    Attributes
    ----------
    created_us : int64 [n]
        Microseconds since the epoch (UTC).
    columns : mapping of attribute name to a column of length n
    history : History
    segment : int64 [n]
        The segment of `history` that holds each lead's events.
    changes : mapping of attribute name to Timeline
        The attributes whose history is known, by segment; they are not in `columns`.
    """

    created_us: Int64
    columns: Mapping[str, Column]
    history: History
    segment: Int64
    changes: Mapping[str, Timeline] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of leads."""
        return len(self.created_us)

    def at(self, row: npt.NDArray[np.integer[Any]], as_of_us: Int64) -> "Leads":
        """Return leads as their records stood at moments, each as often as it stands in `row`."""
        segment = self.segment[row]
        given = {name: _taken(column, row) for name, column in self.columns.items()}
        known = {name: each.at(segment, as_of_us) for name, each in self.changes.items()}
        return Leads(self.created_us[row], given | known, self.history, segment)


@dataclass(frozen=True)
class FeatureSpec:
    """What was learned about the features; it is stored in the artifact.

    Attributes
    ----------
    types, channels : tuple of str
        Those with features of their own; others are counted in ``other``.
    sales : tuple of str
        Event types of the sales process, which are no features.
    windows_days, half_lives_days : tuple of float
    attributes : tuple of Attribute
    exclude : tuple of str
        Features left out.
    """

    types: tuple[str, ...]
    channels: tuple[str, ...]
    sales: tuple[str, ...] = catalogue.SALES_TYPES
    windows_days: tuple[float, ...] = catalogue.WINDOWS_DAYS
    half_lives_days: tuple[float, ...] = catalogue.HALF_LIVES_DAYS
    attributes: tuple[Attribute, ...] = ()
    exclude: tuple[str, ...] = ()

    @cached_property
    def features(self) -> tuple[catalogue.Feature, ...]:
        """The columns of the matrix, in order."""
        return tuple(feature for feature in self.computed if feature.name not in self.exclude)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the columns of the matrix, in order."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def kept(self) -> npt.NDArray[np.intp] | None:
        """Which computed columns the matrix keeps; None for all of them."""
        if not set(self.exclude) & {feature.name for feature in self.computed}:
            return None
        return np.flatnonzero([feature.name not in self.exclude for feature in self.computed])

    @cached_property
    def _slot_of_type(self) -> dict[str, int]:
        known = {name: slot for slot, name in enumerate(self.types)}
        return known | dict.fromkeys(self.sales, engagement.NO_SLOT)

    @cached_property
    def _slot_of_channel(self) -> dict[str, int]:
        return {name: slot for slot, name in enumerate(self.channels)}

    @cached_property
    def _engagement(self) -> tuple[catalogue.Feature, ...]:
        return catalogue.engagement(
            self.types, self.channels, self.windows_days, self.half_lives_days
        )

    @cached_property
    def computed(self) -> tuple[catalogue.Feature, ...]:
        """All columns that are computed, those that are left out again among them."""
        return (*self._engagement, *map(catalogue.of_attribute, self.attributes))

    def of_attributes(self) -> "FeatureSpec":
        """Return the spec without the features of time and engagement."""
        exclude = (*self.exclude, *(feature.name for feature in self._engagement))
        return replace(self, exclude=tuple(dict.fromkeys(exclude)))

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "FeatureSpec":
        """Rebuild a spec from `to_dict`."""
        plain = {name: tuple(value) for name, value in stored.items() if name != "attributes"}
        known = tuple(
            Attribute(a["name"], a["kind"], tuple(a["levels"])) for a in stored["attributes"]
        )
        return cls(**plain, attributes=known)


def leads_from_arrow(
    leads: pa.Table,
    history: History,
    segment: Int64 | None = None,
    changes: Mapping[str, Timeline] = NO_CHANGES,
) -> Leads:
    """Take `Leads` out of a table as the readers give it; without `segment` row i has segment i."""
    created = leads["created_at"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    without = attributes.RESERVED | changes.keys()
    columns = {name: leads[name] for name in leads.column_names if name not in without}
    segment = np.arange(len(leads)) if segment is None else segment
    return Leads(created, columns, history, segment, changes)


def learn_spec(
    leads: pa.Table,
    history: History,
    *,
    until_us: int,
    sales: Sequence[str] = catalogue.SALES_TYPES,
    exclude: Sequence[str] = (),
    sensitive: Sequence[str] = (),
    windows_days: Sequence[float] = WINDOWS_DAYS,
    told: pa.Table | None = None,
) -> tuple[FeatureSpec, tuple[Finding, ...]]:
    """Learn vocabularies and attributes from leads created and events known by `until_us`.

    Attributes with a history are learned from `told`, what they said at the moments of snapshots.
    """
    created = pc.less_equal(leads["created_at"], pa.scalar(until_us, pa.timestamp("us", "UTC")))
    told = pa.table({}) if told is None else told
    learned = [
        attributes.learn(table, exclude=exclude, sensitive=sensitive)
        for table in (leads.filter(created), told)
    ]
    known, findings = ((*one, *other) for one, other in zip(*learned, strict=True))
    seen = history.known_us <= until_us
    spec = FeatureSpec(
        types=_frequent(
            history.type_code[seen],
            history.types,
            MAX_TYPES,
            without=(*sales, *catalogue.TAKEN_TYPES),
        ),
        channels=_frequent(
            history.channel_code[seen],
            history.channels,
            MAX_CHANNELS,
            without=(catalogue.OTHER,),
        ),
        sales=tuple(sales),
        windows_days=tuple(sorted({float(days) for days in windows_days})),
        attributes=known,
        exclude=tuple(exclude),
    )
    names = {*leads.column_names, *told.column_names, *(feature.name for feature in spec.computed)}
    unknown = [found("unknown_exclude", "leads", name) for name in exclude if name not in names]
    return spec, (*findings, *unknown)


def matrix(
    spec: FeatureSpec,
    leads: Leads,
    row: npt.NDArray[np.integer[Any]],
    as_of_us: Int64,
    *,
    threads: int = 1,
) -> Float32:
    """Compute the features of leads at given moments.

    Parameters
    ----------
    spec : FeatureSpec
    leads : Leads
    row : int [r]
        Which lead each row is about; a lead may stand several times.
    as_of_us : int64 [r]
        The moment of each row.
    threads : int
        Blocks of rows are computed by so many threads.

    Returns
    -------
    float32 [r, len(spec.names)]
        NaN where missing; a count of nothing is 0.
    """
    width = len(spec._engagement)  # noqa: SLF001
    starts = range(0, len(row), ROWS_PER_BLOCK)
    threads = min(threads, max(len(starts), 1))
    out = np.empty((len(row), width + len(spec.attributes)), np.float32)
    said = _records(spec.attributes, leads, threads)
    kernel: Callable[..., None] = engagement.engagement
    fixed = _kernel_arguments(spec, leads.history)
    segment, created = leads.segment[row], leads.created_us[row]
    as_of = np.array(as_of_us, np.int64)  # a read-only array would have the kernel compiled anew

    def block(start: int) -> None:
        rows = slice(start, start + ROWS_PER_BLOCK)
        said(row[rows], as_of[rows], out[rows, width:])
        kernel(*fixed, segment[rows], created[rows], as_of[rows], out[rows])

    in_threads(block, starts, threads)
    return out if spec.kept is None else np.ascontiguousarray(out[:, spec.kept])


def records(
    known: Sequence[Attribute], leads: Leads, row: npt.NDArray[np.integer[Any]], as_of_us: Int64
) -> Float32:
    """Give what the records of leads said at moments: the attributes' part of `matrix`."""
    out = np.empty((len(row), len(known)), np.float32)
    _records(known, leads, 1)(row, as_of_us, out)
    return out


def event_counts(
    sales: Sequence[str],
    leads: Leads,
    row: npt.NDArray[np.integer[Any]],
    as_of_us: Int64,
    *,
    threads: int = 1,
) -> Float32:
    """Count the events of each row that features see: none of `sales`, none known later.

    Parameters are those of `matrix`; float32 [r].
    """
    bare = FeatureSpec((), (), sales=tuple(sales))
    counted = matrix(bare, leads, row, as_of_us, threads=threads)
    return np.ascontiguousarray(counted[:, bare.names.index("events_all")])


def unknown_types(spec: FeatureSpec, types: Iterable[str]) -> tuple[str, ...]:
    """Event types that have no feature of their own and are counted in ``other``."""
    known = {*spec.types, *spec.sales}
    return tuple(name for name in types if name not in known)


def unknown_channels(spec: FeatureSpec, channels: Iterable[str]) -> tuple[str, ...]:
    """Name the channels that have no feature of their own and are counted in ``other``."""
    return tuple(name for name in channels if name not in spec.channels)


def warm_up() -> None:
    """Compile the kernel, or load it from the cache, so that no request waits for it."""
    history = from_rows([[(us, us, "web_visit", "web", None) for us in (1, 0)]])
    zero = np.zeros(1, np.int64)
    matrix(FeatureSpec(("web_visit",), ("web",)), Leads(zero, {}, history, zero), zero, zero)


def _records(known: Sequence[Attribute], leads: Leads, threads: int) -> Callable[..., None]:
    """Encode each attribute once; gives a function that fills in those of rows and moments."""
    record = attributes.encode(leads.columns, known, len(leads), threads=threads)
    told = [(at, leads.changes[a.name], a) for at, a in enumerate(known) if a.name in leads.changes]
    codes = [
        np.append(attributes.encode({a.name: each.said}, [a], len(each.said)), np.nan)
        for _, each, a in told
    ]

    def fill(row: npt.NDArray[np.integer[Any]], as_of_us: Int64, out: Float32) -> None:
        out[:] = record[row]
        for (at, timeline, _), code in zip(told, codes, strict=True):
            out[:, at] = code[timeline.places(leads.segment[row], as_of_us)]

    return fill


def _taken(column: Column, row: npt.NDArray[np.integer[Any]]) -> Column:
    if isinstance(column, (pa.ChunkedArray, pa.Array)):
        return column.take(pa.array(row))
    return [column[k] for k in row]


def _frequent(
    codes: Codes, names: Sequence[str], most: int, *, without: Sequence[str]
) -> tuple[str, ...]:
    counts = np.bincount(codes, minlength=len(names))[: len(names)]
    ranked = sorted(
        (-int(count), name)
        for count, name in zip(counts, names, strict=True)
        if count and name not in without
    )
    return tuple(sorted(name for _, name in ranked[:most]))


def _kernel_arguments(spec: FeatureSpec, history: History) -> tuple[Any, ...]:
    return (
        history.ptr,
        history.occurred_us,
        history.known_us,
        history.type_code,
        history.channel_code,
        history.value,
        _slots(history.types, spec._slot_of_type, len(spec.types)),  # noqa: SLF001
        _slots(history.channels, spec._slot_of_channel, len(spec.channels)),  # noqa: SLF001
        *_constants(spec.windows_days, spec.half_lives_days),
    )


@lru_cache(maxsize=64)
def _constants(
    windows: tuple[float, ...], half_lives: tuple[float, ...]
) -> tuple[Int64, npt.NDArray[np.float64]]:
    return (np.array(windows) * DAY_US).astype(np.int64), np.array(half_lives)


def _slots(names: Sequence[str], slot_of: Mapping[str, int], other: int) -> engagement.Slots:
    return np.array([*(slot_of.get(name, other) for name in names), other], np.int16)
