"""Train rejax's PPO on interest evolution through the gymnax interface.

pip install "jaxrec[gymnax]" rejax
python examples/gymnax_ppo.py

rejax 0.1 was written for gymnax before 1.0, whose `step` returned one flag `done` instead of two; gymnax's own
`LegacyStepAPIWrapper` is the bridge. A loop written for gymnax 1.0 takes what `to_gymnax` returns as it is.
"""

import argparse
import time

import jax
import numpy as np
from gymnax.wrappers.compat import LegacyStepAPIWrapper
from rejax import PPO
from rejax.evaluate import evaluate

import jaxrec

MYOPIC = 167.5  # minutes watched when candidates are ranked by the user's present interests


class OneFlag(LegacyStepAPIWrapper):
    """gymnax's bridge, shared rather than copied: rejax deep-copies its configuration."""

    def __deepcopy__(self, memo: dict) -> "OneFlag":
        return self


def make(scale: float) -> OneFlag:
    """Ten candidates, slates of three: an action is one of the 120 sets of positions, a reward `scale` a minute."""
    env = jaxrec.make_env("interest_evolution", num_candidates=10, slate_size=3, reward={"watch_time": scale})
    return OneFlag(jaxrec.to_gymnax(env, actions="combinations"))


def main() -> None:
    """Train, then play whole episodes with the unscaled reward."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3_000_000)
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    algorithm = PPO.create(
        env=make(scale=0.05),
        agent_kwargs={"hidden_layer_sizes": (64,), "activation": "tanh"},
        total_timesteps=options.steps,
        eval_freq=options.steps,
        skip_initial_evaluation=True,
        num_envs=256,
        num_steps=64,
        num_epochs=4,
        num_minibatches=8,
        learning_rate=1e-3,
        gamma=0.995,
        gae_lambda=0.95,
        ent_coef=0.003,
        max_grad_norm=0.5,
    )
    algorithm = algorithm.replace(eval_callback=lambda algorithm, state, key: ())  # once, below, and for longer
    start = time.perf_counter()
    state, _ = jax.block_until_ready(jax.jit(algorithm.train)(jax.random.key(options.seed)))
    print(f"{int(state.global_step)} steps in {time.perf_counter() - start:.0f} s")

    env = make(scale=1.0)
    key = jax.random.key(options.seed + 1)
    lengths, returns = evaluate(algorithm.make_act(state), key, env, env.default_params, options.episodes, 2000)
    error = 1.96 * np.std(returns) / options.episodes**0.5
    print(f"return {np.mean(returns):.1f} +- {error:.1f} minutes over {options.episodes} episodes, myopic {MYOPIC}")
    print(f"length {np.mean(lengths):.1f} steps")


if __name__ == "__main__":
    main()
