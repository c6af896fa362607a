"""The command that puts another hand-off rule on a model."""

import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from features import terminal
from features.commands import AsJson
from training.commands import registering
from training.commands.options import DEFAULT_URI, Registry

app = typer.Typer()


@app.command()
def rule(
    model: Annotated[
        str, typer.Option("--model", help="A folder, models:/NAME@champion or models:/NAME/3.")
    ],
    output: Annotated[Path, typer.Option("--output", help="The folder for the model.")],
    capacity: Annotated[
        int | None, typer.Option("--capacity", help="Leads that sales can work per week.")
    ] = None,
    precision: Annotated[
        float | None, typer.Option("--precision", help="Share of the hand-offs to be won.")
    ] = None,
    confidence: Annotated[
        float | None, typer.Option("--confidence", help="Of the precision; default: 0.9.")
    ] = None,
    value: Annotated[float | None, typer.Option("--value", help="Of a won lead.")] = None,
    cost: Annotated[float | None, typer.Option("--cost", help="Of a hand-off.")] = None,
    expect_digest: Annotated[
        str | None, typer.Option("--expect-digest", help="Refuse a model with another digest.")
    ] = None,
    register: Annotated[
        str | None, typer.Option("--register", help="Register the model under this name.")
    ] = None,
    allow_weak: Annotated[
        bool, typer.Option("--allow-weak", help="Register what no baseline loses to.")
    ] = False,
    registry: Registry = DEFAULT_URI,
    as_json: AsJson = False,
) -> None:
    """Put another hand-off rule on a model, without learning anew.

    It is fixed from the out-of-time scores that the model carries; the scores stay as they are.
    """
    from features.output_place import check_folder, writing
    from training import report, ruling
    from training.registry import beside, open_model
    from training.registry import check as check_registry
    from training.report.promise import promise
    from training.result_folder import replacing, told_if_kept
    from training.tracking import JUDGED

    stated = ruling.stated(
        capacity=capacity, precision=precision, confidence=confidence, value=value, cost=cost
    )
    check_folder(output)
    with told_if_kept(output), tempfile.TemporaryDirectory() as brought:
        scorer = ruling.ruled(open_model(model, expect_digest=expect_digest, uri=registry), stated)
        stored = model.startswith("models:/")
        origin = beside(model, Path(brought), uri=registry) if stored else Path(model)
        told = ruling.report_with(origin, scorer)
        if register is not None:
            _refuse_bare(told, origin, model)
            check_registry(register, uri=registry)
        with writing(output), replacing(output) as staged:
            saved = scorer.save(staged)
            if told is not None:
                report.write(told, staged)
            if (origin / JUDGED).is_dir():
                shutil.copytree(origin / JUDGED, staged / JUDGED)
    terminal.say(promise(scorer.rule.as_dict()))
    terminal.say(
        f"wrote {output}/manifest.json (sha256:{saved.digest})"
        + (", report.html and report.json" if told is not None else "")
    )
    version = None
    if register is not None and told is not None:
        registering.refuse_weak(told, register, output, allow_weak=allow_weak)
        version = registering.register(output, register, registry, told, scorer.card.horizon_days)
    if as_json:
        fixed = report.plain(scorer.rule.as_dict())
        terminal.answer({"digest": saved.digest, "registered": version, "rule": fixed})


def _refuse_bare(told: dict[str, Any] | None, origin: Path, model: str) -> None:
    """Refuse to register a model without what the gate of `promote` asks for."""
    from features.findings import UsageError
    from training.tracking import JUDGED

    if told is None or not (origin / JUDGED).is_dir():
        lacking = "report.json" if told is None else "judged leads"
        raise UsageError(
            f"--register: {model} has no {lacking} beside it, which `leadqual promote` compares "
            "versions by; train with --register, and put the rule on that folder or version"
        )
