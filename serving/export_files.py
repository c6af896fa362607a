"""Tables of the service's database as files; what stands in them is not decided here."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from features.findings import UsageError
from features.output_place import check_folder
from serving.answer_file import answer_file, told
from serving.store import export
from serving.store.database import Database

Progress = Callable[[int, str], AbstractContextManager[Callable[[int], None]]]


def wanted(names: str | None) -> tuple[str, ...]:
    """Return the tables that an option names; all where it is left out.

    Raises
    ------
    UsageError
        There is no such table.

    Examples
    --------
    >>> wanted("leads, events")
    ('leads', 'events')
    """
    if names is None:
        return export.NAMES
    found = tuple(dict.fromkeys(name.strip() for name in names.split(",")))
    unknown = [name for name in found if name not in export.NAMES]
    if unknown:
        raise UsageError(
            f"--tables {', '.join(unknown)}: there is no such table; choose of "
            f"{', '.join(export.NAMES)}"
        )
    return found


def export_files(
    database: Database, folder: Path, names: Sequence[str], form: str, *, progress: Progress
) -> dict[str, int]:
    """Write tables as they are at one moment, a file each, all of them or none.

    Parameters
    ----------
    database : Database
    folder : Path
        Is made where there is none.
    names : sequence of str
        Of `export.NAMES`.
    form : str
        ``parquet`` or ``csv``, UTF-8 with a byte-order mark.
    progress : callable
        Takes the number of rows and the name of a table; see `features.terminal.rows_done`.

    Returns
    -------
    dict
        Rows by table.

    Raises
    ------
    DatabaseError
    OutputError
        The folder is not writable or full; what stood there stays.
    """
    check_folder(folder)
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
    rows = {}
    with ExitStack() as files, database.reading(patient=True) as connection:
        for name in names:
            path = folder / f"{name}.{form}"
            write = files.enter_context(answer_file(path, path.with_name(f".{path.name}.part")))
            table = export.table(name)
            rows[name] = table.rows(connection)
            with progress(rows[name], name) as done:
                for part in table.parts(connection):
                    write(part)
                    done(len(part))
    return rows
