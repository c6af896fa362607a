"""The data scientist's commands: simulate, check, train, snapshots, models, promote, rollback."""

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from features import terminal
from features.commands import AsJson, Events, Leads, RejectFile, Timezone

if TYPE_CHECKING:
    from training.config import Config
    from training.crm import Crm

app = typer.Typer()

DEFAULT_URI = "sqlite:///mlflow.db"

Outcomes = Annotated[str, typer.Option("--outcomes", help="The outcomes, in the same forms.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="leadqual.toml; without it, the defaults.")
]
Until = Annotated[
    str | None, typer.Option("--until", help="When the export was made; default: its newest time.")
]
Horizon = Annotated[
    int | None,
    typer.Option("--horizon-days", min=1, max=3_650, help="Days within which a win counts."),
]
Seed = Annotated[int, typer.Option("--seed", min=0)]
Registry = Annotated[
    str, typer.Option("--registry", envvar="MLFLOW_TRACKING_URI", help="The MLflow registry.")
]


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    leads: Annotated[int, typer.Option("--leads", min=1)] = 20_000,
    months: Annotated[int, typer.Option("--months", min=1)] = 18,
    seed: Seed = 7,
    scenario: Annotated[
        str, typer.Option("--scenario", help="stationary, growth, drift, slow-wins, rare, …")
    ] = "stationary",
) -> None:
    """Write the history of a simulated CRM whose truth is known."""
    from training import simulator

    simulator.write(simulator.simulate(leads, months, seed, scenario), out)
    tables = "leads.parquet, events.parquet, outcomes.parquet, truth.parquet"
    terminal.say(f"wrote {out}/{tables} and leadqual.toml")
    terminal.say(
        f"next: leadqual train --leads {out}/leads.parquet --events {out}/events.parquet "
        f"--outcomes {out}/outcomes.parquet --config {out}/leadqual.toml --output model"
    )


@app.command()
def check(
    leads: Leads,
    events: Events,
    outcomes: Annotated[
        str | None, typer.Option("--outcomes", help="The outcomes, in the same forms.")
    ] = None,
    config: ConfigFile = None,
    timezone: Timezone = None,
    as_json: AsJson = False,
) -> None:
    """Check tables against the data contract; print every finding, and suggest a horizon."""
    from features.column_map import per_table
    from features.readers import inspect_tables
    from training.config import read
    from training.crm import from_tables
    from training.horizon import suggest

    tables = inspect_tables(
        leads, events, outcomes, columns=per_table(read(config).columns), timezone=timezone
    )
    usable = all(finding.severity != "error" for finding in tables.findings)
    horizon = suggest(from_tables(tables)) if usable and outcomes else None
    if as_json:
        terminal.answer(
            {
                "findings": [asdict(found) for found in tables.findings],
                "horizon": horizon and asdict(horizon),
            }
        )
    else:
        terminal.findings(tables.findings)
        errors = sum(found.severity == "error" for found in tables.findings)
        terminal.say(f"{len(tables.findings)} findings, {errors} errors")
        if horizon:
            terminal.say(horizon.reason)
    if not usable:
        raise typer.Exit(2)


@app.command()
def train(
    leads: Leads,
    events: Events,
    outcomes: Outcomes,
    output: Annotated[
        Path, typer.Option("--output", help="The folder for the model and its report.")
    ],
    config: ConfigFile = None,
    until: Until = None,
    horizon_days: Horizon = None,
    register: Annotated[
        str | None, typer.Option("--register", help="Register the model under this name.")
    ] = None,
    allow_weak: Annotated[
        bool, typer.Option("--allow-weak", help="Train on too little history to judge.")
    ] = False,
    timezone: Timezone = None,
    reject_file: RejectFile = None,
    seed: Seed = 0,
    registry: Registry = DEFAULT_URI,
    as_json: AsJson = False,
) -> None:
    """Learn from a CRM's history.

    A recipe is chosen, judged on later leads, and shipped fitted once more on everything.
    """
    from training import report
    from training.learning import STAGES, Stopwatch, learn

    settings = _config(config, horizon_days)
    with terminal.stages(len(STAGES)) as stage:
        clock = Stopwatch(stage)
        clock("read")
        crm = _crm(leads, events, outcomes, settings, until, timezone, reject_file)
        learned = learn(
            crm,
            settings,
            seed=seed,
            allow_weak=allow_weak,
            threads=os.cpu_count() or 1,
            clock=clock,
        )
        clock("save")
        scorer = learned.scorer.save(output)
        report.write(learned.report, output)
    terminal.findings(learned.findings)
    report.show(learned.report)
    terminal.say(
        f"wrote {output}/manifest.json (sha256:{scorer.digest}), report.html and report.json"
    )
    version = _register(output, register, registry, learned.report, settings) if register else None
    if as_json:
        terminal.answer(
            {"digest": scorer.digest, "registered": version, "report": report.plain(learned.report)}
        )


