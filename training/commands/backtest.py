"""The command that looks back: what a model would have said, and what came."""

from pathlib import Path
from typing import Annotated

import typer

from features import terminal
from features.commands import AsJson, Changes, Events, Leads, Timezone
from training.commands.options import (
    DEFAULT_URI,
    ConfigFile,
    Outcomes,
    Registry,
    Seed,
    Until,
    now_us,
    say_until,
)

app = typer.Typer()


@app.command()
def backtest(
    model: Annotated[
        str, typer.Option("--model", help="A folder, models:/NAME@champion or models:/NAME/3.")
    ],
    leads: Leads,
    events: Events,
    outcomes: Outcomes,
    output: Annotated[Path, typer.Option("--output", help="The folder for the page and figures.")],
    changes: Changes = None,
    config: ConfigFile = None,
    since: Annotated[
        str | None, typer.Option("--from", help="Judge moments from here on; default: all.")
    ] = None,
    until: Until = None,
    timezone: Timezone = None,
    expect_digest: Annotated[
        str | None, typer.Option("--expect-digest", help="Refuse a model with another digest.")
    ] = None,
    seed: Seed = 0,
    registry: Registry = DEFAULT_URI,
    as_json: AsJson = False,
) -> None:
    """Set past decisions against what came.

    Every moment is judged by what was known then. Without --config, tables and snapshots are read
    as the model's own configuration says; the horizon is always the model's.
    """
    from features.output_place import check_folder, writing
    from training import backtest as looking_back
    from training import inputs, report
    from training.registry import open_model
    from training.report import backtest as page

    check_folder(output)
    start = inputs.past_us(since, timezone, now_us(), option="--from")
    scorer = open_model(model, expect_digest=expect_digest, uri=registry)
    settings = inputs.settings_to_look_back(scorer.card, config)
    crm = inputs.crm(
        leads,
        events,
        outcomes,
        settings,
        until=until,
        timezone=timezone,
        changes=changes,
        now_us=now_us(),
    )
    say_until(until, crm.until_us)
    terminal.findings(crm.findings)
    found = looking_back.judge(
        looking_back.look_back(scorer, crm, settings),
        scorer,
        crm,
        from_us=start,
        seed=seed,
    )
    output.mkdir(parents=True, exist_ok=True)
    with writing(output):
        page.write(found, output)
    for sentence in found["summary"]:
        terminal.say(sentence)
    terminal.say(f"wrote {output}/backtest.html and backtest.json")
    if as_json:
        terminal.answer(report.plain(found))
