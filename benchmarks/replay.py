"""Does the replay take the same time however much it holds, and how does it compare with flashbax?

    python benchmarks/replay.py [--users 256] [--calls 200] [--flashbax]

Rows are those of configs/dqn_ml_latest_small.yaml: a history of 20 items with one kind of feedback, slates of 5. One
call adds 10 steps of all users and samples 512 transitions with what was seen next, with the ring donated. With
`--flashbax` (0.1.3, `pip install --no-deps flashbax`) its flat buffer holds the same rows, adds as many and samples as
many pairs; both take turns, in blocks of calls. It prints one JSON line per size: median and spread in milliseconds
over the calls. benchmarks/README.md has the results.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.learn import replay
from jaxrec.sharding.compile import compiled
from jaxrec.types import Array, Observation

SIZES = (10_240, 102_400, 1_024_000)  # transitions
SHARDS, STEPS, HISTORY, FEEDBACK, SLATE, BATCH = 8, 10, 20, 1, 5, 512
BLOCK = 20  # calls of one side before the other's turn


def rows(*lead: int) -> replay.Experience:
    """Make rows with leading axes `lead`."""
    flag = jnp.zeros(lead, jnp.bool_)
    return replay.Experience(
        obs=Observation(
            history_items=jnp.ones((*lead, HISTORY), jnp.int32),
            history_feedback=jnp.ones((*lead, HISTORY, FEEDBACK)),
        ),
        action=jnp.ones((*lead, SLATE), jnp.int32),
        item_reward=jnp.ones((*lead, SLATE)),
        terminated=flag,
        truncated=flag,
    )


def step(ring: replay.Replay, new: replay.Experience, key: Array) -> tuple[replay.Replay, replay.Sample]:
    """Add rows, then sample from the new state."""
    ring = replay.add(ring, new)
    return ring, replay.sample(jax.random.split(key, SHARDS), ring, BATCH // SHARDS, 1, 0.9)


Call = Callable[[Array], None]  # one add and one sample, with a key


def repeated(program: Callable[..., tuple[Any, Any]], state: Any, new: replay.Experience) -> Call:
    """A call that gives `program` what the last one left of `state`, and waits for its result."""
    held = [state]

    def call(key: Array) -> None:
        held[0], batch = program(held[0], new, key)
        jax.block_until_ready((held[0], batch))

    return call


def ours(capacity: int, users: int) -> tuple[Call, int]:
    """Add and sample on a full ring of jaxrec; also gives its bytes."""
    ring = replay.empty(rows(SHARDS, users // SHARDS), capacity)
    size, new = sum(x.nbytes for x in jax.tree.leaves(ring)), rows(SHARDS, STEPS, users // SHARDS)
    full = ring.replace(added=jnp.asarray(capacity, jnp.int32))
    return repeated(compiled(step, donate=0), full, new), size


def flashbax(capacity: int, users: int) -> Call:
    """The same with the flat buffer of flashbax, which holds `capacity` steps of each user."""
    import flashbax as fbx

    buffer = fbx.make_flat_buffer(capacity * users, BATCH, BATCH, add_sequences=True, add_batch_size=users)
    one, new = jax.tree.map(lambda x: x[0], rows(1)), rows(users, STEPS)
    state = buffer.init(one)

    def step(state: Any, new: replay.Experience, key: Array) -> tuple[Any, Any]:
        state = buffer.add(state, new)
        return state, buffer.sample(state, key)

    return repeated(compiled(step, donate=0), state.replace(is_full=jnp.asarray(True)), new)


def spread(milliseconds: list[float]) -> tuple[float, float, float]:
    """Median, 10th and 90th percentile."""
    found, tenth = sorted(milliseconds), len(milliseconds) // 10
    return round(statistics.median(found), 3), round(found[tenth], 3), round(found[-1 - tenth], 3)


def measure(transitions: int, users: int, calls: int, peer: bool) -> dict:
    """Time `calls` calls on full rings, of each side in turn."""
    capacity = transitions // users // STEPS * STEPS
    own, held_bytes = ours(capacity, users)
    sides = {"jaxrec": own, **({"flashbax": flashbax(capacity, users)} if peer else {})}
    for call in sides.values():
        call(jax.random.key(0))  # compiles
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for n in range(0, calls, BLOCK):
        for name, call in sides.items():
            for key in jax.random.split(jax.random.key(n), min(BLOCK, calls - n)):
                started = time.perf_counter()
                call(key)
                taken[name].append(1e3 * (time.perf_counter() - started))
    median, low, high = spread(taken["jaxrec"])
    row = {
        "benchmark": "replay",
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "transitions": capacity * users,
        "megabytes": round(held_bytes / 1e6, 1),
        "added": users * STEPS,
        "sampled": BATCH,
        "ms": median,
        "ms_10": low,
        "ms_90": high,
        "calls": calls,
        "versions": {name: version(name) for name in ("jax", *(["flashbax"] if peer else []))},
    }
    if peer:
        other, low, high = spread(taken["flashbax"])
        row |= {"flashbax_ms": other, "flashbax_ms_10": low, "flashbax_ms_90": high}
        row["over_flashbax"] = round(other / median, 2)
    return row


def main() -> None:
    """Measure and print one JSON line per size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=256)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--flashbax", action="store_true", help="measure flashbax as well")
    options = parser.parse_args()
    for transitions in SIZES:
        print(json.dumps(measure(transitions, options.users, options.calls, options.flashbax)), flush=True)


if __name__ == "__main__":
    main()
