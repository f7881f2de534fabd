"""What the fitted tastes expect of a person after a history: the posterior of a person to whom nothing was fitted.

The belief about a person's tastes starts as that of the population. Each row of the history moves it by one step of the
extended Kalman filter (`tastes.learn_row`). It is also moved by which items a person chose (exposure.py), and answers
are moved by what was shown lately (effects.py). A policy with `belief: true` starts from these expectations, and learns
what they lack.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.nets.effects import Recent, forgotten, offsets, remember
from jaxrec.nets.exposure import Met, meet, nothing_met, still_open
from jaxrec.nets.tastes import (
    Belief,
    Tastes,
    as_expected,
    design,
    directions_of,
    learn_row,
    probabilities,
)
from jaxrec.types import Array, EnvSpec, Observation, World


class Known(NamedTuple):
    """What is known about a person."""

    belief: Belief
    memory: Recent | None  # of short-term effects; None without them
    met: Met | None  # the items of rows; None if they tell nothing


def nothing_known(tastes: Tastes) -> Known:
    """What is known before the first row."""
    memory = None
    if tastes.effects is not None:
        memory = forgotten(directions_of(tastes).shape[1], tastes.link.scale.shape[0])
    return Known(tastes.population, memory, None if tastes.exposure is None else nothing_met(tastes.exposure))


def meet_item(tastes: Tastes, belief: Belief, met: Met | None, item: Array) -> tuple[Belief, Met | None]:
    """Learn that a row has the item, whatever its answer."""
    if tastes.exposure is None or met is None:
        return belief, met
    met, moved = meet(tastes.exposure, met, tastes.item_vectors[item])
    return belief.replace(mean=belief.mean + moved), met


def outlook(tastes: Tastes, known: Known) -> Belief:
    """The belief, less certain by what the items of later rows will tell."""
    if tastes.exposure is None or known.met is None:
        return known.belief
    return known.belief.replace(covariance=known.belief.covariance + still_open(tastes.exposure, known.met))


def expected_logits(tastes: Tastes, belief: Belief, items: Array | None = None) -> tuple[Array, Array]:
    """Expected logits on items [n] or on all, and their variances, each [n or I, F]."""
    vectors, logits = tastes.item_vectors, tastes.item_logits
    if items is not None:
        vectors, logits = vectors[items], logits[items]
    x = design(vectors)
    return logits + x @ belief.mean.T, jnp.einsum("kd,fde,ke->kf", x, belief.covariance, x)


def after_history(
    tastes: Tastes, items: Array, answers: Array, context: Array | None, shown: Array | int | None = None
) -> Known:
    """What is known after a history, with its newest row last: [H], [H, F], [C]. Rows with `PADDING` are skipped.

    A recommender chose the items of the latest `shown` rows [] (default: none), so only their answers are learned from.
    `tastes` have the curve of what is expected (`as_expected`).
    """
    effects = tastes.effects

    def learn(known: Known, row: tuple[Array, Array, Array]) -> tuple[Known, None]:
        item, answer = jnp.maximum(row[0], 0), row[1]
        direction, offset, memory = None, jnp.zeros(answer.shape), known.memory
        if effects is not None and memory is not None:
            direction = directions_of(tastes, item)
            offset = offsets(effects, memory, direction[None], context)[0]
        belief, before = learn_row(tastes, known.belief, item, answer, offset)
        chosen = meet_item(tastes, belief, known.met, item)
        belief, met = jax.tree.map(lambda new, old: jnp.where(row[2], new, old), chosen, (belief, known.met))
        if effects is not None and memory is not None and direction is not None:
            expected = probabilities(tastes, jnp.asarray(before.mean), jnp.asarray(before.variance))
            memory = remember(effects, memory, direction, answer - expected)
        after = Known(belief, memory, met)
        return jax.tree.map(lambda new, old: jnp.where(row[0] >= 0, new, old), after, known), None

    own = jnp.arange(items.shape[0]) < items.shape[0] - (0 if shown is None else shown)
    return jax.lax.scan(learn, nothing_known(tastes), (items, answers, own))[0]


def answers_expected(tastes: Tastes, known: Known, context: Array | None, items: Array | None = None) -> Array:
    """P(answer) on items [n] or on all, given what is known of a person: [n or I, F]."""
    logit, variance = expected_logits(tastes, outlook(tastes, known), items)
    offset = 0.0
    if tastes.effects is not None and known.memory is not None:
        offset = offsets(tastes.effects, known.memory, directions_of(tastes, items), context)
    return probabilities(tastes, logit, variance, offset)


def expected_after(
    tastes: Tastes, items: Array, answers: Array, context: Array | None, shown: Array | int | None = None
) -> Array:
    """P(answer) on the whole catalogue after a history, see `after_history`: [H], [H, F], [C] -> [I, F]."""
    tastes = as_expected(tastes)
    return answers_expected(tastes, after_history(tastes, items, answers, context, shown), context)


class Prior(struct.PyTreeNode):
    """What a policy with `belief` starts from."""

    logits: Array  # [..., R] of the expected rewards of the recommendable items, as shares of the reward range
    state: Array  # [..., Z] numbers of the belief


SURE = 1e-4  # shares of rewards are at least as far from 0 and 1


def prior_of(tastes: Tastes, obs: Observation, world: World, spec: EnvSpec) -> Prior:
    """What the tastes expect of persons with the histories of `obs`; no gradients go through it."""
    assert obs.history_items is not None and obs.history_feedback is not None
    tastes, lead = as_expected(tastes), obs.history_items.shape[:-1]
    weights, (low, high) = jnp.asarray(spec.reward_weights), spec.item_reward_range

    def one(items: Array, answers: Array, context: Array | None, shown: Array | None) -> Prior:
        known = after_history(tastes, items, answers, context, shown)
        rewards = answers_expected(tastes, known, context, world.recommendable) @ weights
        shares = jnp.clip((rewards - low) / (high - low), SURE, 1.0 - SURE)
        belief = outlook(tastes, known)
        spread = jnp.log(jnp.diagonal(belief.covariance, axis1=-2, axis2=-1))
        parts = [belief.mean.ravel(), spread.ravel(), *([] if known.memory is None else [known.memory.shown])]
        return Prior(jax.scipy.special.logit(shares), jnp.concatenate(parts))

    fields = obs.history_items, obs.history_feedback, obs.context, obs.history_shown
    flat: list[Any] = [None if x is None else x.reshape(-1, *x.shape[len(lead) :]) for x in fields]
    prior = jax.vmap(one, [None if x is None else 0 for x in flat])(*flat)
    return jax.lax.stop_gradient(jax.tree.map(lambda x: x.reshape(*lead, *x.shape[1:]), prior))
