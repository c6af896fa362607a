"""The column map of a CRM per table: our names to theirs, from `[columns]` of the config."""

import difflib
from collections.abc import Iterable, Mapping

from features.contract import TABLES
from features.findings import UsageError


def per_table(columns: Mapping[str, str | Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Give each table its map: the common entries, then those under its own name.

    Raises
    ------
    UsageError
        A table of that name, or a column of that name in events or outcomes, is not known; in the
        leads any name may be an attribute's.

    Examples
    --------
    >>> maps = per_table({"lead_id": "Id", "events": {"event_type": "Kind"}})
    >>> maps["leads"], maps["events"]
    ({'lead_id': 'Id'}, {'lead_id': 'Id', 'event_type': 'Kind'})
    """
    common = {ours: theirs for ours, theirs in columns.items() if isinstance(theirs, str)}
    own = {name: theirs for name, theirs in columns.items() if not isinstance(theirs, str)}
    for name in own:
        _check(f"[columns.{name}]", name, (table.name for table in TABLES))
    for table in TABLES:
        for ours in () if table.attributes else own.get(table.name, ()):
            _check(f"[columns.{table.name}] {ours}", ours, (known.name for known in table.columns))
    return {table.name: common | dict(own.get(table.name, {})) for table in TABLES}


def _check(place: str, name: str, known: Iterable[str]) -> None:
    names = tuple(known)
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(names)}"
    raise UsageError(f"{place}: unknown name, {hint}")
