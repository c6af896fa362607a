"""Moments: inside as microseconds since the epoch (UTC), outside as people write them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from features.findings import UsageError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


def parse(text: str, timezone: str | None = None) -> int | None:
    """Read a moment that a person typed; None where the text is no time at all.

    Raises
    ------
    UsageError
        It is a time, but without a zone, and no `timezone` is given.

    Examples
    --------
    >>> parse("2026-09-01T09:00:00+09:00") == parse("2026-09-01", "UTC"), parse("as_of")
    (True, None)
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        if timezone is None:
            raise UsageError(f"{text} has no time zone: write {text}Z for UTC, or give --timezone")
        moment = moment.replace(tzinfo=_zone(timezone))
    return to_us(moment)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise UsageError(
            f"--timezone {name} is unknown: name one such as Asia/Tokyo or UTC"
        ) from error
