"""An environment with the interface of gymnax 1.0; imports gymnax."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment, spaces

from jaxrec.checks import InputError, check_range
from jaxrec.envs.adapters.actions import Actions
from jaxrec.envs.adapters.observations import Bounds, View
from jaxrec.types import Array, Env, Observation

# Only the order of scores and the direction of a query matter. Training loops clip noise of standard deviation 1 to the
# bounds, and clipped scores would tie, so the bounds are wide.
BOUND = 4.0


@struct.dataclass
class GymnaxParams(environment.EnvParams):
    """The `params` of gymnax."""

    max_steps_in_episode: int = 10_000
    world: Any = None  # World


@struct.dataclass
class GymnaxState(environment.EnvState):
    """One user; `time` counts steps."""

    time: Any  # [] int32
    env_state: Any
    obs: Observation  # what the next action responds to
    terminated: Array  # [] bool, by the last step
    truncated: Array  # [] bool, by the last step


class FieldsSpace(spaces.Dict):
    """A dict space for dicts; gymnax's own reads attributes."""

    def contains(self, x: Any) -> Any:
        """Tell whether every field is within its space."""
        return jnp.stack([jnp.asarray(space.contains(x[name])) for name, space in self.spaces.items()]).all()


class SlateSpace(spaces.Box):
    """K positions below `num_positions`; repeats are replaced."""

    def __init__(self, num_positions: int, slate_size: int):
        super().__init__(0, num_positions - 1, (slate_size,), jnp.int32)

    def sample(self, key: Array) -> Array:
        """Draw positions with equal chance; gymnax's boxes would never give the last one."""
        return jax.random.randint(key, self.shape, 0, self.high + 1)


class GymnaxEnv(environment.Environment):
    """Users with the interface of gymnax. `step` replaces a user whose episode ends.

    `info` has `final_observation`, the `feedback` [K, F] of the shown items, the `slate` [K], and what gymnax adds.
    """

    def __init__(self, env: Env, actions: Actions, view: View, max_steps: int):
        if env.spec.auto_reset:
            raise InputError("to_gymnax: gymnax replaces users itself; pass an environment without auto_reset.")
        check_range("to_gymnax: max_steps", max_steps, 1)
        self._env, self._actions, self._view, self._max_steps = env, actions, view, max_steps

    @property
    def default_params(self) -> GymnaxParams:
        """Default parameters, with the environment's own world."""
        return GymnaxParams(max_steps_in_episode=self._max_steps, world=self._env.world)

    @property
    def name(self) -> str:
        """Name of the users."""
        return self._env.spec.name

    @property
    def num_actions(self) -> int:
        """Number of actions; for scores and queries their length, which is what networks need."""
        return self._actions.numbered or self._actions.weights or self._actions.num_positions

    @property
    def layout(self) -> dict[str, slice]:
        """Where each part of the observation vector is."""
        return dict(self._view.layout)

    def reset_env(self, key: Array, params: GymnaxParams) -> tuple[Any, GymnaxState]:
        """Begin with a new user."""
        env_state, obs = self._env.reset(key, params.world)
        no = jnp.zeros(2, bool)
        state = GymnaxState(jnp.zeros((), jnp.int32), env_state, obs, no[0], no[1])
        return self._view.show(obs, params.world), state

    def step_env(
        self, key: Array, state: GymnaxState, action: Any, params: GymnaxParams
    ) -> tuple[Any, GymnaxState, Array, Array, dict[Any, Any]]:
        """Show one slate, without a reset."""
        slate = self._actions.to_slate(jnp.asarray(action), state.obs, params.world)
        env_state, out = self._env.step(key, state.env_state, slate, params.world)
        time = state.time + 1
        after = GymnaxState(time, env_state, out.obs, out.terminated, out.truncated)
        alive = 1.0 - out.terminated.astype(jnp.float32)
        info = {"discount": alive, "feedback": out.feedback, "slate": slate}
        return self._view.show(out.obs, params.world), after, out.reward, out.terminated, info

    def is_truncated(self, state: GymnaxState, params: GymnaxParams) -> Array:
        """Tell whether the last step cut the session; false if the user left."""
        cut = state.truncated | (state.time >= params.max_steps_in_episode)
        return cut & ~state.terminated

    def is_terminated(self, state: GymnaxState, params: GymnaxParams) -> Array:
        """Tell whether the user left at the last step."""
        return state.terminated

    def observe(self, key: Array, state: GymnaxState, action: Any, params: GymnaxParams) -> Any:
        """Give the observation of a state."""
        return self._view.show(state.obs, params.world)

    def get_obs(self, state: GymnaxState, params: GymnaxParams | None = None, key: Array | None = None) -> Any:
        """Give the observation of a state."""
        return self._view.show(state.obs, (params or self.default_params).world)

    def action_space(self, params: GymnaxParams | None = None) -> spaces.Discrete | spaces.Box:
        """Give the space of actions: Discrete, K positions, or a box of scores or weights."""
        if self._actions.numbered:
            return spaces.Discrete(self._actions.numbered)
        if self._actions.kind == "slate":
            return SlateSpace(self._actions.num_positions, self._actions.slate_size)
        low, high = self._actions.bounds or (-BOUND, BOUND)
        low, high = max(low, -BOUND), min(high, BOUND)
        return spaces.Box(low, high, (self._actions.weights,), jnp.float32)

    def observation_space(self, params: GymnaxParams | None = None) -> spaces.Box | spaces.Dict:
        """Give the space of observations, with bounds from the environment's spec and its item table."""
        boxes = {name: _box(bounds) for name, bounds in self._view.bounds.items()}
        if self._view.kind == "dict":
            return FieldsSpace(boxes)
        low, high = (jnp.concatenate([getattr(box, end) for box in boxes.values()]) for end in ("low", "high"))
        return spaces.Box(low, high, low.shape, jnp.float32)


def _box(bounds: Bounds) -> spaces.Box:
    low, high = jnp.asarray(bounds.low), jnp.asarray(bounds.high)
    return spaces.Box(low, high, low.shape, low.dtype)
