"""How commands talk: tables and stages for people on stderr, JSON for programs on stdout."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from features.findings import Finding

SECONDS_BETWEEN_LINES = 60.0
COLUMNS = 120
"""How wide tables are where nobody looks: in a log."""


def console() -> "Console":
    """Return the console for people: stderr, so that stdout stays free for results."""
    from rich.console import Console

    screen = Console(stderr=True, soft_wrap=True, highlight=False)
    return (
        screen
        if screen.is_terminal
        else Console(stderr=True, soft_wrap=True, highlight=False, width=COLUMNS)
    )


def say(message: str) -> None:
    """Print one line for a person; brackets in it are text."""
    console().print(message, markup=False)


def answer(result: Any) -> None:
    """Print a machine-readable result on stdout."""
    sys.stdout.write(json.dumps(result, ensure_ascii=False, indent=1, default=str) + "\n")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table for a person; the first column names the row, numbers stand to the right."""
    from rich.table import Table

    shown = Table(title=title, title_justify="left", title_style="bold")
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    for at, name in enumerate(columns):
        numeric = bool(cells) and all(_is_figure(row[at]) for row in cells)
        shown.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        shown.add_row(*(cell.replace("[", "\\[") for cell in row))
    console().print(shown)


def findings(found: Sequence["Finding"], title: str = "Findings") -> None:
    """Print findings of the data contract as a table; nothing when there is none."""
    if not found:
        return
    rows = [
        (
            finding.severity,
            finding.table,
            finding.column,
            finding.rule,
            f"{finding.rows:,}" if finding.rows else "",
            "; ".join(f"{example.where}: {example.value}" for example in finding.examples),
            finding.mend,
        )
        for finding in found
    ]
    table(title, ("severity", "table", "column", "rule", "rows", "examples", "what to do"), rows)


@contextmanager
def stages(total: int) -> Iterator[Callable[[str], None]]:
    """Announce the stages of a long run: a bar on a terminal, one line a stage elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    screen = console()
    if screen.is_terminal:
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=screen,
        ) as progress:
            task = progress.add_task("", total=total)
            started = False

            def advance(name: str) -> None:
                nonlocal started
                progress.update(task, description=name, advance=1 if started else 0)
                started = True

            yield advance
            progress.update(task, description="done", completed=total)
    else:
        yield lambda name: say(f"… {name}")


@contextmanager
def rows_done(total: int, what: str) -> Iterator[Callable[[int], None]]:
    """Count rows of a long run: a bar with time left on a terminal, a line a minute elsewhere."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    screen = console()
    if screen.is_terminal:
        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=screen) as progress:
            task = progress.add_task(what, total=total)
            yield lambda rows: progress.update(task, advance=rows)
        return
    done, said = 0, time.monotonic()

    def count(rows: int) -> None:
        nonlocal done, said
        done += rows
        if time.monotonic() - said > SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            say(f"… {what}: {done:,} of {total:,}")

    yield count


def _is_figure(cell: str) -> bool:
    return (
        not cell
        or cell.lstrip("-+").replace(",", "").replace(".", "").replace("%", "").strip().isdigit()
    )
