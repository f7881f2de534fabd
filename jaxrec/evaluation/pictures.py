"""Self-contained SVG pictures: text stays text, and the same figures give the same bytes."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jaxrec.evaluation.report import POLICY
from jaxrec.evaluation.simulate import Simulated

LOGGED, SIMULATED, GRID = "#1f1f1f", "#c2410c", "#d4d4d4"  # their dashes differ too, for black and white
RIVALS = ("#1f1f1f", "#1d4ed8", "#0f766e", "#7e22ce", "#a16207", "#737373", "#be185d")
DASHES = ("solid", "dashed", "dashdot", "dotted", (0, (5, 1)))
POINTS = 300  # of a learning curve
CURVES = {  # panels of the learning curve: metric -> label
    "return": {"episode_return": "training episodes", "evaluation_return": "evaluated policies"},
    "loss": {"loss": "loss"},
}
LEARNED: tuple[dict[str, Any], ...] = (
    {"color": LOGGED, "linewidth": 1.4},
    {"color": SIMULATED, "linewidth": 1.4, "linestyle": "dashed", "marker": "o"},
)
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "jaxrec",  # the same report gives the same bytes
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def reliability_picture(name: str, bins: dict[str, list[Any]]) -> str:
    """Plot the observed share over the predicted probability, and below it the number of rows per bin."""
    rows, predicted, observed = bins["rows"], bins["predicted"], bins["observed"]
    known = [n for n in range(len(rows)) if rows[n]]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5, 4.6), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        above.plot([0, 1], [0, 1], color=GRID, label="perfect calibration")
        above.plot(
            [predicted[n] for n in known], [observed[n] for n in known], color=SIMULATED, marker="o", clip_on=False
        )
        above.set(xlim=(0, 1), ylim=(0, 1), ylabel=f"observed share of '{literal(name)}'")
        above.legend(frameon=False, loc="upper left")
        below.bar([(n + 0.5) / len(rows) for n in range(len(rows))], rows, 0.9 / len(rows), color=LOGGED)
        below.set(xlabel="predicted probability", ylabel="rows")
        return _svg(figure, f"Reliability diagram of {name}: observed share over predicted probability")


def distribution_picture(what: str, compared: dict[str, Any], *, wide: bool = False) -> str:
    """Plot the logged and the simulated distribution function; `wide` counts get a logarithmic axis."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5, 3.4), layout="constrained")
        axes = figure.subplots()
        _steps(axes, compared["logged_percentiles"], LOGGED, "solid", "logged")
        _steps(axes, compared["simulated_percentiles"], SIMULATED, "dashed", "simulated")
        axes.set(xlabel=what, ylabel="cumulative share", ylim=(0, 1.02))
        if wide:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(color=GRID, linewidth=0.5)
        axes.legend(frameon=False, loc="best")
        return _svg(figure, f"Distribution of {what}, logged and simulated")


def behaviour_picture(simulators: dict[str, dict[str, Simulated]]) -> str:
    """Plot behaviour under each recommender, one row per simulator: rewards, share of active users, returns.

    Rewards of steps with less than a tenth of the users active are not drawn: their means are noise. The panel of
    active users is omitted if all episodes have the same length.
    """
    lengths = [result.lengths for results in simulators.values() for result in results.values()]
    leaving = np.ptp(np.concatenate(lengths)) > 0
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11 if leaving else 8, 3.3 * len(simulators) + 0.5), layout="constrained")
        rows = figure.subplots(len(simulators), 3 if leaving else 2, squeeze=False)
        for row, (title, results) in zip(rows, simulators.items(), strict=True):
            lines = {name: _line(name, place) for place, name in enumerate(results)}
            best_first = sorted(results, key=lambda name: -results[name].mean)
            _rewards(row[0], results, lines)
            row[0].set_title(literal(title))
            if leaving:
                _leaving(row[1], results, lines)
            _returns(row[-1], {name: results[name] for name in best_first}, lines)
        return _svg(figure, "Behaviour of simulated users under each recommender")


