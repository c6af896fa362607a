"""What is done by the clock, and what is known of how it goes."""

import threading
from dataclasses import replace

import pytest

from serving.chores import Chore, Chores, Past
from serving.http import gauges
from serving.store.database import DatabaseError

NOW_US = 1_700_000_000_500_000
PATIENCE_SECONDS = 20


def ran(*raised):
    """Run a chore once for each, which it raises where it is an exception; return its past."""
    coming, over, seen = iter(raised), threading.Event(), threading.Event()

    def run():
        each = next(coming, over)
        if each is over:
            over.set()
            seen.wait(PATIENCE_SECONDS)
        elif isinstance(each, Exception):
            raise each

    chore = Chore("count", 0.0, run)
    running = Chores([chore], lambda: NOW_US)
    running.start()
    assert over.wait(PATIENCE_SECONDS)
    past = replace(chore.past)
    seen.set()
    running.stop()
    return past


def test_a_chore_that_never_ended_has_no_past():
    assert ran() == Past(succeeded_us=0, failures=0)


def test_when_it_ended_well_is_known():
    assert ran(None) == Past(succeeded_us=NOW_US, failures=0)


@pytest.mark.parametrize("error", [DatabaseError("is down"), ZeroDivisionError()])
def test_what_failed_is_counted_and_is_no_success(error, caplog):
    assert ran(error, error) == Past(succeeded_us=0, failures=2)
    assert ran(error, None, error) == Past(succeeded_us=NOW_US, failures=2)
    assert len(caplog.records) == 4


def test_it_is_told_to_prometheus():
    chore = Chore("count", 15.0, lambda: None, past=Past(NOW_US, 3))
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in gauges.of_chores([chore, Chore("new", 1.0, lambda: None)])
        for sample in family.samples
    }
    assert found == {
        ("leadqual_chore_every_seconds", "count"): 15.0,
        ("leadqual_chore_last_success_timestamp_seconds", "count"): NOW_US / 1e6,
        ("leadqual_chore_failures_total", "count"): 3,
        ("leadqual_chore_every_seconds", "new"): 1.0,
        ("leadqual_chore_last_success_timestamp_seconds", "new"): 0.0,
        ("leadqual_chore_failures_total", "new"): 0,
    }
