import threading
import time
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
            except (ValueError, Panic, sa.exc.IntegrityError, DatabaseError) as error:
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


def ails(connection):
    adds("torn")(connection)
    raise sa.exc.OperationalError("insert", {}, OSError("disk I/O error"))


def test_what_fails_as_the_database_does_fails_alone_where_the_others_go_well(database, crowd):
    crowd.wait_with(a=adds("a"), bad=ails, b=adds("b"))
    results = crowd.go_on()
    assert isinstance(results.pop("bad"), DatabaseError)
    assert results == {"first": None, "a": "a", "b": "b"}
    assert names(database) == {"a", "b"}


def test_who_is_alone_is_told_what_ails_the_database(database):
    with pytest.raises(DatabaseError, match="disk I/O error"):
        database.write(ails)
    assert database.write(adds("later")) == "later"


class Panic(BaseException):
    """What no code expects."""


def test_a_panic_is_its_own_and_stops_nobody(database, crowd):
    def panics(_connection):
        raise Panic

    crowd.wait_with(a=adds("a"), bad=panics, b=adds("b"))
    results = crowd.go_on()
    assert isinstance(results["bad"], Panic)
    assert names(database) == {"a", "b"}


def test_one_leads_however_many_batches_there_are(database, monkeypatch):
    monkeypatch.setattr(turns, "TOGETHER", 2)
    monkeypatch.setattr(turns, "TOGETHER_SECONDS", 10)
    leading, most, real = [0], [0], Turns._lead

    def counted(*given):
        leading[0] += 1
        most[0] = max(most[0], leading[0])
        time.sleep(0.01)
        real(*given)
        leading[0] -= 1

    monkeypatch.setattr(Turns, "_lead", counted)
    threads = [
        threading.Thread(target=lambda at=at: [database.write(adds(f"{at} {n}")) for n in range(6)])
        for at in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most == [1]
    assert len(names(database)) == 48


def test_a_commit_that_fails_acknowledges_nothing(database, crowd):
    def full(_connection):
        raise sa.exc.OperationalError("commit", {}, OSError("database or disk is full"))

    sa.event.listen(database.engine, "commit", full)

    def refuses(_connection):
        raise ValueError("a row stands in the way that is not kept")

    crowd.wait_with(a=adds("a"), b=refuses)
    results = crowd.go_on()
    assert {type(given) for given in results.values()} == {DatabaseError}
    sa.event.remove(database.engine, "commit", full)
    assert names(database) == set()


def test_where_a_transaction_cannot_begin_only_its_leader_is_told(database):
    goes, tried = threading.Event(), []

    @contextmanager
    def transaction():
        tried.append(1)
        goes.wait(10)
        if len(tried) == 1:
            raise DatabaseError("locked")
        with database.writing() as connection:
            yield connection

    waiting, given = Turns(), []

    def run(name):
        try:
            given.append(waiting.do(adds(name), transaction, 10))
        except DatabaseError as error:
            given.append(error)

    threads = [threading.Thread(target=run, args=(str(at),)) for at in range(5)]
    for thread in threads:
        thread.start()
    while len(waiting._waiting) < 5:
        pass
    goes.set()
    for thread in threads:
        thread.join(10)
    assert sum(isinstance(each, DatabaseError) for each in given) == 1
    assert len(names(database)) == 4


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
