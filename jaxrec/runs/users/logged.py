"""Users fitted to a log: their functions for the stages of a run."""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jaxrec.config.logged import LoggedConfig
from jaxrec.config.schema import Config
from jaxrec.envs import logged
from jaxrec.envs.logged_world import load_simulator
from jaxrec.evaluation import recommenders, report
from jaxrec.runs.baselines import fit_baselines, simulated_rows
from jaxrec.runs.read_log import Corpus, check_same_catalogue, read_corpus
from jaxrec.runs.recipe import log_config
from jaxrec.runs.streams import stream
from jaxrec.runs.users.fit import fit_simulators
from jaxrec.runs.users.fitted_folder import (
    LOG,
    RESTORE,
    VALIDITY,
    check_same_log,
    check_users_known,
    context_before,
    copy_simulators,
    sides_before,
)
from jaxrec.runs.users.kind import JUDGE, TRAIN, TRUTH, Judging, JudgingWorld, Prepared, Rules, UserKind
from jaxrec.runs.users.truth import world_of_generator
from jaxrec.runs.users.validity_lines import assumptions
from jaxrec.serve import SavedPolicy
from jaxrec.storage.files import read_json_object
from jaxrec.storage.run import RunFolder
from jaxrec.types import Env, World

TITLES = {TRAIN: "simulator used in training", JUDGE: "other users, not used in training"}


def check(config: Config) -> None:
    """Raise InputError for rewards, leave models and pessimism that the log or the ensemble does not support."""
    logged.check_users(config.env, tuple(log_config(config).feedback), config.response.members)


def prepare(config: Config, run: RunFolder, before: SavedPolicy | None) -> Prepared:
    """Read the log, and fit or copy the users that train and judge."""
    named = [Path(config.env.path)] if config.env.path else []
    old = [RunFolder(config.train.continue_from).simulators] if config.train.continue_from else []
    context, sides = context_before(run.simulators, *named, *old), sides_before(run.simulators, *old)
    corpus = read_corpus(config, context, sides)
    if before is not None and not run.simulators.exists():
        check_users_known(config, sides, corpus.dataset.users)
    return Prepared(prepare_simulators(config, corpus, run.simulators), corpus.dataset.catalogue, corpus)


def prepare_simulators(config: Config, corpus: Corpus, folder: Path) -> World:
    """The training users of a run: copied into `folder` from `env.path` if the recipe has one, else fitted."""
    if config.env.path and not folder.exists():
        copy_simulators(Path(config.env.path), corpus, folder)
    check_same_log(folder, corpus, f"{folder / LOG}: the log has changed since this run began; start another run.")
    if not config.env.path:
        fit_simulators(config, corpus, folder)
    return load_simulator(folder / TRAIN)


def judge(config: Config, run: RunFolder, saved: SavedPolicy) -> Judging:
    """Judge in the training simulator, in one fitted to other users, and on the held-out rows of the log."""
    corpus = read_corpus(config, context_before(run.simulators), sides_before(run.simulators))
    check_same_catalogue(saved, corpus)
    worlds, assumed = [], assumptions(read_json_object(run.simulators / VALIDITY, RESTORE))
    for name, what in TITLES.items():
        title = f"{name}: {what}, {config.evaluate.users} users{assumed}"
        worlds.append(JudgingWorld(name, title, name, load_simulator(run.simulators / name)))
    if (true := world_of_generator(config, corpus, worlds[0].world)) is not None:
        title = f"truth: the people who wrote the log, {config.evaluate.users} users"
        worlds.append(JudgingWorld(TRUTH, title, TRUTH, true))
    section = dataclasses.replace(config.env, pessimism=0.0, new_users=0.0)  # both are only for training
    return Judging(section, tuple(worlds), corpus)


def baselines(env: Env, section: LoggedConfig, config: Config | None, corpus: Corpus | None) -> Rules:
    """The recipe's recommenders, the best single ranking, and an oracle that reads the response model.

    Most popular is always among them: lifts are over its return.
    """
    assert config is not None and corpus is not None, "baselines of logged users need a recipe and its log"
    size = env.spec.slate_size
    counts = jnp.asarray(corpus.counts, jnp.float32)
    rules = {
        report.POPULAR: recommenders.ranking(counts, size),
        report.FIXED: recommenders.best_fixed(section, env, stream(config, "best_fixed")),
        report.GREEDY: recommenders.greedy(section, env.world),
    }
    vectors = np.asarray(env.world.users.text(env.world.item_table))
    scorers = fit_baselines(config, simulated_rows(corpus), vectors, env.world)
    simple = {name: recommenders.by_scorer(one, counts, size) for name, one in scorers.items()}
    return rules | {name: one for name, one in simple.items() if name != report.POPULAR}


LOGGED = UserKind(
    config=LoggedConfig,
    make=logged.make,
    check=check,
    prepare=prepare,
    judge=judge,
    baselines=baselines,
    item_rows=lambda world: world.users.text(world.item_table),
)
