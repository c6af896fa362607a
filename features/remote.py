"""Files of remote stores, such as ``s3://bucket/leads``, by fsspec and the driver of a store."""

from pathlib import Path
from typing import Any, cast

from features.contract import ContractError
from features.faults import LONGEST_REASON, shown
from features.rules import found

DATABASES = frozenset(
    ("sqlite", "postgresql", "postgres", "mysql", "mariadb", "mssql", "oracle", "duckdb")
)


def is_remote(source: str) -> bool:
    """Say whether an address is of files; else it is of a table in a database.

    >>> is_remote("s3://bucket/leads"), is_remote("sqlite:///crm.db#leads"), is_remote("leads.csv")
    (True, False, False)
    """
    scheme, is_url, rest = source.partition("://")
    return bool(is_url) and "#" not in rest and scheme.partition("+")[0] not in DATABASES


def remote(table: str, address: str) -> Path:
    """Give a file or folder of a remote store, which is used as a path of this machine is.

    Raises
    ------
    ContractError
        There is no driver for it, or the store does not answer.
    """
    try:
        from upath import UPath  # noqa: PLC0415  # only with the extra

        path = UPath(address)
        path.exists()
    except Exception as reason:  # whatever a driver raises
        text = shown(reason, LONGEST_REASON)
        raise ContractError([found("cannot_reach", table, path=address, reason=text)]) from reason
    return cast(Path, path)


def opened(path: Path) -> Any:
    """Give what Arrow reads a file by: its name, or a remote one opened."""
    return str(path) if isinstance(path, Path) else path.open("rb")
