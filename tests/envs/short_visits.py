"""Users of known length, for adapters: what every step shows can be worked out by hand."""

import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.types import PADDING, Array, Env, EnvSpec, Observation, SlateAction, StepOutput, World

LEAVES_AT, CUT_AT, ITEMS, HISTORY = 2, 3, 6, 2


class Visit(struct.PyTreeNode):
    name: Array  # [] in [0, 1), tells users apart
    steps: Array  # []
    history: Array  # [H] int32


def observe(state: Visit) -> Observation:
    return Observation(
        user=jnp.stack([state.name, state.steps]),
        history_items=state.history,
        history_feedback=jnp.where(state.history >= 0, 0.5, 0.0)[:, None],
    )


def short_visits(slate_size: int = 2) -> Env:
    """Users above 1/2 leave at step 2, the others are cut at step 3; reward: first item shown; feedback: item ids.

    The catalogue has six items of which item 1 may not be shown; the history holds the two items shown last.
    """

    def reset(key: Array, params: World) -> tuple[Visit, Observation]:
        state = Visit(jax.random.uniform(key), jnp.zeros(()), jnp.full(HISTORY, PADDING, jnp.int32))
        return state, observe(state)

    def step(key: Array, state: Visit, action: Array, params: World) -> tuple[Visit, StepOutput]:
        seen = jnp.concatenate([state.history, action])[-HISTORY:]
        state = Visit(state.name, state.steps + 1.0, seen)
        obs, left = observe(state), (state.name > 0.5) & (state.steps >= LEAVES_AT)
        shown = action.astype(jnp.float32)
        cut = ~left & (state.steps >= CUT_AT)
        return state, StepOutput(obs, shown[0], left, cut, shown[:, None], obs)

    spec = EnvSpec(
        name="short_visits",
        action=SlateAction(size=slate_size),
        num_items=ITEMS,
        feedback=("id",),
        feedback_range=((0.0, 5.0),),
        user_size=2,
        user_range=(0.0, 3.0),
        history_length=HISTORY,
    )
    table = jnp.arange(2.0 * ITEMS).reshape(ITEMS, 2)
    return Env(reset, step, World(item_table=table, recommendable=jnp.array([0, 2, 3, 4, 5], jnp.int32)), spec)
