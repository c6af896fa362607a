"""A folder that holds a model with its report: always the files of one run, and of no two."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from features import terminal
from training.tracking import JUDGED, REPORTS

MANIFEST = "manifest.json"
JUDGED_FILES = tuple(f"{JUDGED}/{table}.parquet" for table in ("leads", "events"))
OURS = (MANIFEST, "estimator.skops", "trees.txt", "reference.json", *REPORTS, *JUDGED_FILES)
"""What a run may leave; anything else in the folder is somebody else's and stays."""
STAGED, PREVIOUS = ".staged-", ".previous-"
ABANDONED_SECONDS = 24 * 3600


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Give an empty place to write into; what is there at the end replaces an earlier run's files.

    With an error, a full disk say, the folder stays as it was. The manifest goes first and comes
    last, so that a folder torn by a kill never loads; the next run puts back what was there.

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
    staged = Path(tempfile.mkdtemp(prefix=STAGED, dir=folder))
    _mend(folder, staged.stat().st_mtime)
    try:
        yield staged
        _swap(staged, folder)
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


def _swap(staged: Path, folder: Path) -> None:
    previous = Path(tempfile.mkdtemp(prefix=PREVIOUS, dir=folder))
    try:
        _move(OURS, folder, previous)
        _move(OURS[::-1], staged, folder)
    except BaseException:
        _put_back(previous, folder)
        raise
    shutil.rmtree(previous)
    _drop_empty(folder / JUDGED)


def _move(names: Iterable[str], source: Path, target: Path) -> None:
    """Move files in this order: the manifest goes first, and comes last."""
    for name in names:
        path = source / name
        if path.is_file():
            (target / name).parent.mkdir(exist_ok=True)
            path.replace(target / name)


def _put_back(previous: Path, folder: Path) -> None:
    for name in OURS:
        if (folder / name).is_file():
            (folder / name).unlink()
    _move(OURS[::-1], previous, folder)
    shutil.rmtree(previous)
    _drop_empty(folder / JUDGED)


def _mend(folder: Path, now: float) -> None:
    """Put back what a killed run had moved away, and clear what one left long ago."""
    for previous in folder.glob(f"{PREVIOUS}*"):
        if (folder / MANIFEST).is_file():
            shutil.rmtree(previous)  # the run was through but for this
        else:
            _put_back(previous, folder)
    for staged in folder.glob(f"{STAGED}*"):
        if now - staged.stat().st_mtime > ABANDONED_SECONDS:
            shutil.rmtree(staged, ignore_errors=True)


def _drop_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
