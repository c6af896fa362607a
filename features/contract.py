"""The data contract: tables, columns, and the page that describes them; checks are not here."""

import re
from dataclasses import dataclass
from typing import Literal

from features.findings import SEVERITIES, ContractError, Example, Finding, Severity
from features.rules import LONGEST_ID, MAX_DISTINCT, RULES, Rule

__all__ = [
    "CHANGES",
    "EVENTS",
    "LEADS",
    "OUTCOMES",
    "RULES",
    "TABLES",
    "Column",
    "ContractError",
    "Example",
    "Finding",
    "Rule",
    "Severity",
    "Table",
    "to_markdown",
]

Kind = Literal["text", "time", "number"]


@dataclass(frozen=True)
class Column:
    """A column that the contract knows; `meaning` is one sentence for the docs."""

    name: str
    kind: Kind
    required: bool
    meaning: str


@dataclass(frozen=True)
class Table:
    """A table of the contract.

    Attributes
    ----------
    name : str
    rule : str
        What a row is.
    columns : tuple of Column
    attributes : bool
        Whether further columns are attributes of the row; where not, they are ignored.
    """

    name: str
    rule: str
    columns: tuple[Column, ...]
    attributes: bool = False

    def column(self, name: str) -> Column | None:
        """Return the column of that name, None where the contract has none."""
        return next((column for column in self.columns if column.name == name), None)


_LEAD_ID = Column(
    "lead_id",
    "text",
    True,
    f"The lead's id, 1 to {LONGEST_ID} characters; numbers are read as text.",
)
_RECORDED_AT = Column(
    "recorded_at", "time", False, "When it became known, where that is later than when it happened."
)

LEADS = Table(
    "leads",
    "One row per lead. Any further column is an attribute: a value known at `created_at`, unless "
    "its history stands in `changes`.",
    (
        _LEAD_ID,
        Column("created_at", "time", True, "When the lead came into being."),
        Column(
            "suppress", "text", False, "Why this lead is never flagged (text, or a list of text)."
        ),
    ),
    attributes=True,
)
EVENTS = Table(
    "events",
    "Everything that happened, before and after the outcome: the software cuts, you never have to.",
    (
        _LEAD_ID,
        Column("occurred_at", "time", True, "When it happened."),
        Column(
            "event_type", "text", True, f"What happened; at most {MAX_DISTINCT:,} different ones."
        ),
        Column("event_id", "text", False, "The event's own id: sent twice, it counts once."),
        Column(
            "value",
            "number",
            False,
            "How much: minutes, pages, money. Empty is missing; it may be negative.",
        ),
        Column("channel", "text", False, "Where it happened, such as web, email or phone."),
        _RECORDED_AT,
    ),
)
OUTCOMES = Table(
    "outcomes",
    "Any number per lead: a lost lead may be won later. No row: the lead is still open.",
    (
        _LEAD_ID,
        Column("closed_at", "time", True, "When the lead was won or lost."),
        Column("outcome", "text", True, "`won` or `lost`, in any case."),
        Column("amount", "number", False, "What the win was worth."),
        _RECORDED_AT,
    ),
)
CHANGES = Table(
    "changes",
    "The history of attributes, if the CRM keeps one (field or property history). A moment sees "
    "the last value at or before it. What the leads table says of such an attribute holds until "
    "the first change, unless it may be of today: where histories begin after their leads, and the "
    "table mostly agrees with the last change, nothing is known before the first one.",
    (
        _LEAD_ID,
        Column("changed_at", "time", True, "Since when the attribute has this value."),
        Column("attribute", "text", True, "Which one, by its name in the leads table."),
        Column("value", "text", True, "The value from then on; empty: it was emptied."),
        _RECORDED_AT,
    ),
)
TABLES = (LEADS, EVENTS, OUTCOMES, CHANGES)


def to_markdown() -> str:
    """Return the contract as the page docs/data-contract.md."""
    return "\n".join([_INTRODUCTION, *map(_table_section, TABLES), _rules_section()])


_INTRODUCTION = """\
# Data contract

What `leadqual` reads, and what it says about tables that are otherwise.
This page is generated from `features/contract.py` and `features/rules.py`.

A table is a CSV (UTF-8, commas, also `.csv.gz`), a Parquet file, a folder of such parts, or a
SQL URL with a table (`postgresql://host/name#leads`, `sqlite:///crm.db#leads`). Columns that have
other names are mapped in `leadqual.toml`:

```toml
[columns]                      # for every table
lead_id = "Contact ID"

[columns.leads]                # for one table
created_at = "Create Date"
```

**Times** are ISO 8601 text or Arrow timestamps and dates. They carry a zone; where they do not,
`--timezone` says which one it is. Inside, all times are UTC.
**Missing** is an empty cell or null, never 0.
**Tables without dates**, such as a spreadsheet of leads with an outcome each, are read with

```toml
[split]
undated = true
order_by = "lead_number"       # a column of the leads; without it, the order of the rows
```

Later leads in that order judge what earlier ones taught; only attributes can be learned from.
`--events` is asked for all the same: a CSV with only the header `lead_id,event_type` will do.
"""


def _table_section(table: Table) -> str:
    rows = [
        f"| `{each.name}` | {each.kind} | {'yes' if each.required else 'no'} | {each.meaning} |"
        for each in table.columns
    ]
    if table.attributes:
        rows.append("| any other | number, text or yes/no | no | An attribute of the lead. |")
    header = "| column | kind | required | meaning |\n|---|---|---|---|"
    return "\n".join([f"## {table.name}\n", f"{table.rule}\n", header, *rows, ""])


def _case(mend: str) -> str:
    """Write a mend without the facts of a case.

    >>> _case("Export {path} again: {reason}.")
    'Export … again: ….'
    """
    return re.sub(r"\{\w+\}", "…", mend)


def _rules_section() -> str:
    rows = [
        f"| `{rule.name}` | {rule.severity} | {rule.meaning} | {_case(rule.mend)} |"
        for rule in sorted(RULES, key=lambda rule: SEVERITIES.index(rule.severity))
    ]
    introduction = (
        "## Rules\n\n"
        "After an *error* nothing goes on (exit code 2); a *warning* is counted and named; a\n"
        "*note* informs. All findings of all tables are reported at once. With `--reject-file`\n"
        "bad rows are set aside, up to a stated share.\n"
    )
    header = "| rule | severity | what | what to do |\n|---|---|---|---|"
    return "\n".join([introduction, header, *rows, ""])
