"""Figures over the seeds of one setting: means, intervals, and the table of a sweep."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from rich import box
from rich.table import Table

from jaxrec.terminal import console


class Figure(NamedTuple):
    """A mean over seeds, and half the width of its 95% interval."""

    mean: float  # NaN without any seed
    half_width: float  # NaN with a single seed

    def __str__(self) -> str:
        """Write `12.30 ±0.45`, or a dash where nothing is known."""
        if not math.isfinite(self.mean):
            return "-"
        return f"{self.mean:.2f} ±{self.half_width:.2f}" if math.isfinite(self.half_width) else f"{self.mean:.2f}"

    def as_json(self) -> dict[str, float | None]:
        """Plain numbers; None where the value is not finite."""
        return {name: value if math.isfinite(value) else None for name, value in self._asdict().items()}


def over_seeds(values: Sequence[float]) -> Figure:
    """Mean and half the width of its 95% interval by Student's t: few seeds make the deviation uncertain too."""
    if len(values) < 2:
        return Figure(float(values[0]) if values else math.nan, math.nan)
    from scipy import special  # slow to import

    spread = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return Figure(float(np.mean(values)), float(special.stdtrit(len(values) - 1, 0.975)) * spread)


class Row(NamedTuple):
    """One setting of a sweep in its table."""

    values: tuple[str, ...]  # of the grid
    seeds: int
    diverged: int  # seeds whose training diverged; the figures leave them out
    best: Figure  # the highest evaluated return of a run
    last: Figure  # the return of its last evaluation


def print_table(title: str, names: Sequence[str], rows: Sequence[Row]) -> None:
    """Print one row per setting, the best mean first."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for name in names:
        table.add_column(name)
    for name in ("seeds", "best return", "last return"):
        table.add_column(name, justify="right")
    ordered = sorted(rows, key=lambda row: -row.best.mean if math.isfinite(row.best.mean) else math.inf)
    for place, row in enumerate(ordered):
        seeds = f"{row.seeds}, {row.diverged} diverged" if row.diverged else str(row.seeds)
        style = "bold" if place == 0 and len(ordered) > 1 else None
        table.add_row(*row.values, seeds, str(row.best), str(row.last), style=style)
    out: Any = console()
    out.print(table)
    if any(row.seeds > 1 for row in rows):
        out.print("mean over the seeds ± half the 95% interval (Student's t)", highlight=False)