@app.command()
def snapshots(
    leads: Leads,
    events: Events,
    outcomes: Outcomes,
    output: Annotated[Path, typer.Option("--output", help="The Parquet file to write.")],
    config: ConfigFile = None,
    until: Until = None,
    horizon_days: Horizon = None,
    timezone: Timezone = None,
) -> None:
    """Write the learning table (lead, as_of, features, label, weight) for work outside."""
    import pyarrow.parquet as pq

    from training.study import learning_table

    settings = _config(config, horizon_days)
    table = learning_table(_crm(leads, events, outcomes, settings, until, timezone, None), settings)
    output.parent.mkdir(parents=True, exist_ok=True)
    staged = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        pq.write_table(table, staged)
        staged.replace(output)
    finally:
        staged.unlink(missing_ok=True)
    terminal.say(f"wrote {output}: {table.num_rows:,} snapshots, {table.num_columns} columns")


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="A registered model; without it, all.")] = None,
    registry: Registry = DEFAULT_URI,
    as_json: AsJson = False,
) -> None:
    """List the registered models, their versions and aliases."""
    from training.registry import versions

    found = versions(name, uri=registry)
    if as_json:
        terminal.answer([asdict(version) for version in found])
        return
    terminal.table(
        f"Models in {registry}",
        ("name", "version", "aliases", "created", "log loss", "AUC", "digest"),
        [
            (v.name, v.version, ", ".join(v.aliases), v.created, *_two(v.metrics), v.digest[:12])
            for v in found
        ],
    )


@app.command()
def promote(
    name: Annotated[str, typer.Argument(help="The registered model.")],
    version: Annotated[
        str | None, typer.Option("--version", help="Default: the challenger.")
    ] = None,
    registry: Registry = DEFAULT_URI,
) -> None:
    """Make a version the champion."""
    from training import registry as models

    champion = models.promote(name, version, uri=registry)
    terminal.say(
        "No gate compares challenger and champion yet: read both reports before you rely on this."
    )
    terminal.say(
        f"{name} version {champion.version} is now the champion (sha256:{champion.digest})"
    )


@app.command()
def rollback(
    name: Annotated[str, typer.Argument(help="The registered model.")],
    registry: Registry = DEFAULT_URI,
) -> None:
    """Make the previous champion the champion again."""
    from training import registry as models

    champion = models.rollback(name, uri=registry)
    terminal.say(
        f"{name} version {champion.version} is the champion again (sha256:{champion.digest})"
    )


def _config(path: Path | None, horizon_days: int | None) -> "Config":
    from training.config import read

    settings = read(path)
    if horizon_days is None:
        return settings
    return settings.model_copy(
        update={"label": settings.label.model_copy(update={"horizon_days": horizon_days})}
    )


def _crm(
    leads: str,
    events: str,
    outcomes: str,
    settings: "Config",
    until: str | None,
    timezone: str | None,
    reject_file: str | None,
) -> "Crm":
    from features import moments
    from features.column_map import per_table
    from features.findings import UsageError
    from features.readers import read_tables
    from training.crm import from_tables

    moment = moments.parse(until, timezone) if until else None
    if until and moment is None:
        raise UsageError(f"--until {until} is no time: write one such as 2026-09-01T00:00:00Z")
    tables = read_tables(
        leads,
        events,
        outcomes,
        columns=per_table(settings.columns),
        timezone=timezone,
        until_us=moment,
        now_us=time.time_ns() // 1_000,
        reject_file=reject_file,
    )
    if until is None:
        newest = moments.iso(tables.until_us)
        terminal.say(f"--until is not given: the newest time in the tables is taken, {newest}")
    return from_tables(tables)


def _register(
    folder: Path, name: str, registry: str, report: dict[str, Any], settings: "Config"
) -> dict[str, Any]:
    from training.registry import register

    figures = report["test"]["model"]
    metrics = {
        key: figure["value"] for key, figure in figures.items() if figure["value"] is not None
    }
    params = {"horizon_days": settings.label.horizon_days, "recipe": report["chosen"]}
    version = register(folder, name, uri=registry, metrics=metrics, params=params)
    terminal.say(
        f"registered as {name} version {version.version}, the challenger; "
        f"`leadqual promote {name}` makes it the champion"
    )
    return asdict(version)


def _two(metrics: Any) -> tuple[str, str]:
    return tuple(f"{metrics[key]:.4f}" if key in metrics else "" for key in ("log_loss", "auc"))  # type: ignore[return-value]
