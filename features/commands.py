"""The command `leadqual features`, and the options that the commands of all packages share."""

from dataclasses import asdict
from typing import Annotated

import typer

from features import terminal

app = typer.Typer()

Leads = Annotated[
    str,
    typer.Option(
        "--leads", help="A CSV, a Parquet file, a folder of parts, or a SQL URL with #table."
    ),
]
Events = Annotated[str, typer.Option("--events", help="The engagement events, in the same forms.")]
Changes = Annotated[
    str | None,
    typer.Option("--changes", help="The history of attributes, if there is one, alike."),
]
Timezone = Annotated[
    str | None, typer.Option("--timezone", help="The zone of times without one: Asia/Tokyo.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print machine-readable results on stdout.")]
RejectFile = Annotated[
    str | None, typer.Option("--reject-file", help="Set bad rows aside into this CSV and go on.")
]
RejectShare = Annotated[
    float,
    typer.Option("--max-rejected-share", min=0, max=1, help="Of a table's rows, at most so many."),
]


@app.command()
def features(as_json: AsJson = False) -> None:
    """Print the catalogue of features.

    Each has a name, a unit, a window, a concept and its meaning in English and Japanese.
    """
    from features.catalogue import CONCEPTS, standard

    found = standard()
    if as_json:
        terminal.answer([asdict(feature) for feature in found])
        return
    terminal.table(
        f"{len(found)} features of the standard event types; each attribute of a lead adds one",
        ("name", "unit", "window", "concept", "meaning", "意味"),
        [(f.name, f.unit, f.window, f.concept, f.english, f.japanese) for f in found],
        result=True,
    )
    terminal.table(
        "Concepts",
        ("concept", "meaning", "意味"),
        [(name, *texts) for name, texts in CONCEPTS.items()],
        result=True,
    )
