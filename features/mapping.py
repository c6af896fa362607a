"""Which column of a source is which column of the contract; what the columns hold is not here."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from features.arrow_types import is_attribute
from features.contract import TABLES, Finding, Table
from features.rules import found

MOST_NAMED = 12
NEAR = 0.5


def choose(
    table: Table,
    names: Sequence[str],
    kinds: Mapping[str, pa.DataType],
    renamed: Mapping[str, str],
    *,
    attributes_may_lack: bool = False,
) -> tuple[dict[str, str], list[Finding]]:
    """Choose the columns to read.

    Parameters
    ----------
    table : Table
    names : sequence of str
        The columns of the source.
    kinds : mapping of name to pa.DataType
    renamed : mapping of our name to theirs
        Names of other tables' columns in it are of no concern here.
    attributes_may_lack : bool
        An attribute that is mapped to a column which is not there is no error.

    Returns
    -------
    dict of our name to theirs, and findings
    """
    chosen, findings = _known(table, names, renamed)
    if table.attributes:
        chosen |= _attributes(table, names, renamed, chosen)
        if not attributes_may_lack:
            findings.extend(_absent_attributes(table, names, renamed))
        for ours, theirs in list(chosen.items()):
            if table.column(ours) is None and not is_attribute(kinds[theirs]):
                del chosen[ours]
                got = str(kinds[theirs])
                findings.append(found("left_out_attribute", table.name, theirs, got=got))
    for ours, theirs in list(chosen.items()):
        if names.count(theirs) > 1:
            del chosen[ours]
            findings.append(found("repeated_column", table.name, theirs))
    findings.extend(_ignored(table, names, chosen, findings))
    return chosen, findings


def _known(
    table: Table, names: Sequence[str], renamed: Mapping[str, str]
) -> tuple[dict[str, str], list[Finding]]:
    chosen, findings = {}, []
    for column in table.columns:
        theirs = renamed.get(column.name, column.name)
        if theirs in names:
            chosen[column.name] = theirs
        elif column.required or column.name in renamed:
            findings.append(_missing(table.name, column.name, theirs, names))
    return chosen, findings


def _attributes(
    table: Table, names: Sequence[str], renamed: Mapping[str, str], chosen: Mapping[str, str]
) -> dict[str, str]:
    ours_of = {theirs: ours for ours, theirs in renamed.items() if not _in_contract(ours)}
    taken = {"", *chosen.values(), *(column.name for column in table.columns)}
    return {ours_of.get(name, name): name for name in names if name not in taken}


def _absent_attributes(
    table: Table, names: Sequence[str], renamed: Mapping[str, str]
) -> Iterator[Finding]:
    """Find attributes that are mapped to a column which the source lacks."""
    for ours, theirs in renamed.items():
        if theirs in names or _in_contract(ours) or table.column(ours):
            continue
        listed, nearest = _listed(names), _nearest(theirs, names)
        hint = f", did you mean {nearest}?" if nearest else "."
        yield replace(
            found("missing_column", table.name, ours, nearest="", names=""),
            mend=f"leadqual.toml maps it to {theirs}{hint} The table has {listed}. "
            "Name one of them, or drop the line.",
        )


def _in_contract(name: str) -> bool:
    return any(table.column(name) for table in TABLES)


def _missing(table: str, column: str, theirs: str, names: Sequence[str]) -> Finding:
    listed, nearest = _listed(names), _nearest(theirs, names)
    finding = found("missing_column", table, column, nearest=nearest or "its name", names=listed)
    if _in_contract(column):
        return finding
    hint = f" Did you mean {nearest}?" if nearest else ""
    either = "Judge at a time such as 2026-09-01T00:00:00Z, or at a column of the table"
    return replace(finding, mend=f"{either}, which has {listed}.{hint}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")


def _nearest(name: str, names: Sequence[str]) -> str | None:
    """Return the name most like another one.

    >>> _nearest("created_at", ["Lead ID", "Created At (UTC)", "industry"])
    'Created At (UTC)'
    """
    plain = {each.lower().replace(" ", "_"): each for each in names}
    close = difflib.get_close_matches(name.lower(), plain, 1, NEAR)
    return plain[close[0]] if close else None


def _ignored(
    table: Table, names: Sequence[str], chosen: Mapping[str, str], findings: Sequence[Finding]
) -> Iterator[Finding]:
    named = {*chosen.values(), *(finding.column for finding in findings)}
    rest = [name or '""' for name in names if name not in named]
    if rest:
        yield found("ignored_columns", table.name, names=", ".join(rest))
