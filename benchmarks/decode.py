"""How many users per second does beam search serve, with the prefix tree of the catalogue and without?

    python benchmarks/decode.py [--items 12000] [--batches 1 64] [--calls 7]
    python benchmarks/decode.py --run RUN --slates 100000 [--batches 256] [--beams 10]

Generators of the sizes of configs/generative_beauty.yaml with random parameters, histories of 20 rows. One call makes
the slates of a batch of users. Without the tree, the same search is over all codes, and the line has the share of what
it writes that is an item. With the tree, invalid, double and seen items are counted over all slates. One JSON line per
setting: median and spread over the calls.

With --run, a generator of `jaxrec pretrain` makes slates for that many random histories of its own items, half of them
from beams and half by sampling without replacement, and the line has what was wrong with them.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.generate.beam import Step, free_search
from jaxrec.generate.codes import add_last_code, vocabulary
from jaxrec.generate.recommender import Catalogue, samples, slates, user_steps
from jaxrec.generate.saved import load_generator
from jaxrec.generate.trie import make_trie, size_in_bytes
from jaxrec.nets.generator import Shape, init_generator
from jaxrec.sharding.compile import compiled
from jaxrec.types import PADDING, Array, Observation

BEAMS, LEVELS, CODES, ROWS, VECTORS = (10, 50, 512), 3, 256, 20, 386


def timed(call: Callable[[int], Any], calls: int) -> tuple[list[float], Any]:
    """Seconds of `calls` calls after one that compiles, sorted, and what the last one gave."""
    made = jax.block_until_ready(call(0))
    seconds = []
    for n in range(calls):
        started = time.perf_counter()
        made = jax.block_until_ready(call(n + 1))
        seconds.append(time.perf_counter() - started)
    return sorted(seconds), made


def main() -> None:
    """Measure and print one JSON line per setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=12_000)
    parser.add_argument("--codes", type=int, default=CODES)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--beams", type=int, nargs="+", default=list(BEAMS))
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--calls", type=int, default=7)
    parser.add_argument("--run", default="", help="a run of jaxrec pretrain with a generator")
    parser.add_argument("--slates", type=int, default=100_000)
    options = parser.parse_args()
    if options.run:
        line = count_wrong(options.run, options.slates, options.batches[-1], options.beams[0])
        print(json.dumps(line))
        return
    rng = np.random.default_rng(0)
    codes = add_last_code(rng.integers(0, options.codes, (options.items, LEVELS)))
    shape = Shape(vocabulary(codes, options.codes), width=options.width, layers=2, heads=4, hidden=2 * options.width)
    table = jnp.asarray(rng.normal(size=(options.items, VECTORS)), jnp.float32)
    catalogue = Catalogue(jnp.asarray(codes), table, make_trie(codes, shape.sizes))
    params = compiled(init_generator, static=(0, 2, 3, 4))(shape, jax.random.key(0), 1, VECTORS, 0)
    known = {tuple(row) for row in codes.tolist()}
    for batch in options.batches:
        for beams in options.beams:
            for tree in (True, False):
                line = measure(shape, params, catalogue, batch, beams, tree, options.calls, known)
                print(json.dumps({"items": options.items, "codes": options.codes, **line}), flush=True)


