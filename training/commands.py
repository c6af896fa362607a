"""The data scientist's commands: simulate, check, train, snapshots, models, promote, rollback."""

import os
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from features import terminal
from features.commands import AsJson, Events, Leads, RejectFile, Timezone

if TYPE_CHECKING:
    from features.findings import Finding
    from training.config import Config

app = typer.Typer()

DEFAULT_URI = "sqlite:///mlflow.db"
NO_GATE = "No gate compares the two champions yet: read both reports before you rely on this one."

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
Seed = Annotated[int, typer.Option("--seed", min=0, help="One seed, one result.")]
Scenario = Literal[
    "stationary", "growth", "drift", "slow-wins", "rare", "new-product", "bots", "leaky"
]
Registry = Annotated[
    str, typer.Option("--registry", envvar="MLFLOW_TRACKING_URI", help="The MLflow registry.")
]


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    leads: Annotated[int, typer.Option("--leads", min=1, help="How many.")] = 20_000,
    months: Annotated[
        int, typer.Option("--months", min=1, max=240, help="How long the history is.")
    ] = 18,
    seed: Seed = 7,
    scenario: Annotated[
        Scenario, typer.Option("--scenario", help="What is unusual about this world.")
    ] = "stationary",
) -> None:
    """Write the history of a simulated CRM whose truth is known."""
    from features.output_place import writing
    from training import simulator

    world = simulator.simulate(leads, months, seed, scenario)
    with writing(out):
        simulator.write(world, out)
    tables = "leads.parquet, events.parquet, outcomes.parquet, truth.parquet"
    terminal.say(f"wrote {out}/{tables} and leadqual.toml")
    leads_, events_, outcomes_, config_ = (
        shlex.quote(f"{out}/{name}")
        for name in ("leads.parquet", "events.parquet", "outcomes.parquet", "leadqual.toml")
    )
    terminal.say(
        f"next: leadqual train --leads {leads_} --events {events_} --outcomes {outcomes_} "
        f"--config {config_} --output model"
    )


@app.command()
def check(
    leads: Leads,
    events: Events,
    outcomes: Annotated[
        str | None, typer.Option("--outcomes", help="The outcomes, in the same forms.")
    ] = None,
    config: ConfigFile = None,
    until: Until = None,
    timezone: Timezone = None,
    as_json: AsJson = False,
) -> None:
    """Check tables against the data contract.

    Every finding is printed, with examples and what to do, and a horizon is suggested.
    """
    from features.column_map import per_table
    from features.readers import inspect_tables
    from training import inputs
    from training.config import read
    from training.crm import from_tables
    from training.horizon import suggest

    now_us = _now_us()
    tables = inspect_tables(
        leads,
        events,
        outcomes,
        columns=per_table(read(config).columns),
        timezone=timezone,
        until_us=inputs.until_us(until, timezone, now_us),
        now_us=now_us,
    )
    horizon = suggest(from_tables(tables)) if tables.usable and outcomes else None
    if as_json:
        found = [asdict(finding) for finding in tables.findings]
        terminal.answer({"findings": found, "horizon": horizon and asdict(horizon)})
    else:
        terminal.findings(tables.findings, result=True)
        if horizon:
            terminal.say(horizon.reason, result=True)
    terminal.say(_verdict(tables.findings))
    if not tables.usable:
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
    from features.output_place import check_folder, writing
    from training import inputs, report
    from training.learning import STAGES, Stopwatch, learn
    from training.registry import check as check_registry

    settings = inputs.settings(config, horizon_days)
    check_folder(output)
    with terminal.stages(len(STAGES)) as stage:
        clock = Stopwatch(stage)
        clock("read")
        crm = inputs.crm(
            leads,
            events,
            outcomes,
            settings,
            until=until,
            timezone=timezone,
            reject_file=reject_file,
            now_us=_now_us(),
        )
        if register is not None:
            check_registry(register, uri=registry)
        learned = learn(
            crm,
            settings,
            seed=seed,
            allow_weak=allow_weak,
            threads=os.cpu_count() or 1,
            clock=clock,
        )
        clock("save")
        with writing(output):
            scorer = learned.scorer.save(output)
            report.write(learned.report, output)
    _say_until(until, crm.until_us)
    terminal.findings(learned.findings)
    report.show(learned.report)
    terminal.say(
        f"wrote {output}/manifest.json (sha256:{scorer.digest}), report.html and report.json"
    )
    version = None
    if register is not None:
        version = _register(output, register, registry, learned.report, settings)
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
    """Write the learning table for work outside.

    A row is a lead at a moment: features, label, weight and follow-up.
    """
    import pyarrow.parquet as pq

    from features.findings import UsageError
    from features.output_place import check_folder, writing
    from training import inputs
    from training.study import learning_table

    settings = inputs.settings(config, horizon_days)
    if output.suffix not in {".parquet", ".pq"}:
        raise UsageError(
            f"--output {output}: the table is Parquet, name a file that ends in .parquet"
        )
    check_folder(output.parent)
    crm = inputs.crm(
        leads, events, outcomes, settings, until=until, timezone=timezone, now_us=_now_us()
    )
    _say_until(until, crm.until_us)
    table = learning_table(crm, settings)
    output.parent.mkdir(parents=True, exist_ok=True)
    staged = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        with writing(output):
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
    """List registered models and their aliases."""
    from training.registry import versions
    from training.tracking import without_password

    found = versions(name, uri=registry)
    if as_json:
        terminal.answer([asdict(version) for version in found])
        return
    terminal.table(
        f"Models in {without_password(registry)}",
        ("name", "version", "aliases", "created", "log loss", "AUC", "digest"),
        [
            (v.name, v.version, ", ".join(v.aliases), v.created, *_two(v.metrics), v.digest[:12])
            for v in found
        ],
        result=True,
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
    terminal.say(NO_GATE)
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
    terminal.say(NO_GATE)
    terminal.say(
        f"{name} version {champion.version} is the champion again (sha256:{champion.digest})"
    )


def _now_us() -> int:
    return time.time_ns() // 1_000


def _say_until(until: str | None, until_us: int) -> None:
    from features.moments import iso

    if until is None:
        newest = iso(until_us)
        terminal.say(f"--until is not given: the newest time in the tables is taken, {newest}")


def _verdict(findings: Sequence["Finding"]) -> str:
    """Say in one line whether tables can be used, and name the columns where they cannot."""
    places = [
        f"{found.table}.{found.column} {found.rule}"
        if found.column
        else f"{found.table} {found.rule}"
        for found in findings
        if found.severity == "error"
    ]
    if places:
        return f"leadqual: {_count(len(places), 'error')}: {', '.join(places)}"
    return f"the tables keep the contract ({_count(len(findings), 'finding')})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


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


def _two(metrics: Mapping[str, float]) -> tuple[str, str]:
    log_loss, auc = (f"{metrics[key]:.4f}" if key in metrics else "" for key in ("log_loss", "auc"))
    return log_loss, auc
