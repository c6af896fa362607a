import threading
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from serving.store import turns
from serving.store.database import Database, DatabaseError
from serving.store.tables import facts
from serving.store.turns import Turns


@pytest.fixture
def database(sqlite_url):
    opened = Database.open(sqlite_url)
    yield opened
    opened.close()


@pytest.fixture
def begun(database):
    """The moments at which a transaction began."""
    times = []
    sa.event.listen(database.engine, "begin", lambda _: times.append(1))
    return times


def adds(name):
    def work(connection):
        connection.execute(facts.insert().values(name=name, value="x"))
        return name

    return work


def names(database):
    with database.reading() as connection:
        return {*connection.execute(sa.select(facts.c.name)).scalars()} - {"salt"}


class Crowd:
    """Works that all wait for one that goes on until they do."""

    def __init__(self, database):
        self.database, self.results, self._threads = database, {}, []
        self._busy, self._go_on = threading.Event(), threading.Event()
        self._start("first", self._first)
        self._busy.wait(10)

    def _first(self, connection):
        self._busy.set()
        self._go_on.wait(10)

    def _start(self, name, work):
        def run():
            try:
                self.results[name] = self.database.write(work)
            except (ValueError, sa.exc.IntegrityError, DatabaseError) as error:
                self.results[name] = error

        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()

    def wait_with(self, **works):
        for name, work in works.items():
            before = len(self.database._turns._waiting)
            self._start(name, work)
            while len(self.database._turns._waiting) == before:
                pass

    def go_on(self):
        self._go_on.set()
        for thread in self._threads:
            thread.join(10)
        return self.results


@pytest.fixture
def crowd(database, monkeypatch):
    monkeypatch.setattr(turns, "TOGETHER_SECONDS", 10)
    return Crowd(database)


def test_works_that_wait_share_a_transaction_and_each_is_given_its_own_result(
    database, crowd, begun
):
    crowd.wait_with(**{f"n{k}": adds(f"n{k}") for k in range(9)})
    results = crowd.go_on()
    assert {name: given for name, given in results.items() if name != "first"} == {
        f"n{k}": f"n{k}" for k in range(9)
    }
    assert begun == []
    assert names(database) == {f"n{k}" for k in range(9)}


def test_none_joins_a_transaction_that_has_lasted_long(database, begun, monkeypatch):
    monkeypatch.setattr(turns, "TOGETHER_SECONDS", 0)
    crowd = Crowd(database)
    crowd.wait_with(a=adds("a"), b=adds("b"))
    crowd.go_on()
    assert len(begun) == len(("first", "a", "b"))
    assert names(database) == {"a", "b"}


def test_what_a_work_raises_undoes_it_alone_and_reaches_who_brought_it(database, crowd):
    def fails(connection):
        adds("half")(connection)
        raise ValueError("no")

    def twice(connection):
        adds("twice")(connection)
        adds("twice")(connection)

    crowd.wait_with(a=adds("a"), bad=fails, twice=twice, b=adds("b"))
    results = crowd.go_on()
    assert isinstance(results["bad"], ValueError)
    assert isinstance(results["twice"], sa.exc.IntegrityError)
    assert names(database) == {"a", "b"}


def test_what_ails_the_database_fails_all_that_share_the_transaction(database, crowd):
    def ails(connection):
        raise sa.exc.OperationalError("insert", {}, OSError("disk I/O error"))

    crowd.wait_with(a=adds("a"), bad=ails)
    results = crowd.go_on()
    assert {type(results[name]) for name in ("first", "a", "bad")} == {DatabaseError}
    assert names(database) == set()
    assert database.write(adds("later")) == "later"


def test_a_commit_that_fails_acknowledges_nothing(database, crowd):
    def full(_connection):
        raise sa.exc.OperationalError("commit", {}, OSError("database or disk is full"))

    sa.event.listen(database.engine, "commit", full)
    crowd.wait_with(a=adds("a"), b=adds("b"))
    results = crowd.go_on()
    assert {type(given) for given in results.values()} == {DatabaseError}
    sa.event.remove(database.engine, "commit", full)
    assert names(database) == set()


def test_all_that_wait_are_told_at_once_where_no_transaction_can_begin():
    begins, tried = threading.Event(), []

    @contextmanager
    def transaction():
        tried.append(1)
        begins.wait(10)
        raise DatabaseError("locked")
        yield

    waiting, raised = Turns(), []

    def run():
        try:
            waiting.do(adds("x"), transaction, 10)
        except DatabaseError as error:
            raised.append(error)

    threads = [threading.Thread(target=run) for _ in range(5)]
    for thread in threads:
        thread.start()
    while len(waiting._waiting) < 5:
        pass
    begins.set()
    for thread in threads:
        thread.join(10)
    assert len(raised) == 5
    assert len(tried) == 1


def test_who_waited_too_long_is_told_and_the_work_is_not_done_afterwards(
    database, crowd, monkeypatch
):
    monkeypatch.setattr("serving.store.database.TURN_SECONDS", 0.05)
    with pytest.raises(DatabaseError, match="send less at a time"):
        database.write(adds("late"))
    monkeypatch.undo()
    crowd.go_on()
    assert database.write(adds("next")) == "next"
    assert names(database) == {"next"}
