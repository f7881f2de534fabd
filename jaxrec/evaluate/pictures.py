"""Pictures of a validity report as inline SVG: text stays text, nothing is loaded from anywhere."""

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

LOGGED, SIMULATED, GRID = "#1f1f1f", "#c2410c", "#d4d4d4"  # told apart in black and white by their dashes too
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "jaxrec",  # the same report gives the same bytes
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def reliability_picture(name: str, bins: dict[str, list[Any]]) -> str:
    """Observed share over predicted probability, and below it how many rows each bin has."""
    rows, predicted, observed = bins["rows"], bins["predicted"], bins["observed"]
    known = [n for n in range(len(rows)) if rows[n]]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5, 4.6), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        above.plot([0, 1], [0, 1], color=GRID, label="as often as said")
        above.plot(
            [predicted[n] for n in known], [observed[n] for n in known], color=SIMULATED, marker="o", clip_on=False
        )
        above.set(xlim=(0, 1), ylim=(0, 1), ylabel=f"observed share of '{_literal(name)}'")
        above.legend(frameon=False, loc="upper left")
        below.bar([(n + 0.5) / len(rows) for n in range(len(rows))], rows, 0.9 / len(rows), color=LOGGED)
        below.set(xlabel="predicted probability", ylabel="rows")
        return _svg(figure, f"Reliability of {name}: observed share over predicted probability")


def distribution_picture(what: str, compared: dict[str, Any], *, wide: bool = False) -> str:
    """Distribution functions, logged and simulated; a logarithmic axis where counts are `wide`."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5, 3.4), layout="constrained")
        axes = figure.subplots()
        _steps(axes, compared["logged_percentiles"], LOGGED, "solid", "logged")
        _steps(axes, compared["simulated_percentiles"], SIMULATED, "dashed", "simulated")
        axes.set(xlabel=what, ylabel="share with at most that", ylim=(0, 1.02))
        if wide:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(color=GRID, linewidth=0.5)
        axes.legend(frameon=False, loc="best")
        return _svg(figure, f"Distribution of {what}, logged and simulated")


def _steps(axes: Axes, percentiles: Sequence[float], color: str, dashes: str, label: str) -> None:
    shares = [n / (len(percentiles) - 1) for n in range(len(percentiles))]
    axes.step(percentiles, shares, where="post", color=color, linestyle=dashes, linewidth=2, label=label)


def _svg(figure: Figure, summary: str) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = text.getvalue()
    svg = re.sub(r' id="[a-z0-9.]+_\d+"', "", svg[svg.index("<svg") :])  # of groups, twice in a page of two pictures
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', f'role="img" aria-label="{_attribute(summary)}"', svg, count=1)


def _literal(name: str) -> str:
    """Without matplotlib's mathematics, which dollar signs would begin."""
    return name.replace("$", r"\$")


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
