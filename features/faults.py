"""Rows at fault, by number: findings before it is known where the rows stand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.contract import Example, Finding
from features.findings import EXAMPLES
from features.rules import report

Int64 = npt.NDArray[np.int64]
NO_ROWS: Int64 = np.empty(0, np.int64)
LONGEST_EXAMPLE = 60
LONGEST_REASON = 300

Places = Callable[[Sequence[int]], list[str]]
"""Says where rows stand: ``line 7`` or ``part-2.parquet, row 7``."""


@dataclass(frozen=True)
class Fault:
    """A rule that some rows of a column do not keep.

    Attributes
    ----------
    rule, column : str
    rows : int64
        Row numbers: all of them where the rule is an error about rows, else the first few.
    count : int
        How many rows there are.
    values : tuple of str
        What stands in the first rows.
    facts : mapping of str to str
        What the mend speaks of.
    """

    rule: str
    column: str
    rows: Int64 = field(default_factory=lambda: NO_ROWS)
    count: int = 0
    values: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    def finding(self, table: str, places: Places) -> Finding:
        """Return the finding, with where its first rows stand."""
        first = self.rows[: len(self.values)].tolist()
        examples = map(Example, places(first), self.values)
        return report(self.rule, table, self.column, self.count, examples, self.facts)


def fault(rule: str, column: str, rows: Int64, values: pa.ChunkedArray, **facts: str) -> Fault:
    """Return the fault of these rows of a column; `values` is the whole column."""
    first = values.take(pa.array(rows[:EXAMPLES])).to_pylist()
    return Fault(rule, column, rows, len(rows), tuple(map(shown, first)), facts)


def rows_where(mask: pa.ChunkedArray) -> Int64:
    """Return the numbers of the rows where an Arrow mask is true."""
    if not pc.any(mask).as_py():
        return NO_ROWS
    return np.flatnonzero(pc.fill_null(mask, False).to_numpy()).astype(np.int64, copy=False)


def shown(value: Any, longest: int = LONGEST_EXAMPLE) -> str:
    r"""Return a value as it stands in a message: short, on one line.

    >>> shown(None), shown("two\nlines")
    ('empty', 'two lines')
    """
    text = " ".join(str(value).split())
    if value is None or not text:
        return "empty"
    return text if len(text) <= longest else f"{text[:longest]}…"
