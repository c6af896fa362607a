"""Commands about a CRM's history itself: simulate, check."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from features import terminal
from features.commands import AsJson, Changes, Events, Leads, Timezone
from training.commands.options import ConfigFile, Seed, Until, now_us

if TYPE_CHECKING:
    from features.findings import Finding

app = typer.Typer()

Scenario = Literal[
    "stationary", "growth", "drift", "slow-wins", "rare", "new-product", "bots", "leaky"
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
    changes: Changes = None,
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

    clock_us, settings = now_us(), read(config)
    tables = inspect_tables(
        leads,
        events,
        outcomes,
        columns=per_table(settings.columns),
        timezone=timezone,
        until_us=inputs.until_us(until, timezone, clock_us),
        now_us=clock_us,
        undated=settings.split.undated,
        order_by=settings.split.order_by,
        changes=changes,
    )
    dated = tables.usable and outcomes and not settings.split.undated
    horizon = suggest(from_tables(tables)) if dated else None
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
