"""How commands talk: results on stdout, as a table or as JSON, and everything else on stderr."""

import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.console import Console

    from features.findings import Finding

SECONDS_BETWEEN_LINES = 60.0
COLUMNS = 120
"""How wide tables are where nobody looks: in a log."""
STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def console(*, result: bool = False) -> "Console":
    """Return the console for people: stderr, so that stdout stays free, or stdout for a result."""
    from rich.console import Console

    def screen(width: int | None = None) -> Console:
        return Console(stderr=not result, soft_wrap=True, highlight=False, emoji=False, width=width)

    return screen() if screen().is_terminal else screen(COLUMNS)


def say(message: str, *, result: bool = False) -> None:
    """Print a message for a person; brackets in it are text."""
    console(result=result).print(printable(message), markup=False)


def answer(result: Any) -> None:
    """Print a machine-readable result on stdout."""
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    sys.stdout.write(json.dumps(result, ensure_ascii=not unicode, indent=1, default=str) + "\n")


def printable(text: str) -> str:
    r"""Return a text without what would steer a terminal, such as escape codes in a CRM's cells.

    >>> printable("a\x1b[31mb\n甲")
    'a\ufffd[31mb\n甲'
    """
    return STEERING.sub("\ufffd", text)


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    result: bool = False,
) -> None:
    """Print a table for a person.

    The first column names the row and is never broken, numbers stand to the right, and a column
    without any cell is left out.
    """
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=Text(title, "bold"), title_justify="left")
    cells = [["" if cell is None else printable(str(cell)) for cell in row] for row in rows]
    kept = [at for at in range(len(columns)) if not cells or any(row[at] for row in cells)]
    for at in kept:
        justify: Literal["left", "right"] = (
            "right" if cells and all(_is_figure(row[at]) for row in cells) else "left"
        )
        shown.add_column(columns[at], justify=justify, overflow="fold", no_wrap=at == 0)
    for row in cells:
        shown.add_row(*(Text(row[at]) for at in kept))
    console(result=result).print(shown)


def findings(found: Sequence["Finding"], title: str = "Findings", *, result: bool = False) -> None:
    """Print findings of the data contract as a table, errors first; nothing when there is none."""
    from features.findings import HEADINGS, as_rows

    if found:
        table(title, HEADINGS, as_rows(found), result=result)


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
