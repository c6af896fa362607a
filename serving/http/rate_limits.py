"""How often one sender may ask, counted in each process; who the sender is, is not here."""

import ipaddress
import math
import threading
import time

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from serving.http import problems
from serving.http.problems import Problem

SITE_BITS = 64
"""Of an IPv6 address: what follows is the sender's to choose."""


CLEARED_EVERY_SECONDS = 10.0


class RateLimit:
    """So many requests of one sender within a window that slides.

    A burst may take all of them at once. The clock is the machine's, as `limits` has it.

    Parameters
    ----------
    name : str
        What is said of it in the ``RateLimit`` headers.
    most : int
        Requests within a window.
    window_seconds : int
    """

    def __init__(self, name: str, most: int, window_seconds: int) -> None:
        self._name, self._most, self._window_seconds = name, most, window_seconds
        self._item = RateLimitItemPerSecond(most, window_seconds)
        self._counts = _Counts()
        self._limiter = SlidingWindowCounterRateLimiter(self._counts)

    def take(self, sender: str) -> None:
        """Count a request.

        Raises
        ------
        Problem
            429 for one too many, which is not counted.
        """
        if not self._limiter.hit(self._item, sender):
            raise self._too_many(sender)

    def check(self, sender: str) -> None:
        """Raise what `take` would, without counting."""
        if not self._limiter.test(self._item, sender):
            raise self._too_many(sender)

    def _too_many(self, sender: str) -> Problem:
        reset = self._limiter.get_window_stats(self._item, sender).reset_time
        wait = max(1, math.ceil(reset - time.time_ns() / 1e9))
        headers = {
            "Retry-After": str(wait),
            "RateLimit": f'"{self._name}";r=0;t={wait}',
            "RateLimit-Policy": f'"{self._name}";q={self._most};w={self._window_seconds}',
        }
        detail = (
            f"at most {self._most:,} requests in {self._window_seconds} seconds are taken "
            f'("{self._name}"): send this one again in {wait} s'
        )
        return problems.of(429, "too_many_requests", detail, headers)


class _Counts(MemoryStorage):
    """Counts whose old windows are cleared by one thread in a while, not by 100 a second.

    Starting those would cost a fifth of scoring a lead.
    """

    @property
    def timer(self) -> threading.Timer:
        """Return the thread that clears next."""
        return self._timer

    @timer.setter
    def timer(self, timer: threading.Timer) -> None:
        timer.interval = CLEARED_EVERY_SECONDS
        timer.daemon = True
        self._timer = timer


def site(address: str) -> str:
    """Return the address of a sender, of IPv6 the network that one sender usually has for itself.

    >>> site("192.0.2.7"), site("2001:db8::1:2:3:4"), site("")
    ('192.0.2.7', '2001:db8::/64', '')
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    return str(ipaddress.ip_network((int(found), SITE_BITS), strict=False))
