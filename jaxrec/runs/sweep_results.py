"""What a sweep found: figures of every setting over its seeds, as a table, as JSON and as a picture."""

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

from jaxrec.config.schema import Config
from jaxrec.evaluation.seeds import Row, over_seeds, print_table
from jaxrec.runs.devices import describe_devices
from jaxrec.runs.finished import Run, open_run
from jaxrec.runs.half_written import read_rows
from jaxrec.runs.sweep_grid import Member, Setting, shown
from jaxrec.runs.train_learner import SCORE
from jaxrec.serve import policy_is_whole
from jaxrec.storage.checkpoint import Checkpoints
from jaxrec.storage.files import write_json
from jaxrec.storage.run import RunFolder
from jaxrec.storage.stage_folders import DIVERGED, SweepFolder
from jaxrec.version import __version__


def ended(run: RunFolder, config: Config) -> bool:
    """Whether a run has nothing left to do: it diverged, or its last checkpoint and its policy are there."""
    if (run.path / DIVERGED).is_file():
        return True
    if not run.checkpoints.is_dir() or not policy_is_whole(run.policy):
        return False
    with Checkpoints(run.checkpoints) as checkpoints:
        return (checkpoints.latest or 0) >= config.train.updates


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A sweep as `jaxrec.sweep` leaves it."""

    folder: SweepFolder
    settings: list[Setting]
    members: list[Member]
    done: int  # runs that ended, by themselves or because they diverged
    programs: int  # compiled for the updates of all runs that this call trained
    seconds: float
    stopped_by: int = 0  # the signal that ended it before its last run; 0 for none

    @property
    def path(self) -> Path:
        """The folder of the sweep."""
        return self.folder.path

    @property
    def interrupted(self) -> bool:
        """True if a signal ended it before its last run."""
        return self.done < len(self.members)

    @functools.cached_property
    def results(self) -> list[dict[str, Any]]:
        """One entry per run: name, values, seed, best and last evaluated return; None for a run that diverged."""
        return [_result(self.folder, member) for member in self.members]

    @functools.cached_property
    def rows(self) -> list[Row]:
        """One row per setting: mean and interval over the seeds."""
        return [_row(setting, self.results_of(setting)) for setting in self.settings]

    def results_of(self, setting: Setting) -> list[dict[str, Any]]:
        """The runs of a setting."""
        pairs = zip(self.members, self.results, strict=True)
        return [result for member, result in pairs if member.setting == setting]

    @property
    def best_run(self) -> Path | None:
        """The run with the highest return, among those of the setting with the highest mean; None if all diverged."""
        known = [row.best.mean if math.isfinite(row.best.mean) else -math.inf for row in self.rows]
        runs = [one for one in self.results_of(self.settings[known.index(max(known))]) if one["best"] is not None]
        return self.folder.runs / max(runs, key=lambda one: one["best"])["name"] if runs else None

    def run(self, name: str) -> Run:
        """One of its runs, as `jaxrec.open_run` opens it."""
        return open_run(self.folder.runs / name)

    def show(self) -> None:
        """Print the table."""
        names = [name for name, _ in self.settings[0].values]
        short = [name.rpartition(".")[2] for name in names]
        title = f"sweep {self.path}: evaluated returns"
        print_table(title, names if len(set(short)) < len(short) else short, self.rows)


def _result(folder: SweepFolder, member: Member) -> dict[str, Any]:
    run = RunFolder(folder.runs / member.name)
    found: dict[str, Any] = {"name": member.name, "values": dict(member.setting.values), "seed": member.seed}
    if (run.path / DIVERGED).is_file():
        return found | {"best": None, "last": None, "diverged": True}
    with Checkpoints(run.checkpoints) as checkpoints:
        best = checkpoints.best_score if checkpoints.judged else None
    returns = [row[SCORE] for row in read_rows(run.metrics) if row.get(SCORE) is not None]
    return found | {"best": best, "last": returns[-1] if returns else None, "diverged": False}


def _row(setting: Setting, results: list[dict[str, Any]]) -> Row:
    def figure(name: str) -> Any:
        return over_seeds([one[name] for one in results if one[name] is not None])

    values = tuple(shown(value) for _, value in setting.values)
    return Row(values, len(results), sum(one["diverged"] for one in results), figure("best"), figure("last"))


def write_results(sweep: Sweep) -> None:
    """Write results.json and curves.png."""
    from jaxrec.evaluation.sweep_picture import save_curves  # and with it matplotlib

    settings = [
        {
            "values": dict(setting.values),
            "seeds": row.seeds,
            "diverged": row.diverged,
            "best": row.best.as_json(),
            "last": row.last.as_json(),
            "runs": sweep.results_of(setting),
        }
        for setting, row in zip(sweep.settings, sweep.rows, strict=True)
    ]
    account = {"format": "jaxrec.sweep.1", "jaxrec": __version__, "devices": describe_devices(), "settings": settings}
    write_json(sweep.folder.results, account)
    best_first = sorted(zip(sweep.settings, sweep.rows, strict=True), key=lambda one: _descending(one[1]))
    curves = {
        setting.label: [
            read_rows(RunFolder(sweep.folder.runs / one["name"]).metrics)
            for one in sweep.results_of(setting)
            if not one["diverged"]
        ]
        for setting, _ in best_first
    }
    save_curves(sweep.folder.picture, {label: runs for label, runs in curves.items() if runs})


def _descending(row: Row) -> float:
    return -row.best.mean if math.isfinite(row.best.mean) else math.inf
