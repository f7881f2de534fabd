"""How many user steps per second does a compiled PPO update make, learning included?

    python benchmarks/ppo_updates.py [--users 512] [--horizon 128] [--calls 7]

Interest evolution with the network and minibatches of configs/ppo_interest_evolution.yaml. Every call runs two updates
(rollout, advantages, two epochs of eight minibatches), and the clock stops when its results are ready. It prints one
JSON line: device, versions, compile seconds, median and spread over the calls. benchmarks/README.md has the results.
"""

import argparse
import json
import statistics
import time
from importlib.metadata import version
from pathlib import Path

import jax

from jaxrec import make_env
from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.envs import auto_reset
from jaxrec.learn import make_learner
from jaxrec.learn.program import compile_learner
from jaxrec.types import Env

RECIPE = Path(__file__).parents[1] / "configs" / "ppo_interest_evolution.yaml"
UPDATES_PER_CALL = 2


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=512)
    parser.add_argument("--horizon", type=int, default=128)
    parser.add_argument("--calls", type=int, default=7)
    options = parser.parse_args()
    overrides = [
        f"learner.num_users={options.users}",
        f"learner.horizon={options.horizon}",
        f"train.updates_per_call={UPDATES_PER_CALL}",
    ]
    config = load_config(Config, RECIPE, overrides)
    print(json.dumps({"benchmark": "ppo_updates"} | measure(config, make_env("interest_evolution"), options.calls)))


def measure(config: Config, env: Env, calls: int) -> dict:
    """Time `calls` calls of `train.updates_per_call` updates, after one that compiles."""
    learner = make_learner(config.learner.name, auto_reset(env), config.learner)
    program = compile_learner(learner, env.world, config.train, config.learner.shards)
    state = program.init(jax.random.key(0), program.world)
    started = time.perf_counter()
    state, metrics = program.update_many(state, program.world)
    jax.block_until_ready(metrics)
    first = time.perf_counter() - started
    seconds, processor = [], []
    for _ in range(calls):
        started, used = time.perf_counter(), time.process_time()
        state, metrics = program.update_many(state, program.world)
        jax.block_until_ready(metrics)
        seconds.append(time.perf_counter() - started)
        processor.append(time.process_time() - used)
    steps = config.learner.num_users * config.learner.horizon * config.train.updates_per_call
    rates = sorted(steps / s for s in seconds)
    return {
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "users": config.learner.num_users,
        "horizon": config.learner.horizon,
        "user_steps_per_s": round(statistics.median(rates)),
        "lowest": round(rates[0]),
        "highest": round(rates[-1]),
        "user_steps_per_processor_s": round(steps / statistics.median(processor)),
        "compile_s": round(first - statistics.median(seconds), 1),
        "calls": calls,
        "versions": {name: version(name) for name in ("jax", "flax", "optax")},
    }


if __name__ == "__main__":
    main()
