"""A folder that holds a model with its report: always the files of one run, and of no two."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from features import terminal
from training.tracking import JUDGED, REPORTS

MANIFEST = "manifest.json"
JUDGED_FILES = tuple(f"{JUDGED}/{table}.parquet" for table in ("leads", "events"))
OURS = (MANIFEST, "estimator.skops", "trees.txt", "reference.json", *REPORTS, *JUDGED_FILES)
"""What a run may leave; anything else in the folder is somebody else's and stays."""


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Give an empty place to write into; what is there at the end replaces an earlier run's files.

    With an error, a full disk say, the folder stays as it was. The manifest goes first and comes
    last, so that a folder torn by a kill never loads.

    Examples
    --------
    >>> model = Path(tempfile.mkdtemp())
    >>> (model / "report.json").touch(), (model / "notes.txt").touch()
    (None, None)
    >>> with replacing(model) as staged:
    ...     (staged / "manifest.json").touch()
    >>> sorted(path.name for path in model.iterdir())
    ['manifest.json', 'notes.txt']
    """
    created = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=".staged-", dir=folder))
    try:
        yield staged
        _clear(folder)
        for path in _manifest_last(staged):
            target = folder / path.relative_to(staged)
            target.parent.mkdir(exist_ok=True)
            path.replace(target)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        if created and not any(folder.iterdir()):
            folder.rmdir()


@contextmanager
def told_if_kept(folder: Path) -> Iterator[None]:
    """Say, when a run ends with an error, that the model in the folder is an earlier run's."""
    before = _stamp(folder)
    try:
        yield
    except Exception:
        if before and before == _stamp(folder):
            terminal.say(f"{folder} is as it was: what it holds is of an earlier run, not of this")
        raise


def _stamp(folder: Path) -> list[tuple[str, int]]:
    """Tell when each of a run's files was written."""
    found = (folder / name for name in OURS)
    return [(path.name, path.stat().st_mtime_ns) for path in found if path.is_file()]


def _clear(folder: Path) -> None:
    for name in OURS:
        (folder / name).unlink(missing_ok=True)
    judged = folder / JUDGED
    if judged.is_dir() and not any(judged.iterdir()):
        judged.rmdir()


def _manifest_last(staged: Path) -> list[Path]:
    files = (path for path in staged.rglob("*") if path.is_file())
    return sorted(files, key=lambda path: (path.name == MANIFEST, path))
