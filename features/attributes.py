"""What the lead's record said, as numbers: which columns are features; not how they are read."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.findings import Example, Finding
from features.rules import found
from features.threads import in_threads

Column: TypeAlias = pa.ChunkedArray | pa.Array | Sequence[object]

SENSITIVE = frozenset(
    (
        *("age", "birthday", "birthdate", "birth_date", "date_of_birth", "gender", "sex"),
        *("marital", "marital_status", "family_status", "children"),
        *("religion", "ethnicity", "nationality"),
        *("年齢", "生年月日", "性別", "婚姻", "家族構成", "宗教", "国籍"),
    )
)
"""Columns about a person's age, gender or family: no features unless a config names them."""

RESERVED = frozenset({"lead_id", "created_at", "suppress"})
MAX_LEVELS = 60
MIN_LEADS_PER_LEVEL = 20
MIN_ROWS_TO_CALL_DISTINCT = 20
FREE_TEXT_CHARACTERS = 40
EXAMPLE_CHARACTERS = 60
LARGEST = float(np.finfo(np.float32).max)
"""A number beyond it would be infinite as float32: it is missing."""


@dataclass(frozen=True)
class Attribute:
    """A column of the leads table that is a feature.

    Attributes
    ----------
    name : str
    kind : "number", "boolean" or "category"
    levels : tuple of str
        The categories with a code of their own (1, 2, …); all others share code 0.
    """

    name: str
    kind: Literal["number", "boolean", "category"]
    levels: tuple[str, ...] = ()

    def code(self, value: object) -> float:
        """Turn one value into a number; NaN where it is missing or not of this kind.

        >>> Attribute("size", "category", ("large", "small")).code("small")
        2.0
        """
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or value != value:  # noqa: PLR0124  NaN, of a float or a decimal
            return math.nan
        if self.kind == "category":
            text = as_text(value)
            return float(self.levels.index(text) + 1) if text in self.levels else 0.0
        return _number(value, boolean=self.kind == "boolean")


def encode(
    columns: Mapping[str, Column],
    attributes: Sequence[Attribute],
    rows: int,
    *,
    threads: int = 1,
) -> npt.NDArray[np.float32]:
    """Encode attributes as a matrix, a column each; an absent one is missing everywhere.

    Parameters
    ----------
    columns : mapping of name to an Arrow column or a sequence of Python values, of length `rows`
    attributes : sequence of Attribute
    rows : int
    threads : int
        Columns are encoded by so many threads.

    Returns
    -------
    float32 [rows, attributes]
        NaN where missing, not of the attribute's kind, infinite or beyond what float32 holds.
    """
    out = np.full((rows, len(attributes)), np.nan, np.float32)

    def one(at: int) -> None:
        if attributes[at].name in columns:
            out[:, at] = _encode_one(columns[attributes[at].name], attributes[at])

    in_threads(one, range(len(attributes)), threads)
    return out


def learn(
    leads: pa.Table, *, exclude: Sequence[str] = (), sensitive: Sequence[str] = ()
) -> tuple[tuple[Attribute, ...], tuple[Finding, ...]]:
    """Decide which columns of a leads table are features, and how.

    Numbers, booleans and categories are; rare categories are pooled. Ids, free text, times,
    constant and all-distinct columns are left out, each with a finding that says why.

    Parameters
    ----------
    leads : pa.Table
    exclude : names left out by the config
    sensitive : names of `SENSITIVE` that the config allows
    """
    attributes, findings = [], []
    for name in leads.column_names:
        if name in RESERVED or name in exclude:
            continue
        if name.lower() in SENSITIVE and name not in sensitive:
            why = "no feature by default; allow it with [features] sensitive"
            findings.append(_left_out(name, "sensitive", why))
            continue
        found = _learn_one(name, _plain(leads[name]))
        if isinstance(found, Attribute):
            attributes.append(found)
        else:
            findings.append(found)
    return tuple(attributes), tuple(findings)


