"""Plots of reports as inline SVG: text stays text, ink follows the page; nothing is computed."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

INK, LINE, SOFT, FAINT = "#010203", "#3b7dc4", "#d99a00", "#8a94a0"
"""INK becomes the colour of the page's text, light or dark; the others, those of its variables."""
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "leadqual",
    "font.family": "sans-serif",
    "font.size": 11.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.xmargin": 0.02,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "legend.columnspacing": 1.0,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), INK),
}
COLOURS = {
    INK: "currentColor",
    LINE: f"var(--line, {LINE})",
    SOFT: f"var(--soft, {SOFT})",
    FAINT: f"var(--faint, {FAINT})",
}
WIDTH, HEIGHT = 4.6, 3.0
MOST_TICKS, MOST_CHARACTERS = 5, 40
BAND = 0.18
ABOVE = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "ncols": 2, "borderaxespad": 0.0}
"""Where a legend stands: never on what it explains."""
_UNUSED = re.compile(
    r"<metadata>.*?</metadata>|<style.*?</style>|<clipPath.*?</clipPath>| clip-path=\"[^\"]*\""
    r"| xmlns[:a-z]*=\"[^\"]*\"| id=\"[A-Za-z0-9.]+_[0-9]+\"|font-family: [^;]*; ",
    re.DOTALL,
)
"""What an SVG inside a page does not need; nothing is drawn outside the axes."""


def reliability(bins: Sequence[Mapping[str, Any]]) -> str:
    """Draw promised against observed shares with their intervals; empty without bins."""
    if not bins:
        return ""

    def draw(axes: Any) -> None:
        promised, came = ([each[key] for each in bins] for key in ("mean_score", "share_won"))
        most = max(*promised, *(each["high"] for each in bins))
        axes.plot([0, most], [0, most], color=INK, lw=0.8, ls=":", label="as promised")
        _intervals(axes, promised, bins, came)
        axes.set(xlabel="mean score", ylabel="share won", xlim=(0, None), ylim=(0, None))
        _percent(axes, "xy")
        axes.legend(**ABOVE)

    return _svg(draw)


def shares(names: Sequence[str], came: Sequence[Mapping[str, Any]], promised: Sequence[Any]) -> str:
    """Draw the observed shares of groups with their intervals beside the mean scores."""
    known = [k for k, each in enumerate(came) if each["value"] is not None]
    if not known:
        return ""

    def draw(axes: Any) -> None:
        scores = [promised[k] for k in known]
        axes.plot(known, scores, "_", color=SOFT, ms=14, mew=2.5, label="mean score")
        _intervals(axes, known, [came[k] for k in known], [came[k]["value"] for k in known])
        _name(axes, names)
        axes.set(ylabel="share won", ylim=(0, None))
        _percent(axes, "y")
        axes.legend(**ABOVE)

    return _svg(draw)


def per_week(weeks: Sequence[str], count: Sequence[int], capacity: int | None) -> str:
    """Draw hand-offs a week, and the capacity where it is stated."""

    def draw(axes: Any) -> None:
        axes.bar(range(len(count)), count, color=LINE, width=0.8)
        if capacity is not None:
            axes.axhline(capacity, color=SOFT, lw=1.5, label=f"capacity {capacity}")
            axes.legend(**ABOVE)
        _name(axes, weeks)
        axes.set(ylabel="hand-offs a week", ylim=(0, None))

    return _svg(draw)


def gain(curves: Mapping[str, Mapping[str, Any]], rule_share: float | None) -> str:
    """Draw the share of the wins among the best leads, the model's first; empty without wins."""
    drawn = {name: curve for name, curve in curves.items() if curve["value"]}
    if not drawn:
        return ""

    def draw(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color=INK, lw=0.8, ls=":", label="by chance")
        looks = [(LINE, "-", 2.2), (SOFT, "--", 1.5), (FAINT, "-.", 1.5)]
        for (name, curve), (colour, dashes, width) in zip(drawn.items(), looks, strict=False):
            axes.plot(
                curve["shares"], curve["value"], color=colour, ls=dashes, lw=width,
                label=name.replace("_", " "),
            )  # fmt: skip
        model = next(iter(drawn.values()))
        axes.fill_between(
            model["shares"], model["low"], model["high"], color=LINE, alpha=BAND, lw=0
        )
        if rule_share:
            axes.axvline(rule_share, color=INK, lw=0.8, ls="--", label="the rule")
        axes.set(xlabel="leads handed off, best first", ylabel="wins among them")
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        _percent(axes, "xy")
        axes.legend(**{**ABOVE, "ncols": 3})

    return _svg(draw)


