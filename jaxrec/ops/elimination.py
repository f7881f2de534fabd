"""Many small linear systems at once, without a call of LAPACK."""

import jax.numpy as jnp
from jax import lax

from jaxrec.types import Array


def solve_positive(a: Array, b: Array) -> Array:
    """Solve a x = b for symmetric positive definite `a`; [B, d, d], [B, d, n] -> [B, d, n].

    Gauss-Jordan elimination, which needs no pivots for such matrices. XLA's CPU runtime hangs when two of jaxlib's
    batched Cholesky factorisations run at once on few cores, so this uses none.
    """
    size = a.shape[-1]
    system = jnp.moveaxis(jnp.concatenate([a, b], axis=-1), 0, -1)  # [d, d + n, B], so that the batch is vectorised

    def eliminate(k: Array, system: Array) -> Array:
        row = lax.dynamic_index_in_dim(system, k, 0)  # [1, d + n, B]
        row = row / lax.dynamic_index_in_dim(row, k, 1)
        column = lax.dynamic_index_in_dim(system, k, 1)  # [d, 1, B]
        own = (jnp.arange(size) == k)[:, None, None]
        return jnp.where(own, row, system - column * row)

    return jnp.moveaxis(lax.fori_loop(0, size, eliminate, system)[:, size:], -1, 0)
