"""What a run keeps beside its output until it is done; what it computes is not here."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.findings import ContractError, UsageError
from features.sources import FileParts, Part, Source
from features.sql_table import SqlTable
from serving.answer_file import OutputError, told

MANIFEST, DONE = "manifest.json", "done.json"


@dataclass(frozen=True)
class RunFolder:
    """A folder beside an output, held by one run at a time.

    Attributes
    ----------
    path : Path
    """

    path: Path

    def kept(self) -> dict[str, Any] | None:
        """Return the manifest of the run that was broken off; None where there is none."""
        try:
            found: dict[str, Any] = json.loads((self.path / MANIFEST).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return found

    def clear(self) -> None:
        """Throw away what a run left."""
        for path in self.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "lock":
                path.unlink()

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Give a path to write to that becomes the file `name` once it is whole."""
        staged = self.path / f".{name}"
        yield staged
        staged.replace(self.path / name)

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Write JSON, whole or not at all."""
        with self.writing(name) as path:
            path.write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")

    def read(self, name: str) -> dict[str, Any]:
        """Read what `write` wrote."""
        found: dict[str, Any] = json.loads((self.path / name).read_text("utf-8"))
        return found

    def has(self, name: str) -> bool:
        """Say whether a file is there, and so whole."""
        return (self.path / name).exists()

    def beside(self, output: Path) -> None:
        """Put the manifest of a run that is done beside its output."""
        with told(output):
            (self.path / DONE).replace(output.with_name(f"{output.name}.manifest.json"))

    def bytes(self) -> int:
        """Say how much of the disk it takes."""
        return sum(path.stat().st_size for path in self.path.rglob("*") if path.is_file())


@contextmanager
def run_folder(output: Path) -> Iterator[RunFolder]:
    """Hold the folder of an output; it goes when the run ends, and stays when it can go on.

    It stays where there is a manifest and the run was broken off, by a full disk or by hand.

    Raises
    ------
    UsageError
        Another run is writing the same output.
    """
    folder = output.with_name(f".{output.name}.run")
    with told(output):
        lock = _locked(folder, output)
    run, resumable = RunFolder(folder), False
    before = run.kept()
    try:
        try:
            yield run
        except ContractError:
            resumable = before is not None and run.kept() == before  # what an earlier run left
            raise
        except BaseException as error:
            resumable = run.kept() is not None
            if isinstance(error, OSError):
                raise _told(error, output, folder if resumable else None) from error
            raise
    finally:
        if not resumable:  # before the lock goes
            shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def refuse_others(kept: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with a run that was begun on something else.

    Raises
    ------
    UsageError
        Names what differs.
    """
    for key in sorted(kept.keys() | now.keys()):
        before, value = kept.get(key), now.get(key)
        if before != value:
            raise UsageError(
                f"--resume: {key} is not what the run that was broken off began with "
                f"({_differing(before, value)}). Run without --resume to start anew"
            )


def digests(sources: Mapping[str, Source]) -> dict[str, list[dict[str, Any]]]:
    """Say which bytes a run reads: name, size and SHA-256 of each file.

    Of a table in a database it is only known which one it is and how many rows it has.
    """
    return {name: [_digest(part) for part in source.parts] for name, source in sources.items()}


def unchanged(sources: Mapping[str, Source]) -> Callable[[], None]:
    """Remember how the files look; the result raises `UsageError` where one has changed since."""
    before = {path: _look(path) for source in sources.values() for path in source.files}

    def check() -> None:
        changed = [str(path) for path, look in before.items() if _look(path) != look]
        if changed:
            raise UsageError(
                f"{', '.join(changed)} changed while it was read: run again when the export is done"
            )

    return check


def _told(error: OSError, output: Path, kept: Path | None) -> OSError:
    """Say what could not be written, and how to go on."""
    if error.filename is not None or (kept is None and isinstance(error, OutputError)):
        return error
    cause = error.__cause__ if isinstance(error, OutputError) else error
    number = getattr(cause, "errno", None)
    why = os.strerror(number) if number else str(cause)
    if kept is None:
        return OutputError(f"{output} cannot be written ({why}): make room, and run again")
    return OutputError(
        f"{output} cannot be written ({why}): make room, and run again with --resume, which goes "
        f"on from what is kept in {kept}"
    )


def _digest(part: Part) -> dict[str, Any]:
    if isinstance(part, SqlTable):
        return {"table": part.shown, "rows": part.about()[0]}
    if not isinstance(part, FileParts):
        raise TypeError(f"{part} is no part of a table that is given")
    return {
        "file": part.path.name,
        "bytes": part.path.stat().st_size,
        "sha256": _sha256(part.path),
    }


def _look(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_size, about.st_mtime_ns


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _differing(before: Any, now: Any) -> str:
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        before, now = next(pair for pair in zip(before, now, strict=True) if pair[0] != pair[1])
    return (
        f"then {json.dumps(before, ensure_ascii=False)}, now {json.dumps(now, ensure_ascii=False)}"
    )


def _locked(folder: Path, output: Path) -> int:
    """Lock a file in the folder, which ends with the process; whoever holds it may remove both."""
    while True:
        folder.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(handle).st_ino == (folder / "lock").stat().st_ino:
                    return handle
            except BlockingIOError:
                os.close(handle)
                raise UsageError(
                    f"--output {output}: another run is writing it. Wait for that one, or name "
                    "another file"
                ) from None
            except FileNotFoundError:
                pass
            os.close(handle)