def measure(
    shape: Shape, params: Any, catalogue: Catalogue, batch: int, beams: int, tree: bool, calls: int, known: set
) -> dict[str, Any]:
    """Time one setting."""
    count = catalogue.codes.shape[0]
    found: list[np.ndarray] = []

    def observed(n: int) -> Observation:
        items = np.random.default_rng(n).integers(0, count, (batch, ROWS)).astype(np.int32)
        return Observation(history_items=jnp.asarray(items), history_feedback=jnp.ones((batch, ROWS, 1)))

    inputs = jax.block_until_ready([observed(n) for n in range(calls + 1)])  # before the clock runs

    def constrained(params: Any, catalogue: Catalogue, obs: Observation) -> Any:
        return slates(shape, params, catalogue, obs, ROWS, beams).items

    def free(params: Any, catalogue: Catalogue, obs: Observation) -> Any:
        def search(step: Step, _: Array) -> Array:
            return free_search(step, shape.sizes, beams)[0]

        return user_steps(shape, params, catalogue, obs, ROWS, search)

    program = compiled(constrained if tree else free)
    wrong = {"invalid": 0, "double": 0, "seen": 0}

    def call(n: int) -> Any:
        made = program(params, catalogue, inputs[n])
        found.append(made)
        return made

    seconds, last = timed(call, calls)
    line = {
        "benchmark": "decode",
        "device": jax.devices()[0].device_kind,
        "users": batch,
        "beams": beams,
        "tree": tree,
        "users_per_s": round(batch / statistics.median(seconds), 2),
        "ms": round(1e3 * statistics.median(seconds), 2),
        "ms_lowest": round(1e3 * seconds[0], 2),
        "ms_highest": round(1e3 * seconds[-1], 2),
        "calls": calls,
        "tree_megabytes": round(size_in_bytes(catalogue.trie) / 1e6, 2),
        "versions": {"jax": version("jax")},
    }
    if not tree:
        rows = np.asarray(last).reshape(-1, shape.levels).tolist()
        return line | {"written_that_are_items": round(sum(tuple(row) in known for row in rows) / len(rows), 4)}
    for n, made in enumerate(found):
        items, seen = np.asarray(made), np.asarray(inputs[n].history_items)
        wrong["invalid"] += int((items < 0).sum())
        wrong["double"] += int((np.diff(np.sort(items, axis=1), axis=1) == 0).sum())
        wrong["seen"] += sum(int(np.isin(own, past).sum()) for own, past in zip(items, seen, strict=True))
    return line | {"slates": batch * len(found), **wrong}


def count_wrong(run: str, slates_wanted: int, batch: int, size: int) -> dict[str, Any]:
    """Count wrong items in slates of `size` items of a saved generator, for histories of 0 to ROWS different items."""
    saved = load_generator(Path(run) / "policy")
    offered, kinds = np.zeros(len(saved.ids), bool), len(saved.spec.feedback)
    offered[saved.recommendable] = True

    def best(params: Any, catalogue: Catalogue, obs: Observation, key: Array) -> Array:
        return slates(saved.shape, params, catalogue, obs, saved.rows, size, repeats=saved.spec.repeats).items

    def drawn(params: Any, catalogue: Catalogue, obs: Observation, key: Array) -> Array:
        keys = jax.random.split(key, batch)
        return samples(saved.shape, params, catalogue, obs, saved.rows, keys, size, repeats=saved.spec.repeats).items

    made, wrong = 0, {"invalid": 0, "double": 0, "seen": 0}
    programs, rng = [compiled(best), compiled(drawn)], np.random.default_rng(0)
    started = time.perf_counter()
    while made < slates_wanted:
        order = rng.random((batch, len(saved.ids))).argsort(axis=1)[:, :ROWS].astype(np.int32)
        history = np.where(np.arange(ROWS)[None] >= rng.integers(0, ROWS + 1, (batch, 1)), order, PADDING)
        feedback = (history >= 0)[..., None] * rng.integers(0, 2, (batch, ROWS, kinds)).astype(np.float32)
        usual = saved.usual_context
        obs = Observation(
            context=None if usual is None else jnp.broadcast_to(jnp.asarray(usual), (batch, len(usual))),
            history_items=jnp.asarray(history),
            history_feedback=jnp.asarray(feedback, jnp.float32),
        )
        program = programs[(made // batch) % 2]
        items = np.asarray(program(saved.params, saved.catalogue, obs, jax.random.key(made)))
        wrong["invalid"] += int(((items < 0) | ~offered[np.maximum(items, 0)]).sum())
        wrong["double"] += int((np.diff(np.sort(items, axis=1), axis=1) == 0).sum())
        wrong["seen"] += int((items[:, :, None] == history[:, None]).any(-1).sum())
        made += batch
    seconds = round(time.perf_counter() - started, 1)
    return {"benchmark": "wrong slates", "items": len(saved.ids), "slates": made, "size": size, "s": seconds, **wrong}


if __name__ == "__main__":
    main()
