"""Reinforcement of a generator: group-relative policy gradients (GRPO, arXiv 2402.03300) over samples of the tree.

A state is a row of the training log with the rows before its moment as history. A group is G samples of one state
(`jaxrec.generate.sample`) with weights w_i that add up to 1. The reward of an item is whether the user takes it next
or, discounted, later:

    r_i  = sum over the user's rows from the state on of gamma^(rows later) [the row's item is i]
    A_i  = (r_i - m) / (s + 1e-4),    m and s: the group's weighted mean and standard deviation of r
    loss = mean over states of  -sum_i w_i A_i log pi(i)  +  kl x KL(pi || pi_start)

pi_start is the generator that learning starts from, frozen. The divergence is exact at each prefix that the samples
went through, and the mean over the samples stands for the mean over prefixes. Its gradient takes the prefixes as given,
and leaves out that the policy changes which of them are sampled. A group is used for one step, so that the
ratio of GRPO is always 1 and clipping has no effect. Sampling, rewards and the step are one compiled program.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from jaxrec.config.generative import GrpoConfig
from jaxrec.config.pretrain import PretrainConfig
from jaxrec.data.log import Log
from jaxrec.generate.recommender import Catalogue, samples, user_steps
from jaxrec.generate.sample import Path, Samples, log_chances, path_chances
from jaxrec.generate.training import decayed
from jaxrec.nets.generator import Shape
from jaxrec.ops.descend import descend
from jaxrec.supervised.optimisers import make_optimiser
from jaxrec.supervised.pretrain_batches import PretrainState
from jaxrec.supervised.user_windows import WindowRows
from jaxrec.types import PADDING, Array, Metrics, Observation, Params

LEAST = 0.01  # rewards of later rows are counted while their discount is at least this
FURTHEST = 200  # and up to this many rows


class States(struct.PyTreeNode):
    """Rows of the training log to learn from, [S]."""

    row: Array  # int32
    begin: Array  # int32, first row of the user
    end: Array  # int32, row after the last of the user


class ReinforceData(struct.PyTreeNode):
    """What all steps read."""

    rows: WindowRows
    states: States
    catalogue: Catalogue
    start: Params  # the frozen generator that the policy is pulled to


class Sizes(NamedTuple):
    """Static sizes of a reinforcement."""

    shape: Shape
    read: int  # latest rows of a history that the generator reads
    observed: int  # latest rows whose items are not sampled
    ahead: int  # rows from the state on that may be rewarded
    repeats: bool  # whether items of the history may be sampled


class Reinforcement(NamedTuple):
    """Pure functions of one reinforcement."""

    init: Callable[[Array, Params], PretrainState]
    update: Callable[[PretrainState, ReinforceData], tuple[PretrainState, Metrics]]


def rows_ahead(log: Log, gamma: float, moment: np.ndarray) -> int:
    """Rows from a state's moment on that may be rewarded: those of the moment, and later ones by their discount.

    `moment` [N] is the first row of each row's moment.
    """
    longest = min(FURTHEST, int(np.diff(log.offsets).max(initial=1)))
    tied = int((np.arange(len(moment)) - moment).max(initial=0))
    if gamma in (0.0, 1.0):
        return min(longest, 1 + tied) if gamma == 0 else longest
    return min(longest, 1 + tied + int(np.log(LEAST) / np.log(gamma)))


def make_states(log: Log, target: np.ndarray) -> States:
    """States at the rows of the training log that are targets; target [N] is PADDING at other rows."""
    rows, offsets = np.flatnonzero(target != PADDING), log.offsets
    user = log.user[rows]
    return States(*(jnp.asarray(x, jnp.int32) for x in (rows, offsets[user], offsets[user + 1])))


def observed_at(rows: WindowRows, drawn: States, length: int) -> Observation:
    """What is known at states [B]: the latest `length` rows before their moments."""
    earlier = rows.moment[drawn.row][:, None] + jnp.arange(-length, 0)[None]
    inside = earlier >= drawn.begin[:, None]
    earlier = jnp.maximum(earlier, 0)
    return Observation(
        context=None if rows.context is None else rows.context[drawn.row],
        history_items=jnp.where(inside, rows.items[earlier], PADDING),
        history_feedback=jnp.where(inside[..., None], rows.feedback[earlier], 0.0),
    )


def rewards(rows: WindowRows, drawn: States, items: Array, ahead: int, gamma: float) -> Array:
    """Rewards of samples [B, G] at states [B]: [B, G]. All rows of the state's moment count fully."""
    found = rows.moment[drawn.row][:, None] + jnp.arange(ahead)[None]
    inside = found < drawn.end[:, None]
    found = jnp.minimum(found, rows.items.shape[0] - 1)
    later = jnp.maximum(rows.moment[found] - rows.moment[drawn.row][:, None], 0).astype(jnp.float32)
    worth = jnp.where(later == 0, 1.0, jnp.float32(gamma) ** later)
    value = jnp.where(inside & (rows.target[found] != PADDING), worth, 0.0)
    same = items[:, :, None] == rows.items[found][:, None]
    return jnp.where(same, value[:, None], 0.0).sum(-1)


