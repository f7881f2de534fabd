"""Users whose optimal value is known by hand: what a learner cannot solve here it solves nowhere."""

import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.types import Array, Env, EnvSpec, Observation, StepOutput, World


class ProbeState(struct.PyTreeNode):
    user: Array  # [2]
    step: Array  # []
    credit: Array  # [] what an earlier choice is worth later


def _spec(name: str, num_items: int) -> EnvSpec:
    return EnvSpec(
        name=name, slate_size=1, num_items=num_items, feedback=("click",), num_candidates=num_items, user_size=2
    )


def _output(state: ProbeState, num_items: int, reward: Array, terminated: Array, truncated: Array) -> StepOutput:
    obs = observe(state, num_items)
    feedback = reward.reshape(1, 1)
    return StepOutput(obs, reward, terminated, truncated, feedback, obs)


def observe(state: ProbeState, num_items: int) -> Observation:
    return Observation(user=state.user, candidates=jnp.arange(num_items, dtype=jnp.int32))


def taste_probe(num_items: int = 2) -> Env:
    """One step; the user's two numbers say which of two items pays 1. Best value 1, uniform policy 1/2."""

    def reset(key: Array, params: World) -> tuple[ProbeState, Observation]:
        first = jax.random.bernoulli(key).astype(jnp.float32)
        state = ProbeState(jnp.stack([first, 1.0 - first]), jnp.asarray(0), jnp.asarray(0.0))
        return state, observe(state, num_items)

    def step(key: Array, state: ProbeState, action: Array, params: World) -> tuple[ProbeState, StepOutput]:
        reward = state.user[action[0]]
        return state, _output(state, num_items, reward, jnp.asarray(True), jnp.asarray(False))

    return Env(reset, step, World(item_table=jnp.eye(num_items)), _spec("taste_probe", num_items))


def delay_probe() -> Env:
    """Two steps: item 1 now costs 0.2 and pays 1 in the second step; item 0 pays 0.1 now. Best return 0.8."""

    def reset(key: Array, params: World) -> tuple[ProbeState, Observation]:
        state = ProbeState(jnp.array([1.0, 0.0]), jnp.asarray(0), jnp.asarray(0.0))
        return state, observe(state, 2)

    def step(key: Array, state: ProbeState, action: Array, params: World) -> tuple[ProbeState, StepOutput]:
        first = state.step == 0
        invest = action[0] == 1
        now = jnp.where(invest, -0.2, 0.1)
        reward = jnp.where(first, now, state.credit)
        credit = jnp.where(first & invest, 1.0, 0.0)
        after = ProbeState(jnp.array([0.0, 1.0]), state.step + 1, credit)
        return after, _output(after, 2, reward, after.step >= 2, jnp.asarray(False))

    return Env(reset, step, World(item_table=jnp.eye(2)), _spec("delay_probe", 2))


def endless_probe(length: int = 4) -> Env:
    """Reward 1 a step, cut (not ended) after `length` steps: every state is worth 1 / (1 - gamma)."""

    def reset(key: Array, params: World) -> tuple[ProbeState, Observation]:
        state = ProbeState(jnp.array([1.0, 1.0]), jnp.asarray(0), jnp.asarray(0.0))
        return state, observe(state, 2)

    def step(key: Array, state: ProbeState, action: Array, params: World) -> tuple[ProbeState, StepOutput]:
        after = state.replace(step=state.step + 1)
        return after, _output(after, 2, jnp.asarray(1.0), jnp.asarray(False), after.step >= length)

    return Env(reset, step, World(item_table=jnp.eye(2)), _spec("endless_probe", 2))
