"""Where a command writes: told before a long run, named when it fails; nothing is written here."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def check_folder(folder: Path) -> None:
    """Raise at once what would be raised at the end of a long run: no files can be made there.

    Raises
    ------
    OSError
        The folder, or the first one above it that exists, is no folder or may not be written.
    """
    whole = folder.absolute()
    there = next(path for path in (whole, *whole.parents) if path.exists())
    wrong = None if there.is_dir() else errno.ENOTDIR
    if wrong is None and not os.access(there, os.W_OK | os.X_OK):
        wrong = errno.EACCES
    if wrong is not None:
        raise OSError(wrong, os.strerror(wrong), str(there))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name the path when it cannot be written: a full disk does not say which file was too much."""
    try:
        yield
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(error.errno, why, str(path)) from error
