"""One column in the one Arrow type that the contract gives it, and its rows at fault."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import timestamps
from features.arrow_types import (
    CATEGORY,
    UNKNOWN_NUMBERS,
    as_text,
    inner,
    is_attribute,
    is_number,
    is_text,
)
from features.faults import Fault, Int64, fault, rows_where
from features.moments import iso
from features.rules import LONGEST_ID, MAX_DISTINCT


@dataclass(frozen=True)
class Checked:
    """A column under the contract.

    Attributes
    ----------
    values : pa.ChunkedArray or None
        None where the column's type fits nothing it could mean.
    faults : tuple of Fault
    """

    values: pa.ChunkedArray | None
    faults: tuple[Fault, ...] = field(default=())


def ids(
    name: str, column: pa.ChunkedArray, *, required: bool, whole: bool | None = None
) -> Checked:
    """Give ids as text, null where blank: 7, 7.0 and "7" are one id, "007" is another one.

    `whole` is what `arrow_types.are_whole` says where the column is only a share of one.
    """
    texts = as_text(column, whole=whole)
    if texts is None:
        return _misfit(name, column, "text or whole numbers")
    lengths = pc.min_max(pc.binary_length(texts))
    if lengths["min"].as_py() == 0 or pc.any(pc.utf8_is_space(texts)).as_py():
        texts = _filled(texts)
    faults = []
    if required and texts.null_count:
        faults.append(fault("missing_id", name, rows_where(pc.is_null(texts)), texts))
    if (lengths["max"].as_py() or 0) > LONGEST_ID:
        rows = rows_where(pc.greater(pc.utf8_length(texts), LONGEST_ID))
        faults += [fault("long_id", name, rows, texts)] if len(rows) else []
    return Checked(texts, tuple(faults))


def coded_ids(
    name: str, column: pa.ChunkedArray, *, required: bool, whole: bool | None = None
) -> Checked:
    """Give ids as `ids` does, but leave a dictionary one where all its ids stand as they should."""
    if not pa.types.is_dictionary(column.type):
        return ids(name, column, required=required, whole=whole)
    values = [chunk.dictionary for chunk in column.chunks]
    given = pa.chunked_array(values, column.type.value_type)
    wanted = ids(name, given, required=True)
    if wanted.faults or column.null_count or not given.equals(wanted.values):
        return ids(name, column, required=required)
    return Checked(column)


def categories(
    name: str, column: pa.ChunkedArray, *, required: bool, whole: bool | None = None
) -> Checked:
    """Give text as one dictionary over all chunks; blank text is missing."""
    coded = _coded(column, whole)
    if coded is None:
        return _misfit(name, column, "text")
    values = _dictionary(coded)
    if pc.any(_blank(values)).as_py():
        coded = _filled(coded.cast(pa.string())).dictionary_encode().unify_dictionaries()
    if len(values) > MAX_DISTINCT:  # of which some may not occur
        coded = coded.cast(pa.string()).dictionary_encode().unify_dictionaries()
    distinct = len(_dictionary(coded))
    faults = []
    if distinct > MAX_DISTINCT:
        faults.append(Fault("too_many_values", name, facts={"distinct": f"{distinct:,}"}))
    if required and coded.null_count:
        faults.append(fault("missing_type", name, rows_where(pc.is_null(coded)), column))
    return Checked(coded, tuple(faults))


def times(
    name: str,
    column: pa.ChunkedArray,
    *,
    required: bool,
    timezone: str | None = None,
    now_us: int | None = None,
) -> Checked:
    """Give times in UTC; `now_us` is the clock that none may be later than."""
    found = timestamps.read_times(column, timezone)
    at_fault: list[tuple[str, Int64, dict[str, str]]] = [
        ("not_a_time", found.unreadable, {}),
        ("no_time_zone", found.zoneless, {}),
        ("time_out_of_range", found.outside, {}),
        ("clock_change", found.changed, {}),
    ]
    if required and (column.null_count or found.utc.null_count):
        at_fault.append(("missing_time", rows_where(_missing(column)), {}))
    newest_us = pc.max(found.utc).value
    if now_us is not None and newest_us is not None and newest_us > now_us:
        late = rows_where(pc.greater(found.utc, pa.scalar(now_us, timestamps.UTC_US)))
        at_fault.append(("time_after_now", late, {"now": iso(now_us)}))
    return Checked(
        found.utc,
        tuple(
            fault(rule, name, rows, column, **facts) for rule, rows, facts in at_fault if len(rows)
        ),
    )


def numbers(name: str, column: pa.ChunkedArray) -> Checked:
    """Give numbers as float64, null or NaN where missing."""
    kind = inner(column.type)
    if not (
        is_text(kind) or is_number(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)
    ):
        return _misfit(name, column, "numbers")
    plain = column.cast(kind)
    if pa.types.is_boolean(kind):
        plain = plain.cast(pa.int8())
    try:
        values = plain.cast(pa.float64(), safe=False)
    except pa.ArrowInvalid:
        values, unreadable = _numbers_one_by_one(plain)
        faults = [fault("not_a_number", name, unreadable, plain)] if len(unreadable) else []
    else:
        faults = []
    return Checked(values, (*faults, *_infinite(name, values)))


def outcomes(name: str, column: pa.ChunkedArray, *, whole: bool | None = None) -> Checked:
    """Give ``won`` or ``lost``, null where it is neither."""
    texts = as_text(column, whole=whole)
    if texts is None:
        return _misfit(name, column, "won or lost")
    plain = pc.utf8_lower(pc.utf8_trim_whitespace(texts))
    known = pc.is_in(plain, pa.array(["won", "lost"]))
    unknown = rows_where(pc.invert(known))
    values = pc.if_else(known, plain, pa.scalar(None, pa.string()))
    return Checked(
        values, (fault("unknown_outcome", name, unknown, texts),) if len(unknown) else ()
    )


def texts(name: str, column: pa.ChunkedArray, *, whole: bool | None = None) -> Checked:
    """Give values of any plain type as text, null where blank."""
    plain = as_text(column, whole=whole)
    if plain is None and is_attribute(column.type):
        plain = column.cast(inner(column.type)).cast(pa.string())
    return _misfit(name, column, "text") if plain is None else Checked(_filled(plain))


def suppressions(name: str, column: pa.ChunkedArray, *, whole: bool | None = None) -> Checked:
    """Give why leads are never flagged: text, null where blank, or lists of text as they are."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return Checked(column)
    texts = as_text(column, whole=whole)
    if texts is None:
        return _misfit(name, column, "text or a list of text")
    return Checked(_filled(texts))


