"""Arrow types as the contract sees them: which are text or numbers, and what text can become."""

import re

import pyarrow as pa
import pyarrow.compute as pc

from features.timestamps import LOCAL_US, UTC_US

CATEGORY = pa.dictionary(pa.int32(), pa.string())
WHOLE = re.compile(r"-?\d+\.0+")
LEADING_ZERO = r"^-?0\d"
ATTRIBUTES = (pa.int64(), pa.float64(), pa.bool_(), UTC_US, LOCAL_US)
"""The types tried for an attribute of a CSV, in this order."""
SAMPLE_ROWS = 100
UNKNOWN_NUMBERS = frozenset({"", "nan", "na", "n/a", "null", "none", "-", "#n/a"})


def is_attribute(kind: pa.DataType) -> bool:
    """Say whether an attribute may have a type; lists, structures and bytes are left out.

    >>> is_attribute(pa.int64()), is_attribute(pa.list_(pa.int64()))
    (True, False)
    """
    kind = inner(kind)
    plain = pa.types.is_temporal(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)
    return bool(plain or is_number(kind) or is_text(kind))


def is_number(kind: pa.DataType) -> bool:
    """Say whether a type is one of numbers."""
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def is_text(kind: pa.DataType) -> bool:
    """Say whether a type is one of text, or a dictionary of it."""
    kind = inner(kind)
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def common_type(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Return a type that values of both can be cast to, None where there is none.

    >>> common_type(pa.int64(), pa.float32()), common_type(pa.int64(), pa.string())
    (DataType(double), None)
    """
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if is_text(one) and is_text(other):
        return pa.string()
    if is_number(one) and is_number(other):
        whole = pa.types.is_integer(one) and pa.types.is_integer(other)
        return pa.int64() if whole else pa.float64()
    if all(pa.types.is_timestamp(kind) and kind.tz is not None for kind in (one, other)):
        return UTC_US
    return None


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Give a column as text, whole numbers without a point; None if it is no text and no number.

    >>> as_text(pa.chunked_array([[1.0, None]])).to_pylist()
    ['1', None]
    """
    kind = inner(column.type)
    if is_text(kind):
        return _without_points(column.cast(pa.string()))
    if pa.types.is_null(kind):
        return column.cast(pa.string())
    if not is_number(kind):
        return None
    numbers = column.cast(kind)
    if pa.types.is_floating(kind):
        numbers = pc.if_else(pc.is_nan(numbers), pa.scalar(None, kind), numbers)
    try:
        return numbers.cast(pa.int64()).cast(pa.string())
    except pa.ArrowInvalid:
        return numbers.cast(pa.string())


def typed(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Give text as numbers, yes/no or times where all of it is one; else as it is."""
    if texts.null_count == len(texts):
        return texts
    first = texts.drop_null()[:SAMPLE_ROWS]  # most types are ruled out there: a failed cast is slow
    for prepared in (_as_is, _without_words):
        for kind in ATTRIBUTES:
            try:
                prepared(first).cast(kind)
                values = prepared(texts).cast(kind)
            except pa.ArrowInvalid:
                continue
            return texts if is_number(kind) and _has_leading_zeros(texts) else values
    return texts


def _as_is(texts: pa.ChunkedArray) -> pa.ChunkedArray:
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


def _without_points(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Take ``.0`` off numbers that were floats when the CSV was written: all of them, or none."""
    first = next((chunk[0].as_py() for chunk in texts.chunks if len(chunk)), None)
    if first is not None and not WHOLE.fullmatch(first):
        return texts
    present = texts.drop_null()
    if not len(present) or not pc.all(pc.match_substring_regex(present, r"^-?\d+\.0+$")).as_py():
        return texts
    return pc.replace_substring_regex(texts, r"\.0+$", "")


def inner(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values, of a dictionary too."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind
