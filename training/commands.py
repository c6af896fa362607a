"""The commands of the data scientist: simulate, check, train, snapshots, models, promote and rollback."""

import os
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

Outcomes = Annotated[str, typer.Option("--outcomes", help="The outcomes, in the same forms.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="leadqual.toml; without it, the defaults.")
]
Until = Annotated[
    str | None,
    typer.Option("--until", help="When the export was made; default: the newest time in it."),
]
Horizon = Annotated[
    int | None, typer.Option("--horizon-days", min=1, help="Days within which a win counts.")
]
Seed = Annotated[int, typer.Option("--seed")]


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
    from training import simulator  # noqa: PLC0415

    simulator.write(simulator.simulate(leads, months, seed, scenario), out)
    terminal.say(
        f"wrote {out}/leads.parquet, events.parquet, outcomes.parquet, truth.parquet and leadqual.toml"
    )
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
    until: Until = None,
    timezone: Timezone = None,
    as_json: AsJson = False,
) -> None:
    """Check tables against the data contract; print every finding, and suggest a horizon."""
    from features.readers import inspect_tables  # noqa: PLC0415
    from training.crm import suggest_horizon  # noqa: PLC0415

    settings = _config(config, None)
    tables = inspect_tables(leads, events, outcomes, columns=_columns(settings), timezone=timezone)
    horizon = suggest_horizon(tables) if tables.usable and outcomes else None
    if as_json:
        terminal.answer({"findings": [asdict(f) for f in tables.findings], "horizon": horizon})
    else:
        terminal.findings(tables.findings)
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
    as_json: AsJson = False,
) -> None:
    """Learn from a CRM's history: choose a recipe, judge it on later leads, and ship it fitted on everything."""
    from training import report  # noqa: PLC0415
    from training.learning import STAGES, learn  # noqa: PLC0415

    settings = _config(config, horizon_days)
    with terminal.stages(len(STAGES)) as stage:
        stage("read")
        crm = _crm(leads, events, outcomes, settings, until, timezone, reject_file)
        learned = learn(
            crm,
            settings,
            seed=seed,
            allow_weak=allow_weak,
            threads=os.cpu_count() or 1,
            stage=stage,
        )
        stage("save")
        scorer = learned.scorer.save(output)
        report.write(learned.report, scorer, output)
    terminal.findings([f for f in learned.findings if f.severity != "note"])
    report.show(learned.report)
    terminal.say(
        f"wrote {output}/manifest.json (sha256:{scorer.digest}), report.html and report.json"
    )
    registered = _register(output, register, learned.report) if register else None
    if as_json:
        terminal.answer(learned.report | {"digest": scorer.digest, "registered": registered})


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
    """Write the learning table (lead, as_of, features, label, weight) as Parquet, for work outside."""
    from training.learning import learning_table  # noqa: PLC0415
    from training.table_file import write_parquet  # noqa: PLC0415

    settings = _config(config, horizon_days)
    learning = learning_table(
        _crm(leads, events, outcomes, settings, until, timezone, None), settings
    )
    write_parquet(learning, output)
    terminal.say(f"wrote {output}: {learning.num_rows:,} snapshots, {learning.num_columns} columns")
