"""The curves of a sweep: returns over the updates, one line per setting with its interval over the seeds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxrec.evaluation.pictures import CURVES, POINTS, STYLE, finish, literal, rival_line
from jaxrec.evaluation.seeds import over_seeds
from jaxrec.storage.files import atomic_path

Rows = Sequence[Mapping[str, Any]]  # of metrics.jsonl
MOST = 14  # settings in the picture; more lines cannot be distinguished
FEW = 20  # points up to which each has a mark


def save_curves(path: Path, settings: Mapping[str, Sequence[Rows]]) -> None:
    """Write a PNG; `settings` holds the rows of every run by the label of its setting, the best setting first."""
    drawn = dict(list(settings.items())[:MOST])
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 4.2), layout="constrained")
        panels = figure.subplots(1, 2)
        for axes, (metric, title) in zip(panels, CURVES["return"].items(), strict=True):
            for place, (label, runs) in enumerate(drawn.items()):
                _line(axes, metric, runs, label, place)
            axes.set(xlabel="update", ylabel="return per user", title=title)
            finish(axes)
        if len(drawn) > 1:
            handles, labels = panels[0].get_legend_handles_labels()
            more = f"best {MOST} of {len(settings)} settings" if len(settings) > MOST else None
            figure.legend(handles, labels, title=more, frameon=False, loc="outside right upper")
        if any(len(runs) > 1 for runs in drawn.values()):
            figure.supxlabel("lines: means over the seeds; bands: 95% intervals", fontsize=9)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="png", dpi=150)


def _line(axes: Axes, metric: str, runs: Sequence[Rows], label: str, place: int) -> None:
    """The mean of a metric over runs, where all of them have it; long runs are drawn as means of equal parts."""
    curves = [{row["step"]: row[metric] for row in rows if row.get(metric) is not None} for rows in runs]
    steps = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    points = [(step, *over_seeds([curve[step] for curve in curves])) for step in steps]
    if len(points) > POINTS:
        points = [np.mean(part, axis=0) for part in np.array_split(np.array(points), POINTS)]
    x, mean, half = np.array(points).reshape(-1, 3).T
    style = rival_line(place)
    axes.plot(x, mean, label=literal(label), marker="o" if len(x) < FEW else "", markersize=3, **style)
    if len(runs) > 1:
        axes.fill_between(x, mean - half, mean + half, color=style["color"], alpha=0.15, linewidth=0)
