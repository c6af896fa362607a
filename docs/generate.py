"""The pages of docs/ that are made from the code: `make docs` writes them, a test compares them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from features import catalogue, contract

FOLDER = Path(__file__).resolve().parent
MADE = "<!-- Made from the code by `make docs`: change it there. -->"


def pages() -> dict[str, str]:
    """Give the text of every generated page by its file name."""
    return {"data-contract.md": data_contract(), "features.md": features()}


def data_contract() -> str:
    """Describe the tables a user brings: their columns and rules."""
    title, _, rest = contract.to_markdown().partition("\n\n")
    return f"{title}\n\n{MADE}\n\n{rest}"


def features() -> str:
    """Describe the features of the standard event types, and what reasons speak of."""
    listed = catalogue.standard()
    rows = [
        (f"`{each.name}`", each.unit, each.window, each.concept, each.english, each.japanese)
        for each in listed
    ]
    concepts = [(f"`{name}`", *texts) for name, texts in catalogue.CONCEPTS.items()]
    parts = [
        "# Features",
        MADE,
        f"The {len(listed)} features of the standard event types; every other event type has the "
        "same ones, and each attribute of a lead adds one. Time windows end at `as_of`.",
        markdown(("name", "unit", "window", "concept", "meaning", "意味"), rows),
        "## Concepts",
        "The groups that reasons speak of.",
        markdown(("concept", "meaning", "意味"), concepts),
    ]
    return "\n\n".join(parts) + "\n"


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""Lay out a table in Markdown.

    >>> print(markdown(("name", "unit"), [("age", "a | b")]))
    | name | unit |
    | --- | --- |
    | age | a \| b |
    """
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [columns, ["---"] * len(columns), *escaped]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
