"""Pictures as SVG: text stays text, nothing is loaded from anywhere, the same figures give the same bytes."""

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxrec.evaluate.report import POLICY
from jaxrec.evaluate.simulate import Simulated

LOGGED, SIMULATED, GRID = "#1f1f1f", "#c2410c", "#d4d4d4"  # told apart in black and white by their dashes too
RIVALS = ("#1f1f1f", "#1d4ed8", "#0f766e", "#7e22ce", "#a16207", "#737373", "#be185d")
DASHES = ("solid", "dashed", "dashdot", "dotted", (0, (5, 1)))
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


def behaviour_picture(simulators: dict[str, dict[str, Simulated]]) -> str:
    """What users do with each recommender, a row a simulator: reward a step, who is still there, returns.

    Rewards of steps in which fewer than a tenth of the users are left are not drawn: their means are noise.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 3.3 * len(simulators) + 0.5), layout="constrained")
        rows = figure.subplots(len(simulators), 3, squeeze=False)
        for row, (title, results) in zip(rows, simulators.items(), strict=True):
            for place, name in enumerate(sorted(results, key=lambda name: -results[name].mean)):
                _behaviour(row, results[name], name, _line(name, place))
            row[0].set(xlabel="step", ylabel="reward a step, of who is there", title=_literal(title))
            row[1].set(xlabel="step", ylabel="share of users still there", ylim=(0, 1.02))
            row[2].set(xlabel="return of a user", ylabel="share with at most that", ylim=(0, 1.02))
            for axes in row:
                axes.grid(color=GRID, linewidth=0.5)
            row[2].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        return _svg(figure, "What simulated users did with each recommender")


def _behaviour(row: Sequence[Axes], result: Simulated, name: str, line: dict[str, Any]) -> None:
    present, users = result.present, len(result.returns)
    steps, drawn = np.arange(1, len(present) + 1), present >= users / 10
    row[0].plot(steps[drawn], result.rewards[drawn] / present[drawn], **line)
    row[1].plot(steps, present / users, **line)
    shares = np.linspace(0, 1, 101)
    row[2].plot(np.quantile(result.returns, shares), shares, label=f"{_literal(name)} {result.mean:.4g}", **line)


def _line(name: str, place: int) -> dict[str, Any]:
    """The policy stands out; the others differ by colour and, in black and white, by their dashes."""
    if name == POLICY:
        return {"color": SIMULATED, "linewidth": 2.4, "zorder": 3}
    return {"color": RIVALS[place % len(RIVALS)], "linewidth": 1.4, "linestyle": DASHES[place % len(DASHES)]}


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
