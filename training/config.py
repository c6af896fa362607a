"""`leadqual.toml`, frozen: what a training run is told; the service's settings are not here."""

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from features.catalogue import SALES_TYPES
from features.expected import expected
from features.matrix import WINDOWS_DAYS

MOST_DAYS = 3_650

Age = Annotated[float, Field(ge=0, le=MOST_DAYS)]
Said = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Window = Annotated[float, Field(gt=0, le=MOST_DAYS)]


def _column_names(given: object) -> object:
    """Refuse what is no name before the union of both forms reports it once per form."""
    for name in given.values() if isinstance(given, dict) else (given,):
        if not isinstance(name, str):
            raise ValueError(f"write the column's name in quotes, got {name!r}")  # noqa: TRY004 - pydantic takes no TypeError
    return given


Names = Annotated[str | dict[str, str], BeforeValidator(_column_names)]


class ConfigError(ValueError):
    """A `leadqual.toml` that cannot be used: the message names the key, what it got and expects."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Label(_Section):
    """What counts as won, and within how many days."""

    horizon_days: Annotated[int, Field(strict=True, gt=0, le=MOST_DAYS)] = 90
    strategy: Literal["ipcw", "em"] = "ipcw"


class SnapshotGrid(_Section):
    """At which moments a lead is looked at; neither: chosen from the data, and said."""

    ages_days: Annotated[tuple[Age, ...], Field(min_length=1)] | None = None
    every_days: Annotated[float, Field(ge=1, le=MOST_DAYS)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "SnapshotGrid":
        if self.ages_days is not None and self.every_days is not None:
            raise ValueError("ages_days and every_days exclude each other: keep one")
        return self


class Features(_Section):
    """Which features there are."""

    exclude: tuple[str, ...] = ()
    sensitive: tuple[str, ...] = ()
    windows_days: Annotated[tuple[Window, ...], Field(min_length=1)] = WINDOWS_DAYS

    @model_validator(mode="after")
    def _ascending(self) -> "Features":
        if list(self.windows_days) != sorted(set(self.windows_days)):
            raise ValueError(f"windows_days must ascend, got {list(self.windows_days)}")
        return self


class Events(_Section):
    """Event types that show what sales does: they end a lead's snapshots and are no features.

    The service's own database says ``handoff_accepted`` where sales took up a lead.
    """

    sales: tuple[str, ...] = SALES_TYPES
    handoff: tuple[str, ...] = ("handoff_accepted",)


class RuleChoice(_Section):
    """The hand-off rule; without what its kind needs it is unstated: the best fifth."""

    kind: Literal["capacity", "precision", "value"] = "capacity"
    capacity_per_week: Annotated[int, Field(strict=True, gt=0)] | None = None
    precision: Annotated[float, Field(gt=0, lt=1)] | None = None
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.9
    value: Annotated[float, Field(gt=0)] | None = None
    cost: Annotated[float, Field(ge=0)] | None = None
    min_events: Annotated[int, Field(strict=True, ge=0)] = 0

    @model_validator(mode="after")
    def _of_its_kind(self) -> "RuleChoice":
        needed = NEEDED[self.kind]
        given = {key for keys in NEEDED.values() for key in keys if getattr(self, key) is not None}
        if foreign := sorted(given - set(needed)):
            raise ValueError(
                f"a rule of kind {self.kind} takes {' and '.join(needed)}, not "
                f"{' or '.join(foreign)}: drop it, or state another kind"
            )
        if self.kind != "capacity" and (lacking := [key for key in needed if key not in given]):
            raise ValueError(f"a rule of kind {self.kind} needs {' and '.join(lacking)}")
        return self


NEEDED = {
    "capacity": ("capacity_per_week",),
    "precision": ("precision",),
    "value": ("value", "cost"),
}
"""What each kind of rule is stated by."""


class Split(_Section):
    """How leads are told apart: in time, and by the account that they belong to."""

    account: Said | None = None
    undated: bool = False
    order_by: str | None = None

    @model_validator(mode="after")
    def _ordered(self) -> "Split":
        if self.order_by is not None and not self.undated:
            raise ValueError("order_by is for tables without dates: add undated = true, or drop it")
        return self


class AllowedLeak(_Section):
    """What the leak gate lets pass: a column or an event type, who says so, and why."""

    column: Said
    name: Said
    reason: Said


class Leaks(_Section):
    """What the leak gate is told: who lets what pass, and columns known to be as of the export."""

    allow: tuple[AllowedLeak, ...] = ()
    as_of_now: tuple[str, ...] = ()


class Gate(_Section):
    """What a challenger must keep to become the champion."""

    log_loss_margin: Annotated[float, Field(ge=0)] = 0.005
    calibration_ratio: tuple[float, float] = (0.67, 1.5)
    least_leads: Annotated[int, Field(strict=True, gt=0)] = 200
    least_wins: Annotated[int, Field(strict=True, gt=0)] = 10

    @model_validator(mode="after")
    def _around_one(self) -> "Gate":
        low, high = self.calibration_ratio
        if not 0 <= low <= 1 <= high:
            raise ValueError(f"calibration_ratio must be limits around 1, got [{low:g}, {high:g}]")
        return self


class Report(_Section):
    """By which columns of the leads table the report tells groups of leads apart.

    `groups` are watched for fairness, whether the model knows them or not; `segments` are looked at
    for where the model does worst, in place of the attributes of few values.
    """

    groups: tuple[Said, ...] = ()
    segments: tuple[Said, ...] = ()


class Config(_Section):
    """A training run's configuration; every key has a default.

    Examples
    --------
    >>> Config().label.horizon_days
    90
    """

    columns: dict[str, Names] = Field(default_factory=dict)
    label: Label = Label()
    snapshots: SnapshotGrid = SnapshotGrid()
    features: Features = Features()
    events: Events = Events()
    leaks: Leaks = Leaks()
    rule: RuleChoice = RuleChoice()
    split: Split = Split()
    gate: Gate = Gate()
    report: Report = Report()


def read(path: Path | None) -> Config:
    """Read a configuration file; None gives the defaults.

    Raises
    ------
    ConfigError
        Names every key that is unknown (with the nearest known one) or has a wrong value.
    """
    if path is None:
        return Config()
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}): check --config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        lines = "\n".join(f"  {_explain(item)}" for item in error.errors())
        raise ConfigError(
            f"{path}: {error.error_count()} key(s) cannot be used\n{lines}"
        ) from error


def _explain(found: ErrorDetails) -> str:
    where = found["loc"]
    key = ".".join(str(part) for part in where)
    if found["type"] == "value_error":
        return f"{key}: {found['ctx']['error']}"
    if found["type"] != "extra_forbidden":
        return f"{key}: {expected(found)}, got {found['input']!r}"
    near = difflib.get_close_matches(str(where[-1]), _known(where[:-1]), n=1)
    return f"{key}: unknown key" + (
        f", did you mean {near[0]}?" if near else f"; known: {', '.join(_known(where[:-1]))}"
    )


def _known(section: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Config
    for part in section:
        annotation = model.model_fields[str(part)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)
