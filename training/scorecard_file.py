"""A scorecard as a skops archive and back; nothing is unpickled, and nothing else is opened."""

import io
import json
from pathlib import PurePath
from typing import Any
from zipfile import ZipFile, ZipInfo

import skops.io

from training.scorecard import Scorecard

TRUSTED_TYPES = ["training.scorecard.Scorecard"]
SCHEMA = "schema.json"


def dumps(scorecard: Scorecard) -> bytes:
    """Return the archive; equal scorecards give equal bytes.

    skops writes memory addresses as ids and the time of day into it: here ids are numbered in the
    order in which they occur, and the time is left out.

    Examples
    --------
    >>> loads(dumps(Scorecard(bins=7))).bins
    7
    """
    archive = ZipFile(io.BytesIO(skops.io.dumps(scorecard)))
    number: dict[str, int] = {}

    def settle(node: dict[str, Any]) -> dict[str, Any]:
        if "__id__" in node:
            node["__id__"] = number.setdefault(str(node["__id__"]), len(number) + 1)
        if "file" in node:
            node["file"] = _renamed(node["file"], number)
        return node

    schema = json.loads(archive.read(SCHEMA), object_hook=settle)
    content = {
        _renamed(name, number): archive.read(name) for name in archive.namelist() if name != SCHEMA
    }
    return _zipped({**content, SCHEMA: json.dumps(schema).encode()})


def loads(archive: bytes) -> Scorecard:
    """Open an archive from `dumps`.

    Raises
    ------
    ValueError
        It is no such archive, or holds anything but a scorecard and what one is made of.
    """
    try:
        foreign = set(skops.io.get_untrusted_types(data=archive)) - set(TRUSTED_TYPES)
        loaded = foreign or skops.io.loads(archive, trusted=TRUSTED_TYPES)
    except Exception as error:  # skops raises whatever zip, json and its nodes raise
        raise ValueError("is no skops archive that can be opened") from error
    if not isinstance(loaded, Scorecard):
        found = ", ".join(sorted(foreign)) or type(loaded).__name__
        raise ValueError(f"holds {found}, expected only a Scorecard: do not use it")  # noqa: TRY004
    return loaded


def _renamed(name: str, number: dict[str, int]) -> str:
    path = PurePath(name)
    return f"{number[path.stem]}{path.suffix}"


def _zipped(content: dict[str, bytes]) -> bytes:
    whole = io.BytesIO()
    with ZipFile(whole, "w") as archive:
        for name, part in content.items():
            archive.writestr(ZipInfo(name), part)
    return whole.getvalue()
