"""The command run in this process as people type it, with what it says and its exit code."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import leadqual


@dataclass(frozen=True)
class Done:
    """What a run left: the exit code, and what it wrote to stdout and stderr."""

    code: int
    out: str
    err: str


def run(*arguments: object) -> Done:
    """Run `leadqual` with these arguments; an exception that it does not expect is raised."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    before, sys.argv = sys.argv, ["leadqual", *map(str, arguments)]
    code = 0
    try:
        with redirect_stdout(out), redirect_stderr(err):
            leadqual.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.argv = before
    return Done(code, _text(out), _text(err))


def table(path: Path, *rows: str, encoding: str = "utf-8") -> Path:
    """Write lines as a CSV.

    >>> table(Path("/dev/null"), "lead_id,created_at").name
    'null'
    """
    path.write_text("".join(f"{row}\n" for row in rows), encoding=encoding, newline="")
    return path


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()
