"""The pages of docs/ that are made from the code: `make docs` writes them, a test compares them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from features import catalogue, contract
from serving.store import verification

FOLDER = Path(__file__).resolve().parent
MADE = "<!-- Made from the code by `make docs`: change it there. -->"


def pages() -> dict[str, str]:
    """Give the text of every generated page by its file name."""
    return {
        "data-contract.md": data_contract(),
        "event-types.md": event_types(),
        "features.md": features(),
    }


def data_contract() -> str:
    """Describe the tables a user brings: their columns and rules."""
    title, _, rest = contract.to_markdown().partition("\n\n")
    return f"{title}\n\n{MADE}\n\n{rest}"


def event_types() -> str:
    """Describe the event types that have a meaning, and which events count as a machine's."""
    rows = [
        (
            f"`{name}`",
            each.english,
            each.japanese,
            each.channel,
            "sales" if name in catalogue.SALES_TYPES else "marketing",
            "by rule" if each.checked else "yes",
        )
        for name, each in catalogue.EVENT_TYPES.items()
        if name != catalogue.OTHER
    ]
    burst, seconds = verification.BURST, verification.BURST_US // verification.SECOND_US
    at_once = verification.AT_ONCE_US // verification.SECOND_US
    deliveries = " and ".join(f"`{name}`" for name in verification.DELIVERIES)
    parts = [
        "# Event types",
        MADE,
        "Other names are welcome: a type that a model did not learn counts as other activity. The "
        "channel is the one by nature; an event keeps the channel that it is sent with, and gets "
        "none where it has none, since a model learned from events as they are. Types of the sales "
        "process end what a lead is learned from, and are no features unless a config says so.",
        markdown(("type", "meaning", "意味", "channel", "process", "verified"), rows),
        "## Verified or not",
        f"Machines open and click, too. The service keeps such events and gives their type the "
        f"ending `{catalogue.UNVERIFIED}`, in scores and in training: they count apart. Marked are",
        f"- clicks, and opens, of which {burst} or more of one lead come within {seconds} seconds, "
        f"and opens within {seconds} seconds of such clicks: a scanner follows every link;\n"
        f"- opens and clicks within {at_once} seconds of a delivery, where the sender tells of it "
        f"({deliveries});\n"
        "- events by `/v1/track` and `/v1/batch` whose `context.userAgent` is a program's.",
        "A later event can show that earlier ones were a machine's: it does not matter in which "
        "order they come. A lone open or click is never marked: nothing tells it from a person's, "
        "and a model that learned from exported files knows it under its own name.",
    ]
    return "\n\n".join(parts) + "\n"


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
