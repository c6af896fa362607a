"""The command that puts another hand-off rule on a model."""

from pathlib import Path
from typing import Annotated

import typer

from features import terminal
from features.commands import AsJson
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
    registry: Registry = DEFAULT_URI,
    as_json: AsJson = False,
) -> None:
    """Put another hand-off rule on a model, without learning anew.

    It is fixed from the out-of-time scores that the model carries; the scores stay as they are.
    """
    from features.output_place import check_folder, writing
    from training import report, ruling
    from training.registry import open_model
    from training.report.promise import promise
    from training.result_folder import replacing, told_if_kept

    stated = ruling.stated(
        capacity=capacity, precision=precision, confidence=confidence, value=value, cost=cost
    )
    check_folder(output)
    with told_if_kept(output):
        scorer = ruling.ruled(open_model(model, expect_digest=expect_digest, uri=registry), stated)
        told = ruling.report_with(Path(model), scorer)
        with writing(output), replacing(output) as staged:
            saved = scorer.save(staged)
            if told is not None:
                report.write(told, staged)
    terminal.say(promise(scorer.rule.as_dict()))
    terminal.say(
        f"wrote {output}/manifest.json (sha256:{saved.digest})"
        + (", report.html and report.json" if told is not None else "")
    )
    if as_json:
        terminal.answer({"digest": saved.digest, "rule": report.plain(scorer.rule.as_dict())})