def against_week(
    points: Sequence[Mapping[str, Any]], key: str, label: str, now: float | None, *, share: bool
) -> str:
    """Draw a figure of the rule's curve against the hand-offs a week; empty without points."""
    known = [point for point in points if point[key]["value"] is not None]
    if len(known) < 2:
        return ""

    def draw(axes: Any) -> None:
        weekly = [point["per_week"] for point in known]
        middle, low, high = ([p[key][b] for p in known] for b in ("value", "low", "high"))
        axes.fill_between(weekly, low, high, color=LINE, alpha=BAND, lw=0, label="95 %")
        axes.plot(weekly, middle, "o-", color=LINE, lw=2, ms=3.5)
        if now:
            axes.axvline(now, color=SOFT, lw=1.5, ls="--", label="the rule")
        axes.set(xlabel="hand-offs a week", ylabel=label, xlim=(0, None), ylim=(0, None))
        if share:
            _percent(axes, "y")
        axes.legend(**ABOVE)

    return _svg(draw)


def maturity(curve: Sequence[Sequence[float]], horizon_days: float) -> str:
    """Draw the share of the wins that have come by a day."""
    if len(curve) < 2:
        return ""

    def draw(axes: Any) -> None:
        axes.plot([0, *(day for day, _ in curve)], [0, *(s for _, s in curve)], "o-", color=LINE)
        axes.axvline(horizon_days, color=SOFT, lw=1.5, ls="--", label=f"horizon {horizon_days:g} d")
        axes.set(xlabel="days since the lead was judged", ylabel="wins that have come")
        axes.set(xlim=(0, 1.03 * horizon_days), ylim=(0, 1.05))
        _percent(axes, "y")
        axes.legend(**ABOVE)

    return _svg(draw)


def figures(
    names: Sequence[str], found: Sequence[Mapping[str, Any]], label: str, level: float
) -> str:
    """Draw one figure of several groups with its intervals, and the level to set it against."""
    known = [k for k, each in enumerate(found) if each["value"] is not None]
    if not known:
        return ""

    def draw(axes: Any) -> None:
        axes.axhline(level, color=INK, lw=0.8, ls=":")
        _intervals(axes, known, [found[k] for k in known], [found[k]["value"] for k in known])
        _name(axes, names)
        axes.set(ylabel=label)

    return _svg(draw)


def beside(names: Sequence[str], found: Sequence[Mapping[str, Any]], label: str) -> str:
    """Draw one share of several scorers with its intervals, the first on top."""
    known = [k for k, each in enumerate(found) if each["value"] is not None]
    if not known:
        return ""

    def draw(axes: Any) -> None:
        for place, k in enumerate(known):
            colour, bounds = LINE if k == 0 else FAINT, found[k]
            axes.plot([bounds["low"], bounds["high"]], [place, place], color=colour, lw=2)
            axes.plot(bounds["value"], place, "o", color=colour, ms=5)
        axes.set_yticks(range(len(known)), [names[k].replace("_", " ") for k in known])
        axes.set(xlabel=label, xlim=(0, 1.03), ylim=(len(known) - 0.4, -0.6))
        _percent(axes, "x")

    return _svg(draw)


def _intervals(
    axes: Any, x: Sequence[float], bounds: Sequence[Mapping[str, Any]], middle: Sequence[float]
) -> None:
    known = [k for k, b in enumerate(bounds) if b["low"] is not None and b["high"] is not None]
    low, high = ([bounds[k][bound] for k in known] for bound in ("low", "high"))
    axes.vlines([x[k] for k in known], low, high, color=LINE, lw=2)
    axes.plot(x, middle, "o", color=LINE, ms=5, label="came (95 %)")


def _name(axes: Any, names: Sequence[str]) -> None:
    """Write as many names under the axis as can be read."""
    longest = max((len(name) for name in names), default=1)
    most = max(min(MOST_TICKS, MOST_CHARACTERS // longest), 1)
    step = max(-(-len(names) // most), 1)
    axes.set_xticks(range(0, len(names), step), names[::step])
    axes.set_xlim(-0.7, len(names) - 0.3)


def _percent(axes: Any, which: str) -> None:
    for name in which:
        getattr(axes, f"{name}axis").set_major_formatter(lambda share, _: f"{100 * share:.3g} %")


def _svg(draw: Callable[[Any], None]) -> str:
    """Draw on new axes and return the SVG element alone, one drawing always the same text."""
    import matplotlib as mpl  # noqa: PLC0415  only whoever draws waits for it
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        figure.patch.set_alpha(0.0)
        axes = figure.subplots()
        axes.patch.set_alpha(0.0)
        draw(axes)
        file = io.StringIO()
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(file, metadata={"Date": None})
    text = file.getvalue()
    text = _UNUSED.sub("", text[text.index("<svg") :])
    for drawn, shown in COLOURS.items():
        text = text.replace(drawn, shown)
    return text
