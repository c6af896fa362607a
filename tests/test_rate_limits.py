import threading
import time

import pytest

from serving.http import rate_limits
from serving.http.problems import Problem
from serving.http.rate_limits import RateLimit


class Clock:
    """The machine's, moved by hand."""

    def __init__(self):
        self.seconds = 1_800_000_000.0

    def nanoseconds(self):
        return int(self.seconds * 1e9)

    def now(self):
        return self.seconds


@pytest.fixture
def clock(monkeypatch):
    moved = Clock()
    monkeypatch.setattr(time, "time", moved.now)
    monkeypatch.setattr(time, "time_ns", moved.nanoseconds)
    return moved


def taken(limit, sender="a", most=100):
    """Return how many requests are let through until one is refused, and that one's headers."""
    for number in range(most):
        try:
            limit.take(sender)
        except Problem as problem:
            assert problem.status == 429
            return number, problem.headers
    return most, {}


def test_a_burst_may_take_all_of_a_window(clock):
    limit = RateLimit("requests", 20, 10)
    count, headers = taken(limit)
    assert count == 20
    assert headers["RateLimit-Policy"] == '"requests";q=20;w=10'
    assert headers["RateLimit"] == f'"requests";r=0;t={headers["Retry-After"]}'
    assert taken(limit, "b")[0] == 20


@pytest.mark.parametrize("before", [0.1, 5.0, 9.9])
def test_after_what_is_said_to_wait_one_more_is_taken_and_after_two_windows_all(clock, before):
    limit = RateLimit("requests", 20, 10)
    clock.seconds += before
    wait = int(taken(limit)[1]["Retry-After"])
    assert 1 <= wait <= 10
    clock.seconds += wait + 1
    assert 1 <= taken(limit)[0] < 20
    clock.seconds += 20
    assert taken(limit)[0] == 20


def test_on_average_no_more_than_stated(clock):
    limit = RateLimit("requests", 20, 10)
    through = 0
    for _ in range(1_000):
        clock.seconds += 0.1
        through += taken(limit, most=1)[0]
    assert 190 <= through <= 220


def test_a_check_counts_nothing_and_says_the_same(clock):
    limit = RateLimit("failed-keys", 3, 60)
    for _ in range(5):
        limit.check("a")
    assert taken(limit)[0] == 3
    with pytest.raises(Problem) as refused:
        limit.check("a")
    assert refused.value.status == 429
    limit.check("b")


def test_a_clock_that_is_put_back_locks_nobody_out_for_long(clock):
    limit = RateLimit("requests", 20, 10)
    taken(limit)
    clock.seconds -= 3_600
    assert taken(limit)[0] == 20
    clock.seconds += 20
    assert taken(limit)[0] == 20


def test_one_thread_clears_what_has_passed(clock, monkeypatch):
    monkeypatch.setattr(rate_limits, "CLEARED_EVERY_SECONDS", 0.2)
    before = threading.active_count()
    limit = RateLimit("requests", 1_000, 10)
    for number in range(300):
        limit.take(f"sender {number}")
    assert threading.active_count() <= before + 1
    clock.seconds += 60
    until = time.monotonic() + 30
    counts = limit._counts.storage
    while len(counts) > 1 and time.monotonic() < until:
        time.sleep(0.05)
        limit.take("one")
    assert len(counts) == 1
