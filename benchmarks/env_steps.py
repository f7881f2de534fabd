"""How many user steps per second does a simulator make, and how much memory does a user take?

    python benchmarks/env_steps.py [--env interest_evolution ...] [--users 1024 16384 ...] [--steps 64] [--calls 7]
        [--slates top_k|dealt] [--logged SIMULATOR_FOLDER] [--full-matrix FILE.npz]

The last two are optional: `jaxrec fit-simulator CONFIG` makes the folder, and `jaxrec.data.matrix.save_matrix` or a run
of `configs/ppo_full_matrix.yaml` makes the file.

Nothing learns here. One call is a `lax.scan` over `--steps` steps of all users. The slate is the top K of new uniforms
over the items on offer, as a policy ranks. With `--slates dealt` it is K positions dealt from a shuffle, so that the
time is the simulator's own even with a large catalogue. Users who left are replaced in the step (`auto_reset`). A
checksum over every field of every observation and output is carried along, so that the compiler cannot remove anything.
It prints one JSON line per environment and number of users: device, versions, compile seconds, bytes of state per user,
median and spread over the calls. benchmarks/README.md has the results.
"""

import argparse
import json
import statistics
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec import list_envs, make_env
from jaxrec.envs import auto_reset
from jaxrec.ops.draws import distinct
from jaxrec.ops.slates import top_slate
from jaxrec.sharding.compile import compiled
from jaxrec.types import Array, Env, World

NEEDS_FILES = ("logged", "full_matrix")


def checksum(tree: Any) -> Array:
    """Reduce a tree to one number that depends on every element."""
    return sum((jnp.asarray(x, jnp.float32).sum() for x in jax.tree.leaves(tree)), jnp.zeros(()))


def ranked(key: Array, users: int, offered: int, size: int) -> Array:
    """Rank uniforms [users, offered] and take the top `size`: [users, size]."""
    return top_slate(jax.random.uniform(key, (offered, users)).T, size)


def dealt(key: Array, users: int, offered: int, size: int) -> Array:
    """Draw `size` different positions without ranking any: [users, size]."""
    return jax.vmap(distinct, in_axes=(1, None))(jax.random.uniform(key, (size, users)), offered)


SLATES = {"top_k": ranked, "dealt": dealt}


def make_call(env: Env, users: int, steps: int, slates: str):
    """Make a function (key, states, world) -> (key, states, checksum) that does `users` x `steps` user steps."""
    offered = env.spec.num_candidates or env.spec.num_items

    def one(carry: tuple, _: None) -> tuple[tuple, None]:
        key, state, total, world = carry
        key, key_slate, key_step = jax.random.split(key, 3)
        slate = SLATES[slates](key_slate, users, offered, env.spec.slate_size)
        state, out = jax.vmap(env.step, in_axes=(0, 0, 0, None))(jax.random.split(key_step, users), state, slate, world)
        return (key, state, total + checksum(out), world), None

    def call(key: Array, state: Any, world: World) -> tuple[Array, Any, Array]:
        (key, state, total, _), _ = jax.lax.scan(one, (key, state, jnp.zeros(()), world), length=steps)
        return key, state, total

    return call


def measure(env: Env, options: dict, users: int, steps: int, calls: int, slates: str) -> dict:
    """Time `calls` calls after one that compiles."""
    env, name = auto_reset(env), env.spec.name
    key, key_reset = jax.random.split(jax.random.key(0))
    state, _ = jax.jit(jax.vmap(env.reset, in_axes=(0, None)))(jax.random.split(key_reset, users), env.world)
    state_bytes = sum(x.nbytes for x in jax.tree.leaves(state))
    started = time.perf_counter()
    program = compiled(make_call(env, users, steps, slates)).lower(key, state, env.world).compile()
    compile_s = time.perf_counter() - started
    key, state, total = jax.block_until_ready(program(key, state, env.world))
    seconds, processor = [], []
    for _ in range(calls):
        started, used = time.perf_counter(), time.process_time()
        key, state, total = jax.block_until_ready(program(key, state, env.world))
        seconds.append(time.perf_counter() - started)
        processor.append(time.process_time() - used)
    rates = sorted(users * steps / s for s in seconds)
    if not bool(jnp.isfinite(total)):
        raise SystemExit(f"{name}: the checksum is {total}")
    return {
        "benchmark": "env_steps",
        "env": name,
        "options": {**options, **({"path": Path(options["path"]).name} if "path" in options else {})},
        "offered": env.spec.num_candidates or env.spec.num_items,
        "device": jax.devices()[0].device_kind,
        "slates": slates,
        "users": users,
        "steps": steps,
        "user_steps_per_s": round(statistics.median(rates)),
        "lowest": round(rates[0]),
        "highest": round(rates[-1]),
        "user_steps_per_processor_s": round(users * steps / statistics.median(processor)),
        "state_bytes_per_user": round(state_bytes / users, 1),
        "compile_s": round(compile_s, 2),
        "calls": calls,
        "versions": {name: version(name) for name in ("jax", "flax")},
    }


def main() -> None:
    """Measure and print one JSON line per environment and number of users."""
    families = [name for name in list_envs() if name not in NEEDS_FILES]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", nargs="*", default=families, choices=families)
    parser.add_argument("--slates", choices=SLATES, default="top_k")
    parser.add_argument("--logged", metavar="FOLDER", help="measure the fitted users of this folder")
    parser.add_argument("--full-matrix", metavar="FILE", help="measure the users of this matrix")
    parser.add_argument("--users", type=int, nargs="+", default=[256, 4_096, 65_536])
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--calls", type=int, default=7)
    options = parser.parse_args()
    files = {"logged": options.logged, "full_matrix": options.full_matrix}
    measured = [(name, {}) for name in options.env]
    measured += [(name, {"path": path}) for name, path in files.items() if path]
    for name, settings in measured:
        for users in options.users:
            env = make_env(name, **settings)
            print(json.dumps(measure(env, settings, users, options.steps, options.calls, options.slates)), flush=True)


if __name__ == "__main__":
    main()
