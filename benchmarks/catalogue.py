"""What does a policy's step cost over a whole catalogue, next to the bare matrix product and top-k?

    python benchmarks/catalogue.py [--items 10000 100000 1000000] [--users 1024] [--rounds 5]

A policy reads histories of 20 items, scores all items, and shows slates of 10: the best ones (`greedy`) or sampled ones
(`sampled`, Plackett-Luce by Gumbel noise). `bare` is the product of queries and vectors of the same width and
`jax.lax.top_k`. All go through the users in blocks, so that no more than 2^24 scores are held (67 MB; all scores of
1,000,000 items and 1,024 users would be 4.1 GB). The three take turns. It prints one JSON line per size: medians and
spread in milliseconds over the rounds, ratios to `bare`, and the bytes of temporary memory that each program asks for.
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

from jaxrec.config.policy import PolicyConfig
from jaxrec.nets.policy import drawn_slate, example_observation, make_policy
from jaxrec.sharding.compile import compiled
from jaxrec.types import Array, EnvSpec, SlateAction, World

EMBEDDING, HISTORY, SLATE, SCORES = 64, 20, 10, 2**24


def blocks(users: int, items: int) -> int:
    """Number of blocks of equal size; users of a block times items are at most SCORES where that is possible."""
    return next(n for n in range(1, users + 1) if users % n == 0 and (users // n * items <= SCORES or n == users))


def cut(tree: Any, number: int) -> Any:
    """[N, ...] leaves as [number, N / number, ...]."""
    return jax.tree.map(lambda x: x.reshape(number, -1, *x.shape[1:]), tree)


def programs(items: int, users: int) -> dict[str, tuple[Callable[..., Array], tuple]]:
    """The compiled steps and their arguments, by name; each gives slates [N, K]."""
    spec = EnvSpec(
        name="catalogue",
        action=SlateAction(size=SLATE),
        num_items=items,
        feedback=("liked",),
        reward_weights=(1.0,),
        feedback_range=((0.0, 1.0),),
        history_length=HISTORY,
    )
    policy, number = make_policy(spec, PolicyConfig()), blocks(users, items)
    key_table, key_init, key_history, key_query, key_draw = jax.random.split(jax.random.key(0), 5)
    world = World(jax.random.normal(key_table, (items, EMBEDDING)))
    params = policy.init(key_init, world)
    table = compiled(policy.items)(params, world)
    obs = jax.tree.map(lambda x: jnp.broadcast_to(x, (users, *x.shape)), example_observation(spec))
    rows = jax.random.randint(key_history, (users, HISTORY), 0, items, jnp.int32)
    obs = cut(obs.replace(history_items=rows), number)
    query = cut(jax.random.normal(key_query, (users, table.vectors.shape[-1])), number)
    keys = jax.random.split(key_draw, number)

    def greedy(params: Any, table: Any, world: World, obs: Any) -> Array:
        def one(some: Any) -> Array:
            return policy.slate(policy.apply(params, table, some, world), table, some, world, SLATE)

        return jax.lax.map(one, obs)

    def sampled(params: Any, table: Any, world: World, obs: Any, keys: Array) -> Array:
        def one(some: Any) -> Array:
            return drawn_slate(some[0], policy.apply(params, table, some[1], world), SLATE)

        return jax.lax.map(one, (keys, obs))

    def bare(query: Array, vectors: Array) -> Array:
        return jax.lax.map(lambda some: jax.lax.top_k(some @ vectors.T, SLATE)[1], query)

    steps = {
        "bare": (bare, (query, table.vectors)),
        "greedy": (greedy, (params, table, world, obs)),
        "sampled": (sampled, (params, table, world, obs, keys)),
    }
    return {name: (compiled(step).lower(*of).compile(), of) for name, (step, of) in steps.items()}


def measure(items: int, users: int, rounds: int) -> dict:
    """Time the steps in turn, after one round that is not counted."""
    made = programs(items, users)
    taken: dict[str, list[float]] = {name: [] for name in made}
    for number in range(rounds + 1):
        for name, (program, of) in made.items():
            started = time.perf_counter()
            jax.block_until_ready(program(*of))
            if number:
                taken[name].append(1e3 * (time.perf_counter() - started))
    median = {name: statistics.median(times) for name, times in taken.items()}
    memory = {name: program.memory_analysis().temp_size_in_bytes for name, (program, _) in made.items()}
    return {
        "benchmark": "catalogue",
        "device": jax.devices()[0].device_kind,
        "items": items,
        "users": users,
        "blocks": blocks(users, items),
        "median_ms": {name: round(ms, 1) for name, ms in median.items()},
        "lowest_ms": {name: round(min(times), 1) for name, times in taken.items()},
        "highest_ms": {name: round(max(times), 1) for name, times in taken.items()},
        "over_bare": {name: round(ms / median["bare"], 2) for name, ms in median.items()},
        "temporary_mb": {name: round(size / 1e6) for name, size in memory.items()},
        "rounds": rounds,
        "versions": {"jax": version("jax")},
    }


def main() -> None:
    """Measure and print one JSON line per size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--users", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for items in options.items:
        print(json.dumps(measure(items, options.users, options.rounds)), flush=True)


if __name__ == "__main__":
    main()
