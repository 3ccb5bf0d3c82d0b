"""Charts for a report: inline SVG in the colours of the page, which follow its light or dark mode."""

import io
import math
import re
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape

# Placeholder colours: each is replaced by a variable of the page's style sheet.
INK, FAINT, RULE = "#010101", "#020202", "#030303"
SERIES = tuple(f"#04{index:02x}04" for index in range(10))
REST = "#050505"
VARIABLES = {INK: "ink", FAINT: "muted", RULE: "rule", REST: "rest"} | {
    colour: f"series-{index}" for index, colour in enumerate(SERIES)
}
PIXELS_AN_INCH = 72


Series = tuple[Sequence[float], Sequence[float]]  # steps, values


def line(series: Series, level: Series | None, *, until: float, about: str, percent: bool = False) -> Markup:
    """Line chart of a quantity over the steps up to `until`, with an optional dashed baseline `level`.

    Values that are not finite leave a gap. `about` is the text for screen readers.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    figure = Figure(figsize=(330 / PIXELS_AN_INCH, 190 / PIXELS_AN_INCH))
    axes = figure.subplots()
    if level is not None:
        axes.plot(level[0], _finite(level[1]), color=FAINT, linewidth=1.2, dashes=(4, 3))
    marker = "o" if len(series[0]) == 1 else None
    axes.plot(series[0], _finite(series[1]), color=SERIES[0], linewidth=2, marker=marker, solid_capstyle="round")
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    if percent:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g}%"))
    axes.grid(axis="y", color=RULE, linewidth=1)
    axes.tick_params(length=0, pad=6, labelcolor=FAINT, labelsize=11)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    axes.margins(y=0.08)
    axes.set_xlim(0, 1.02 * until)
    figure.subplots_adjust(left=0.14, right=0.98, top=0.96, bottom=0.14)
    return _svg(figure, about)


def points(places: np.ndarray, groups: np.ndarray, *, about: str) -> Markup:
    """Scatter plot of `places` float [n, 2], coloured by `groups` int [n], which index SERIES (-1: grey)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(560 / PIXELS_AN_INCH, 460 / PIXELS_AN_INCH))
    axes = figure.subplots()
    size = float(np.clip(12_000 / max(1, len(places)), 14, 60))
    for group in sorted(set(groups.tolist())):
        here = places[groups == group]
        axes.scatter(
            here[:, 0], here[:, 1], s=size, color=SERIES[group] if group >= 0 else REST, alpha=0.85, linewidths=0
        )
    axes.set_axis_off()
    figure.subplots_adjust(left=0.01, right=0.99, top=0.99, bottom=0.01)
    return _svg(figure, about)


def links(left: Sequence[str], right: Sequence[str], lines: Sequence[tuple[str, str, float]], *, about: str) -> Markup:
    """Graph from names on the left to names on the right; each line has a width in (0, 1]."""
    from matplotlib.figure import Figure
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    rows = max(len(left), len(right))
    figure = Figure(figsize=(560 / PIXELS_AN_INCH, (30 * rows + 10) / PIXELS_AN_INCH))
    axes = figure.subplots()
    heights = {(side, name): -(i + 0.5) * rows / len(part) for side, part in enumerate((left, right))
               for i, name in enumerate(part)}  # fmt: skip
    ends = {(0, first) for first, _, _ in lines} | {(1, second) for _, second, _ in lines}
    for (side, name), height in heights.items():
        colour, place = INK if (side, name) in ends else FAINT, ("right", "left")[side]
        axes.text(side * 1.04 - 0.02, height, name, ha=place, va="center", color=colour, fontsize=11, parse_math=False)
    for first, second, width in lines:
        y, z = heights[0, first], heights[1, second]
        curve = Path([(0, y), (0.5, y), (0.5, z), (1, z)], [Path.MOVETO, *[Path.CURVE4] * 3])
        colour = SERIES[list(left).index(first) % len(SERIES)]
        axes.add_patch(PathPatch(curve, facecolor="none", edgecolor=colour, linewidth=1 + 9 * width))
    axes.set(xlim=(-0.6, 1.6), ylim=(-rows, 0))
    axes.set_axis_off()
    figure.subplots_adjust(left=0, right=1, top=1, bottom=0)
    return _svg(figure, about)


def _finite(values: Sequence[float]) -> list[float]:
    return [value if math.isfinite(value) else math.nan for value in values]


def _svg(figure, about: str) -> Markup:
    import matplotlib

    text = io.StringIO()
    # Text stays text and takes the page's font; the salt makes the output deterministic.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "withhold"}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    for colour, name in VARIABLES.items():
        svg = svg.replace(colour, f"var(--{name})")
    return Markup(svg.replace("<svg ", f'<svg role="img" aria-label="{escape(about)}" ', 1))
