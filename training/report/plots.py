"""Plots of reports as inline SVG: text stays text, ink follows the page; nothing is computed."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

INK, LINE, SOFT = "#010203", "#3b7dc4", "#d99a00"
"""INK becomes the colour of the page's text, light or dark; the other two can be read on both."""
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "leadqual",
    "font.family": "sans-serif",
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), INK),
}
WIDTH, HEIGHT = 5.6, 3.2
MOST_TICKS = 5
ABOVE = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "ncols": 2, "borderaxespad": 0.0}
"""Where a legend stands: never on what it explains."""


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


def _intervals(
    axes: Any, x: Sequence[float], bounds: Sequence[Mapping[str, Any]], middle: Sequence[float]
) -> None:
    axes.vlines(x, [b["low"] for b in bounds], [b["high"] for b in bounds], color=LINE, lw=2)
    axes.plot(x, middle, "o", color=LINE, ms=5, label="came (95 %)")


def _name(axes: Any, names: Sequence[str]) -> None:
    """Write as many names under the axis as can be read."""
    step = max(-(-len(names) // MOST_TICKS), 1)
    axes.set_xticks(range(0, len(names), step), names[::step])
    axes.set_xlim(-0.7, len(names) - 0.3)


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
    return text[text.index("<svg") :].replace(INK, "currentColor")
