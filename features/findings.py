"""What is found against the data contract: where, how many rows, examples and the mend."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
EXAMPLES = 3
HEADINGS = ("severity", "table", "column", "rule", "rows", "examples", "what to do")
"""Of `as_rows`."""


@dataclass(frozen=True)
class Example:
    """One case of a finding: where it stands (``line 7``) and what stands there."""

    where: str
    value: str

    def __str__(self) -> str:
        return f"{self.where}: {self.value}" if self.where else self.value


@dataclass(frozen=True)
class Finding:
    """A rule that a table does not keep.

    Attributes
    ----------
    table, column : str
        The column is empty where the finding is about whole rows or files.
    rule : str
        The name of the rule.
    severity : "error", "warning" or "note"
        Nothing goes on after an error.
    rows : int
        How many rows are concerned; 0 where it is not about rows.
    examples : tuple of Example
        The first three.
    mend : str
        What to do.
    """

    table: str
    column: str
    rule: str
    severity: Severity
    rows: int
    examples: tuple[Example, ...]
    mend: str

    def __str__(self) -> str:
        place = f"{self.table}.{self.column}" if self.column else self.table
        rows = f" in {self.rows:,} row{'s' * (self.rows != 1)}" if self.rows else ""
        cases = f" ({'; '.join(map(str, self.examples))})" if self.examples else ""
        return f"{self.severity} {place}: {self.rule}{rows}{cases}. {self.mend}"


def as_rows(findings: Iterable[Finding]) -> list[tuple[str, ...]]:
    """Put findings into rows of text under `HEADINGS`, errors first, for tables that people read.

    Examples
    --------
    >>> found = Finding("leads", "", "no_leads", "error", 0, (), "Check the export's filter.")
    >>> as_rows([found])
    [('error', 'leads', '', 'no_leads', '', '', "Check the export's filter.")]
    """
    return [
        (
            finding.severity,
            finding.table,
            finding.column,
            finding.rule,
            f"{finding.rows:,}" if finding.rows else "",
            "; ".join(map(str, finding.examples)),
            finding.mend,
        )
        for finding in errors_first(findings)
    ]


def errors_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Order findings by severity."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))


def merged(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Add up findings of one kind that were made on shares of the same tables.

    >>> one = Finding("leads", "x", "not_finite", "error", 2, (Example("line 9", "inf"),), "…")
    >>> merged([one, one])[0].rows
    4
    """
    kinds: dict[tuple[str, ...], list[Finding]] = {}
    for each in findings:
        kinds.setdefault((each.table, each.column, each.rule, each.severity), []).append(each)
    return tuple(
        replace(
            same[0],
            rows=sum(each.rows for each in same),
            examples=tuple(dict.fromkeys(case for each in same for case in each.examples)),
        )
        for same in kinds.values()
    )


class ContractError(ValueError):
    """Tables that break the data contract; the message lists every finding, errors first.

    Attributes
    ----------
    findings : tuple of Finding
    """

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = errors_first(findings)
        lines = "\n".join(f"  {finding}" for finding in self.findings)
        super().__init__(f"the tables break the data contract:\n{lines}")

    def __reduce__(self) -> tuple[type, tuple[tuple[Finding, ...]]]:
        """Rebuild it from its findings when it is sent to another process."""
        return ContractError, (self.findings,)


class UsageError(ValueError):
    """A command that cannot be meant so: the message says what was given and what would do."""
