"""The service's settings, and the only reader of the environment; the model has its own."""

import dataclasses
import difflib
import ipaddress
import os
import socket
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dotenv import dotenv_values
from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from features.expected import expected
from features.findings import UsageError
from serving.store.policy import Policy

PREFIX, NESTED = "LEADQUAL_", "__"
FILE_VARIABLE = f"{PREFIX}SETTINGS_FILE"
DOTENV = Path(".env")
SECRET = ("database_url",)
"""Settings whose values are not repeated."""
NONE = "none"
"""Written where a setting shall have no value: for ever, or as the model says."""


class Settings(BaseSettings):
    """What `leadqual serve` can be told; `read` says where.

    Attributes
    ----------
    host
        Where to listen. Without a database only this machine's own addresses are allowed.
    port : int
        Port to listen on; 0 takes a free one.
    workers : int
        Processes, each with its own copy of the model.
    threads : int
        Requests with many leads or with reasons that one process works on at a time.
    stop_within_seconds : int
        How long requests in flight may take after SIGTERM.
    log_level : str
        The least important lines that are logged: debug, info, warning or error.
    model_poll_seconds : float
        How often the registry is asked what ``models:/NAME@ALIAS`` means; a fifth more or less.
    model_cache : Path
        Keeps models from the registry, for a start without it.
    database_url : str or None
        With it the service keeps a history: ``sqlite:///leadqual.db`` or ``postgresql://…``.
    rate_limit_per_second : int
        Requests that one key may send to one process, on average over ten seconds; 0 for any
        number.
    tombstones_file : Path or None
        Where erasures are noted, beside the database and not in its backups: at its start the
        service erases again what a restored backup knows.
    policy : Policy

    Examples
    --------
    >>> Settings(port=9000).port
    9000
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=NESTED,
        env_ignore_empty=True,
        env_file_encoding="utf-8-sig",
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
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
    rate_limit_per_second: int = Field(default=1_000, ge=0, le=1_000_000)
    tombstones_file: Path | None = None
    policy: Policy = Field(default_factory=Policy)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what is handed in and nothing else: `read` looks around."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())


@dataclass(frozen=True)
class Stated:
    """Settings, and where they come from.

    Attributes
    ----------
    settings : Settings
    origins : mapping of str to str
        By name (``policy.sla_hours``): "option", "environment", or the file; defaults are not here.
    ignored : tuple of str
        What the environment has of unknown variables, each with the nearest known one.
    """

    settings: Settings
    origins: Mapping[str, str]
    ignored: tuple[str, ...]


def read(file: str | None = None, **options: Any) -> Settings:
    """Return the settings; `stated` says how."""
    return stated(file, **options).settings


def stated(file: str | None = None, **options: Any) -> Stated:
    """Gather the settings: options (not None), the environment, ``.env``, a file, else defaults.

    Parameters
    ----------
    file : str, optional
        Ends in ``.toml``, or has lines as ``.env``. Else the one that ``LEADQUAL_SETTINGS_FILE``
        names, if it does.
    **options

    Raises
    ------
    UsageError
        Names every setting that cannot be used, and keys of files that are unknown.
    """
    sources: list[tuple[str, Mapping[str, Any]]] = [
        ("option", {name: value for name, value in options.items() if value is not None}),
        ("environment", _called("the environment", EnvSettingsSource(Settings))),
    ]
    named = file or os.environ.get(FILE_VARIABLE)
    if DOTENV.is_file():
        sources.append((str(DOTENV), _lines(DOTENV)))
        named = named or dotenv_values(DOTENV).get(FILE_VARIABLE)
    if named:
        sources.append((named, _file(Path(named))))
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, given in sources:
        for name, value in flat(given):
            if name in _GROUPS:
                raise UsageError(_ungrouped(origin, name))
            if name in KNOWN and name not in origins:
                values[name], origins[name] = value, origin
    return Stated(_valid(values, origins), origins, tuple(_unknown_variables(os.environ)))


def flat(given: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Give names with dots and their values.

    >>> list(flat({"port": 1, "policy": {"margin": "none"}}))
    [('port', 1), ('policy.margin', None)]
    """
    for name, value in given.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{name}.")
        else:
            none = isinstance(value, str) and value.lower() == NONE
            yield f"{before}{name}", None if none else value


def variable(name: str) -> str:
    """Return the environment's variable of a setting.

    >>> variable("policy.sla_hours")
    'LEADQUAL_POLICY__SLA_HOURS'
    """
    return PREFIX + name.replace(".", NESTED).upper()


def _names(fields: Mapping[str, Any]) -> Iterator[str]:
    for name, field in fields.items():
        if dataclasses.is_dataclass(field.annotation):
            yield from (f"{name}.{each.name}" for each in dataclasses.fields(field.annotation))
        else:
            yield name


KNOWN = tuple(_names(Settings.model_fields))
"""The names of all settings, those of the policy with ``policy.`` before them."""
_GROUPS = tuple({name.partition(".")[0] for name in KNOWN if "." in name})


def _valid(values: Mapping[str, Any], origins: Mapping[str, str]) -> Settings:
    nested: dict[str, Any] = {}
    for name, value in values.items():
        group, dot, rest = name.partition(".")
        if dot:
            nested.setdefault(group, {})[rest] = value
        else:
            nested[name] = value
    try:
        return Settings(**nested)
    except ValidationError as error:
        wrong = []
        for item in error.errors():
            name = ".".join(map(str, item["loc"]))
            given = NONE if item["input"] is None else item["input"]
            got = "" if name in SECRET else f", got {given!r}"
            place = f"{variable(name)} ({origins.get(name, 'default')})"
            wrong.append(f"{place} {expected(item)}{got}")
        raise UsageError(
            f"settings that cannot be used: {'; '.join(wrong)}: mend them there, or leave them "
            "out for the default"
        ) from error


def _file(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise UsageError(f"there is no file of settings {path}: check --settings, {FILE_VARIABLE}")
    if path.suffix.lower() != ".toml":
        return _lines(path)
    try:
        found = TomlConfigSettingsSource(Settings, path)()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    _refuse(path, [_unlike(name, KNOWN) for name, _ in flat(found) if name not in KNOWN])
    return found


def _lines(path: Path) -> Mapping[str, Any]:
    try:
        written = dotenv_values(path, encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8: save it as such") from error
    _refuse(path, [*_unknown_variables(written)])
    return _called(str(path), DotEnvSettingsSource(Settings, env_file=path))


def _refuse(path: Path, unknown: list[str]) -> None:
    if unknown:
        raise UsageError(f"{path} has keys that are no settings: {'; '.join(unknown)}")


def _called(where: str, source: EnvSettingsSource) -> Mapping[str, Any]:
    try:
        return source()
    except SettingsError as error:
        group = next(name for name in _GROUPS if f'"{name}"' in str(error))
        raise UsageError(_ungrouped(where, group)) from error


def _ungrouped(where: str, group: str) -> str:
    first = next(name for name in KNOWN if name.startswith(f"{group}."))
    return (
        f"{variable(group)} ({where}) must be an object of JSON: set its values one by one, such "
        f"as {variable(first)}"
    )


def _unknown_variables(variables: Mapping[str, Any]) -> Iterator[str]:
    known = [FILE_VARIABLE, *map(variable, (*KNOWN, *_GROUPS))]
    for name in variables:
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            yield _unlike(name, known)


def _unlike(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"{name} is unknown" + (f", did you mean {near[0]}?" if near else "")


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
