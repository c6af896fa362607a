"""Arrow types as the contract sees them: which are text or numbers, and what text can become."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

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


def as_text(column: pa.ChunkedArray, *, whole: bool | None = None) -> pa.ChunkedArray | None:
    """Give a column as text, whole numbers without a point; None if it is no text and no number.

    `whole` is what `are_whole` says where the column is only a share of one.

    >>> as_text(pa.chunked_array([[1.0, None]])).to_pylist()
    ['1', None]
    """
    kind = inner(column.type)
    if pa.types.is_null(kind):
        return column.cast(pa.string())
    if not is_text(kind) and not is_number(kind):
        return None
    whole = are_whole([column]) if whole is None else whole
    if is_text(kind):
        texts = column.cast(pa.string())
        return pc.replace_substring_regex(texts, r"\.0+$", "") if whole else texts
    return _present(column.cast(kind)).cast(pa.int64() if whole else kind).cast(pa.string())


def are_whole(parts: Iterable[pa.ChunkedArray]) -> bool:
    """Say whether a column is whole numbers, or text that once was such floats: ``7.0``.

    >>> are_whole([pa.chunked_array([["7.0", None]]), pa.chunked_array([["x"]])])
    False
    """
    filled = False
    for part in parts:
        present = part.drop_null()
        if len(present) and not _are_whole(present):
            return False
        filled = filled or len(present) > 0
    return filled


def _are_whole(present: pa.ChunkedArray) -> bool:
    kind = inner(present.type)
    if is_text(kind):
        texts = present.cast(pa.string())
        if not WHOLE.fullmatch(texts[0].as_py()):
            return False
        return bool(pc.all(pc.match_substring_regex(texts, r"^-?\d+\.0+$")).as_py())
    try:
        _present(present.cast(kind)).cast(pa.int64())
    except pa.ArrowInvalid:
        return False
    return True


def _present(numbers: pa.ChunkedArray) -> pa.ChunkedArray:
    """Make NaN null."""
    if not pa.types.is_floating(numbers.type):
        return numbers
    return pc.if_else(pc.is_nan(numbers), pa.scalar(None, numbers.type), numbers)


@dataclass(frozen=True)
class Meaning:
    """What text says: a type, and whether words may stand for what is missing."""

    kind: pa.DataType
    words: bool

    def read(self, texts: pa.ChunkedArray) -> pa.ChunkedArray:
        """Cast text; `pa.ArrowInvalid` where some of it says something else."""
        if self.words:
            texts = pc.if_else(_are_words(texts), pa.scalar(None, pa.string()), texts)
        return texts.cast(self.kind)

    def fits(self, texts: pa.ChunkedArray) -> bool:
        """Say whether all of the text can be cast."""
        try:
            self.read(texts[:SAMPLE_ROWS])  # a failed cast of all of it is slow
            self.read(texts)
        except pa.ArrowInvalid:
            return False
        return True

    def implies(self, other: "Meaning") -> bool:
        """Say whether what fits this one fits the other as well."""
        whole = pa.types.is_integer(self.kind) and pa.types.is_floating(other.kind)
        return (whole or self.kind == other.kind) and self.words <= other.words


MEANINGS = tuple(Meaning(kind, words) for words in (False, True) for kind in ATTRIBUTES)


def typed(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Give text as numbers, yes/no or times where all of it is one; else as it is."""
    meanings = Meanings()
    meanings.see(texts)
    return read_as(meanings.found, texts)


def read_as(found: int | None, texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Give text as `Meanings.found` says."""
    return texts if found is None else MEANINGS[found].read(texts)


class Meanings:
    """What all of a column of text can be read as, when it is seen in parts.

    >>> meanings = Meanings()
    >>> meanings.see(pa.chunked_array([["7"]])), meanings.see(pa.chunked_array([["n/a", "7.5"]]))
    (None, None)
    >>> read_as(meanings.found, pa.chunked_array([["7", "n/a"]])).to_pylist()
    [7.0, None]
    """

    def __init__(self) -> None:
        self._left, self._filled, self._said = list(MEANINGS), False, False

    def see(self, texts: pa.ChunkedArray) -> None:
        """Rule out what a part of the column is not."""
        present = texts.drop_null()
        if not len(present) or not self._left:
            return
        fitting: list[Meaning] = []
        for each in self._left:
            if any(other.implies(each) for other in fitting) or each.fits(present):
                fitting.append(each)
        if fitting and is_number(fitting[0].kind) and _has_leading_zeros(present):
            fitting = []
        self._left, self._filled = fitting, True
        self._said = self._said or not pc.all(_are_words(present)).as_py()

    def merged(self, other: "Meanings") -> "Meanings":
        """Return what both columns can be read as, as if they were parts of one."""
        one, two = self.to_list(), other.to_list()
        left = [at for at in one[0] if at in two[0]]
        return Meanings.from_list([left, one[1] or two[1], one[2] or two[2]])

    def to_list(self) -> list[Any]:
        """Return what `from_list` needs, as JSON can hold it."""
        return [[MEANINGS.index(each) for each in self._left], self._filled, self._said]

    @classmethod
    def from_list(cls, stored: list[Any]) -> "Meanings":
        """Go on from what was seen elsewhere."""
        kept = cls()
        left, kept._filled, kept._said = stored
        kept._left = [MEANINGS[at] for at in left]
        return kept

    @property
    def found(self) -> int | None:
        """Which of `MEANINGS` it is; None where it is text."""
        if not self._filled or not self._left or not (self._said or not self._left[0].words):
            return None
        return MEANINGS.index(self._left[0])


def _are_words(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Say what spreadsheets and databases write for a number that is missing."""
    return pc.is_in(pc.utf8_lower(texts), pa.array(sorted(UNKNOWN_NUMBERS)))


def _has_leading_zeros(texts: pa.ChunkedArray) -> bool:
    """Say whether numbers are rather codes, such as postal ones."""
    return bool(pc.any(pc.match_substring_regex(texts, LEADING_ZERO)).as_py())


def inner(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values, of a dictionary too."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind
