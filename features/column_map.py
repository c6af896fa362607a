"""The column map of a CRM per table: our names to theirs, from `[columns]` of the config."""

from collections.abc import Mapping

from features.contract import TABLES


def per_table(columns: Mapping[str, str | Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Give each table its map: the common entries, then those under its own name.

    Examples
    --------
    >>> maps = per_table({"lead_id": "Id", "events": {"event_type": "Kind"}})
    >>> maps["leads"], maps["events"]
    ({'lead_id': 'Id'}, {'lead_id': 'Id', 'event_type': 'Kind'})
    """
    common = {ours: theirs for ours, theirs in columns.items() if isinstance(theirs, str)}
    own = {name: theirs for name, theirs in columns.items() if not isinstance(theirs, str)}
    return {table.name: common | dict(own.get(table.name, {})) for table in TABLES}
