"""The report of a training run, for people and programs; its figures are computed elsewhere."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from features import terminal
from training.report import wording

METRICS: dict[str, str] = {
    "log_loss": "log loss",
    "brier": "Brier score",
    "auc": "AUC",
    "average_precision": "average precision",
    "calibration_ratio": "mean score / share won",
    "lift_at_10pct": "lift in the best tenth",
    "capture_at_capacity": "wins among the leads that sales takes",
}

SHOWN = ("log_loss", "auc", "calibration_ratio", "lift_at_10pct")
"""What fits on a terminal."""


def write(report: Mapping[str, Any], folder: Path) -> None:
    """Write ``report.json`` (NaN becomes null) and a self-contained ``report.html``."""
    from training.report import page  # noqa: PLC0415  it needs this module

    values = plain(report)
    write_json(values, folder / "report.json")
    text = render("report.html.j2", metrics=METRICS, **page.parts(values))
    (folder / "report.html").write_text(text, encoding="utf-8")


def write_json(values: Any, path: Path) -> None:
    """Write plain values as people can read them."""
    text = json.dumps(values, ensure_ascii=False, indent=1, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def render(template: str, **values: Any) -> str:
    """Fill a page of this folder; a name that is missing is an error."""
    import jinja2  # noqa: PLC0415  only whoever writes pages waits for it

    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("training.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    pages.filters.update(figure=figure, percent=wording.percent, short=wording.short)
    return pages.get_template(template).render(**values)


def write_refusal(report: Mapping[str, Any], folder: Path) -> None:
    """Write ``report.json`` of a run that a gate stopped before there was a model."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(plain(report), folder / "report.json")


def show(report: Mapping[str, Any]) -> None:
    """Print the report's sentences and its main table for a person."""
    for sentence in report["summary"]:
        terminal.say(sentence)
    columns = ("", *(METRICS[key] for key in SHOWN))
    terminal.table(
        f"Judged on {report['rows']['test']['leads']:,} {report['origins']['judged_on']}: "
        f"{report['headline']}",
        columns,
        [(name, *(figure(figures[key]) for key in SHOWN)) for name, figures in compared(report)],
    )


def compared(report: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give the model and its baselines with their figures, in the order of the tables."""
    yield "model", report["test"]["model"]
    yield from report["test"]["baselines"].items()


def figure(value: Mapping[str, float | None] | float | None) -> str:
    """Write a figure with its interval.

    >>> figure({"value": 0.71234, "low": 0.7, "high": None}), figure(None)
    ('0.712', '–')
    >>> figure({"value": 0.71234, "low": 0.7, "high": 0.72})
    '0.712 (0.700–0.720)'
    """
    if value is None:
        return "–"
    if isinstance(value, (int, float)):
        return "–" if math.isnan(value) else f"{value:.3f}"
    middle, low, high = (value[key] for key in ("value", "low", "high"))
    if middle is None or math.isnan(middle):
        return "–"
    if low is None or high is None:
        return f"{middle:.3f}"
    return f"{middle:.3f} ({low:.3f}–{high:.3f})"


def plain(value: Any) -> Any:
    """Return what JSON can hold: NaN and infinity become null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
