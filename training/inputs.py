"""What a training command is told: configuration, moment of the export, tables; no learning."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pydantic import ValidationError

from features import moments, partitions
from features.checked_table import Plan, Terms, plan
from features.column_map import per_table
from features.contract import CHANGES, EVENTS, LEADS, OUTCOMES, TABLES, ContractError, Table
from features.findings import UsageError
from features.readers import Tables, inspect_tables, read_clues, read_tables
from features.readings import Clues
from features.rules import MAX_REJECTED_SHARE
from features.sources import Source, locate
from features.undated import HORIZON_DAYS
from training import config, shares
from training.config import Config, SnapshotGrid
from training.crm import Crm, from_tables
from training.sampling import Taken, sample
from training.scorer import ArtifactError, Card
from training.shares import Progress


class Places(NamedTuple):
    """Where the tables of a history stand."""

    leads: str
    events: str
    outcomes: str
    changes: str | None


def places(
    source: str | None,
    leads: str | None,
    events: str | None,
    outcomes: str | None,
    changes: str | None,
) -> Places:
    """Give where the tables stand: as they are named, or the views of the service's database.

    Raises
    ------
    UsageError
        A table is not named, or both are.
    """
    named = {"--leads": leads, "--events": events, "--outcomes": outcomes, "--changes": changes}
    given = [option for option, place in named.items() if place is not None]
    if source is not None:
        if given:
            raise UsageError(
                f"--source names all tables, and {', '.join(given)} is given too: give either"
            )
        if "#" in source:
            raise UsageError("--source names a whole database: leave out what follows the #")
        return Places(*(f"{source}#training_{name}" for name in Places._fields))
    if leads is None or events is None or outcomes is None:
        missing = [
            option for option in ("--leads", "--events", "--outcomes") if option not in given
        ]
        raise UsageError(
            f"{', '.join(missing)} must be given, or --source with the URL of a service's database"
        )
    return Places(leads, events, outcomes, changes)


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
    tables = read_tables(
        leads,
        events,
        outcomes,
        **_terms(settings, until, timezone, now_us),
        reject_file=reject_file,
        max_rejected_share=max_rejected_share,
        undated=settings.split.undated,
        order_by=settings.split.order_by,
        changes=changes,
    )
    return from_tables(tables)


@contextmanager
def history(
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
    output: Path,
    memory: int,
    progress: Progress,
) -> Iterator[Callable[[], Taken]]:
    """Give what reads the tables under the contract, and takes what fits into memory.

    Tables that do not fit go through the disk beside `output`, in shares by lead. Those without
    dates are read whole: what they say of a row is told by all of them.
    """
    terms = _terms(settings, until, timezone, now_us)
    places = {LEADS: leads, EVENTS: events, OUTCOMES: outcomes}
    places |= {} if changes is None else {CHANGES: changes}
    sources = None if settings.split.undated else _too_large(places, memory)
    if sources is None:
        yield lambda: _freed(
            sample(
                crm(
                    leads,
                    events,
                    outcomes,
                    settings,
                    until=until,
                    timezone=timezone,
                    changes=changes,
                    reject_file=reject_file,
                    max_rejected_share=max_rejected_share,
                    now_us=now_us,
                ),
                settings,
                memory,
            )
        )
        return

    def read(own: Mapping[str, Source], aside: Path | None) -> Tables:
        return inspect_tables(
            *(own[table.name] for table in (LEADS, EVENTS, OUTCOMES)),
            **terms,
            reject_file=aside,
            max_rejected_share=1.0,
            changes=own.get(CHANGES.name),
        )

    def clues(own: Mapping[str, Source]) -> Mapping[str, Clues]:
        rejected = None if reject_file is None else 1.0
        of_share = Terms(timezone, now_us, max_rejected_share=rejected)
        return read_clues(own[LEADS.name], own[CHANGES.name], terms["columns"], of_share)

    aside = None if reject_file is None else Path(reject_file)
    with shares.split(_plans(sources, terms), sources, output, memory, progress) as splits:
        told = partitions.with_readings(splits, clues)
        on_disk = shares.Shares(told, read, aside, max_rejected_share)
        yield lambda: _freed(on_disk.taken(settings, memory))


def _freed(taken: Taken) -> Taken:
    """Give back what Arrow holds of the memory that tables took, for the fits."""
    pa.default_memory_pool().release_unused()
    return taken


def _terms(settings: Config, until: str | None, timezone: str | None, now: int) -> dict[str, Any]:
    """Give what the readers are told of dated tables beside where they stand."""
    if until is not None and settings.split.undated:
        raise UsageError(f"--until {until}: undated tables have no moments, leave it out")
    return {
        "columns": per_table(settings.columns),
        "timezone": timezone,
        "until_us": until_us(until, timezone, now),
        "now_us": now,
    }


def _too_large(places: Mapping[Table, str], memory: int) -> dict[str, Source] | None:
    """Find the tables where they would not fit into memory; None where they do.

    None, too, where one is not there: reading them says so of all.
    """
    try:
        sources = {table.name: locate(table.name, place) for table, place in places.items()}
        return None if shares.fit(sources, memory) else sources
    except ContractError:
        return None


def _plans(sources: Mapping[str, Source], terms: Mapping[str, Any]) -> dict[str, Plan]:
    """Choose what is read of each table.

    Raises
    ------
    ContractError
        Columns are missing.
    """
    found = {
        table.name: plan(table, sources[table.name], terms["columns"].get(table.name, {}), Terms())
        for table in TABLES
        if table.name in sources
    }
    findings = [finding for each in found.values() for finding in each.findings]
    if any(finding.severity == "error" for finding in findings):
        raise ContractError(findings)
    return found
