"""Many users with the interface of Gymnasium's vector environments; imports gymnasium."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from jaxrec.checks import InputError, check_name, check_range
from jaxrec.envs.adapters.actions import Actions
from jaxrec.envs.adapters.gymnasium_env import (
    REPEATS,
    Core,
    Stream,
    action_space,
    checked,
    make_core,
    observation_space,
    seed_words,
    to_numpy,
)
from jaxrec.envs.adapters.observations import View
from jaxrec.foreign import quoted
from jaxrec.sharding.compile import compiled
from jaxrec.types import Array, Env, StepOutput, World

Stepped = tuple[Stream, Any, Any, StepOutput]  # stream, shown observation, shown final observation, output


class UsersVectorEnv(VectorEnv):
    """N users; a step is one compiled call. User n of `reset(seed=s)` equals `UserEnv` after `reset(seed=s + n)`.

    Infos are those of `SyncVectorEnv`: `feedback` [N, K, F] with the mask `_feedback`. If users are replaced in the
    same step, there are `final_obs` (an object array) and `final_info` too, each with its mask.
    """

    def __init__(self, env: Env, num_envs: int, actions: Actions, view: View, repeats: str, autoreset_mode: Any):
        check_name("repeats", repeats, REPEATS)
        check_range("num_envs", num_envs, 1)
        self._mode = _mode(autoreset_mode)
        core = make_core(env, actions, view)
        self._reset = compiled(jax.vmap(core.reset, in_axes=(0, None)))
        self._step = compiled(jax.vmap(STEPS[self._mode](core), in_axes=(0, 0, 0, None)), donate=0)
        self._select = compiled(_select_rows)
        self._world, self._actions, self._repeats = env.world, actions, repeats
        self._stream: Stream | None = None
        self._shown: Any = None
        self._ended = np.zeros(num_envs, bool)
        self.num_envs, self.metadata = num_envs, {"render_modes": [], "autoreset_mode": self._mode}
        self.feedback_names, self.layout = env.spec.feedback, dict(view.layout)
        self.single_observation_space, self.single_action_space = observation_space(view), action_space(actions)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin with new users; `options["reset_mask"]` [N] bool replaces some of them and keeps the others."""
        mask = _reset_mask(options, self.num_envs, self._stream is None)
        if seed is not None or self._stream is None:
            super().reset(seed=seed if isinstance(seed, int) else None)
            keys = self._seeded(seed)
        else:
            keys = self._stream.key
        stream, obs = self._reset(keys, self._world)
        if mask is not None:
            stream, obs = self._select(jnp.asarray(mask), (stream, obs), (self._stream, self._shown))
        self._stream, self._shown = stream, obs
        self._ended = self._ended & ~mask if mask is not None else np.zeros(self.num_envs, bool)
        return to_numpy(obs), {}

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Show every user a slate; in next-step mode, actions for users that this step replaces are ignored."""
        if self._stream is None:
            raise InputError("step: there are no users yet; call reset first.")
        if self._mode is AutoresetMode.DISABLED and self._ended.any():
            raise InputError("step: some users have left; reset them with options={'reset_mask': ...}.")
        array = checked(actions, self.action_space, self._actions, self._repeats)
        before = self._ended
        self._stream, self._shown, final, out = self._step(self._stream, jnp.asarray(array), before, self._world)
        terminated, truncated = np.array(out.terminated), np.array(out.truncated)
        self._ended = terminated | truncated
        info = self._info(before, final, out)
        return to_numpy(self._shown), np.array(out.reward, np.float64), terminated, truncated, info

    def _info(self, before: np.ndarray, final: Any, out: StepOutput) -> dict[str, Any]:
        feedback, info = np.array(out.feedback), {}
        replaced = {AutoresetMode.NEXT_STEP: before, AutoresetMode.SAME_STEP: self._ended}.get(self._mode)
        stepped = np.ones(self.num_envs, bool) if replaced is None else ~replaced
        if self._mode is AutoresetMode.SAME_STEP and self._ended.any():
            rows, last = to_numpy(final), np.full(self.num_envs, None, dtype=object)
            for n in np.flatnonzero(self._ended):
                last[n] = jax.tree.map(lambda x, n=n: x[n].copy(), rows)
            info |= {"final_obs": last, "_final_obs": self._ended.copy(), "_final_info": self._ended.copy()}
            info["final_info"] = _masked(feedback, self._ended)
        return info | (_masked(feedback, stepped) if stepped.any() else {})

    def _seeded(self, seed: int | Sequence[int | None] | None) -> Array:
        """Keys [N] of the users' streams."""
        if seed is None or isinstance(seed, int | np.integer):
            seeds = [None if seed is None else int(seed) + n for n in range(self.num_envs)]
        else:
            seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise InputError(f"reset: expected {self.num_envs} seeds, one per user, got {len(seeds)}.")
        words = np.stack([seed_words(seeding.np_random(one)[0]) for one in seeds])
        return jax.random.wrap_key_data(jnp.asarray(words))


def _masked(feedback: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    return {"feedback": np.where(mask[:, None, None], feedback, 0.0), "_feedback": mask.copy()}


def _same_step(core: Core) -> Callable[[Stream, Array, Array, World], Stepped]:
    """Build a step that replaces a user at once when the episode ends."""

    def step(stream: Stream, action: Array, ended: Array, world: World) -> Stepped:
        after, shown, out = core.step(stream, action, world)
        fresh, first = core.reset(after.key, world)
        done = out.terminated | out.truncated
        return *_choose(done, (fresh, first), (after, shown)), shown, out

    return step


def _next_step(core: Core) -> Callable[[Stream, Array, Array, World], Stepped]:
    """Build a step that replaces a user whose episode ended in the step before, and ignores the action."""

    def step(stream: Stream, action: Array, ended: Array, world: World) -> Stepped:
        after, shown, out = core.step(stream, action, world)
        fresh, first = core.reset(stream.key, world)
        out = out.replace(
            reward=jnp.where(ended, 0.0, out.reward),
            terminated=out.terminated & ~ended,
            truncated=out.truncated & ~ended,
        )
        return *_choose(ended, (fresh, first), (after, shown)), shown, out

    return step


def _no_reset(core: Core) -> Callable[[Stream, Array, Array, World], Stepped]:
    def step(stream: Stream, action: Array, ended: Array, world: World) -> Stepped:
        after, shown, out = core.step(stream, action, world)
        return after, shown, shown, out

    return step


STEPS = {
    AutoresetMode.NEXT_STEP: _next_step,
    AutoresetMode.SAME_STEP: _same_step,
    AutoresetMode.DISABLED: _no_reset,
}


def _choose(pick: Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(pick, a, b), new, old)


def _select_rows(mask: Array, new: Any, old: Any) -> Any:
    return jax.vmap(_choose)(mask, new, old)


def _mode(mode: Any) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        known = ", ".join(m.value for m in AutoresetMode)
        raise InputError(f"autoreset_mode: no {quoted(mode)} (known: {known}).") from None


def _reset_mask(options: dict[str, Any] | None, num_envs: int, first: bool) -> np.ndarray | None:
    if not options or options.get("reset_mask") is None:
        return None
    mask = np.asarray(options["reset_mask"])
    if mask.shape != (num_envs,) or mask.dtype != np.bool_:
        raise InputError(f"reset: expected a reset_mask of {num_envs} truth values, got {mask.dtype} {mask.shape}.")
    if first:
        raise InputError("reset: there are no users yet that a reset_mask could keep; reset all of them first.")
    return mask
