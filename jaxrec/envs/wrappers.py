"""Wrappers, which turn an Env into another Env."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.checks import check_range
from jaxrec.envs.statistics import keep_last
from jaxrec.types import Array, Env, Observation, StepOutput, World


def auto_reset(env: Env) -> Env:
    """Replace a user who left (or whose session was cut) by a new one within the same step.

    `obs` is then the new user's first observation and `final_obs` the old user's last. The reset is computed for every
    user and then selected. Under `vmap` a branch would do the same, and the resets here cost only a draw and a gather.
    """

    def step(key: Array, state, action: Array, world: World) -> tuple[object, StepOutput]:
        key_step, key_reset = jax.random.split(key)
        after, out = env.step(key_step, state, action, world)
        fresh, first_obs = env.reset(key_reset, world)
        fresh = keep_last(fresh, after)
        done = out.terminated | out.truncated

        def choose(new, old):
            return jax.tree.map(lambda a, b: jnp.where(done, a, b), new, old)

        hidden = None if env.hidden is None else env.hidden(after, world)
        out = out.replace(obs=choose(first_obs, out.obs), final_obs=out.obs, final_hidden=hidden)
        return choose(fresh, after), out

    return env._replace(step=step, spec=dataclasses.replace(env.spec, auto_reset=True))


class LimitedState(struct.PyTreeNode):
    """A wrapped state and the number of steps of its episode."""

    env_state: Any
    steps: Array  # [] int32


def time_limit(env: Env, steps: int) -> Env:
    """Truncate sessions after `steps` steps, unless the user leaves at that very step."""
    check_range("time_limit", steps, 1)

    def reset(key: Array, world: World) -> tuple[LimitedState, Observation]:
        state, obs = env.reset(key, world)
        return LimitedState(state, jnp.zeros((), jnp.int32)), obs

    def step(key: Array, state: LimitedState, action: Array, world: World) -> tuple[LimitedState, StepOutput]:
        after, out = env.step(key, state.env_state, action, world)
        taken = state.steps + 1
        cut = (taken >= steps) & ~out.terminated
        return LimitedState(after, taken), out.replace(truncated=out.truncated | cut)

    return env._replace(
        reset=reset,
        step=step,
        memory=None,
        expected_feedback=None,
        item_rewards=env.item_rewards_of(lambda state: state.env_state),
        hidden=env.hidden_of(lambda state: state.env_state),
    )
