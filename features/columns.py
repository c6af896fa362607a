"""One column in the one Arrow type that the contract gives it, and its rows at fault."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import timestamps
from features.faults import Fault, fault, rows_where
from features.history import Int64
from features.moments import iso
from features.rules import LONGEST_ID, MAX_DISTINCT

CATEGORY = pa.dictionary(pa.int32(), pa.string())
WHOLE = re.compile(r"-?\d+\.0+")
LEADING_ZERO = r"^-?0\d"
ATTRIBUTES = (pa.int64(), pa.float64(), pa.bool_(), timestamps.UTC_US, timestamps.LOCAL_US)
"""The types tried for an attribute of a CSV, in this order."""
UNKNOWN_NUMBERS = frozenset({"", "nan", "na", "n/a", "null", "none", "-", "#n/a"})


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


def ids(name: str, column: pa.ChunkedArray, *, required: bool) -> Checked:
    """Give ids as text, null where blank: 7, 7.0 and "7" are one id, "007" is another one."""
    texts = as_text(column)
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


def categories(name: str, column: pa.ChunkedArray, *, required: bool) -> Checked:
    """Give text as one dictionary over all chunks; blank text is missing."""
    coded = _coded(column)
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
    kind = _inner(column.type)
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


def outcomes(name: str, column: pa.ChunkedArray) -> Checked:
    """Give ``won`` or ``lost``, null where it is neither."""
    texts = as_text(column)
    if texts is None:
        return _misfit(name, column, "won or lost")
    plain = pc.utf8_lower(pc.utf8_trim_whitespace(texts))
    known = pc.is_in(plain, pa.array(["won", "lost"]))
    unknown = rows_where(pc.invert(known))
    values = pc.if_else(known, plain, pa.scalar(None, pa.string()))
    return Checked(
        values, (fault("unknown_outcome", name, unknown, texts),) if len(unknown) else ()
    )


def suppressions(name: str, column: pa.ChunkedArray) -> Checked:
    """Give why leads are never flagged: text, null where blank, or lists of text as they are."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return Checked(column)
    texts = as_text(column)
    if texts is None:
        return _misfit(name, column, "text or a list of text")
    return Checked(_filled(texts))


def attributes(name: str, column: pa.ChunkedArray, *, untyped: bool) -> Checked:
    """Give an attribute as it came; `untyped` text (of a CSV) as the type that all of it has."""
    values = _typed(column) if untyped else column
    return Checked(values, tuple(_infinite(name, values)))


def is_attribute(kind: pa.DataType) -> bool:
    """Say whether an attribute may have a type; lists, structures and bytes are left out.

    >>> is_attribute(pa.int64()), is_attribute(pa.list_(pa.int64()))
    (True, False)
    """
    kind = _inner(kind)
    plain = pa.types.is_temporal(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)
    return bool(plain or is_number(kind) or is_text(kind))


def is_number(kind: pa.DataType) -> bool:
    """Say whether a type is one of numbers."""
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def is_text(kind: pa.DataType) -> bool:
    """Say whether a type is one of text, or a dictionary of it."""
    kind = _inner(kind)
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Give a column as text, whole numbers without a point; None if it is no text and no number.

    >>> as_text(pa.chunked_array([[1.0, None]])).to_pylist()
    ['1', None]
    """
    kind = _inner(column.type)
    if is_text(kind):
        return _without_points(column.cast(pa.string()))
    if pa.types.is_null(kind):
        return column.cast(pa.string())
    if not is_number(kind):
        return None
    try:
        return column.cast(kind).cast(pa.int64()).cast(pa.string())
    except pa.ArrowInvalid:
        return column.cast(kind).cast(pa.string())


def _without_points(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Take ``.0`` off numbers that were floats when the CSV was written: all of them, or none."""
    first = next((chunk[0].as_py() for chunk in texts.chunks if len(chunk)), None)
    if first is not None and not WHOLE.fullmatch(first):
        return texts
    present = texts.drop_null()
    if not len(present) or not pc.all(pc.match_substring_regex(present, r"^-?\d+\.0+$")).as_py():
        return texts
    return pc.replace_substring_regex(texts, r"\.0+$", "")


def _coded(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    kind = column.type
    if pa.types.is_dictionary(kind) and is_text(kind.value_type):
        coded = column if kind == CATEGORY else column.cast(CATEGORY)
        if any(chunk.dictionary.null_count for chunk in coded.chunks):
            coded = coded.cast(pa.string()).dictionary_encode()
    else:
        texts = as_text(column)
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
    kind = _inner(column.type)
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


def _typed(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Give text as numbers, yes/no or times where all of it is one; else as it is."""
    if texts.null_count == len(texts):
        return texts
    for candidate in (texts, _without_words(texts)):
        for kind in ATTRIBUTES:
            try:
                values = candidate.cast(kind)
            except pa.ArrowInvalid:
                continue
            return texts if is_number(kind) and _has_leading_zeros(texts) else values
    return texts


def _without_words(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Make null what spreadsheets and databases write for a number that is missing."""
    words = pc.is_in(pc.utf8_lower(texts), pa.array(sorted(UNKNOWN_NUMBERS)))
    if pc.all(pc.or_kleene(words, pc.is_null(texts))).as_py():
        return texts
    return pc.if_else(words, pa.scalar(None, pa.string()), texts)


def _has_leading_zeros(texts: pa.ChunkedArray) -> bool:
    """Say whether numbers are rather codes, such as postal ones."""
    return bool(pc.any(pc.match_substring_regex(texts, LEADING_ZERO)).as_py())


def _inner(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _misfit(name: str, column: pa.ChunkedArray, expected: str) -> Checked:
    facts = {"expected": expected, "got": str(column.type)}
    return Checked(None, (Fault("wrong_type", name, facts=facts),))
