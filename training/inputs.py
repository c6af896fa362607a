"""What a training command is told: configuration, moment of the export, tables; no learning."""

from pathlib import Path

from pydantic import ValidationError

from features import moments
from features.column_map import per_table
from features.findings import UsageError
from features.readers import read_tables
from features.rules import MAX_REJECTED_SHARE
from features.undated import HORIZON_DAYS
from training import config
from training.config import Config, SnapshotGrid
from training.crm import Crm, from_tables
from training.scorer import ArtifactError, Card


def settings(path: Path | None, horizon_days: int | None) -> Config:
    """Read the configuration; the horizon of the command line counts more than its own."""
    found = config.read(path)
    if found.split.undated:
        return _undated(found)
    if horizon_days is None:
        return found
    label = found.label.model_copy(update={"horizon_days": horizon_days})
    return found.model_copy(update={"label": label})


def _undated(found: Config) -> Config:
    """Give a configuration in which outcomes come at once, and order and time are no features."""
    order_by = [found.split.order_by] if found.split.order_by else []
    excluded = (*found.features.exclude, *order_by)
    return found.model_copy(
        update={
            "label": found.label.model_copy(update={"horizon_days": HORIZON_DAYS}),
            "snapshots": SnapshotGrid(ages_days=(0.0,)),
            "features": found.features.model_copy(update={"exclude": excluded}),
        }
    )


def settings_to_look_back(card: Card, path: Path | None) -> Config:
    """Give the model's own configuration, or the stated one; the horizon is the model's."""
    stated = config.read(path)
    if card.undated or stated.split.undated:
        raise UsageError(
            "undated tables have no moments to look back on: the model's own report.html says how "
            "it does on later rows"
        )
    try:
        found = stated if path else Config.model_validate(card.config)
    except ValidationError as error:
        raise ArtifactError(
            "the model's own configuration cannot be read by this version "
            f"({error.error_count()} keys): give --config"
        ) from error
    label = found.label.model_copy(update={"horizon_days": card.horizon_days})
    return found.model_copy(update={"label": label})


def until_us(until: str | None, timezone: str | None, now_us: int) -> int | None:
    """Return the moment of the export in microseconds, None where it is not told.

    Raises
    ------
    UsageError
        It is no time, has no zone, or lies in the future.
    """
    return past_us(until, timezone, now_us, option="--until")


def past_us(text: str | None, timezone: str | None, now_us: int, *, option: str) -> int | None:
    """Return a moment of the past in microseconds, None where it is not told; see `until_us`."""
    if text is None:
        return None
    moment = moments.parse(text, timezone, option=option)
    if moment is None:
        raise UsageError(
            f"{option} {text or '(empty)'} is no time: write one such as 2026-09-01T00:00:00Z"
        )
    if moment > now_us:
        raise UsageError(
            f"{option} {text} lies in the future, the clock says {moments.iso(now_us)}: nothing "
            "is known of what comes after the export; give the moment it was made"
            if option == "--until"
            else f"{option} {text} lies in the future, the clock says {moments.iso(now_us)}: "
            "give a moment of the past"
        )
    return moment


def crm(
    leads: str,
    events: str,
    outcomes: str,
    settings: Config,
    *,
    until: str | None,
    timezone: str | None,
    changes: str | None = None,
    reject_file: str | None = None,
    max_rejected_share: float = MAX_REJECTED_SHARE,
    now_us: int,
) -> Crm:
    """Read the tables under the contract, as they were known at the moment of the export."""
    if until is not None and settings.split.undated:
        raise UsageError(f"--until {until}: undated tables have no moments, leave it out")
    tables = read_tables(
        leads,
        events,
        outcomes,
        columns=per_table(settings.columns),
        timezone=timezone,
        until_us=until_us(until, timezone, now_us),
        now_us=now_us,
        reject_file=reject_file,
        max_rejected_share=max_rejected_share,
        undated=settings.split.undated,
        order_by=settings.split.order_by,
        changes=changes,
    )
    return from_tables(tables)
