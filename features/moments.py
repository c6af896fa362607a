"""Moments: inside as microseconds since the epoch (UTC), outside as people write them."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from features.findings import UsageError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
END = datetime(2200, 1, 1, tzinfo=UTC)
"""What lies beyond it, or before 1970, is a typo."""
ISO_8601 = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}.*)?")


def to_us(moment: datetime) -> int:
    """Return a time with a zone as microseconds since the epoch.

    >>> to_us(datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC))
    1000005
    """
    since = moment - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_us(moment_us: int) -> datetime:
    """Return microseconds since the epoch as a time in UTC.

    >>> from_us(1_000_005).isoformat()
    '1970-01-01T00:00:01.000005+00:00'
    """
    return EPOCH + timedelta(microseconds=moment_us)


def iso(moment_us: int) -> str:
    """Return microseconds since the epoch as ISO 8601 in UTC.

    >>> iso(1_500_000)
    '1970-01-01T00:00:01.500000Z'
    """
    return from_us(moment_us).isoformat().replace("+00:00", "Z")


def written(text: str) -> datetime | None:
    """Return the moment that a text in ISO 8601 names, with its zone if it has one, else None.

    >>> written("2026-09-01 09:00 UTC").isoformat(), written("20260901"), written("2026-02-30")
    ('2026-09-01T09:00:00+00:00', None, None)
    """
    text = text.strip().upper()
    if text.endswith("UTC"):
        text = f"{text.removesuffix('UTC').strip()}Z"
    if not ISO_8601.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def parse(text: str, timezone: str | None = None, *, option: str = "the time") -> int | None:
    """Read a moment that a person typed; None where the text is no time at all.

    Parameters
    ----------
    text : str
    timezone : str, optional
        The zone of a time without one: a name or an offset.
    option : str
        What the text was given for.

    Raises
    ------
    UsageError
        It is a time, but outside 1970 to 2199, or without a zone where no known one is given.

    Examples
    --------
    >>> parse("2026-09-01T09:00:00+09:00") == parse("2026-09-01", "UTC"), parse("as_of")
    (True, None)
    """
    moment = written(text)
    if moment is None:
        return None
    if moment.tzinfo is None:
        if timezone is None:
            raise UsageError(
                f"{option} {text} has no time zone: write {moment.isoformat()}Z for UTC, "
                "or give --timezone"
            )
        moment = moment.replace(tzinfo=_zone(timezone))
    if not EPOCH <= moment < END:
        raise UsageError(f"{option} {text} lies outside 1970 to 2199: it looks like a typo")
    return to_us(moment)


def _zone(name: str) -> tzinfo:
    try:
        offset = datetime.strptime(name, "%z").tzinfo if name[:1] in {"+", "-"} else None
        return offset or ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: a folder of zones
        raise UsageError(
            f"--timezone {name or '(empty)'} is unknown: name one such as Asia/Tokyo, UTC or +09:00"
        ) from error
