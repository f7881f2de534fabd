"""Deep Q-learning over slates of independent items, with replay on the device.

Each shown item has its own value, Q(s, i) = value(s) + logits(s, i) of the policy: ranking by logits is ranking by Q,
so serving works as for any other policy. `learner.dueling` says how Q is split into the two (arXiv 1511.06581).
The slate is the K best items. A shown item's target is its reward plus the discounted mean of the target network over
the next K best, chosen by the network being learned if `double` (arXiv 1509.06461). Targets of one slate sum to the
slate's own Bellman equation; with K = 1 this is ordinary DQN.
"""

import chex
import jax.numpy as jnp

from jaxrec.config.replay_learners import DqnConfig
from jaxrec.learn import replay as ring
from jaxrec.learn.action_values import q_values
from jaxrec.learn.value_core import Judgement, make_value_learner, shown
from jaxrec.nets.policy import Policy, to_positions
from jaxrec.ops.losses import td_loss
from jaxrec.ops.slates import top_slate
from jaxrec.types import Array, Env, EnvSpec, Learner, Params, Transition, World


def make(env: Env, config: DqnConfig) -> Learner:
    """Build DQN over an auto-resetting environment whose actions are slates."""

    def remember(transitions: Transition) -> ring.Experience:
        own = credited_rewards(transitions.feedback, transitions.reward, env.spec, config.credit)
        return ring.experience(transitions, own * config.reward_scale)

    return make_value_learner(env, config, dqn_loss, remember)


def dqn_loss(
    params: Params, target_params: Params, policy: Policy, batch: ring.Sample, world: World, config: DqnConfig
) -> tuple[Array, Judgement]:
    """Temporal-difference error of the shown items of a minibatch."""
    items = policy.items(params, world)
    if config.dueling == "mean":  # the mean is over all items on offer
        every = q_values(policy.apply(params, items, batch.obs, world), config.dueling)
        q = jnp.take_along_axis(every, to_positions(batch.action, batch.obs, world), axis=-1)
    else:  # with the shown items as the only candidates, only their rows enter the product
        q = q_values(policy.apply(params, items, shown(batch.obs, batch.action), world), config.dueling)
    chooser, keep, size = None, None, batch.action.shape[-1]
    if config.double:
        chooser = q_values(policy.apply(params, items, batch.next_obs, world), config.dueling)
        # The target network values what the other chose, also where it would retrieve other items itself.
        keep = top_slate(chooser, size) if config.policy.retrieve else None
    target_items = policy.items(target_params, world)
    following = q_values(policy.apply(target_params, target_items, batch.next_obs, world, keep), config.dueling)
    value = best_mean(following if chooser is None else chooser, following, size)
    target = batch.item_reward + (batch.discount * value)[..., None]
    loss, metrics = td_loss(q, target, batch.weight, config.huber)
    return loss, Judgement(metrics, jnp.abs(q - target).mean(-1))


def best_mean(chooser: Array, values: Array, slate_size: int) -> Array:
    """Mean of `values` over the best slate by `chooser`, without masked items; [..., M], [..., M] -> [...]."""
    chosen = jnp.take_along_axis(values, top_slate(chooser, slate_size), axis=-1)
    open_ = chosen > -jnp.inf
    return jnp.where(open_, chosen, 0.0).sum(-1) / jnp.maximum(open_.sum(-1), 1).astype(values.dtype)


def credited_rewards(feedback: Array, reward: Array, spec: EnvSpec, credit: str) -> Array:
    """Credit of every shown item; [..., K, F], [...] -> [..., K], which sums to the reward.

    "item": the item's own feedback by `spec.reward_weights`, plus an equal share of the rest of
    the slate's reward. "slate": an equal share of everything.
    """
    chex.assert_equal_shape_prefix((feedback, reward), reward.ndim)
    own = jnp.zeros(feedback.shape[:-1])
    if credit == "item" and spec.reward_weights:
        own = feedback @ jnp.asarray(spec.reward_weights, feedback.dtype)
    return own + ((reward - own.sum(-1)) / own.shape[-1])[..., None]
