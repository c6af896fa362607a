"""What the commands that register a model share: when they refuse, and what they say."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from features import terminal


def refuse_weak(report: dict[str, Any], name: str, output: Path, *, allow_weak: bool) -> None:
    """Refuse to register a model that is not better than its best baseline."""
    from training.gates import GateRefused

    against = report["against_baselines"]
    check = next(c for c in report["gate"]["checks"] if c["name"] == "baselines")
    if allow_weak or (against.get("better") and check["passed"]):
        return
    best = against.get("best")
    why = f"better than the baseline {best}" if best else "judged on any win"
    if against.get("better"):
        why = "better than chance"
    raise GateRefused(
        f"{name} is not registered: the model in {output} is not {why} (baselines: "
        f"{check['detail']}); read {output}/report.html, or register it all the same with "
        "--allow-weak"
    )


def register(
    folder: Path, name: str, registry: str, report: dict[str, Any], horizon_days: float
) -> dict[str, Any]:
    """Register what a folder holds as the next version, and say so."""
    from training.registry import register as into_registry

    figures = report["test"]["model"]
    metrics = {
        key: figure["value"] for key, figure in figures.items() if figure["value"] is not None
    }
    params = {"horizon_days": horizon_days, "recipe": report["chosen"]}
    version = into_registry(folder, name, uri=registry, metrics=metrics, params=params)
    terminal.say(
        f"registered as {name} version {version.version}, the challenger; "
        f"`leadqual promote {name}` makes it the champion"
    )
    return asdict(version)
