"""The functions that a kind of users provides to the stages of a run, in one bundle."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxrec.checks import InputError
from jaxrec.config.schema import Config
from jaxrec.data import Catalogue
from jaxrec.evaluation.corrected import Residuals
from jaxrec.evaluation.simulate import Recommender
from jaxrec.runs.read_log import Corpus
from jaxrec.serve import SavedPolicy
from jaxrec.storage.run import RunFolder
from jaxrec.types import Array, Env, World

TRAIN, JUDGE = "train", "judge"  # the simulators of a run, in `evaluation.json` and as folders
TRUTH = "truth"  # users whose true answers are known, in `evaluation.json`

Rules = dict[str, Recommender]  # recommenders by name


class Prepared(NamedTuple):
    """The inputs of training that are made before the environment."""

    world: World | None = None  # None: the environment's own
    catalogue: Catalogue | None = None  # None: item numbers are the ids
    corpus: Corpus | None = None  # only for users with a log


class JudgingWorld(NamedTuple):
    """A world in which policies are compared."""

    name: str  # in evaluation.json
    title: str  # of the printed table
    label: str  # in the picture
    world: World | None = None  # None: the environment's own
    residuals: Residuals | None = None  # of the rows that its users were fitted to; None: returns are not corrected


class Judging(NamedTuple):
    """How a finished policy is judged."""

    section: Any  # the section of the users, as used for judging
    worlds: tuple[JudgingWorld, ...]  # the first is the one the policy was trained in
    corpus: Corpus | None = None  # its held-out rows are ranked too
    assumed: Mapping[str, float] | None = None  # mean P of rewarded kinds of feedback that are 1 in every row


@dataclasses.dataclass(frozen=True, kw_only=True)
class UserKind:
    """One kind of users; `section` below is its part of a recipe (`config.env`)."""

    config: type  # of the section: a frozen dataclass with the field `name`
    make: Callable[[Any, World | None], Env]  # (section, world or None for its own) -> Env
    # Raises InputError for bad input that would otherwise fail after minutes of preparation.
    check: Callable[[Config], None]
    # Raises InputError for a log that its users cannot be fitted to, before anything is encoded.
    check_log: Callable[[Config, Corpus], None] = lambda recipe, corpus: None
    # Makes the missing files of the run and reads them; the policy is that of the run to continue, if any.
    prepare: Callable[[Config, RunFolder, SavedPolicy | None], Prepared]
    judge: Callable[[Config, RunFolder, SavedPolicy], Judging]
    # Recommenders to compare a policy with, besides random slates; recipe and log may be None in tests and notebooks.
    baselines: Callable[[Env, Any, Config | None, Corpus | None], Rules]
    item_rows: Callable[[World], Array]  # [I, E] vectors for the similarity of items
    # The environment in which the recipe's learner trains, given that of evaluation.
    training: Callable[[Config, Env], Env] = lambda recipe, env: env
    # The environment of other users, which may rank checkpoints (train.select: judge); None: there are no others.
    others: Callable[[Config, RunFolder], Env] | None = None


def plain(
    config: type, make: Callable[[Any], Env], rules: Callable[[Env, Any], Rules] = lambda env, section: {}
) -> UserKind:
    """Users without a log: their world comes with the environment, and there is nothing to prepare.

    `make(section) -> Env`; `rules(env, section)` are simple recommenders and oracles to compare a policy with.
    """

    def judge(recipe: Config, run: RunFolder, saved: SavedPolicy) -> Judging:
        name = recipe.env.name
        world = JudgingWorld(TRAIN, f"{name}, {recipe.evaluate.users} users", name)
        return Judging(recipe.env, (world,))

    return UserKind(
        config=config,
        make=lambda section, world: make(section) if world is None else make(section)._replace(world=world),
        check=check_no_log,
        prepare=lambda recipe, run, before: Prepared(),
        judge=judge,
        baselines=lambda env, section, recipe, corpus: rules(env, section),
        item_rows=lambda world: world.item_table,
    )


def check_no_log(recipe: Config) -> None:
    """Raise InputError if the recipe has a log that its users do not read, or continues a run."""
    check_not_continued(recipe)
    if recipe.data is not None:
        raise InputError(f"data: {recipe.env.name} reads no log; remove the section, or set env.name to logged.")


def check_not_continued(recipe: Config) -> None:
    """Raise InputError if the recipe continues a run whose users have no log."""
    if recipe.train.continue_from:
        raise InputError(f"train.continue_from: {recipe.env.name} has no log that could be continued; use --resume.")
