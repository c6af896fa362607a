"""Work shared by threads; numpy, Arrow and the kernels let each other run meanwhile."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa

MANY_ROWS = 1 << 20
MOST_THREADS = 8

Item = TypeVar("Item")
Done = TypeVar("Done")


def threads_for(rows: int) -> int:
    """Say how many threads share the work on so many rows: one where it is little."""
    return min(MOST_THREADS, pa.cpu_count()) if rows > MANY_ROWS else 1


def in_threads(work: Callable[[Item], Done], items: Iterable[Item], threads: int) -> list[Done]:
    """Work on each item, and give the results in order.

    >>> in_threads(abs, [-1, 2], threads=2)
    [1, 2]
    """
    if threads == 1:
        return [work(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))


def in_order(work: Callable[[Item], Done], items: Iterable[Item], threads: int) -> Iterator[Done]:
    """Work on items in threads and give the results in order, never far ahead of the taker.

    >>> list(in_order(abs, iter([-1, 2, -3]), threads=2))
    [1, 2, 3]
    """
    waiting: deque[Future[Done]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
