"""A trained run: its policy and its metrics."""

import dataclasses
import functools
from pathlib import Path
from typing import Any, NamedTuple

from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.runs.half_written import read_rows
from jaxrec.serve import SavedPolicy, load_policy
from jaxrec.storage.run import RunFolder


class Ended(NamedTuple):
    """How a call of `train` ended."""

    step: int  # updates done
    best_score: float  # the best evaluated return
    interrupted: int  # the signal that stopped it before the last update; 0 for none
    seconds: float
    comparison: Any = None  # of the old and the new policy, if the run continued another


@dataclasses.dataclass(frozen=True)
class Run:
    """A run folder as `jaxrec.train` leaves it."""

    folder: RunFolder
    ended: Ended | None = None  # None: opened, not trained

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    @functools.cached_property
    def config(self) -> Config:
        """The resolved recipe."""
        return load_config(Config, self.folder.config)

    @functools.cached_property
    def policy(self) -> SavedPolicy:
        """The best policy so far: `run.policy.recommend(["318", "296"], k=10)`."""
        return load_policy(self.path)

    def metrics(self) -> list[dict[str, Any]]:
        """One row per update, as in metrics.jsonl."""
        return read_rows(self.folder.metrics)


def open_run(path: str | Path) -> Run:
    """Open a run folder; raises InputError for other folders."""
    return Run(RunFolder.open(path))
