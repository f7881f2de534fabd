"""How fast is PPO here, and how much does it earn, next to rejax's PPO on the same problems?

    pip install "jaxrec[gymnax]" rejax
    python benchmarks/ppo_peers.py [--problems cartpole interest_evolution] [--rounds 10] [--seeds 5]

Problems: gymnax' CartPole, which jaxrec reads through `from_gymnax`, and interest evolution, which rejax reads through
`to_gymnax` (one number for each set of three of the ten candidates). Both sides have the same numbers of users, steps,
epochs and minibatches, the same rate, discount and clipping, and two hidden layers of 64. rejax' network reads all
candidates as one vector; that of jaxrec scores each candidate. A round is a number of updates in one compiled call.
The sides take turns. After each round, the policy as it draws its actions plays 512 episodes, outside of the clock. The
rate of learning stays as it is to the end, so returns on CartPole rise and fall between rounds on both sides.

It prints one JSON line per problem: user steps per second (medians and spread over all rounds but the first of the
first seed, which compiles), and for each seed the return after the last round, the mean return over the second half of
the rounds, and the seconds of training until the return first reached a mark. benchmarks/README.md has results.
"""

import argparse
import functools
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NamedTuple

import gymnax
import jax
import jax.numpy as jnp
from rejax import PPO

import jaxrec
from jaxrec.config.on_policy import PpoConfig
from jaxrec.config.policy import PolicyConfig
from jaxrec.nets.policy import drawn_slate, make_policy, to_items
from jaxrec.types import Array, Env

USERS, STEPS, EPOCHS, MINIBATCHES, HIDDEN, EPISODES = 256, 64, 4, 8, (64, 64), 512


class Problem(NamedTuple):
    """A problem in both interfaces, and what both sides do with it."""

    ours: Env
    theirs: Any  # of gymnax 1.0
    rate: float
    gamma: float
    updates: int  # in a round
    scale: float  # return of an episode, of one of the environment
    mark: float  # a good return


class FiveTuple:
    """An environment of gymnax 1.0 whose `step` gives one `done`, as rejax reads it."""

    def __init__(self, env: Any):
        self._env = env

    def __getattr__(self, name: str) -> Any:
        if name == "_env":  # a copy that is being made has none yet
            raise AttributeError(name)
        return getattr(self._env, name)

    def step(self, key: Array, state: Any, action: Array, params: Any) -> tuple:
        """The same, without the difference between an end and a cut."""
        obs, state, reward, terminated, truncated, info = self._env.step(key, state, action, params)
        return obs, state, reward, terminated | truncated, info


def problems() -> dict[str, Problem]:
    """What is trained, by name."""
    pole = gymnax.make("CartPole-v1")[0]
    users = jaxrec.make_env("interest_evolution", num_candidates=10, slate_size=3, reward={"watch_time": 0.01})
    sets = jaxrec.to_gymnax(users, actions="combinations")
    return {
        "cartpole": Problem(jaxrec.from_gymnax(pole), pole, 1e-3, 0.99, 5, 1.0, 475.0),
        "interest_evolution": Problem(users, sets, 1e-3, 1.0, 5, 100.0, 180.0),
    }


class Side(NamedTuple):
    """One library on one problem."""

    start: Callable[[Array], Any]  # key -> state
    train: Callable[[Any], Any]  # a round of updates
    play: Callable[[Any, Array], Array]  # state, key -> returns [EPISODES]


def ours(problem: Problem) -> Side:
    """PPO of jaxrec."""
    config = PpoConfig(
        policy=PolicyConfig(width=64, hidden=HIDDEN, value="separate"),
        num_users=USERS,
        num_shards=1,
        horizon=STEPS,
        epochs=EPOCHS,
        minibatches=MINIBATCHES,
        learning_rate=problem.rate,
        gamma=problem.gamma,
        gae_lambda=0.95,
        entropy_coef=0.01,
    )
    env = problem.ours
    learner, policy = jaxrec.make_learner("ppo", jaxrec.auto_reset(env), config), make_policy(env.spec, config.policy)

    def act(state: Any, key: Array, obs: Any) -> Array:
        output = policy.apply(state.params, policy.items(state.params, env.world), obs, env.world)
        return to_items(drawn_slate(key, output, env.spec.slate_size), obs, env.world)

    def step(key: Array, user: Any, action: Array) -> tuple:
        user, out = env.step(key, user, action, env.world)
        return out.obs, user, out.reward, out.terminated | out.truncated

    def reset(key: Array) -> tuple:
        user, obs = env.reset(key, env.world)
        return obs, user

    return Side(
        jax.jit(lambda key: learner.init(key, env.world)),
        _round(lambda state: learner.update(state, env.world)[0], problem.updates),
        jax.jit(functools.partial(play, reset, step, act)),
    )


