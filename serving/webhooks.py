"""One message to one URL, signed as Standard Webhooks asks; which and when is not decided here."""

import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

from pydantic import AnyHttpUrl, TypeAdapter, ValidationError
from standardwebhooks import Webhook

from features.moments import from_us, to_us

SECONDS = 15.0
"""For an attempt in all: the look-up, the connection, sending, and the status of the answer."""
LONGEST_URL = 2_000
NAT64 = ipaddress.ip_network("64:ff9b::/96")
PORTS = {"http": 80, "https": 443}
_URL = TypeAdapter(AnyHttpUrl)

Address = tuple[socket.AddressFamily, Any]


class UrlRefused(ValueError):
    """A URL to which nothing is sent: the message says what one must be."""


@dataclass(frozen=True)
class Answer:
    """What came of an attempt.

    Attributes
    ----------
    status : int or None
        Of HTTP; None where there was no answer.
    said : str
        Status or fault, for a person; nothing of what the receiver wrote.
    pause_seconds : float
        That it asked for (Retry-After), 0 where it did not.
    """

    status: int | None
    said: str
    pause_seconds: float = 0.0


@dataclass(frozen=True)
class Sender:
    """Sends messages.

    Attributes
    ----------
    private : bool
        Private addresses, and plain HTTP, are allowed.
    seconds : float
        For an attempt in all.
    tls : ssl.SSLContext, optional
        What is trusted; by default, what this machine trusts.
    """

    private: bool = False
    seconds: float = SECONDS
    tls: ssl.SSLContext | None = None

    def send(
        self, url: str, message_id: str, payload: str, secrets: Sequence[str], now_us: int
    ) -> Answer:
        """Post a message and return what came of it; a redirect is not followed.

        The name is looked up once, every address is checked, and one of those is connected to.
        """
        until = time.monotonic() + self.seconds
        try:
            where = urlsplit(checked(url, private=self.private))
            stream = self._stream(where, until)
            try:
                headers = _headers(message_id, payload, secrets, now_us)
                return _posted(stream, where, payload, headers, now_us)
            finally:
                stream.close()
        except (OSError, HTTPException, ValueError) as fault:
            return Answer(None, _said(fault))

    def _stream(self, where: SplitResult, until: float) -> "_Timed":
        host, port = where.hostname or "", where.port or PORTS[where.scheme]
        stream = _connected(self._addresses(host, port), until)
        if where.scheme == "https":
            try:
                tls = self.tls or ssl.create_default_context()
                stream.settimeout(_left(until))
                stream = tls.wrap_socket(stream, server_hostname=host)
            except BaseException:
                stream.close()
                raise
        return _Timed(stream, until)

    def _addresses(self, host: str, port: int) -> list[Address]:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        found: list[Address] = [(family, address) for family, _, _, _, address in entries]
        if not self.private and not all(is_public(str(address[0])) for _, address in found):
            raise UrlRefused("its name leads to an address that is not public")
        return found


def checked(url: str, *, private: bool = False) -> str:
    """Return a URL in its normal form.

    Raises
    ------
    UrlRefused
        It is none that messages are sent to.

    Examples
    --------
    >>> checked("https://CRM.example/hooks")
    'https://crm.example/hooks'
    """
    try:
        parsed = _URL.validate_python(url)
    except ValidationError as error:
        raise UrlRefused("it is no http or https URL") from error
    if len(str(parsed)) > LONGEST_URL:
        raise UrlRefused(f"it has more than {LONGEST_URL:,} characters")
    if parsed.username or parsed.password or parsed.fragment:
        raise UrlRefused("it must hold no user name, no password and no fragment")
    if parsed.scheme != "https" and not private:
        raise UrlRefused("it must begin with https://")
    if not private and not _may_be_public((parsed.host or "").strip("[]")):
        raise UrlRefused("it leads to an address that is not public")
    return str(parsed)


def is_public(address: str) -> bool:
    """Tell whether an IP address is one of the Internet, also by way of the IPv4 one inside it.

    >>> is_public("93.184.215.14"), is_public("10.0.0.1"), is_public("::ffff:127.0.0.1")
    (True, False, False)
    """
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if found in NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if found.is_site_local:
            return False
    return found.is_global and not (found.is_multicast or found.is_reserved)


def _may_be_public(host: str) -> bool:
    """Tell of a host before it is looked up; what a name leads to is seen when it is sent to."""
    try:
        return is_public(host)
    except ValueError:
        return host != "localhost" and not host.endswith(".localhost")


def _connected(addresses: Sequence[Address], until: float) -> socket.socket:
    fault: OSError = OSError("no address")
    for family, address in addresses:
        stream = socket.socket(family, socket.SOCK_STREAM)
        try:
            stream.settimeout(_left(until))
            stream.connect(address)
        except OSError as error:
            stream.close()
            fault = error
        else:
            return stream
    raise fault


@dataclass(frozen=True)
class _Timed:
    """A socket whose use ends at a moment, however slowly the other side goes."""

    stream: socket.socket
    until: float

    def sendall(self, data: bytes) -> None:
        self.stream.settimeout(_left(self.until))
        self.stream.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reading(self))

    def close(self) -> None:
        self.stream.close()


class _Reading(io.RawIOBase):
    def __init__(self, timed: _Timed) -> None:
        self._timed = timed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._timed.stream.settimeout(_left(self._timed.until))
        return self._timed.stream.recv_into(buffer)


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _headers(message_id: str, payload: str, secrets: Sequence[str], now_us: int) -> dict[str, str]:
    moment = from_us(now_us)
    signatures = [Webhook(secret).sign(message_id, moment, payload) for secret in secrets]
    return {
        "Content-Type": "application/json",
        "User-Agent": "leadqual",
        "Connection": "close",
        "webhook-id": message_id,
        "webhook-timestamp": str(now_us // 1_000_000),
        "webhook-signature": " ".join(signatures),
    }


def _posted(
    stream: _Timed, where: SplitResult, payload: str, headers: dict[str, str], now_us: int
) -> Answer:
    """Post and read the status; of the body of the answer nothing is read."""
    path = where.path + (f"?{where.query}" if where.query else "")
    connection = HTTPConnection(where.netloc)
    connection.sock = cast("Any", stream)
    connection.request("POST", path, payload.encode(), headers | {"Host": where.netloc})
    response = connection.getresponse()
    pause = _pause_seconds(response.getheader("Retry-After", ""), now_us)
    return Answer(response.status, f"HTTP {response.status}", pause)


def _pause_seconds(given: str, now_us: int) -> float:
    """Read a Retry-After, seconds or a date; 0 where it is neither or over."""
    text = given.strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        moment = parsedate_to_datetime(text)
    except (OverflowError, ValueError):
        return 0.0
    at_us = to_us(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    return max(0.0, (at_us - now_us) / 1e6)


def _said(fault: Exception) -> str:
    if isinstance(fault, UrlRefused):
        return f"not sent: {fault}"
    if isinstance(fault, TimeoutError):
        return "no answer in time"
    if isinstance(fault, socket.gaierror):
        return "its name is not known"
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {fault.verify_message}"[:200]
    if isinstance(fault, OSError):
        return "no connection"
    return "no answer that is HTTP"
