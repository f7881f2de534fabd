"""Users fitted to a log: their functions for the stages of a run."""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.logged import LoggedConfig
from jaxrec.config.schema import Config
from jaxrec.data import Log
from jaxrec.data.true_answers import check_true_answers
from jaxrec.envs import logged
from jaxrec.envs.logged_world import load_simulator
from jaxrec.envs.rewards import feedback_weights
from jaxrec.evaluation import recommenders, report
from jaxrec.evaluation.corrected import Residuals
from jaxrec.nets.tastes import Tastes
from jaxrec.runs.baselines import fit_baselines, simulated_rows
from jaxrec.runs.read_log import Corpus, check_same_catalogue, read_corpus
from jaxrec.runs.recipe import log_config
from jaxrec.runs.start_from import start_columns
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
from jaxrec.runs.users.log_checks import check_kinds
from jaxrec.runs.users.truth import true_world
from jaxrec.runs.users.validity_lines import assumed_levels
from jaxrec.serve import SavedPolicy
from jaxrec.storage.files import read_json_object
from jaxrec.storage.run import RunFolder
from jaxrec.supervised.contrast import always_one
from jaxrec.supervised.taste_rows import mean_answers
from jaxrec.types import Env, World

TITLES = {TRAIN: "simulator used in training", JUDGE: "other users, not used in training"}


def check(config: Config) -> None:
    """Raise InputError for a truth that cannot be read, and for settings that the log or ensemble does not support."""
    if config.evaluate.truth:
        check_true_answers(config.evaluate.truth, log_config(config))
    logged.check_users(config.env, tuple(log_config(config).feedback), config.response.members)
    env, learner = config.env, config.learner
    if learner.policy.belief and env.response != "tastes":
        raise InputError(
            f"learner.policy.belief: people with env.response: {env.response} have no tastes; set it to false, or "
            "env.response to tastes."
        )
    if learner.name == "far_sighted" and learner.horizon % env.requests:
        raise InputError(
            f"learner.horizon: far_sighted goes back through whole visits of env.requests={env.requests} slates; set "
            f"it to a multiple, such as {env.requests}."
        )


def training(config: Config, env: Env) -> Env:
    """Learners that look ahead keep users who would leave: what follows is then less noisy."""
    return logged.make(config.env, env.world, keep=True) if config.learner.name == "far_sighted" else env


def prepare(config: Config, run: RunFolder, before: SavedPolicy | None) -> Prepared:
    """Read the log, and fit or copy the users that train and judge."""
    named = [Path(config.env.path)] if config.env.path else []
    old = [RunFolder(config.train.continue_from).simulators] if config.train.continue_from else []
    context, sides = context_before(run.simulators, *named, *old), sides_before(run.simulators, *old)
    corpus = read_corpus(config, context or start_columns(config), sides)
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
    assumed = assumed_levels(read_json_object(run.simulators / VALIDITY, RESTORE))
    # On a line of its own: as long as it is, the title would break anywhere.
    levels = "".join(f";\nmean P of '{name}' assumed to be {rate:g}" for name, rate in assumed.items())
    worlds = []
    for name, what in TITLES.items():
        title = f"{name}: {what}, {config.evaluate.users} users{levels}"
        world = load_simulator(run.simulators / name)
        residuals = residuals_of(config.env, world, corpus.judge) if name == JUDGE else None
        worlds.append(JudgingWorld(name, title, name, world, residuals))
    if (true := true_world(config, corpus, worlds[0].world)) is not None:
        who, world = true
        worlds.append(JudgingWorld(TRUTH, f"truth: {who}, {config.evaluate.users} users", TRUTH, world))
    rewarded = {name: rate for name, rate in assumed.items() if config.env.reward.get(name)}
    return Judging(_as_judged(config.env), tuple(worlds), corpus, rewarded)


def residuals_of(section: LoggedConfig, world: World, log: Log) -> Residuals | None:
    """Real minus simulated rewards of the log that the users of a world were fitted to.

    None where returns are no sums of single answers (visits end early, items of a slate change each other, people come
    back), where the level of an answer is assumed, and for users without tastes.
    """
    tastes: Tastes | None = world.users.tastes
    sums = section.leave is None and section.comeback_model is None and not section.slate_interaction
    if tastes is None or not sums or always_one(log).any():
        return None
    weights = np.asarray(feedback_weights(section.reward, log.feedback_names))
    return Residuals(log.user, log.item, (log.feedback - mean_answers(tastes, log)) @ weights)


def others(config: Config, run: RunFolder) -> Env:
    """The users of the second simulator, as they judge."""
    return logged.make(_as_judged(config.env), load_simulator(run.simulators / JUDGE))


def _as_judged(section: LoggedConfig) -> LoggedConfig:
    """The section without what is only for training."""
    return dataclasses.replace(section, pessimism=0.0, new_users=0.0)


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
    users = env.world.users
    if users.tastes is not None and not always_one(corpus.train).any():  # else drawn items would have to be learned too
        rules[report.POSTERIOR] = recommenders.posterior_mean(section, env.world)
    vectors = np.asarray(users.text(env.world.item_table))
    scorers = fit_baselines(config, simulated_rows(corpus), vectors, env.world)
    simple = {name: recommenders.by_scorer(one, counts, size) for name, one in scorers.items()}
    return rules | {name: one for name, one in simple.items() if name != report.POPULAR}


LOGGED = UserKind(
    config=LoggedConfig,
    make=logged.make,
    check=check,
    check_log=check_kinds,
    prepare=prepare,
    judge=judge,
    baselines=baselines,
    item_rows=lambda world: world.users.text(world.item_table),
    training=training,
    others=others,
)
