"""How fast does the device multiply matrices and move memory at best, as far as JAX can measure it?

    python benchmarks/peaks.py [--matrix 8192] [--megabytes 1024] [--calls 7]

Other figures can be given as shares of these. One call makes 10 products of square matrices in a row, in bfloat16 and
in float32 as JAX multiplies it by default, or 10 times adds 1 to an array, which reads and writes each byte once. It
prints one JSON line per figure: median and spread over the calls.
"""

import argparse
import json
import statistics
import time
from importlib.metadata import version

import jax
import jax.numpy as jnp

from jaxrec.sharding.compile import compiled
from jaxrec.types import Array

TIMES = 10  # in one call


def products(x: Array) -> Array:
    """Multiply [N, N] by itself and again, scaled so that nothing overflows."""
    return jax.lax.fori_loop(0, TIMES, lambda _, y: jnp.dot(x, y) / x.shape[0], x)


def additions(x: Array) -> Array:
    """Add 1 to [N]; the barrier keeps the compiler from adding them up."""
    return jax.lax.fori_loop(0, TIMES, lambda _, y: jax.lax.optimization_barrier(y + 1), x)


def rates(call, x: Array, amount: float, calls: int) -> dict[str, float]:
    """`amount` per call in units of 1e9 a second."""
    program, seconds = compiled(call), []
    jax.block_until_ready(program(x))
    for _ in range(calls):
        started = time.perf_counter()
        jax.block_until_ready(program(x))
        seconds.append(time.perf_counter() - started)
    found = [amount / 1e9 / s for s in seconds]
    return {"value": statistics.median(found), "lowest": min(found), "highest": max(found)}


def main() -> None:
    """Measure and print one JSON line per figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--matrix", type=int, default=8192, help="rows of a square matrix")
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--calls", type=int, default=7)
    options = parser.parse_args()
    n, figures = options.matrix, []
    for kind in (jnp.bfloat16, jnp.float32):
        found = rates(products, jnp.ones((n, n), kind), TIMES * 2.0 * n**3, options.calls)
        figures.append({"name": f"products of {n} x {n}, {jnp.dtype(kind).name}", "unit": "GFLOP/s", **found})
    moved = options.megabytes * 10**6
    found = rates(additions, jnp.zeros(moved // 4), TIMES * 2.0 * moved, options.calls)
    figures.append({"name": f"{options.megabytes} MB read and written", "unit": "GB/s", **found})
    for figure in figures:
        about = {"device": jax.devices()[0].device_kind, "calls": options.calls, "versions": {"jax": version("jax")}}
        print(json.dumps({"benchmark": "peaks", **about, "figures": [figure]}), flush=True)


if __name__ == "__main__":
    main()
