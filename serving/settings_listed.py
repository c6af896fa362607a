"""The settings as they are shown: value, origin and meaning, with secrets hidden."""

import inspect
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from serving.settings import KNOWN, Settings, Stated, variable
from serving.store.policy import Policy

HIDDEN = "***"
DEFAULT = "default"
_SECRET = re.compile("pass|secret|token|key", re.IGNORECASE)


@dataclass(frozen=True)
class Line:
    """One setting.

    Attributes
    ----------
    name : str
        As in a file: ``port``, ``policy.sla_hours``.
    variable : str
        As in the environment.
    value
        A secret is hidden.
    origin : str
        "option", "environment", "default", or the file.
    meaning : str
    """

    name: str
    variable: str
    value: Any
    origin: str
    meaning: str


def lines(stated: Stated) -> list[Line]:
    """Return every setting, in the order in which they are declared."""
    told = meanings(Settings) | {f"policy.{name}": it for name, it in meanings(Policy).items()}
    return [
        Line(
            name,
            variable(name),
            _shown(name, _value(stated.settings, name)),
            stated.origins.get(name, DEFAULT),
            told[name],
        )
        for name in KNOWN
    ]


def meanings(kind: type) -> dict[str, str]:
    """Return what a class's docstring says of its attributes, by name.

    >>> meanings(Settings)["workers"]
    'Processes, each with its own copy of the model.'
    """
    section = (inspect.getdoc(kind) or "").partition("Attributes\n----------\n")[2]
    section = section.partition("\n\n")[0]
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        if not line.startswith(" "):
            names = [name.strip() for name in line.partition(" : ")[0].split(",")]
            found |= dict.fromkeys(names, "")
        else:
            text = line.strip().replace("``", "`")
            found |= {name: f"{found[name]} {text}".strip() for name in names}
    return found


def _value(settings: Settings, name: str) -> Any:
    value: Any = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _shown(name: str, value: Any) -> Any:
    if name != "database_url" or value is None:
        return value
    try:
        url = sa.make_url(value)
    except sa.exc.ArgumentError:
        return HIDDEN
    secret = {key: HIDDEN for key in url.query if _SECRET.search(key)}
    shown = url.update_query_dict(secret).render_as_string(hide_password=True)
    return shown.replace(quote(HIDDEN), HIDDEN)
