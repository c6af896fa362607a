"""The commands that apply a model: `score` a backlog and `serve` the API."""

import time
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from features import terminal
from features.commands import (
    AsJson,
    Changes,
    Events,
    Leads,
    RejectFile,
    RejectShare,
    Timezone,
)
from features.rules import MAX_REJECTED_SHARE
from serving.store.commands import DatabaseUrl, SettingsFile

app = typer.Typer()

Model = Annotated[
    str, typer.Option("--model", help="A folder, models:/NAME@champion or models:/NAME/3.")
]
ExpectDigest = Annotated[
    str | None, typer.Option("--expect-digest", help="Refuse a model with another digest.")
]
Registry = Annotated[
    str, typer.Option("--registry", envvar="MLFLOW_TRACKING_URI", help="The MLflow registry.")
]

LEAST_MEMORY = "512M"
DEFAULT_URI = "sqlite:///mlflow.db"


@app.command()
def score(
    model: Model,
    leads: Leads,
    events: Events,
    as_of: Annotated[
        str, typer.Option("--as-of", help="The moment of judging, or a column of the leads table.")
    ],
    output: Annotated[Path, typer.Option("--output", help="The file to write: .parquet or .csv.")],
    changes: Changes = None,
    expect_digest: ExpectDigest = None,
    reasons: Annotated[
        bool, typer.Option("--reasons", help="Give reasons for the hand-offs.")
    ] = False,
    language: Annotated[
        Literal["en", "ja"], typer.Option("--language", help="Of the reasons.")
    ] = "en",
    capacity: Annotated[
        int | None, typer.Option("--capacity", min=0, help="Hand off only the N best.")
    ] = None,
    memory: Annotated[
        str, typer.Option("--memory", help="Larger tables go through the disk, beside the output.")
    ] = "1G",
    resume: Annotated[
        bool, typer.Option("--resume", help="Take up such a run that was broken off.")
    ] = False,
    engine: Annotated[
        Literal["local", "spark"], typer.Option("--engine", help="Spark needs the extra spark.")
    ] = "local",
    timezone: Timezone = None,
    reject_file: RejectFile = None,
    max_rejected_share: RejectShare = MAX_REJECTED_SHARE,
    registry: Registry = DEFAULT_URI,
    as_json: AsJson = False,
) -> None:
    """Score a backlog of leads.

    One row is written for every row of the leads table, in the same order.
    """
    from features import moments
    from features.column_map import per_table
    from features.sizes import bytes_of
    from serving.backlog import score_files
    from training.registry import open_model

    now_us = time.time_ns() // 1_000
    size = bytes_of(memory, "--memory", LEAST_MEMORY)
    _refuse_empty(as_of=as_of, expect_digest=expect_digest)
    moment = moments.parse(as_of, timezone, option="--as-of")
    if moment is not None and moment > now_us:
        terminal.say(
            f"--as-of {as_of} lies in the future, the clock says {moments.iso(now_us)}: "
            "what happens until then is not known"
        )
    scorer = open_model(model, expect_digest=expect_digest, uri=registry)
    summary = score_files(
        scorer,
        leads,
        events,
        output,
        as_of=as_of if moment is None else moment,
        reasons=reasons,
        language=language,
        capacity=capacity,
        timezone=timezone,
        columns=per_table(scorer.card.config.get("columns", {})),
        reject_file=reject_file,
        max_rejected_share=max_rejected_share,
        now_us=now_us,
        changes=changes,
        memory=size,
        resume=resume,
        engine=engine,
        progress=terminal.rows_done,
    )
    terminal.findings(summary.findings)
    terminal.say(
        f"wrote {output}: {summary.rows:,} row{'s' * (summary.rows != 1)}, "
        f"{summary.scored:,} scored, "
        f"{summary.hand_offs:,} to hand off"
    )
    if as_json:
        terminal.answer({**asdict(summary), "model": scorer.label, "output": str(output)})


