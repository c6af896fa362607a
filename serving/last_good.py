"""Which model served last, noted on disk for a start without the registry; no files of it."""

import hashlib
import json
import os
from pathlib import Path

from training.registry import Fetched

FOLDER = ".last_good"


def note(cache: Path, model: str, uri: str, fetched: Fetched) -> None:
    """Note what serves now, in one piece or not at all.

    Parameters
    ----------
    cache : Path
        That holds its files.
    model, uri : str
        As it was asked for, and of which registry.
    fetched : Fetched
    """
    place = _place(cache, model, uri)
    place.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "name": fetched.name,
        "version": fetched.version,
        "digest": fetched.digest,
        "folder": str(fetched.folder.relative_to(cache)),
    }
    staged = place.with_suffix(f".{os.getpid()}")
    with staged.open("w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(place)


def recall(cache: Path, model: str, uri: str) -> Fetched | None:
    """Return what served last; None where nothing was noted. Whether it is sound, loading tells."""
    try:
        found = json.loads(_place(cache, model, uri).read_bytes())
        folder = cache / found["folder"]
        return Fetched(folder, found["name"], found["version"], found["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _place(cache: Path, model: str, uri: str) -> Path:
    """Return the note's file; a password that changes makes no other registry."""
    key = f"{model}\n{uri.rpartition('@')[2]}"
    return cache / FOLDER / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
