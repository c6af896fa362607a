import pytest

from serving.store import jobs
from serving.store.database import Database

NOW_US = 1_000_000_000_000


@pytest.fixture
def database(database_url):
    opened = Database.open(database_url)
    yield opened
    opened.close()


def is_free(database, now_us=NOW_US, name="count"):
    with jobs.running(database, name, now_us) as lease:
        return lease.holds()


def test_one_does_it_at_a_time_and_then_another(database):
    with jobs.running(database, "count", NOW_US) as lease:
        assert lease.holds()
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
        assert jobs.take(connection, "count", NOW_US, NOW_US + jobs.LEASE_US)
    assert not is_free(database, NOW_US + jobs.LEASE_US - 1)
    assert is_free(database, NOW_US + jobs.LEASE_US)


def test_a_job_that_was_taken_by_a_clock_that_was_ahead_is_free(database):
    with database.writing() as connection:
        assert jobs.take(connection, "count", 2 * NOW_US, 2 * NOW_US + jobs.LEASE_US)
    assert is_free(database)


def test_a_clock_that_is_a_little_behind_takes_nobodys_job(database):
    with jobs.running(database, "count", NOW_US) as lease:
        assert not is_free(database, NOW_US - jobs.LEASE_US)
        assert lease.holds()


@pytest.fixture
def watch(monkeypatch):
    """Seconds that have passed, set by hand."""
    passed = [0.0]
    monkeypatch.setattr(jobs, "perf_counter", lambda: passed[0])
    return passed


def test_a_job_that_takes_long_stays_with_who_does_it(database, watch):
    lease_seconds = jobs.LEASE_US / 1e6
    with jobs.running(database, "count", NOW_US) as lease:
        for part in range(1, 5):
            watch[0] = part * 0.7 * lease_seconds
            assert lease.holds()
            assert not is_free(database, NOW_US + round(watch[0] * 1e6))


def test_who_lost_a_job_notices_and_neither_ends_nor_notes_anothers(database, watch):
    later_us = NOW_US + jobs.LEASE_US + 1
    with jobs.running(database, "count", NOW_US) as lease:
        assert is_free(database, later_us)
        watch[0] = (later_us - NOW_US) / 1e6
        assert not lease.holds()
    with database.reading() as connection:
        assert jobs.ran_us(connection, "count") == later_us
    with (
        jobs.running(database, "sum", NOW_US),
        database.writing() as connection,
    ):
        assert jobs.take(connection, "sum", later_us, later_us + jobs.LEASE_US)
    with database.reading() as connection:
        assert jobs.ran_us(connection, "sum") is None
    assert not is_free(database, later_us + 1, "sum")