def learning_picture(rows: Sequence[Mapping[str, Any]]) -> str:
    """Plot the returns and the loss of training over the updates; `rows` are those of metrics.jsonl.

    Long runs are drawn as means of equal parts. Metrics without a number in any row are omitted.
    """
    panels = [names for names in CURVES.values() if any(_known(rows, name)[0].size for name in names)]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6 * max(len(panels), 1), 3.2), layout="constrained")
        for axes, names in zip(figure.subplots(1, max(len(panels), 1), squeeze=False)[0], panels, strict=False):
            for (name, label), style in zip(names.items(), LEARNED, strict=False):
                steps, values = _known(rows, name)
                if steps.size:
                    axes.plot(steps, values, label=label, **style)
            axes.set(xlabel="update", ylabel="return per user" if len(names) > 1 else next(iter(names.values())))
            if len(names) > 1:
                axes.legend(frameon=False, loc="best")
            finish(axes)
        return _svg(figure, "Learning curves: " + " and ".join(", ".join(names.values()) for names in panels))


def _known(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Updates and values of a metric where it has a number, in at most POINTS parts."""
    pairs = np.array([(row["step"], row[name]) for row in rows if row.get(name) is not None]).reshape(-1, 2)
    if len(pairs) > POINTS:
        pairs = np.array([part.mean(0) for part in np.array_split(pairs, POINTS)])
    return pairs[:, 0], pairs[:, 1]


def _rewards(axes: Axes, results: dict[str, Simulated], lines: dict[str, dict]) -> None:
    for name, result in results.items():
        present = result.present
        drawn = present >= len(result.returns) / 10
        axes.plot(np.flatnonzero(drawn) + 1, result.rewards[drawn] / present[drawn], **lines[name])
    axes.set(xlabel="step", ylabel="mean reward per step (active users)")
    finish(axes)


def _leaving(axes: Axes, results: dict[str, Simulated], lines: dict[str, dict]) -> None:
    for name, result in results.items():
        axes.plot(np.arange(len(result.rewards)) + 1, result.present / len(result.returns), **lines[name])
    axes.set(xlabel="step", ylabel="share of active users", ylim=(0, 1.02))
    finish(axes)


def _returns(axes: Axes, results: dict[str, Simulated], lines: dict[str, dict]) -> None:
    shares = np.linspace(0, 1, 101)
    for name, result in results.items():
        label = f"{literal(name)} {result.mean:.2f}"
        axes.plot(np.quantile(result.returns, shares), shares, label=label, **lines[name])
    axes.set(xlabel="return per user", ylabel="cumulative share of users", ylim=(0, 1.02))
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    finish(axes)


def finish(axes: Axes) -> None:
    """Give an axis of updates or steps whole numbers, and a grid."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.grid(color=GRID, linewidth=0.5)


def _line(name: str, place: int) -> dict[str, Any]:
    """Style of a line: the policy stands out; the others differ by colour and, for black and white, by dashes."""
    if name == POLICY:
        return {"color": SIMULATED, "linewidth": 2.4, "zorder": 3}
    return rival_line(place)


def rival_line(place: int) -> dict[str, Any]:
    """Style of line number `place` among equals."""
    return {"color": RIVALS[place % len(RIVALS)], "linewidth": 1.4, "linestyle": DASHES[place % len(DASHES)]}


def _steps(axes: Axes, percentiles: Sequence[float], color: str, dashes: str, label: str) -> None:
    shares = [n / (len(percentiles) - 1) for n in range(len(percentiles))]
    axes.step(percentiles, shares, where="post", color=color, linestyle=dashes, linewidth=2, label=label)


def _svg(figure: Figure, summary: str) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = text.getvalue()
    svg = re.sub(r' id="[a-z0-9.]+_\d+"', "", svg[svg.index("<svg") :])  # would repeat in a page
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', f'role="img" aria-label="{_attribute(summary)}"', svg, count=1)


def literal(name: str) -> str:
    """Escape dollar signs, which would start matplotlib's math mode."""
    return name.replace("$", r"\$")


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
