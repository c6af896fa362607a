import pickle

import pytest

from features import contract, rules
from features.contract import (
    EVENTS,
    LEADS,
    OUTCOMES,
    RULES,
    TABLES,
    Column,
    ContractError,
    Example,
    Finding,
)


def test_the_tables_have_the_columns_that_users_rely_on():
    columns = {
        table.name: {column.name: column.required for column in table.columns} for table in TABLES
    }
    assert columns == {
        "leads": {"lead_id": True, "created_at": True, "suppress": False},
        "events": {
            "lead_id": True,
            "occurred_at": True,
            "event_type": True,
            "event_id": False,
            "value": False,
            "channel": False,
            "recorded_at": False,
        },
        "changes": {
            "lead_id": True,
            "changed_at": True,
            "attribute": True,
            "value": True,
            "recorded_at": False,
        },
        "outcomes": {
            "lead_id": True,
            "closed_at": True,
            "outcome": True,
            "amount": False,
            "recorded_at": False,
        },
    }


def test_only_leads_have_attributes():
    assert [table.attributes for table in (LEADS, EVENTS, OUTCOMES)] == [True, False, False]


def test_a_column_is_found_by_its_name():
    value = EVENTS.column("value")
    assert isinstance(value, Column)
    assert (value.kind, value.required) == ("number", False)
    assert EVENTS.column("industry") is None


def test_rules_have_names_of_their_own():
    names = [rule.name for rule in RULES]
    assert len(names) == len(set(names))


def test_a_finding_says_table_column_rule_rows_examples_and_mend():
    finding = Finding(
        "events",
        "value",
        "not_a_number",
        "error",
        1_234,
        (Example("line 7", "x"), Example("line 9", "１o")),
        "Write it as 1234.5.",
    )
    assert str(finding) == (
        "error events.value: not_a_number in 1,234 rows (line 7: x; line 9: １o). "
        "Write it as 1234.5."
    )


def test_a_finding_about_a_whole_table_names_no_column_and_no_rows():
    finding = Finding("leads", "", "no_leads", "error", 0, (), "Check the export's filter.")
    assert str(finding) == "error leads: no_leads. Check the export's filter."


def test_an_error_lists_all_findings_errors_first():
    note = Finding("events", "", "empty_table", "note", 0, (), "Nothing.")
    warning = Finding("events", "lead_id", "unknown_lead", "warning", 2, (), "Nothing.")
    error = Finding("leads", "lead_id", "missing_id", "error", 1, (), "Fill it in.")
    raised = ContractError([note, warning, error])
    assert raised.findings == (error, warning, note)
    assert str(raised) == (
        "the tables break the data contract:\n"
        "  error leads.lead_id: missing_id in 1 row. Fill it in.\n"
        "  warning events.lead_id: unknown_lead in 2 rows. Nothing.\n"
        "  note events: empty_table. Nothing."
    )
    assert isinstance(raised, ValueError)


def test_an_error_survives_the_way_to_another_process():
    finding = Finding("leads", "lead_id", "missing_id", "error", 1, (), "Fill it in.")
    there = pickle.loads(pickle.dumps(ContractError([finding])))
    assert there.findings == (finding,)


def test_a_finding_of_a_rule_has_its_severity_and_the_facts_of_the_case():
    finding = rules.found("missing_column", "leads", "created_at", nearest="Created", names="a, b")
    assert finding.severity == "error"
    assert finding.mend == (
        'Say which column it is in leadqual.toml: [columns] leads.created_at = "Created"; '
        "the table has a, b."
    )


def test_a_finding_keeps_three_examples():
    examples = [Example(f"line {n}", "x") for n in range(2, 7)]
    finding = rules.found("not_a_time", "leads", "created_at", rows=5, examples=examples)
    assert [example.where for example in finding.examples] == ["line 2", "line 3", "line 4"]


def test_a_rule_that_is_not_declared_cannot_be_reported():
    with pytest.raises(KeyError):
        rules.found("no_such_rule", "leads")


def test_the_page_names_every_table_column_and_rule_with_its_severity_and_mend():
    page = contract.to_markdown()
    for table in TABLES:
        assert f"## {table.name}\n\n{table.rule}\n" in page
        for column in table.columns:
            required = "yes" if column.required else "no"
            row = f"| `{column.name}` | {column.kind} | {required} | {column.meaning} |"
            assert row in page
    for rule in RULES:
        assert f"| `{rule.name}` | {rule.severity} | {rule.meaning} |" in page
    assert "| Export … again: …. |" in page
    assert "{" not in page


def test_the_page_lists_errors_before_warnings_before_notes():
    page = contract.to_markdown()
    rows = [line.split(" | ")[1] for line in page.splitlines() if line.startswith("| `")]
    severities = rows[-len(RULES) :]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
