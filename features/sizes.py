"""Sizes of memory as people write them."""

import re

from features.findings import UsageError

UNITS = "KMGT"


def bytes_of(text: str, option: str, least: str) -> int:
    """Read a size; units are of 1,024.

    Raises
    ------
    UsageError
        It is none, or less than `least`.

    Examples
    --------
    >>> bytes_of("1.5GB", "--memory", "512M"), bytes_of("2gib", "--memory", "512M")
    (1610612736, 2147483648)
    """
    size, smallest = _bytes(text), _bytes(least)
    if size < smallest:
        raise UsageError(f"{option} {text}: give a size of at least {least}, such as 1G or 4G")
    return size


def _bytes(text: str) -> int:
    given = re.fullmatch(rf"(\d+(?:\.\d+)?)\s*([{UNITS}]?)i?B?", text.strip(), re.IGNORECASE)
    power = UNITS.find(given[2].upper()) + 1 if given and given[2] else 0
    return int(float(given[1]) * 1024**power) if given else 0