def as_text(value: object) -> str:
    """Write a value as a CSV does: a whole float without ``.0``, true and false in lower case.

    >>> as_text(120.0), as_text(0.5), as_text(True)
    ('120', '0.5', 'true')
    """
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Give a column without its dictionary, NaN as missing, text in one type."""
    kind = _kind(column)
    if pa.types.is_floating(kind):
        doubles = column.cast(kind).cast(pa.float64())
        return pc.if_else(pc.is_nan(doubles), pa.scalar(None, pa.float64()), doubles)
    return column.cast(pa.large_string() if _is_text(kind) else kind)


def _learn_one(name: str, column: pa.ChunkedArray) -> Attribute | Finding:
    kind = column.type
    if pa.types.is_temporal(kind):
        why = "turn it into a number known at created_at, such as days before it"
        return _left_out(name, "time", why)
    if column.null_count == len(column):
        return _left_out(name, "constant", "it is empty")
    if not (pa.types.is_boolean(kind) or _is_number(kind) or _is_text(kind)):
        return _left_out(name, "type", f"{kind} is no number, boolean or text")
    distinct = pc.count_distinct(column, mode="only_valid").as_py()
    if distinct == 1 and column.null_count == 0:
        return _left_out(name, "constant", "it says the same of every lead")
    if _is_text(kind):
        return _learn_text(name, column, distinct)
    return _learn_number(name, column, distinct)


def _learn_number(name: str, column: pa.ChunkedArray, distinct: int) -> Attribute | Finding:
    if pa.types.is_boolean(column.type):
        return Attribute(name, "boolean")
    if _all_distinct(column, distinct) and _whole(column):
        why = "every value is another one; a number that counts something repeats"
        return _left_out(name, "id", why)
    return Attribute(name, "number")


def _learn_text(name: str, text: pa.ChunkedArray, distinct: int) -> Attribute | Finding:
    if _all_distinct(text, distinct):
        return _left_out(name, "id", "every value is another one", text)
    if _is_free_text(text, distinct):
        return _left_out(name, "free_text", "derive a category or a number from it", text)
    floor = min(MIN_LEADS_PER_LEVEL, max(2, len(text) // 50))
    levels = tuple(_frequent(text, floor))
    if not levels:
        return _left_out(name, "rare_levels", f"no value stands on {floor} leads", text)
    return Attribute(name, "category", levels)


def _frequent(text: pa.ChunkedArray, floor: int) -> Iterator[str]:
    counts = pc.value_counts(text.drop_null())
    ranked = sorted((-item["counts"].as_py(), item["values"].as_py()) for item in counts)
    yield from sorted(level for count, level in ranked[:MAX_LEVELS] if -count >= floor)


def _all_distinct(column: pa.ChunkedArray, distinct: int) -> bool:
    return bool(distinct == len(column) - column.null_count >= MIN_ROWS_TO_CALL_DISTINCT)


def _is_free_text(text: pa.ChunkedArray, distinct: int) -> bool:
    present = len(text) - text.null_count
    if distinct > present / 2 and present >= MIN_ROWS_TO_CALL_DISTINCT:
        return True
    return distinct > MAX_LEVELS and pc.mean(pc.utf8_length(text)).as_py() > FREE_TEXT_CHARACTERS


def _left_out(name: str, rule: str, why: str, text: pa.ChunkedArray | None = None) -> Finding:
    shown = [] if text is None else text.drop_null()[:3].to_pylist()
    examples = [Example("", value[:EXAMPLE_CHARACTERS]) for value in shown]
    return found(f"left_out_{rule}", "leads", name, examples=examples, why=why)


def _encode_one(column: Column, attribute: Attribute) -> npt.NDArray[np.float64] | list[float]:
    if not isinstance(column, (pa.ChunkedArray, pa.Array)):
        return [attribute.code(value) for value in column]
    kind = _kind(column)
    if attribute.kind != "category" and (_is_number(kind) or pa.types.is_boolean(kind)):
        return _numbers(column.cast(kind))
    if pa.types.is_nested(kind) or pa.types.is_float16(kind):  # these have no dictionaries
        return _encode_one(column.to_pylist(), attribute)
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    chunks = coded.chunks if isinstance(coded, pa.ChunkedArray) else [coded]
    return np.concatenate(
        [np.empty(0), *(_encode_dictionary(chunk, attribute) for chunk in chunks)]
    )


def _encode_dictionary(chunk: pa.DictionaryArray, attribute: Attribute) -> npt.NDArray[np.float64]:
    codes = np.array([*(attribute.code(v) for v in chunk.dictionary.to_pylist()), math.nan])
    index = pc.fill_null(chunk.indices.cast(pa.int64()), len(codes) - 1)
    return codes[index.to_numpy(zero_copy_only=False)]


def _numbers(column: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.float64]:
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    doubles = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.where(np.abs(doubles) <= LARGEST, doubles, np.nan)


def _number(value: object, *, boolean: bool) -> float:
    if boolean and isinstance(value, str) and value.strip().lower() in {"true", "false"}:
        return float(value.strip().lower() == "true")
    if not isinstance(value, (bool, int, float, Decimal, str)):
        return math.nan
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return math.nan
    return number if abs(number) <= LARGEST else math.nan


def _whole(column: pa.ChunkedArray) -> bool:
    if pa.types.is_integer(column.type):
        return True
    numbers = column.drop_null().cast(pa.float64(), safe=False).to_numpy()
    return bool(np.all(np.mod(numbers, 1) == 0))


def _kind(column: pa.ChunkedArray | pa.Array) -> pa.DataType:
    return column.type.value_type if pa.types.is_dictionary(column.type) else column.type


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )
