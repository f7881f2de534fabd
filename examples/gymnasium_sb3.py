"""Train Stable-Baselines3's PPO on interest evolution through Gymnasium's vector interface.

pip install "jaxrec[gymnasium]" torch stable-baselines3
python examples/gymnasium_sb3.py

Stable-Baselines3 has its own vector environments. `Users` is the bridge to them and steps all users in one call. An
action is a query: one weight per column of the item table, which here is a topic.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

import jaxrec.gym  # noqa: F401  registers the ids


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


def make(num_envs: int, actions: str = "query", scale: float = 1.0) -> Users:
    """Ten candidates, slates of three, a reward of `scale` per minute."""
    return Users(
        gymnasium.make_vec(
            "jaxrec/InterestEvolution-v0",
            num_envs=num_envs,
            vectorization_mode="vector_entry_point",
            autoreset_mode="SameStep",
            actions=actions,
            num_candidates=10,
            slate_size=3,
            reward={"watch_time": scale},
        )
    )


def play(users: Users, act: Callable[[np.ndarray], np.ndarray], seed: int) -> np.ndarray:
    """Play one episode with each user; -> their returns."""
    users.seed(seed)
    obs, returns, playing = users.reset(), np.zeros(users.num_envs), np.ones(users.num_envs, bool)
    while playing.any():
        obs, reward, done, _ = users.step(act(obs))
        returns += np.where(playing, reward, 0.0)
        playing &= ~done
    return returns


def main() -> None:
    """Train, then play whole episodes with the unscaled reward and compare with two simple policies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=650_000)
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    model = PPO(
        "MlpPolicy",
        make(256, scale=0.01),  # returns of about 200 would swamp the policy's gradients
        n_steps=128,  # about an episode: a click's value shows only when the session ends
        n_epochs=4,
        batch_size=16_384,
        learning_rate=1e-3,
        gamma=1.0,
        gae_lambda=0.95,
        seed=options.seed,
        device="cpu",
        policy_kwargs={"net_arch": [64], "activation_fn": torch.nn.Tanh, "log_std_init": -2.0},
    )
    start = time.perf_counter()
    model.learn(options.steps)
    print(f"{model.num_timesteps} steps in {time.perf_counter() - start:.0f} s")

    queries, scores = make(options.episodes), make(options.episodes, "scores")
    interests = queries.env.layout["user"]
    scores.action_space.seed(options.seed)
    policies = {
        "PPO": (queries, lambda obs: model.predict(obs, deterministic=True)[0]),
        "myopic": (queries, lambda obs: obs[:, interests]),  # candidates ranked by the user's present interests
        "random": (scores, lambda obs: np.stack([scores.action_space.sample() for _ in obs])),
    }
    for name, (users, act) in policies.items():
        returns = play(users, act, options.seed + 1)
        error = 1.96 * returns.std() / options.episodes**0.5
        print(f"{name:6} {returns.mean():.1f} +- {error:.1f} minutes watched over {options.episodes} episodes")


if __name__ == "__main__":
    main()