def theirs(problem: Problem) -> Side:
    """PPO of rejax."""
    env, params = FiveTuple(problem.theirs), problem.theirs.default_params
    algorithm = PPO.create(
        env=env,
        env_params=params,
        agent_kwargs={"hidden_layer_sizes": HIDDEN, "activation": "tanh"},
        num_envs=USERS,
        num_steps=STEPS,
        num_epochs=EPOCHS,
        num_minibatches=MINIBATCHES,
        learning_rate=problem.rate,
        gamma=problem.gamma,
        gae_lambda=0.95,
        clip_eps=0.2,
        ent_coef=0.01,
        max_grad_norm=0.5,
        skip_initial_evaluation=True,
    )

    def step(key: Array, user: Any, action: Array) -> tuple:
        obs, user, reward, done, _ = env.step(key, user, action, params)
        return obs, user, reward, done

    return Side(
        jax.jit(algorithm.init_state),
        _round(algorithm.train_iteration, problem.updates),
        jax.jit(
            functools.partial(
                play,
                lambda key: env.reset(key, params),
                step,
                lambda state, key, obs: algorithm.make_act(state)(obs, key),
            )
        ),
    )


def _round(update: Callable[[Any], Any], updates: int) -> Callable[[Any], Any]:
    return jax.jit(lambda state: jax.lax.fori_loop(0, updates, lambda _, state: update(state), state), donate_argnums=0)


def play(reset: Callable, step: Callable, act: Callable, state: Any, key: Array) -> Array:
    """Returns of EPISODES episodes, to their ends."""
    key_reset, key_steps = jax.random.split(key)
    obs, users = jax.vmap(reset)(jax.random.split(key_reset, EPISODES))

    def one(carry: tuple) -> tuple:
        key, obs, users, total, playing = carry
        key, key_act, key_step = jax.random.split(key, 3)
        action = jax.vmap(functools.partial(act, state))(jax.random.split(key_act, EPISODES), obs)
        obs, users, reward, done = jax.vmap(step)(jax.random.split(key_step, EPISODES), users, action)
        return key, obs, users, total + jnp.where(playing, reward.reshape(-1), 0.0), playing & ~done

    start = (key_steps, obs, users, jnp.zeros(EPISODES), jnp.ones(EPISODES, bool))
    return jax.lax.while_loop(lambda carry: carry[-1].any(), one, start)[3]


def measure(problem: Problem, rounds: int, seeds: int) -> dict[str, Any]:
    """Train both sides in turn, with each seed."""
    sides = {"jaxrec": ours(problem), "rejax": theirs(problem)}
    seconds: dict[str, list[list[float]]] = {name: [] for name in sides}  # of each seed, of each round
    returns: dict[str, list[list[float]]] = {name: [] for name in sides}
    for name, side in sides.items():  # compiles
        started = time.perf_counter()
        jax.block_until_ready(side.play(side.train(side.start(jax.random.key(seeds))), jax.random.key(0)))
        print(f"{name}: compiled and played in {time.perf_counter() - started:.1f} s", file=sys.stderr)
    for seed in range(seeds):
        key_start, key_play = jax.random.split(jax.random.key(seed))
        states = {name: side.start(key_start) for name, side in sides.items()}
        for name in sides:
            seconds[name].append([])
            returns[name].append([])
        for number in range(rounds):
            for name, side in sides.items():
                started = time.perf_counter()
                states[name] = jax.block_until_ready(side.train(states[name]))
                seconds[name][-1].append(time.perf_counter() - started)
                played = side.play(states[name], jax.random.fold_in(key_play, number))
                returns[name][-1].append(problem.scale * float(played.mean()))
    steps = USERS * STEPS * problem.updates
    medians = {name: statistics.median(itertools.chain.from_iterable(seconds[name])) for name in sides}
    return {
        "user_steps": steps * rounds,
        **{name: _figures(seconds[name], returns[name], steps, problem.mark) for name in sides},
        "speed_ratio": round(medians["rejax"] / medians["jaxrec"], 2),
    }


def _figures(seconds: list[list[float]], returns: list[list[float]], steps: int, mark: float) -> dict[str, Any]:
    rates = [steps / one for one in itertools.chain.from_iterable(seconds)]
    reached = [next((n for n, mean in enumerate(some) if mean >= mark), None) for some in returns]
    return {
        "steps_per_second": round(statistics.median(rates)),
        "lowest_highest": [round(min(rates)), round(max(rates))],
        "last_returns": [round(some[-1], 1) for some in returns],
        "second_half": [round(statistics.mean(some[len(some) // 2 :]), 1) for some in returns],
        "mark": mark,
        "seconds_to_mark": [
            None if n is None else round(sum(some[: n + 1]), 2) for n, some in zip(reached, seconds, strict=True)
        ],
    }


def main() -> None:
    """Measure and print one JSON line per problem."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", default=["cartpole", "interest_evolution"])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    known = problems()
    for name in options.problems:
        about = {"benchmark": "ppo_peers", "problem": name, "device": jax.devices()[0].device_kind}
        about |= {"load_average": round(os.getloadavg()[0], 1), "rounds": options.rounds, "seeds": options.seeds}
        versions = {package: version(package) for package in ("jax", "gymnax", "rejax")}
        print(
            json.dumps(about | measure(known[name], options.rounds, options.seeds) | {"versions": versions}), flush=True
        )


if __name__ == "__main__":
    main()
