"""Train Stable-Baselines3's PPO on interest evolution through Gymnasium's vector interface.

pip install "jaxrec[gymnasium]" torch stable-baselines3
python examples/gymnasium_sb3.py

Stable-Baselines3 has vector environments of its own; `Users` is the bridge, with which all users step in one call.
"""

import argparse
import time
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

import jaxrec.gym  # noqa: F401  registers the ids

MYOPIC = 167.5  # minutes watched when candidates are ranked by the user's present interests


class Users(VecEnv):
    """A Gymnasium vector environment in same-step mode as Stable-Baselines3 wants it."""

    def __init__(self, env: gymnasium.vector.VectorEnv):
        self.env, self.actions = env, None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> np.ndarray:
        seed = None if self._seeds[0] is None else int(self._seeds[0])
        self._reset_seeds()
        return self.env.reset(seed=seed)[0]

    def step_async(self, actions: np.ndarray) -> None:
        self.actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        obs, reward, terminated, truncated, info = self.env.step(self.actions)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for n in np.flatnonzero(terminated | truncated):
            infos[n] = {"terminal_observation": info["final_obs"][n], "TimeLimit.truncated": bool(truncated[n])}
        return obs, reward.astype(np.float32), terminated | truncated, infos

    def close(self) -> None:
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self.env, attr_name, None)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        return [False] * len(list(self._get_indices(indices)))


def make(num_envs: int, scale: float) -> Users:
    """Ten candidates, slates of three: an action is a score a candidate, a reward `scale` a minute."""
    return Users(
        gymnasium.make_vec(
            "jaxrec/InterestEvolution-v0",
            num_envs=num_envs,
            vectorization_mode="vector_entry_point",
            autoreset_mode="SameStep",
            actions="scores",
            num_candidates=10,
            slate_size=3,
            reward={"watch_time": scale},
        )
    )


def play(model: PPO, episodes: int, seed: int) -> np.ndarray:
    """Return of the first episode of every one of `episodes` users."""
    users = make(episodes, scale=1.0)
    users.seed(seed)
    obs, returns, playing = users.reset(), np.zeros(episodes), np.ones(episodes, bool)
    while playing.any():
        obs, reward, done, _ = users.step(model.predict(obs, deterministic=True)[0])
        returns += np.where(playing, reward, 0.0)
        playing &= ~done
    return returns


def main() -> None:
    """Train, then play whole episodes with the unscaled reward."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4_000_000)
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    model = PPO(
        "MlpPolicy",
        make(512, scale=0.01),  # returns of about 200 would swamp the policy's gradients
        n_steps=128,  # about an episode: what a click is worth shows only when the session ends
        n_epochs=2,
        batch_size=8192,
        learning_rate=2e-3,
        gamma=1.0,
        gae_lambda=1.0,
        seed=options.seed,
        device="cpu",
        policy_kwargs={"net_arch": [64], "activation_fn": torch.nn.Tanh, "log_std_init": -0.5},
    )
    start = time.perf_counter()
    model.learn(options.steps)
    print(f"{model.num_timesteps} steps in {time.perf_counter() - start:.0f} s")
    returns = play(model, options.episodes, seed=options.seed + 1)
    error = 1.96 * returns.std() / options.episodes**0.5
    print(f"return {returns.mean():.1f} +- {error:.1f} minutes over {options.episodes} episodes, myopic {MYOPIC}")


if __name__ == "__main__":
    main()
