import pytest

from serving.store import jobs
from serving.store.database import Database

NOW_US = 1_000_000_000_000


@pytest.fixture
def database(database_url):
    opened = Database.open(database_url)
    yield opened
    opened.close()


def is_free(database, now_us=NOW_US):
    with jobs.running(database, "count", now_us) as mine:
        return mine


def test_one_does_it_at_a_time_and_then_another(database):
    with jobs.running(database, "count", NOW_US) as mine:
        assert mine
        assert not is_free(database)
    assert is_free(database)


def test_a_job_that_failed_is_free_at_once_and_was_not_done(database):
    with pytest.raises(ZeroDivisionError), jobs.running(database, "count", NOW_US):
        1 / 0  # noqa: B018
    with database.reading() as connection:
        assert jobs.ran_us(connection, "count") is None
    assert is_free(database)


def test_a_job_of_a_process_that_was_killed_is_free_after_its_lease(database):
    with database.writing() as connection:
        assert jobs.take(connection, "count", NOW_US, jobs.LEASE_US)
    assert not is_free(database, NOW_US + jobs.LEASE_US - 1)
    assert is_free(database, NOW_US + jobs.LEASE_US)


def test_a_job_that_was_taken_by_a_clock_that_was_ahead_is_free(database):
    with database.writing() as connection:
        assert jobs.take(connection, "count", 2 * NOW_US, jobs.LEASE_US)
    assert is_free(database)
