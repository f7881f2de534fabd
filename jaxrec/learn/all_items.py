"""Learn from what the simulator knows: the expected answer of the drawn person to every item that may be shown.

States come from the policy's own slates. In each, the logits are fitted to the person's expected immediate reward r(i),
scaled to [0, 1], by cross-entropy over all items that may be shown:

    loss = mean_i BCE(sigmoid(value + logit_i), r(i))

The policy sees only the observation, so the minimum is the posterior mean of r(i) given the observation, and the best
slate is the one with the highest expected immediate reward. `value` is the level of a user, which ranking ignores.
Compared with policy gradients, one state teaches about the whole catalogue instead of K sampled items.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.checks import InputError
from jaxrec.config.every_item import AllItemsConfig, EveryItemConfig
from jaxrec.learn.minibatches import descend_epochs, flat_steps
from jaxrec.learn.rollout import Decision, Users, experience_metrics, rollout, split_shards
from jaxrec.learn.state import LearnerState, annealed_rate, make_init, make_optimizer
from jaxrec.nets.policy import Policy, PolicyOutput, make_policy, to_items
from jaxrec.ops.slates import top_slate
from jaxrec.types import Array, Env, EnvSpec, Learner, Metrics, Observation, Params, Transition, World


class States(struct.PyTreeNode):
    """What the policy sees, and what it does not; leaves [S, B, ...], and [N, ...] of a minibatch."""

    obs: Observation
    env_state: Any


def make(env: Env, config: AllItemsConfig) -> Learner:
    """Build the learner over an auto-resetting environment that knows `item_rewards`."""
    check_env(env, config.name)
    policy = make_policy(env.spec, config.policy)
    optimizer = make_optimizer(config)
    low, high = reward_range(env.spec, config.name)

    def objective(params: Params, states: States, world: World) -> tuple[Array, Metrics]:
        assert env.item_rewards is not None
        known = jax.vmap(env.item_rewards, (0, None))(states.env_state, world)
        output = policy.apply(params, policy.items(params, world), states.obs, world)
        loss, error = all_items_loss(output, (known - low) / (high - low))
        return loss, {"loss": loss, "mean_error": error}

    def update(state: LearnerState, world: World) -> tuple[LearnerState, Metrics]:
        users, transitions = collect(env, policy, state, world, config)
        states = flat_steps(States(transitions.obs, transitions.env_state))
        key, key_epochs = split_shards(users.key, 2)
        rate = annealed_rate(config, state)

        params, opt_state, metrics = descend_epochs(
            lambda params, part: objective(params, part, world), optimizer, state, key_epochs, states, config, rate
        )
        metrics |= experience_metrics(users, transitions) | {"learning_rate": rate}
        state = state.replace(params=params, opt_state=opt_state, users=users.replace(key=key), step=state.step + 1)
        return state, metrics

    return Learner(make_init(env, config, policy.init, optimizer), update)


def check_env(env: Env, learner: str) -> None:
    """Raise InputError if the environment does not tell the expected answer to every item."""
    if env.item_rewards is None or env.spec.num_candidates:
        raise InputError(
            f"learner.name: {learner} learns from the expected answer to every item, which {env.spec.name} does not "
            "give; use another learner, or env.name: logged."
        )


def collect(
    env: Env, policy: Policy, state: LearnerState, world: World, config: EveryItemConfig
) -> tuple[Users, Transition]:
    """Roll out the best slates, of scores with noise if there is a temperature; transitions are [T, S, N, ...]."""
    items = policy.items(state.params, world)

    def act(key: Array, obs: Observation) -> Decision:
        logits = policy.apply(state.params, items, obs, world).logits
        if config.temperature:
            noise = jax.vmap(lambda k: jax.random.gumbel(k, logits.shape[1:]))(key)
            logits = logits + config.temperature * noise
        return Decision(to_items(top_slate(logits, env.spec.slate_size), obs, world))

    return rollout(env, act, lambda extras, *_: extras, state.users, world, config.horizon, keep_states=True)


def all_items_loss(output: PolicyOutput, rewards: Array, weights: Array | None = None) -> tuple[Array, Array]:
    """Cross-entropy with rewards [..., R] in [0, 1], mean over the items that may be shown and then over states.

    `weights` [...] of the states have mean 1. The mean absolute error of the predicted rewards comes second.
    """
    open_ = output.logits > -jnp.inf
    logits = jnp.where(open_, output.logits, 0.0) + output.value[..., None]
    each = jnp.where(open_, jax.nn.softplus(logits) - rewards * logits, 0.0)
    count = jnp.maximum(open_.sum(-1), 1).astype(logits.dtype)
    error = jnp.where(open_, jnp.abs(jax.nn.sigmoid(logits) - rewards), 0.0)
    return weighted_mean(each.sum(-1) / count, weights), weighted_mean(error.sum(-1) / count, weights)


def weighted_mean(values: Array, weights: Array | None) -> Array:
    """Mean of values [...] with weights [...] of mean 1."""
    return values.mean() if weights is None else (weights * values).mean()


def reward_range(spec: EnvSpec, learner: str = "all_items") -> tuple[float, float]:
    """Lowest and highest reward of one item; raises InputError if no kind of feedback has a weight."""
    low, high = spec.item_reward_range
    if low == high:
        raise InputError(f"learner.name: {learner} needs a reward of feedback; give env.reward a kind with a weight.")
    return low, high
