"""What the stages of a run ask of a kind of users, in one bundle of functions."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxrec.checks import InputError
from jaxrec.config.schema import Config
from jaxrec.data import Catalogue
from jaxrec.evaluation.simulate import Recommender
from jaxrec.runs.read_log import Corpus
from jaxrec.serve import SavedPolicy
from jaxrec.storage.run import RunFolder
from jaxrec.types import Array, Env, World

TRAIN, JUDGE = "train", "judge"  # the simulators of a run, in `evaluation.json` and as folders

Rules = dict[str, Recommender]  # recommenders by name


class Prepared(NamedTuple):
    """What training needs before the environment can be built."""

    world: World | None = None  # None: the environment's own
    catalogue: Catalogue | None = None  # None: items have no ids but their numbers
    corpus: Corpus | None = None  # of users with a log


class JudgingWorld(NamedTuple):
    """A world in which policies are compared."""

    name: str  # in evaluation.json
    title: str  # of the printed table
    label: str  # in the picture
    world: World | None = None  # None: the environment's own


class Judging(NamedTuple):
    """How a finished policy is judged."""

    section: Any  # the section of the users as judged
    worlds: tuple[JudgingWorld, ...]  # the first is the one the policy was trained in
    corpus: Corpus | None = None  # whose held-out rows are ranked too


@dataclasses.dataclass(frozen=True, kw_only=True)
class UserKind:
    """One kind of users; `section` below is its part of a recipe (`config.env`)."""

    config: type  # of the section: a frozen dataclass with the field `name`
    make: Callable[[Any, World | None], Env]  # (section, world or None for its own) -> Env
    # Raises InputError for what would fail only after minutes of preparation.
    check: Callable[[Config], None]
    # Makes what the run lacks, inside its folder, and reads it; the policy is that of the run to continue, if any.
    prepare: Callable[[Config, RunFolder, SavedPolicy | None], Prepared]
    judge: Callable[[Config, RunFolder, SavedPolicy], Judging]
    # What a policy is compared with, besides random slates; without a log and a whole recipe in tests and notebooks.
    baselines: Callable[[Env, Any, Config | None, Corpus | None], Rules]
    item_rows: Callable[[World], Array]  # [I, E] by which items are alike


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
    """Raise InputError for recipes that give a log to users who read none, or want to continue with one."""
    check_not_continued(recipe)
    if recipe.data is not None:
        raise InputError(f"data: {recipe.env.name} reads no log; remove the section, or set env.name to logged.")


def check_not_continued(recipe: Config) -> None:
    """Raise InputError where the recipe continues a run whose users have no log that grows."""
    if recipe.train.continue_from:
        raise InputError(f"train.continue_from: {recipe.env.name} has no log that could grow; use --resume.")
