"""Answers that were written in shares, in the order of the leads table; nothing is scored here."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.history import Int64
from features.partitions import ROW
from serving.blocks import ROWS_PER_BLOCK
from training.scorer import DECISIONS, apply_capacity

ROWS_AT_ONCE = 4_096


def merged(shares: Sequence[Path], rows: int, capacity: int | None) -> Iterator[pa.Table]:
    """Give answers block by block, without their rows.

    Parameters
    ----------
    shares : sequence of Path
        Arrow or Parquet files; in each the column `ROW`, the row of the leads table, ascends.
    rows : int
        Of the leads table.
    capacity : int or None
        Hand-offs beyond it are nurtured, and there is a column ``rank``. It takes some 40 bytes a
        lead; all else takes no more for more leads.
    """
    rank = None if capacity is None else _rank(shares, rows)
    with ExitStack() as opened:
        readers = [_Reader(opened.enter_context(closing(_tables(path)))) for path in shares]
        for start in range(0, max(rows, 1), ROWS_PER_BLOCK):
            parts = [reader.below(start + ROWS_PER_BLOCK) for reader in readers]
            block = pa.concat_tables(parts).unify_dictionaries()
            block = block.take(pc.sort_indices(block[ROW]))
            row, block = block[ROW].to_numpy(), block.drop_columns([ROW])
            yield block if rank is None else _within(block, rank[row], capacity or 0)


class _Reader:
    """A share, read on in order."""

    def __init__(self, tables: Iterator[pa.Table]) -> None:
        self._tables, self._rest = tables, next(tables)

    def below(self, row: int) -> pa.Table:
        """Give the next answers whose row is below a number."""
        parts, last = [self._rest], self._rest
        while not len(last) or last[ROW][-1].as_py() < row:
            following = next(self._tables, None)
            if following is None:
                break
            parts.append(last := following)
        table = pa.concat_tables(parts)
        few = int(np.searchsorted(table[ROW].to_numpy(), row))
        self._rest = table.slice(few)
        return table.slice(0, few)


def _tables(path: Path, names: Sequence[str] | None = None) -> Generator[pa.Table]:
    """Give a share in tables of some rows: first an empty one."""
    if path.suffix == ".parquet":
        with pq.ParquetFile(path, pre_buffer=False) as file:
            columns = names or file.schema_arrow.names
            yield file.schema_arrow.empty_table().select(columns)
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=columns):
                yield pa.Table.from_batches([batch]).select(columns)
        return
    with pa.OSFile(str(path), "rb") as source, pa.ipc.open_file(source) as file:
        columns = names or file.schema.names
        yield file.schema.empty_table().select(columns)
        for at in range(file.num_record_batches):
            yield pa.Table.from_batches([file.get_batch(at)]).select(columns)


def _rank(shares: Sequence[Path], rows: int) -> Int64:
    names = [ROW, "lead_id", "score", "decision"]
    every = pa.concat_tables(table for path in shares for table in _tables(path, names))
    every = every.unify_dictionaries().combine_chunks()
    row = every[ROW].to_numpy()
    order = np.argsort(row)
    every = every.take(pa.array(order))
    decision = pc.index_in(every["decision"].cast(pa.string()), pa.array(DECISIONS))
    rank = np.zeros(rows, np.int64)
    rank[row[order]], _ = apply_capacity(
        every["score"].fill_null(np.nan).to_numpy(),
        every["lead_id"],
        decision.to_numpy().astype(np.uint8),
        rows,
    )
    return rank


def _within(block: pa.Table, rank: Int64, capacity: int) -> pa.Table:
    """Nurture the hand-offs beyond the capacity, and put the ranks in."""
    decision = block["decision"].cast(pa.string())
    over = pc.and_(pc.equal(decision, "hand_off"), pa.chunked_array([rank > capacity]))
    changed = {
        "decision": pc.if_else(over, "nurture", decision),
        "why": pc.if_else(over, "over_capacity", block["why"].cast(pa.string())),
    }
    if "reasons" in block.column_names:
        reasons = block["reasons"]
        changed["reasons"] = pc.if_else(over, pa.scalar(None, reasons.type), reasons)
    columns = {}
    for name in block.column_names:
        columns[name] = changed.get(name, block[name])
        if name == "why":
            columns["rank"] = pa.array(rank, mask=rank == 0)
    return pa.table(columns)
