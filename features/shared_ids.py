"""Ids of events that stand under several leads, found on disk: no share sees more than one of them.

Of each event eight bytes are written: 40 bits of its id's hash and 24 of its lead's, into a file by
further bits of the id's hash. Sorted, ids of several leads stand side by side; what is found so is
then looked at in full.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.faults import NO_ROWS, Int64

LEAD = np.uint64((1 << 24) - 1)

Hashes = npt.NDArray[np.uint64]


def note(folder: Path, files: int, ids: Hashes, leads: Hashes) -> None:
    """Append events to the files; those without an id, hashed as 0, are left out."""
    ids, leads = ids[ids > 0], leads[ids > 0]
    file = (ids % np.uint64(files)).astype(np.uint16)
    order = np.argsort(file, kind="stable")
    keys = ((ids & ~LEAD) | (leads & LEAD))[order]
    ends = np.cumsum(np.bincount(file, minlength=files))
    for at, few in enumerate(np.split(keys, ends[:-1])):
        with _path(folder, at).open("ab") as out:
            out.write(few.tobytes())


def suspects(folder: Path, files: int) -> Hashes:
    """Give the ids (without the bits that are the lead's) that seem to have several leads."""
    found = []
    for at in range(files):
        path = _path(folder, at)
        keys = np.sort(np.fromfile(path, np.uint64)) if path.exists() else np.empty(0, np.uint64)
        same_id = (keys[1:] ^ keys[:-1]) <= LEAD
        found.append(np.unique(keys[1:][same_id & (keys[1:] != keys[:-1])] & ~LEAD))
        path.unlink(missing_ok=True)
    return np.unique(np.concatenate([np.empty(0, np.uint64), *found]))


def conflicting(events: Iterable[tuple[Int64, pa.Array, pa.Array]]) -> Int64:
    """Give the rows in which an id stands under another lead than in its first row.

    Of each other lead that is the first row; whether its further rows say something else, their
    share tells.

    Parameters
    ----------
    events : iterable of (rows, ids, leads)
        All events of suspected ids, a share at a time: a lead stands in one share.

    Examples
    --------
    >>> rows, ids, leads = np.array([4, 7, 9]), pa.array(["x", "x", "x"]), pa.array(["a", "b", "b"])
    >>> conflicting([(rows, ids, leads)]).tolist()
    [7]
    """
    parts = [_first(*each) for each in events]
    table = pa.concat_tables(parts) if parts else None
    if table is None or not len(table):
        return NO_ROWS
    first = table.group_by("id").aggregate([("row", "min")])
    others = np.setdiff1d(table["row"].to_numpy(), first["row_min"].to_numpy())
    return others.astype(np.int64)


def _first(rows: Int64, ids: pa.Array, leads: pa.Array) -> pa.Table:
    """Give the first row of each id and lead."""
    table = pa.table({"row": rows, "id": ids, "lead": leads})
    first = table.group_by(["id", "lead"]).aggregate([("row", "min")])
    return first.select(["id", "row_min"]).rename_columns(["id", "row"])


def _path(folder: Path, at: int) -> Path:
    return folder / f"{at:04d}.ids"
