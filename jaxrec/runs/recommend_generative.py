"""A saved generator with the interface that `jaxrec recommend` asks of a policy."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxrec.checks import InputError
from jaxrec.generate.saved import GENERATOR, SavedGenerator, load_generator
from jaxrec.serve import Recommendation
from jaxrec.serve.history import Entry, HistoryReader
from jaxrec.storage.files import read_json_object
from jaxrec.types import EnvSpec


@dataclasses.dataclass(frozen=True)
class GenerativePolicy:
    """Slates of a generator from histories of item ids."""

    saved: SavedGenerator

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the items as in the log."""
        return self.saved.ids

    @property
    def spec(self) -> EnvSpec:
        """Sizes and feedback kinds of the log."""
        return self.saved.spec

    @property
    def step(self) -> int:
        """The step whose parameters these are."""
        return self.saved.step

    @functools.cached_property
    def histories(self) -> HistoryReader:
        """Reads histories of items of the catalogue."""
        rewarded = [weight > 0 for weight in self.spec.reward_weights] or [True]
        return HistoryReader(self.ids, self.saved.feedback, rewarded)

    def recommend(
        self, history: Sequence[Entry] = (), k: int = 10, context: np.ndarray | None = None
    ) -> list[Recommendation]:
        """The k items of the highest chance after a history, best first; the score is the log of the chance.

        The slate is shorter if the catalogue without the history is. Raises InputError for an id that the catalogue
        lacks, and for a k that is larger than the beam.
        """
        return self.recommend_rows(*self.histories.read(history), k, context)

    def recommend_rows(
        self, items: np.ndarray, feedback: np.ndarray, k: int = 10, context: np.ndarray | None = None
    ) -> list[Recommendation]:
        """The same for a history of item rows [N] int32 with feedback [N, F], in a context [C]."""
        chosen, scores = self.saved.best(items, feedback, k, context)
        pairs = zip(chosen, scores, strict=True)
        return [Recommendation(self.ids[i], self.saved.titles[i], float(s)) for i, s in pairs]


def generator_in(path: str | Path) -> GenerativePolicy | None:
    """The generator in a run folder or its `policy/` folder; None if it holds something else."""
    folder = Path(path)
    folder = folder / "policy" if (folder / "policy").is_dir() else folder
    description = folder / "description.json"
    try:
        kind = read_json_object(description, "train it again").get("kind") if description.is_file() else None
    except InputError:  # damaged: whoever opens the folder as a policy says how
        return None
    return GenerativePolicy(load_generator(folder)) if kind == GENERATOR else None