@app.command()
def serve(
    model: Model,
    expect_digest: ExpectDigest = None,
    host: Annotated[str | None, typer.Option("--host", help="Default: 127.0.0.1.")] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65_535, help="Default: 8000.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=64, help="Default: 1.")
    ] = None,
    database_url: DatabaseUrl = None,
    registry: Registry = DEFAULT_URI,
    settings: SettingsFile = None,
) -> None:
    """Serve the scoring API until SIGTERM.

    With a database it keeps the history and hands leads off. A model that is named by an alias is
    followed: when it moves, the version it names is served without a restart.
    """
    from serving.server import followed, run
    from serving.settings import stated
    from training.registry import open_model

    _refuse_empty(expect_digest=expect_digest, settings=settings)
    found = stated(settings, host=host, port=port, workers=workers, database_url=database_url)
    _say_ignored(found.ignored)
    if model.startswith("models:/") and "@" in model:
        run(followed(model, registry, expect_digest, found.settings), found.settings)
    else:
        run(partial(open_model, model, expect_digest=expect_digest, uri=registry), found.settings)


@app.command()
def replay(
    decision_id: Annotated[int, typer.Argument(help="As the lead's history has it.")],
    database_url: DatabaseUrl = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Default: the registry's version that made it.")
    ] = None,
    registry: Registry = DEFAULT_URI,
    as_json: AsJson = False,
) -> None:
    """Make a past decision again, and compare."""
    from serving import settings
    from serving.served_model import ServedModel
    from serving.store.database import Database
    from serving.store.replay import made_by, replay
    from training.registry import open_model

    url = settings.required_database_url(settings.read(database_url=database_url))
    database = Database.open(url, create=False)
    try:
        with database.reading() as connection:
            name, version, digest = made_by(connection, decision_id)
            place = model or f"models:/{name}/{version}"
            scorer = open_model(place, expect_digest=digest, uri=registry)
            found = replay(connection, decision_id, ServedModel.of(scorer))
    finally:
        database.close()
    score = "none" if found.now["score"] is None else repr(found.now["score"])
    terminal.say(f"decision {decision_id} again: score {score}, {found.now['decision']}")
    terminal.say(f"the same: {found.same}" + "".join(f"; {each}" for each in found.missing))
    if as_json:
        terminal.answer(asdict(found))
    if found.same == "no":
        raise typer.Exit(3)


@app.command()
def settings(file: SettingsFile = None, as_json: AsJson = False) -> None:
    """Show every setting and where it comes from; secrets are hidden."""
    from serving.settings import stated
    from serving.settings_listed import lines

    found = stated(file)
    _say_ignored(found.ignored)
    if as_json:
        terminal.answer([asdict(line) for line in lines(found)])
        return
    terminal.table(
        "Settings: options come before the environment, .env, a file and defaults",
        ("setting", "value", "from", "meaning"),
        [
            (line.name, "none" if line.value is None else line.value, line.origin, line.meaning)
            for line in lines(found)
        ],
        result=True,
    )


def _say_ignored(ignored: Iterable[str]) -> None:
    for each in ignored:
        terminal.say(f"the environment's {each}")


@app.command()
def export(
    output: Annotated[Path, typer.Option("--output", help="The folder for a file of each table.")],
    database_url: DatabaseUrl = None,
    form: Annotated[
        Literal["parquet", "csv"], typer.Option("--format", help="Of the files.")
    ] = "parquet",
    tables: Annotated[
        str | None, typer.Option("--tables", help="Some of them, with commas between.")
    ] = None,
    settings: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """Export the service's tables, all from one moment.

    Those named training_leads, training_events, training_outcomes and training_changes are what
    `leadqual train` takes. Files of those names are replaced, all of them or none.
    """
    from serving import settings as own_settings
    from serving.export_files import export_files, wanted
    from serving.store.database import Database

    _refuse_empty(tables=tables)
    names = wanted(tables)
    stated = own_settings.read(settings, database_url=database_url)
    database = Database.open(own_settings.required_database_url(stated), create=False)
    try:
        rows = export_files(database, output, names, form, progress=terminal.rows_done)
    finally:
        database.close()
    terminal.say(f"wrote {len(rows)} tables to {output}: {sum(rows.values()):,} rows")
    if as_json:
        terminal.answer({"output": str(output), "format": form, "rows": rows})


def _refuse_empty(**options: str | None) -> None:
    """Refuse options that are given without content: a variable of a script that was not set."""
    from features.findings import UsageError

    for name, value in options.items():
        if value is not None and not value.strip():
            raise UsageError(
                f"--{name.replace('_', '-')} is empty: give it a value, or leave it out"
            )
