"""Commands that learn: train, and snapshots for learning outside."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

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
from training.commands import registering
from training.commands.options import (
    DEFAULT_URI,
    ConfigFile,
    EventsUnlessSource,
    Horizon,
    LeadsUnlessSource,
    Outcomes,
    OutcomesUnlessSource,
    Registry,
    Seed,
    Source,
    Until,
    now_us,
    say_until,
)

app = typer.Typer()

LEAST_MEMORY = "1G"


@app.command()
def train(
    output: Annotated[
        Path, typer.Option("--output", help="The folder for the model and its report.")
    ],
    leads: LeadsUnlessSource = None,
    events: EventsUnlessSource = None,
    outcomes: OutcomesUnlessSource = None,
    changes: Changes = None,
    source: Source = None,
    config: ConfigFile = None,
    until: Until = None,
    horizon_days: Horizon = None,
    register: Annotated[
        str | None, typer.Option("--register", help="Register the model under this name.")
    ] = None,
    allow_weak: Annotated[
        bool,
        typer.Option(
            "--allow-weak",
            help="Train on too little history; register what no baseline loses to.",
        ),
    ] = False,
    memory: Annotated[
        str, typer.Option("--memory", help="Of a history that needs more, some leads are taken.")
    ] = "4G",
    timezone: Timezone = None,
    reject_file: RejectFile = None,
    max_rejected_share: RejectShare = MAX_REJECTED_SHARE,
    seed: Seed = 0,
    registry: Registry = DEFAULT_URI,
    as_json: AsJson = False,
) -> None:
    """Learn from a CRM's history.

    A recipe is chosen, judged on later leads, and shipped fitted once more on everything.
    """
    from features.output_place import check_folder, writing
    from features.sizes import bytes_of
    from training import inputs, report
    from training.gates import GateRefused
    from training.learning import STAGES, Stopwatch, learn_from
    from training.registry import check as check_registry
    from training.result_folder import replacing, told_if_kept

    size = bytes_of(memory, "--memory", LEAST_MEMORY)
    with told_if_kept(output), ExitStack() as ended:
        places = inputs.places(source, leads, events, outcomes, changes)
        settings = inputs.settings(config, horizon_days)
        check_folder(output)
        read = ended.enter_context(
            inputs.history(
                places.leads,
                places.events,
                places.outcomes,
                settings,
                until=until,
                timezone=timezone,
                changes=places.changes,
                reject_file=reject_file,
                max_rejected_share=max_rejected_share,
                now_us=now_us(),
                output=output,
                memory=size,
                progress=terminal.rows_done,
            )
        )
        clock = Stopwatch(ended.enter_context(terminal.stages(len(STAGES))))
        clock("read")
        taken = read()
        if register is not None:
            check_registry(register, uri=registry)
        try:
            learned = learn_from(
                taken,
                settings,
                seed=seed,
                allow_weak=allow_weak,
                threads=os.cpu_count() or 1,
                clock=clock,
            )
        except GateRefused as refused:
            with writing(output), replacing(output) as staged:
                report.write_refusal(refused.report, staged)
            raise
        clock("save")
        with writing(output), replacing(output) as staged:
            scorer = learned.scorer.save(staged)
            report.write(learned.report, staged)
            if register is not None:
                learned.judged_leads.save(staged)
    say_until(until, taken.crm.until_us, undated=settings.split.undated)
    terminal.findings(learned.findings)
    report.show(learned.report)
    terminal.say(
        f"wrote {output}/manifest.json (sha256:{scorer.digest}), report.html and report.json"
    )
    version = None
    if register is not None:
        registering.refuse_weak(learned.report, register, output, allow_weak=allow_weak)
        version = registering.register(
            output, register, registry, learned.report, settings.label.horizon_days
        )
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
    changes: Changes = None,
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
        leads,
        events,
        outcomes,
        settings,
        until=until,
        timezone=timezone,
        changes=changes,
        now_us=now_us(),
    )
    say_until(until, crm.until_us, undated=settings.split.undated)
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