def advantages(reward: Array, weight: Array) -> Array:
    """Rewards of groups [B, G] relative to their weighted means, in standard deviations: [B, G]."""
    centred = reward - (weight * reward).sum(-1, keepdims=True)
    spread = jnp.sqrt((weight * centred**2).sum(-1, keepdims=True))
    return centred / (spread + 1e-4)


def group_loss(
    own: list[Array], start: list[Array], path: Path, weight: Array, advantage: Array, kl: float
) -> tuple[Array, Metrics]:
    """Loss of groups of samples with weights and advantages [B, G], from `path_chances` of two generators [B, ...]."""
    chosen = jnp.where(weight > 0, log_chances(own, path), 0.0)
    policy = -(weight * advantage * chosen).sum(-1).mean()
    apart = jnp.float32(0.0)
    for ours, theirs in zip(own, start, strict=True):
        some = ours > -jnp.inf
        ours, theirs = jnp.where(some, ours, 0.0), jnp.where(some, theirs, 0.0)
        each = jnp.where(some, jnp.exp(ours) * (ours - theirs), 0.0).sum(-1)  # [B, 1] at the root, then [B, G]
        apart += each[:, 0].mean() if each.shape[-1] == 1 else (weight * each).sum(-1).mean()
    loss = policy + kl * apart
    return loss, {"loss": loss, "policy_loss": policy, "kl": apart}


def make_reinforcement(sizes: Sizes, config: PretrainConfig, grpo: GrpoConfig, steps: int) -> Reinforcement:
    """Build the update: sample, reward, one gradient step; `steps` in all."""
    optimiser = make_optimiser(config, steps, decayed)

    def init(key: Array, start: Params) -> PretrainState:
        return PretrainState(start, {}, optimiser.init(start), key, jnp.int32(0))

    def chances(params: Params, data: ReinforceData, obs: Observation, path: Path) -> list[Array]:
        def along(step, seen, path):
            return path_chances(step, data.catalogue.trie, seen, path, repeats=sizes.repeats)

        return user_steps(sizes.shape, params, data.catalogue, obs, sizes.read, along, path)

    def draw(params: Params, data: ReinforceData, obs: Observation, key: Array) -> Samples:
        keys, how = jax.random.split(key, config.batch_size), {"replace": grpo.replace, "repeats": sizes.repeats}
        found = samples(sizes.shape, params, data.catalogue, obs, sizes.read, keys, grpo.samples, **how)
        total = found.weight.sum(-1, keepdims=True)
        return found._replace(weight=found.weight / jnp.maximum(total, 1e-20))

    def update(state: PretrainState, data: ReinforceData) -> tuple[PretrainState, Metrics]:
        key_state, key_sample = jax.random.split(jax.random.fold_in(state.key, state.step))
        number = jax.random.randint(key_state, (config.batch_size,), 0, data.states.row.shape[0])
        drawn = jax.tree.map(lambda x: x[number], data.states)
        obs = observed_at(data.rows, drawn, sizes.observed)
        found = draw(state.params, data, obs, key_sample)
        reward = rewards(data.rows, drawn, found.items, sizes.ahead, config.gamma)
        advantage = advantages(reward, found.weight)
        start = chances(data.start, data, obs, found.path)

        def loss(params: Params) -> tuple[Array, Metrics]:
            own = chances(params, data, obs, found.path)
            return group_loss(own, start, found.path, found.weight, advantage, grpo.kl)

        (_, metrics), grad = jax.value_and_grad(loss, has_aux=True)(state.params)
        metrics |= {
            "reward": (found.weight * reward).sum(-1).mean(),
            "rewarded": (reward > 0).any(-1).astype(jnp.float32).mean(),
            "gradient_norm": optax.tree.norm(grad),
        }
        params, opt_state = descend(optimiser, grad, state.params, state.opt_state)
        return PretrainState(params, state.head, opt_state, state.key, state.step + 1), metrics

    return Reinforcement(init, update)
