"""The page and the file of a back-test; its figures are computed in `training.backtest`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.report import METRICS, plain, plots, render, write_json

PARTS = {"after": "after training", "before": "before (in-sample)", "all": "all"}


def write(found: Mapping[str, Any], folder: Path) -> None:
    """Write ``backtest.json`` (NaN becomes null) and a self-contained ``backtest.html``."""
    values = plain(found)
    write_json(values, folder / "backtest.json")
    page = render(
        "backtest.html.j2", found=values, metrics=METRICS, parts=PARTS, drawn=_drawn(values)
    )
    (folder / "backtest.html").write_text(page, encoding="utf-8")


def _drawn(values: Mapping[str, Any]) -> dict[str, str]:
    part, months, weekly = values["parts"][values["shown"]], values["by_month"], values["per_week"]
    return {
        "reliability": plots.reliability(part["reliability"]),
        "by_grade": plots.shares(
            [each["grade"] for each in part["by_grade"]],
            [each["share_won"] for each in part["by_grade"]],
            [each["mean_score"] for each in part["by_grade"]],
        ),
        "by_month": plots.shares(
            [each["month"] for each in months],
            [each["share_won"] for each in months],
            [each["mean_score"] for each in months],
        ),
        "per_week": plots.per_week(
            weekly["weeks"], weekly["per_week"], weekly["capacity_per_week"]
        ),
    }
