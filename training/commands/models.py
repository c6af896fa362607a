"""Commands about registered models: models, promote, rollback."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated

import typer

from features import terminal
from features.commands import AsJson
from training.commands.options import DEFAULT_URI, Registry

app = typer.Typer()

NO_GATE = "No gate compares the two champions yet: read both reports before you rely on this one."


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


def _two(metrics: Mapping[str, float]) -> tuple[str, str]:
    log_loss, auc = (f"{metrics[key]:.4f}" if key in metrics else "" for key in ("log_loss", "auc"))
    return log_loss, auc
