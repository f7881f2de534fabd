"""JAX's random numbers on the CPU, with rounds that are written out.

On the CPU, JAX writes Threefry as a loop of five steps. XLA compiles it to kernels that read and write memory between
the steps. Written out, as JAX does for other devices, draws take a fifth of the time to compile and about half of the
time to run. The bits are the same.
"""

import functools
from typing import Any

import numpy as np

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))  # of every other four rounds
PARITY = 0x1BD11BDA


@functools.cache
def write_out_rounds() -> None:
    """Let all programs that are compiled from now on have the rounds written out, on the CPU.

    Where a version of JAX does not offer what this needs, its own rounds stay: only speed is lost.
    """
    try:
        from jax.extend.random import threefry2x32_p
        from jax.interpreters import mlir
    except ImportError:
        return
    mlir.register_lowering(threefry2x32_p, mlir.lower_fun(threefry, multiple_results=True), platform="cpu")


def threefry(key1: Any, key2: Any, count1: Any, count2: Any) -> tuple[Any, Any]:
    """Threefry-2x32 of 20 rounds (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, 2011).

    uint32 arrays that broadcast -> two uint32 arrays.
    """
    keys = key1, key2, key1 ^ key2 ^ np.uint32(PARITY)
    a, b = count1 + key1, count2 + key2
    for n in range(5):
        for turn in ROTATIONS[n % 2]:
            a = a + b
            b = ((b << np.uint32(turn)) | (b >> np.uint32(32 - turn))) ^ a
        a = a + keys[(n + 1) % 3]
        b = b + keys[(n + 2) % 3] + np.uint32(n + 1)
    return a, b
