"""What was found in the shares of tables, told as if the tables had been read whole."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import partitions, rejects
from features.findings import ContractError, Finding
from features.partitions import Split
from features.rules import found as rule


def of_whole(splits: Mapping[str, Split], told: Iterable[Finding]) -> tuple[Finding, ...]:
    """Add up what was found in all shares, with where the first rows stand."""
    empty = [rule("empty_table", name) for name, split in splits.items() if not split.rows]
    layouts = {name: split.layout for name, split in splits.items()}
    return partitions.placed([*told, *empty], layouts)


def set_aside(
    splits: Mapping[str, Split],
    parts: Sequence[Path],
    path: Path,
    max_share: float,
    findings: tuple[Finding, ...],
) -> None:
    """Put the rows that shares set aside into one file, in order, under where they stand.

    Parameters
    ----------
    splits : mapping of table name to Split
    parts : sequence of Path
        What `rejects.write` wrote of each share.
    path : Path
    max_share : float
        Of a table's rows may be set aside.
    findings : tuple of Finding
        From `of_whole`.

    Raises
    ------
    ContractError
        There are more of them than may be.
    """
    every = pa.concat_tables(map(rejects.read, parts))
    own = {name: every.filter(pc.equal(every["table"], name)) for name in splits}
    rejects.write(path, [_placed(own[name], split) for name, split in splits.items()])
    over = [
        rejects.too_many(name, len(own[name]), split.rows + len(split.ragged), max_share)
        for name, split in splits.items()
    ]
    if any(over):
        raise ContractError([*filter(None, over), *map(rejects.left_in, findings)])


def _placed(own: pa.Table, split: Split) -> pa.Table:
    order = np.argsort(partitions.rows_named(own["where"].to_pylist()), kind="stable")
    own = own.take(pa.array(order))
    places = pa.array(partitions.named(split.layout, own["where"].to_pylist()), pa.string())
    return own.set_column(own.schema.get_field_index("where"), "where", places)
