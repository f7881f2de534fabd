"""Does the replay take the same time however much it holds?

    python benchmarks/replay.py [--users 256] [--calls 200]

Rows are those of configs/dqn_ml_latest_small.yaml: a history of 20 items with one kind of feedback, slates of 5. One
call adds 10 steps of all users and samples 512 transitions, with the ring donated. It prints one JSON line per size:
median and spread in milliseconds over the calls. benchmarks/README.md has the results.
"""

import argparse
import json
import statistics
import time
from importlib.metadata import version

import jax
import jax.numpy as jnp

from jaxrec.learn import replay
from jaxrec.sharding.compile import compiled
from jaxrec.types import Array, Observation

SIZES = (10_240, 1_024_000)  # transitions
SHARDS, STEPS, HISTORY, FEEDBACK, SLATE, BATCH = 8, 10, 20, 1, 5, 512


def rows(*lead: int) -> replay.Experience:
    """Make rows with leading axes `lead`."""
    flag = jnp.zeros(lead, jnp.bool_)
    return replay.Experience(
        obs=Observation(
            history_items=jnp.ones((*lead, HISTORY), jnp.int32),
            history_feedback=jnp.ones((*lead, HISTORY, FEEDBACK)),
        ),
        slate=jnp.ones((*lead, SLATE), jnp.int32),
        item_reward=jnp.ones((*lead, SLATE)),
        terminated=flag,
        truncated=flag,
    )


def step(ring: replay.Replay, new: replay.Experience, key: Array) -> tuple[replay.Replay, replay.Sample]:
    """Add rows, then sample from the new state."""
    ring = replay.add(ring, new)
    return ring, replay.sample(jax.random.split(key, SHARDS), ring, BATCH // SHARDS, 1, 0.9)


def measure(transitions: int, users: int, calls: int) -> dict:
    """Time `calls` calls on a full ring."""
    capacity = transitions // users // STEPS * STEPS
    ring = replay.empty(rows(SHARDS, users // SHARDS), capacity)
    ring = ring.replace(added=jnp.asarray(capacity, jnp.int32))
    new = rows(SHARDS, STEPS, users // SHARDS)
    program = compiled(step, donate=0)
    ring, batch = program(ring, new, jax.random.key(0))
    jax.block_until_ready(batch)
    milliseconds = []
    for n in range(calls):
        key = jax.random.key(n)
        started = time.perf_counter()
        ring, batch = program(ring, new, key)
        jax.block_until_ready((ring, batch))
        milliseconds.append(1e3 * (time.perf_counter() - started))
    milliseconds.sort()
    return {
        "benchmark": "replay",
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "transitions": capacity * users,
        "megabytes": round(sum(x.nbytes for x in jax.tree.leaves(ring)) / 1e6, 1),
        "added": users * STEPS,
        "sampled": BATCH,
        "ms": round(statistics.median(milliseconds), 3),
        "ms_10": round(milliseconds[calls // 10], 3),
        "ms_90": round(milliseconds[-1 - calls // 10], 3),
        "calls": calls,
        "versions": {name: version(name) for name in ("jax",)},
    }


def main() -> None:
    """Measure and print one JSON line per size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=256)
    parser.add_argument("--calls", type=int, default=200)
    options = parser.parse_args()
    for transitions in SIZES:
        print(json.dumps(measure(transitions, options.users, options.calls)))


if __name__ == "__main__":
    main()
