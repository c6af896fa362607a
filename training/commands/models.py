"""Commands about registered models: models, promote, rollback."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from features import terminal
from features.commands import AsJson
from training.commands.options import DEFAULT_URI, Registry, now_us

if TYPE_CHECKING:
    from training.registry import Version

app = typer.Typer()


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="A registered model; without it, all.")] = None,
    registry: Registry = DEFAULT_URI,
    as_json: AsJson = False,
) -> None:
    """List registered models, and who was champion when."""
    from training.registry import versions
    from training.tracking import without_password

    found = versions(name, uri=registry)
    if as_json:
        terminal.answer([asdict(version) for version in found])
        return
    terminal.table(
        f"Models in {without_password(registry)}",
        ("name", "version", "aliases", "created", "log loss", "AUC", "gate", "digest"),
        [
            (
                *(v.name, v.version, ", ".join(v.aliases), v.created),
                *(*_two(v.metrics), v.gate, v.digest[:12]),
            )
            for v in found
        ],
        result=True,
    )
    line = _succession(found)
    if line:
        terminal.table(
            "Who became champion, when and how",
            ("name", "version", "at", "how", "gate", "because"),
            line,
            result=True,
        )


@app.command()
def promote(
    name: Annotated[str, typer.Argument(help="The registered model.")],
    version: Annotated[
        str | None, typer.Option("--version", help="Default: the challenger.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Promote although a check fails; needs --because.")
    ] = False,
    because: Annotated[
        str | None, typer.Option("--because", help="Why it is forced; kept with the version.")
    ] = None,
    registry: Registry = DEFAULT_URI,
    as_json: AsJson = False,
) -> None:
    """Make a version the champion, if the gate lets it pass.

    It is compared with the present champion on the same leads; the verdict is kept with it.
    """
    from features.findings import UsageError
    from training import promotion
    from training.gates import GateRefused

    if force != bool(because and because.strip()):
        raise UsageError("--force and --because TEXT go together: say why a check is overridden")
    try:
        verdict, champion = promotion.promote(
            name, version, uri=registry, because=because, now_us=now_us()
        )
    except GateRefused as refused:
        for line in _changed(refused.report.get("churn", {})):
            terminal.say(line)
        if as_json:
            terminal.answer(refused.report)
        raise
    for check in verdict.checks:
        terminal.say(f"{'passed' if check.passed else 'FAILED'}  {check.name}: {check.detail}")
    for line in _changed(verdict.churn):
        terminal.say(line)
    if verdict.because:
        terminal.say(f"forced, because: {verdict.because}")
    terminal.say(
        f"{name} version {champion.version} is now the champion (sha256:{champion.digest})"
    )
    if as_json:
        terminal.answer({**verdict.as_dict(), "champion": asdict(champion)})


@app.command()
def rollback(
    name: Annotated[str, typer.Argument(help="The registered model.")],
    registry: Registry = DEFAULT_URI,
) -> None:
    """Make the previous champion the champion again."""
    from features.moments import iso
    from training import registry as models

    note = {"at": iso(now_us()), "how": "rollback"}
    champion = models.rollback(name, note=note, uri=registry)
    terminal.say(
        f"{name} version {champion.version} is the champion again (sha256:{champion.digest})"
    )


def _changed(churn: Mapping[str, Any]) -> Iterator[str]:
    """Say which judged leads change their decision, both ways."""
    for key, what in (
        ("handed_off_newly", "are handed off newly"),
        ("handed_off_no_more", "are no longer handed off"),
    ):
        if key in churn:
            yield f"{churn[key]['leads']} of {churn['leads']} judged leads {what}"
            for lead in churn[key]["examples"]:
                scores = (_score(lead[side]["score"]) for side in ("champion", "challenger"))
                yield f"  {lead['lead_id']} at {lead['as_of']}: {' → '.join(scores)}"


def _score(value: float | None) -> str:
    return "no score" if value is None else f"{value:.3f}"


def _succession(found: Sequence["Version"]) -> list[tuple[str, ...]]:
    """Give the line of champions of each model, in order."""
    lines = [(v.name, reign["number"], v.version, reign) for v in found for reign in v.reigns]
    return [
        (
            name,
            version,
            *(str(reign.get(key) or "") for key in ("at", "how", "result", "because")),
        )
        for name, _, version, reign in sorted(lines, key=lambda line: line[:2])
    ]


def _two(metrics: Mapping[str, float]) -> tuple[str, str]:
    log_loss, auc = (f"{metrics[key]:.4f}" if key in metrics else "" for key in ("log_loss", "auc"))
    return log_loss, auc