def attributes(
    name: str, column: pa.ChunkedArray, *, read: Callable[[pa.ChunkedArray], pa.ChunkedArray]
) -> Checked:
    """Give an attribute as `read` reads it: text of a CSV as the type that all of it has."""
    values = read(column)
    return Checked(values, tuple(_infinite(name, values)))


def _coded(column: pa.ChunkedArray, whole: bool | None) -> pa.ChunkedArray | None:
    kind = column.type
    if pa.types.is_dictionary(kind) and is_text(kind.value_type):
        coded = column if kind == CATEGORY else column.cast(CATEGORY)
        if any(chunk.dictionary.null_count for chunk in coded.chunks):
            coded = coded.cast(pa.string()).dictionary_encode()
    else:
        texts = as_text(column, whole=whole)
        if texts is None:
            return None
        coded = texts.dictionary_encode()
    return coded.unify_dictionaries()


def _dictionary(coded: pa.ChunkedArray) -> pa.Array:
    return coded.chunk(0).dictionary if coded.num_chunks else pa.array([], pa.string())


def _filled(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Make blank text null."""
    return pc.if_else(_blank(texts), pa.scalar(None, pa.string()), texts)


def _blank(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.or_(pc.utf8_is_space(texts), pc.equal(texts, ""))


def _missing(column: pa.ChunkedArray) -> pa.ChunkedArray:
    missing = pc.is_null(column)
    kind = inner(column.type)
    return pc.or_kleene(missing, _blank(column.cast(kind))) if is_text(kind) else missing


def _numbers_one_by_one(texts: pa.ChunkedArray) -> tuple[pa.ChunkedArray, Int64]:
    parts, unreadable, start = [], [], 0
    for chunk in texts.chunks:
        values = [_number(text) for text in chunk.to_pylist()]
        unreadable += [row for row, value in enumerate(values, start) if value is None]
        parts.append(
            pa.array([math.nan if value is None else value for value in values], pa.float64())
        )
        start += len(chunk)
    return pa.chunked_array(parts, pa.float64()), np.array(unreadable, np.int64)


def _number(text: str | None) -> float | None:
    """Read a number; NaN where it is missing, None where it is none."""
    if text is None or text.strip().lower() in UNKNOWN_NUMBERS:
        return math.nan
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _infinite(name: str, values: pa.ChunkedArray) -> Iterator[Fault]:
    if not pa.types.is_floating(values.type):
        return
    plain = values.cast(pa.float32()) if pa.types.is_float16(values.type) else values
    rows = rows_where(pc.is_inf(plain))
    if len(rows):
        yield fault("not_finite", name, rows, values)


def _misfit(name: str, column: pa.ChunkedArray, expected: str) -> Checked:
    facts = {"expected": expected, "got": str(column.type)}
    return Checked(None, (Fault("wrong_type", name, facts=facts),))
