"""Wrappers: an Env in, an Env out."""

import dataclasses

import jax
import jax.numpy as jnp

from jaxrec.envs.statistics import keep_last
from jaxrec.types import Array, Env, StepOutput, World


def auto_reset(env: Env) -> Env:
    """Replace a user who left (or whose session was cut) by a new one within the same step.

    `obs` is then the new user's first observation, `final_obs` the old user's last. The reset is computed for every
    user and selected: under `vmap` a branch would do the same, and the resets here cost one draw and a gather.
    """

    def step(key: Array, state, action: Array, params: World) -> tuple[object, StepOutput]:
        key_step, key_reset = jax.random.split(key)
        after, out = env.step(key_step, state, action, params)
        fresh, first_obs = env.reset(key_reset, params)
        fresh = keep_last(fresh, after)
        done = out.terminated | out.truncated

        def choose(new, old):
            return jax.tree.map(lambda a, b: jnp.where(done, a, b), new, old)

        return choose(fresh, after), out.replace(obs=choose(first_obs, out.obs), final_obs=out.obs)

    return env._replace(step=step, spec=dataclasses.replace(env.spec, auto_reset=True))
