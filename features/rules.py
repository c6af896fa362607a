"""The rules of the data contract, each with its severity and mend; they are not checked here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from features.findings import EXAMPLES, Example, Finding, Severity

LONGEST_ID = 256
MAX_DISTINCT = 65_535
MAX_REJECTED_SHARE = 0.01
"""Of a table's rows may be set aside, unless another share is stated."""


@dataclass(frozen=True)
class Rule:
    """What must hold; `mend` may name facts of the case in braces."""

    name: str
    severity: Severity
    meaning: str
    mend: str


RULES: tuple[Rule, ...] = (
    # what the tables are read from
    Rule(
        "no_such_file",
        "error",
        "The source is not there.",
        "Check the path: {path} does not exist.",
    ),
    Rule("empty_file", "error", "A file holds nothing, not even a header.", "Export {path} again."),
    Rule(
        "empty_folder",
        "error",
        "A folder holds no parts.",
        "Put CSV or Parquet files directly into {path}.",
    ),
    Rule(
        "not_parquet",
        "error",
        "A file that should be Parquet cannot be read.",
        "Export {path} again: {reason}.",
    ),
    Rule("not_csv", "error", "A CSV file cannot be read.", "Export {path} again: {reason}."),
    Rule(
        "not_utf8",
        "error",
        "A text file is not UTF-8.",
        "Save {path} as UTF-8 (in a spreadsheet: “CSV UTF-8”).",
    ),
    Rule(
        "wrong_delimiter",
        "error",
        "The columns of a CSV file are not separated by commas.",
        "Save {path} with commas between the columns: its header has one column, and "
        "{delimiter} in it.",
    ),
    Rule(
        "open_quote",
        "error",
        "A quote in a CSV file is opened and not closed where its cell ends, so that it takes in "
        "the rows below.",
        "Mend the row at {place} of {path}: a cell that begins with a quote ends with one, and a "
        "quote within it is written twice.",
    ),
    Rule(
        "ragged_row",
        "error",
        "A row of a CSV file has more or fewer cells than the header.",
        'Put cells that hold commas or line ends into quotes ("…"); the header has '
        "{columns} columns.",
    ),
    Rule(
        "parts_differ",
        "error",
        "The parts of a folder have different columns or types.",
        "Export all parts alike; the first one, {first}, was taken as the model.",
    ),
    Rule(
        "ignored_files",
        "note",
        "Other files of a folder are not read.",
        "Nothing, unless one of them is a part.",
    ),
    Rule(
        "cannot_query",
        "error",
        "A database cannot be read.",
        "Check the URL (postgresql://host/name#table, sqlite:///file.db#table) and the "
        "table: {reason}.",
    ),
    Rule(
        "cannot_reach",
        "error",
        "A remote store cannot be read.",
        "Check {path}, and install what reads it: pip install 'leadqual[remote]' and the store's "
        "driver (s3fs, gcsfs, adlfs …): {reason}.",
    ),
    # their columns
    Rule(
        "missing_column",
        "error",
        "A column of the contract is not in the table.",
        "Say which column it is in leadqual.toml: [columns] {table}.{column} = "
        '"{nearest}"; the table has {names}.',
    ),
    Rule("repeated_column", "error", "Two columns have the same name.", "Rename one of them."),
    Rule(
        "wrong_type",
        "error",
        "The type of a column fits nothing it could mean.",
        "Write it as {expected}, not {got}.",
    ),
    Rule(
        "ignored_columns",
        "note",
        "Columns that the contract does not know are ignored.",
        "Nothing, or map them: {names}.",
    ),
    Rule(
        "left_out_attribute",
        "note",
        "An attribute is no number, text, time or yes/no.",
        "Spread it over plain columns if the model should see it; {got} is left out.",
    ),
    # their rows
    Rule(
        "no_leads",
        "error",
        "The leads table has no rows: there is nothing to read.",
        "Check the export's filter.",
    ),
    Rule(
        "unknown_order",
        "error",
        "The column that undated leads are to be ordered by is not in the leads table.",
        "Name one of its columns as order_by under [split]: {known}.",
    ),
    Rule(
        "undated_events",
        "note",
        "Events or changes of undated tables.",
        "They are not looked at: without dates nothing tells which came before the outcome.",
    ),
    Rule("empty_table", "note", "A table has no rows.", "Nothing, if nothing has happened yet."),
    Rule("missing_id", "error", "An id is empty.", "Fill it in, or leave the row out."),
    Rule(
        "long_id",
        "error",
        f"An id is longer than {LONGEST_ID} characters.",
        "Map the column that holds the id.",
    ),
    Rule(
        "repeated_lead",
        "error",
        "A lead stands in the leads table more than once.",
        "Keep one row per lead; to judge a lead at several moments, name their column: "
        "--as-of COLUMN.",
    ),
    Rule("missing_time", "error", "A time is empty.", "Fill it in, or leave the row out."),
    Rule(
        "not_a_time",
        "error",
        "A time cannot be read.",
        "Write it as ISO 8601: 2026-01-31T09:30:00+09:00.",
    ),
    Rule(
        "no_time_zone",
        "error",
        "A time has no zone.",
        "Say which zone the export's times are in: --timezone Europe/Berlin (or "
        "Asia/Tokyo, UTC, +09:00).",
    ),
    Rule(
        "unknown_time_zone",
        "error",
        "The zone given is unknown.",
        "Give a name such as Europe/Berlin or an offset such as +09:00 instead of {timezone}.",
    ),
    Rule(
        "time_out_of_range",
        "error",
        "A time lies outside 1970 to 2199.",
        "Correct it: it looks like a typo.",
    ),
    Rule(
        "time_after_now",
        "error",
        "A time lies in the future.",
        "Correct it: one typo would age everything. The clock says {now}.",
    ),
    Rule(
        "time_after_until",
        "warning",
        "A time lies after the moment of the export.",
        "Nothing: what comes after {until} is not looked at. Give a later --until if it should be.",
    ),
    Rule(
        "clock_change",
        "note",
        "A local time exists twice or not at all because the clocks changed.",
        "Export times with a zone; the first of two was taken, and the next that exists.",
    ),
    Rule(
        "missing_type",
        "error",
        "An event has no type, or a change no attribute.",
        "Fill it in, or leave the row out.",
    ),
    Rule(
        "too_many_values",
        "error",
        f"A column of categories has more than {MAX_DISTINCT:,} different values.",
        "Map a column of categories: this one, with {distinct} values, looks like an "
        "id or free text.",
    ),
    Rule(
        "not_a_number",
        "error",
        "A number cannot be read.",
        "Write it as 1234.5; leave the cell empty if unknown.",
    ),
    Rule(
        "not_finite",
        "error",
        "A number is infinite.",
        "Leave the cell empty if the number is unknown.",
    ),
    Rule(
        "unknown_outcome",
        "error",
        "An outcome is neither won nor lost.",
        "Write won or lost; leave open leads out.",
    ),
    Rule(
        "repeated_event",
        "warning",
        "An event stands there again, with its id.",
        "Nothing: it counts once.",
    ),
    Rule(
        "conflicting_event",
        "error",
        "An event id stands for different events.",
        "Give each event its own id, or leave event_id out if it is not one.",
    ),
    Rule(
        "repeated_outcome", "warning", "An outcome stands there again.", "Nothing: it counts once."
    ),
    Rule(
        "conflicting_change",
        "warning",
        "An attribute of a lead has two values since the same moment.",
        "Nothing, if rows stand in the order they were made: the last one counts.",
    ),
    Rule(
        "reserved_attribute",
        "warning",
        "A change of lead_id, created_at or suppress.",
        "Nothing: these are read from the leads table alone.",
    ),
    Rule(
        "late_history",
        "warning",
        "An attribute has a value in the leads table, and a history that begins later.",
        "Add a change at created_at with the value of then; until its first change the attribute "
        "is missing, since the leads table may show what it says today.",
    ),
    Rule(
        "unknown_lead",
        "warning",
        "A row is of a lead that is not in the leads table.",
        "Nothing, if the leads table is a selection: the row is not used. Else check "
        "that ids are written alike.",
    ),
    Rule(
        "before_created",
        "warning",
        "A time lies before the lead's created_at.",
        "Nothing, if leads are created after their first contact: the row is kept and used.",
    ),
    Rule(
        "recorded_early",
        "warning",
        "A row was recorded before it happened.",
        "Check which column is which; it counts as known when it happened.",
    ),
    Rule(
        "too_many_rejects",
        "error",
        "More rows are bad than may be set aside.",
        "Mend the export: {share} of the rows are bad, and at most {allowed} may be set aside "
        "(--max-rejected-share).",
    ),
    # which attributes are features, decided while learning
    Rule(
        "left_out_sensitive",
        "note",
        "A column about age, gender or family.",
        "Left out as a feature: {why}.",
    ),
    Rule("left_out_time", "note", "An attribute that is a time.", "Left out as a feature: {why}."),
    Rule(
        "left_out_type",
        "note",
        "An attribute that is no number, text or yes/no.",
        "Left out as a feature: {why}.",
    ),
    Rule(
        "left_out_constant",
        "note",
        "An attribute that says the same of every lead.",
        "Left out as a feature: {why}.",
    ),
    Rule(
        "left_out_id",
        "note",
        "An attribute that is another one for every lead.",
        "Left out as a feature: {why}.",
    ),
    Rule(
        "left_out_free_text", "note", "An attribute of free text.", "Left out as a feature: {why}."
    ),
    Rule(
        "left_out_rare_levels",
        "note",
        "A category whose every value is rare.",
        "Left out as a feature: {why}.",
    ),
    Rule(
        "unknown_exclude",
        "warning",
        "`[features] exclude` names what is neither a feature nor an attribute.",
        "Nothing is left out by {column}: check its spelling in leadqual.toml.",
    ),
    # how they look
    Rule(
        "missing_share_moved",
        "warning",
        "An attribute is missing far more, or far less, often than usual.",
        "Missing in {now} of {these}, in {usual} of {those}: {advice}.",
    ),
    Rule(
        "values_moved",
        "warning",
        "An attribute has far more unusual values than usual.",
        "Of {these} with a value, {now} have {odd}; of {those}, {usual}: {advice}.",
    ),
)
_RULES = {rule.name: rule for rule in RULES}


def is_error(rule: str) -> bool:
    """Say whether nothing goes on after a finding of this rule.

    >>> is_error("missing_id"), is_error("unknown_lead")
    (True, False)
    """
    return _RULES[rule].severity == "error"


def found(
    rule: str,
    table: str,
    column: str = "",
    *,
    rows: int = 0,
    examples: Iterable[Example] = (),
    **facts: str,
) -> Finding:
    """Return a finding of a rule; `facts` fill the braces of its mend.

    >>> print(
    ...     found("missing_id", "leads", "lead_id", rows=1, examples=[Example("line 2", "empty")])
    ... )
    error leads.lead_id: missing_id in 1 row (line 2: empty). Fill it in, or leave the row out.
    """
    return report(rule, table, column, rows, examples, facts)


def report(  # noqa: PLR0917
    rule: str,
    table: str,
    column: str,
    rows: int,
    examples: Iterable[Example],
    facts: Mapping[str, str],
) -> Finding:
    """Return a finding of a rule, as `found` does."""
    declared = _RULES[rule]
    mend = declared.mend.format(table=table, column=column, **facts)
    return Finding(table, column, rule, declared.severity, rows, tuple(examples)[:EXAMPLES], mend)
