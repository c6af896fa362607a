import asyncio
import gc
import threading
import time

import pytest

from serving.http import lane
from serving.http.lane import Lane
from serving.http.problems import Problem
from serving.store.database import Database, DatabaseError


@pytest.fixture
def database(sqlite_url):
    opened = Database.open(sqlite_url)
    yield opened
    opened.close()


class Slow:
    """Works that go on until they are let go, and how many there were at a time."""

    def __init__(self):
        self.goes, self.running, self.most, self.done = threading.Event(), 0, 0, 0
        self._counts = threading.Lock()

    def __call__(self):
        with self._counts:
            self.running += 1
            self.most = max(self.most, self.running)
        self.goes.wait(10)
        with self._counts:
            self.running -= 1
            self.done += 1
        return "done"


async def asked(ways, work, times):
    """Ask so often at once; give what came of each."""
    return await asyncio.gather(*(ways.run(work) for _ in range(times)), return_exceptions=True)


def test_what_takes_too_long_keeps_its_thread_and_what_had_no_turn_is_not_done(database):
    ways, slow = Lane(database, 3, 0.1), Slow()

    async def rounds():
        first = [each for _ in range(3) for each in await asked(ways, slow, 8)]
        slow.goes.set()
        await asyncio.sleep(0.2)
        return first, await asked(ways, slow, 8)

    first, last = asyncio.run(rounds())
    assert {type(each) for each in first} == {DatabaseError}
    assert last == ["done"] * 8
    assert slow.most == 3
    assert slow.done == 3 + 8


def test_one_too_many_is_refused_at_once(database, monkeypatch):
    monkeypatch.setattr(lane, "MOST_WAITING", 4)
    ways, slow = Lane(database, 2, 10), Slow()

    async def once():
        waiting = asyncio.create_task(asked(ways, slow, 9))
        await asyncio.sleep(0.1)
        slow.goes.set()
        return await waiting

    found = asyncio.run(once())
    refused = [each for each in found if isinstance(each, Problem)]
    assert [each.status for each in refused] == [503] * 3
    assert found.count("done") == 6


def test_what_a_call_raises_reaches_who_asked(database):
    def fails():
        raise KeyError("x")

    (error,) = asyncio.run(asked(Lane(database, 1, 10), fails, 1))
    assert isinstance(error, KeyError)


def test_the_threads_go_with_the_lane(database):
    ways = Lane(database, 5, 10)
    asyncio.run(asked(ways, lambda: time.sleep(0.05), 5))
    threads = [*ways._threads]
    assert [thread.is_alive() for thread in threads] == [True] * 5
    del ways
    gc.collect()
    for thread in threads:
        thread.join(10)
    assert [thread.is_alive() for thread in threads] == [False] * 5
