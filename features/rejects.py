"""Bad rows set aside, as they stand in the source, with where and why; others say which are bad."""

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from features.contract import Example, Finding
from features.faults import Fault, Int64, Places
from features.output_place import writing
from features.rules import found

SET_ASIDE = "Set aside. "
COLUMNS = ("table", "where", "rule", "column", "row")


def rejected(
    table: str,
    bad: pa.Table,
    bad_rows: Int64,
    faults: Sequence[Fault],
    *,
    places: Places,
    ragged: Sequence[Example],
) -> pa.Table:
    """Describe bad rows as text.

    Parameters
    ----------
    table : str
    bad : pa.Table
        The bad rows, as they stand in the source.
    bad_rows : int64
        Their numbers.
    faults : sequence of Fault
        Why they are bad.
    places : callable
        Says where rows stand.
    ragged : sequence of Example
        Rows that could not be cut into columns.
    """
    why: dict[int, list[Fault]] = defaultdict(list)
    for fault in faults:
        for row in fault.rows.tolist():
            why[row].append(fault)
    numbers = bad_rows.tolist()
    rows = [(table, each.where, "ragged_row", "", each.value) for each in ragged]
    for number, where, row in zip(numbers, places(numbers), bad.to_pylist(), strict=True):
        rules = "; ".join(fault.rule for fault in why[number])
        names = "; ".join(fault.column for fault in why[number])
        content = json.dumps(row, ensure_ascii=False, default=str)
        rows.append((table, where, rules, names, content))
    return pa.table(
        [pa.array(column, pa.string()) for column in zip(*rows, strict=True)], names=list(COLUMNS)
    )


def judge(
    table: str, findings: Sequence[Finding], bad: int, rows: int, max_share: float
) -> tuple[bool, tuple[Finding, ...]]:
    """Say whether so many of the rows may be set aside; if so, findings about rows are warnings."""
    more = too_many(table, bad, rows, max_share)
    if more is None:
        return True, tuple(_set_aside(finding) for finding in findings)
    return False, (*findings, more)


def too_many(table: str, bad: int, rows: int, max_share: float) -> Finding | None:
    """Return the finding where more rows are bad than may be set aside."""
    share = bad / rows if bad else 0.0
    if share <= max_share:
        return None
    told, allowed = f"{share:.2%}", f"{max_share:.2%}"
    return found("too_many_rejects", table, rows=bad, share=told, allowed=allowed)


def left_in(finding: Finding) -> Finding:
    """Undo what is said of a finding whose rows are set aside: there were too many."""
    if not finding.mend.startswith(SET_ASIDE):
        return finding
    return replace(finding, severity="error", mend=finding.mend.removeprefix(SET_ASIDE))


def read(path: Path) -> pa.Table:
    """Read what `write` wrote."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))[1:]
    columns = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
    return pa.table([pa.array(column, pa.string()) for column in columns], names=list(COLUMNS))


def write(path: Path, tables: Iterable[pa.Table | None]) -> None:
    """Write bad rows as CSV that spreadsheets open in any language."""
    with writing(path), path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for table in filter(None, tables):
            writer.writerows(zip(*table.to_pydict().values(), strict=True))


def _set_aside(finding: Finding) -> Finding:
    if finding.severity != "error" or not finding.rows:
        return finding
    return replace(finding, severity="warning", mend=SET_ASIDE + finding.mend)


def counts(path: Path) -> dict[str, int]:
    """Count the rows of each table in what `write` wrote."""
    return dict(Counter(read(path)["table"].to_pylist()))
