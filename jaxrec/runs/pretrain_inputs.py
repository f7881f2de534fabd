"""What a pretraining reads: the policy's view of the users, the items, and windows of the log."""

import jax.numpy as jnp
import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.logged import LoggedConfig
from jaxrec.config.pretrain import GENERATIVE
from jaxrec.config.schema import Config
from jaxrec.envs.logged import OBSERVED
from jaxrec.envs.rewards import feedback_weights
from jaxrec.runs.item_table import ItemVectors, embed, item_table
from jaxrec.runs.read_log import Corpus
from jaxrec.runs.recipe import log_config
from jaxrec.supervised.joint import FROZEN
from jaxrec.supervised.off_policy import returns_of_rows
from jaxrec.supervised.pretrain import PretrainData
from jaxrec.supervised.pretrain_batches import Plan, num_negatives
from jaxrec.supervised.successions import residuals_of_successions
from jaxrec.supervised.user_windows import make_windows
from jaxrec.types import PADDING, Array, EnvSpec, Params, SlateAction, World


def check_recipe(config: Config) -> None:
    """Raise InputError if the recipe has no log, or its users are not fitted to one."""
    if not isinstance(config.env, LoggedConfig):
        raise InputError(f"env.name: {config.env.name} has no log to pretrain on; set it to logged.")
    log_config(config)
    if config.learner.policy.belief and config.pretrain.model != GENERATIVE:
        raise InputError(
            "learner.policy.belief: pretraining reads no simulated users, so it has no fitted tastes; set it to false."
        )
    check_neighbours(config)
    if config.encoder.train != FROZEN and not config.pretrain.texts:
        raise InputError(
            f"pretrain.texts: false, but encoder.train: {config.encoder.train} tunes on texts; set it to true, or "
            f"encoder.train to {FROZEN}."
        )


def check_neighbours(config: Config) -> None:
    """Raise InputError if `pretrain.neighbours` is set where no residuals of items start anew."""
    if not config.pretrain.neighbours:
        return
    if config.pretrain.model == GENERATIVE:
        raise InputError("pretrain.neighbours: a generator has no residuals of items; set it to 0.")
    if not config.learner.policy.item_residual:
        raise InputError(
            "pretrain.neighbours: the policy has no residuals of items; set learner.policy.item_residual to true, or "
            "pretrain.neighbours to 0."
        )
    if config.pretrain.start_from:
        raise InputError(
            "pretrain.neighbours: pretrain.start_from gives the residuals of items; set pretrain.neighbours to 0."
        )


def with_neighbours(config: Config, corpus: Corpus, params: Params, vectors: Array) -> Params:
    """Parameters whose residuals say which items users have near each other, as long as `vectors` [I, W] of items."""
    fit = config.pretrain
    own = residuals_of_successions(corpus.split.train, np.asarray(vectors), fit.neighbours, file_order=fit.file_order)
    return {**params, "residual_vectors": jnp.asarray(own)}


def observed_history(config: Config) -> int:
    """H, the rows of a user's history that a policy of this recipe observes."""
    return config.env.history_length or OBSERVED


def policy_spec(config: Config, corpus: Corpus) -> EnvSpec:
    """The environment of the recipe as policies see it, without fitting its users."""
    log = corpus.dataset.log
    names = log.feedback_names
    return EnvSpec(
        name="logged",
        action=SlateAction(size=config.env.slate_size),
        num_items=log.num_items,
        feedback=names,
        reward_weights=feedback_weights(config.env.reward, names),
        feedback_range=((0.0, 1.0),) * len(names),
        context_size=0 if log.context is None else log.context.shape[1],
        history_length=observed_history(config),
    )


def recommendable_items(config: Config, corpus: Corpus, cold: np.ndarray | None = None) -> np.ndarray:
    """Items with enough training rows of all users, and those that are `cold` on purpose: [R] int32, increasing.

    Raises InputError if there are none.
    """
    train, least = corpus.split.train, log_config(config).min_item_ratings
    items = np.flatnonzero(np.bincount(train.item, minlength=train.num_items) >= least).astype(np.int32)
    if cold is not None:
        items = np.union1d(items, cold).astype(np.int32)
    if not len(items):
        raise InputError(f"data.min_item_ratings: no item has {least} training rows; lower it.")
    return items


def policy_world(config: Config, corpus: Corpus, recommendable: np.ndarray) -> World:
    """The item table that `jaxrec train` makes from this log, with the items that may be recommended."""
    vectors = embed(config, corpus.dataset.catalogue.texts)
    if not config.pretrain.texts:
        vectors = np.random.default_rng(config.seed).normal(0, vectors.shape[1] ** -0.5, vectors.shape)
    context = corpus.train.context
    return World(
        jnp.asarray(item_table(ItemVectors(vectors, corpus.features.blocks), corpus.train)),
        recommendable=jnp.asarray(recommendable),
        usual_context=None if context is None else jnp.asarray(context, jnp.float32).mean(0),
    )


def make_data(config: Config, corpus: Corpus, recommendable: np.ndarray) -> tuple[PretrainData, Plan]:
    """Windows of all users' training rows, and their sizes; raises InputError if no row is a target."""
    train, fit = corpus.split.train, config.pretrain
    place = np.full(train.num_items, PADDING)
    place[recommendable] = np.arange(len(recommendable))
    target = place[train.item]
    if fit.target == "liked":
        target = np.where(train.positive, target, PADDING)
    if not (target != PADDING).any():
        raise InputError(
            f"pretrain.target: none of the {len(train):,} training rows is a target; set it to next, or lower "
            "data.min_item_ratings."
        )
    longest = min(window_length(config), max(2, int(np.diff(train.offsets).max())))
    positions = fit.batch_size * longest
    rows, buckets = make_windows(train, target, longest, positions, file_order=fit.file_order)
    places = place[train.item]
    places = places[places != PADDING]
    with np.errstate(divide="ignore"):  # of items without rows, which are never drawn
        log_share = np.log(np.bincount(places, minlength=len(recommendable)) / len(places))
    known = int((recommendable < train.num_touched).sum()) if train.untouched else None
    plan = Plan(buckets, train.num_users, positions, num_negatives(fit, len(recommendable)), known)
    data = PretrainData(rows, jnp.asarray(places, jnp.int32), jnp.asarray(log_share, jnp.float32))
    return data.replace(reward=rewards_of_rows(config, corpus)) if fit.loss == "reinforce" else data, plan


def rewards_of_rows(config: Config, corpus: Corpus) -> jnp.ndarray:
    """Discounted rewards from each training row on, by `env.reward`: [N]; raises InputError if all are 0."""
    train = corpus.split.train
    weights = np.asarray(feedback_weights(config.env.reward, train.feedback_names))
    reward = returns_of_rows(train, train.feedback @ weights, config.pretrain.gamma)
    if not reward.any():
        raise InputError(
            "env.reward: no training row has a reward, and pretrain.loss: reinforce learns from nothing else; give a "
            f"kind of feedback a weight (known: {', '.join(train.feedback_names)})."
        )
    return jnp.asarray(reward)


def window_length(config: Config) -> int:
    """Rows of a window: by default those that the policy reads, and the one that is then predicted."""
    read, generates = observed_history(config), config.pretrain.model == GENERATIVE
    latest = config.generative.history if generates else config.learner.policy.history
    return config.pretrain.window or min(latest or read, read) + 1
