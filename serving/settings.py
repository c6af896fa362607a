"""The service's settings, and the only reader of the environment; the model has its own."""

import ipaddress
import os
import socket
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from features.findings import UsageError
from serving.store.policy import Policy


class Settings(BaseSettings):
    """What `leadqual serve` can be told, by option or as ``LEADQUAL_<NAME>`` in the environment.

    Attributes
    ----------
    host, port
        Where to listen; port 0 takes a free one.
    workers : int
        Processes, each with its own copy of the model.
    threads : int
        Requests with many leads or with reasons that one process works on at a time.
    stop_within_seconds : int
        How long requests in flight may take after SIGTERM.
    log_level : str
    model_poll_seconds : float
        How often the registry is asked what ``models:/NAME@ALIAS`` means; a fifth more or less.
    model_cache : path
        Keeps models from the registry, for a start without it.
    database_url : str or None
        With it the service keeps a history: ``sqlite:///leadqual.db`` or ``postgresql://…``.
    policy : Policy
        As ``LEADQUAL_POLICY__SLA_HOURS=8`` in the environment.

    Examples
    --------
    >>> Settings(port=9000).port
    9000
    """

    model_config = SettingsConfigDict(
        env_prefix="LEADQUAL_", env_nested_delimiter="__", frozen=True, extra="ignore"
    )

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    workers: int = Field(default=1, ge=1, le=64)
    threads: int = Field(default=2, ge=1, le=64)
    stop_within_seconds: int = Field(default=10, ge=1, le=15)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    model_poll_seconds: float = Field(default=30.0, ge=1, le=86_400)
    model_cache: Path = Field(default_factory=lambda: _user_cache() / "leadqual")
    database_url: str | None = None
    policy: Policy = Field(default_factory=Policy)


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())


def read(**options: Any) -> Settings:
    """Return the settings: options that are given (not None), else the environment, else defaults.

    Raises
    ------
    UsageError
        Names every setting that cannot be used.
    """
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        wrong = "; ".join(
            f"LEADQUAL_{'__'.join(map(str, item['loc'])).upper()}: {item['msg']}"
            for item in error.errors()
        )
        raise UsageError(f"settings that cannot be used: {wrong}") from error


def required_database_url(settings: Settings) -> str:
    """Return the database of the service.

    Raises
    ------
    UsageError
        None is named.
    """
    if settings.database_url is None:
        raise UsageError(
            "no database is named: give --database-url sqlite:///leadqual.db or postgresql://…, or "
            "set LEADQUAL_DATABASE_URL"
        )
    return settings.database_url


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine only; a name counts when all of its addresses are.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(address).is_loopback for address in found)
