"""Options and lines that several commands of training share."""

import time
from pathlib import Path
from typing import Annotated

import typer

from features import terminal

DEFAULT_URI = "sqlite:///mlflow.db"

Outcomes = Annotated[str, typer.Option("--outcomes", help="The outcomes, in the same forms.")]
Source = Annotated[
    str | None,
    typer.Option("--source", help="The service's database, in place of the tables: its URL."),
]
LeadsUnlessSource = Annotated[
    str | None,
    typer.Option(
        "--leads", help="A CSV, a Parquet file, a folder of parts, or a SQL URL with #table."
    ),
]
EventsUnlessSource = Annotated[
    str | None, typer.Option("--events", help="The engagement events, in the same forms.")
]
OutcomesUnlessSource = Annotated[
    str | None, typer.Option("--outcomes", help="The outcomes, in the same forms.")
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="leadqual.toml; without it, the defaults.")
]
Until = Annotated[
    str | None, typer.Option("--until", help="When the export was made; default: its newest time.")
]
Horizon = Annotated[
    int | None,
    typer.Option("--horizon-days", min=1, max=3_650, help="Days within which a win counts."),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="One seed, one result.")]
Registry = Annotated[
    str, typer.Option("--registry", envvar="MLFLOW_TRACKING_URI", help="The MLflow registry.")
]


def now_us() -> int:
    """Return the clock, microseconds since the epoch (UTC)."""
    return time.time_ns() // 1_000


def say_until(until: str | None, until_us: int, *, undated: bool = False) -> None:
    """Say which moment was taken where --until was not given, and there is one."""
    from features.moments import iso

    if until is None and not undated:
        newest = iso(until_us)
        terminal.say(f"--until is not given: the newest time in the tables is taken, {newest}")
