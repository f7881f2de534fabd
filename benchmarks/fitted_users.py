"""How many user steps per second do users fitted to a log make, alone and while a policy learns from them?

    python benchmarks/fitted_users.py [configs/demo.yaml] [--users 256 4096 16384] [--steps 32] [--calls 7]

The users are fitted to the recipe's log first. One line is printed for each number of users alone, as by env_steps.py:
slates are random, and users who left are replaced. The last line is about training with the recipe's learner, as by
ppo_updates.py. Its `shares` come from three programs, timed in turn: the users of an update alone, the same with the
policy's best slates, and the whole update. The policy's share is the second without the first, and that of the
gradient steps is the third without the second. benchmarks/README.md has the results.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import env_steps
import jax
import ppo_updates

from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.envs import auto_reset
from jaxrec.learn import make_learner
from jaxrec.learn.program import compile_learner
from jaxrec.learn.rollout import Decision, rollout
from jaxrec.nets.policy import make_policy, to_items
from jaxrec.ops.slates import top_slate
from jaxrec.progress import quiet
from jaxrec.runs.users.registry import user_kind
from jaxrec.sharding.compile import compiled, repeated
from jaxrec.storage.run import RunFolder
from jaxrec.types import Array, Env, Observation, World

RECIPE = Path(__file__).parents[1] / "configs" / "demo.yaml"


def fitted(config: Config) -> Env:
    """Fit the recipe's users to its log, in a folder that is removed again."""
    kind = user_kind(config.env.name)
    with tempfile.TemporaryDirectory() as folder, quiet():
        return kind.make(config.env, kind.prepare(config, RunFolder(folder), None).world)


def acting(env: Env, config: Config, *, learned: bool) -> Callable[[Any, World], tuple[Any, Array]]:
    """Make a function that steps the users of an update, with the policy's slates or with slates that cost nothing."""
    policy, size = make_policy(env.spec, config.learner.policy), env.spec.slate_size

    def update(state: Any, world: World) -> tuple[Any, Array]:
        items = policy.items(state.params, world)

        def act(key: Array, obs: Observation) -> Decision:
            if learned:
                slate = top_slate(policy.apply(state.params, items, obs, world).logits, size)
            else:
                lead = obs.history_items.shape[:-1]
                slate = env_steps.dealt(key[0], lead[0] * lead[1], world.num_recommendable, size).reshape(*lead, size)
            return Decision(to_items(slate, obs, world))

        keep = config.learner.name == "all_items"
        users, transitions = rollout(
            env, act, lambda extras, *_: extras, state.users, world, config.learner.horizon, keep_states=keep
        )
        return state.replace(users=users), env_steps.checksum(transitions)

    return update


def shares(config: Config, env: Env, calls: int) -> dict[str, float]:
    """Share of an update's time, of medians: users, the policy's slates, gradient steps."""
    env = auto_reset(env)
    learner = make_learner(config.learner.name, env, config.learner)
    program = compile_learner(learner, env.world, config.train, config.learner.shards)
    state = program.init(jax.random.key(0), program.world)
    updates = {
        "users": acting(env, config, learned=False),
        "policy": acting(env, config, learned=True),
        "gradients": learner.update,
    }
    programs = {name: compiled(repeated(one, config.train.updates_per_call)) for name, one in updates.items()}
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for call in range(calls + 1):
        for name, run in programs.items():
            started = time.perf_counter()
            jax.block_until_ready(run(state, program.world))
            if call:  # the first one compiles
                seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    before, whole, parts = 0.0, medians["gradients"], {}
    for name, median in medians.items():
        parts[name], before = round((median - before) / whole, 3), median
    return parts


def main() -> None:
    """Fit, measure and print one JSON line per number of users and one for training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", type=Path, default=RECIPE)
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument("--users", type=int, nargs="*", default=[256, 4_096, 16_384])
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--calls", type=int, default=7)
    options = parser.parse_args()
    config = load_config(Config, options.recipe, options.overrides)
    env, recipe = fitted(config), {"benchmark": "fitted_users", "recipe": options.recipe.name}
    for users in options.users:
        alone = env_steps.measure(env, {}, users, options.steps, options.calls, "dealt")
        print(json.dumps(alone | recipe), flush=True)
    learning = {"learner": config.learner.name} | ppo_updates.measure(config, env, options.calls)
    print(json.dumps(recipe | learning | {"shares": shares(config, env, options.calls)}), flush=True)


if __name__ == "__main__":
    main()
