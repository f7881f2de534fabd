"""Return and length of episodes, kept in the state of the environment."""

from typing import Any

import jax.numpy as jnp
from flax import struct

from jaxrec.types import Array, Env, StepOutput, World


class EpisodeState(struct.PyTreeNode):
    """A wrapped state with the returns and lengths of its user's episodes, each of shape []."""

    env_state: Any
    total: Array  # return of the current episode so far; after its end, its return until the reset
    steps: Array  # int32, its length so far
    last_total: Array  # return of the episode that ended last; 0 before the first end
    last_steps: Array  # int32, its length
    episodes: Array  # int32, how many have ended

    @property
    def last_mean(self) -> Array:
        """Mean last return over the users of a batch with a finished episode; NaN if there are none."""
        ended = self.episodes > 0
        return jnp.where(ended, self.last_total, 0.0).sum() / ended.sum(dtype=jnp.float32)


def episode_statistics(env: Env) -> Env:
    """Record the return and the length of every user's episodes in the state, an `EpisodeState`.

    It may wrap `auto_reset(env)` or be wrapped by it: the figures of the last episode survive the reset.
    """
    replaced = env.spec.auto_reset

    def reset(key: Array, world: World) -> tuple[EpisodeState, Any]:
        state, obs = env.reset(key, world)
        total, last_total = jnp.zeros(2)
        steps, last_steps, episodes = jnp.zeros(3, jnp.int32)
        return EpisodeState(state, total, steps, last_total, last_steps, episodes), obs

    def step(key: Array, state: EpisodeState, action: Array, world: World) -> tuple[EpisodeState, StepOutput]:
        after, out = env.step(key, state.env_state, action, world)
        done = out.terminated | out.truncated
        total, steps = state.total + out.reward, state.steps + 1
        return EpisodeState(
            env_state=after,
            total=jnp.where(done, 0.0, total) if replaced else total,
            steps=jnp.where(done, 0, steps) if replaced else steps,
            last_total=jnp.where(done, total, state.last_total),
            last_steps=jnp.where(done, steps, state.last_steps),
            episodes=state.episodes + done.astype(jnp.int32),
        ), out

    return env._replace(
        reset=reset,
        step=step,
        memory=None,
        expected_feedback=None,
        item_rewards=env.item_rewards_of(lambda state: state.env_state),
        hidden=env.hidden_of(lambda state: state.env_state),
    )


def keep_last(fresh: Any, after: Any) -> Any:
    """State of a user who replaces another; it keeps the figures of the last episode."""
    if not isinstance(after, EpisodeState):
        return fresh
    return fresh.replace(last_total=after.last_total, last_steps=after.last_steps, episodes=after.episodes)
