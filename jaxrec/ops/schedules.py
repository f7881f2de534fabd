"""Numbers that change during training."""

import jax.numpy as jnp

from jaxrec.types import Array


def linear(step: Array, start: Array | float, end: float, steps: int) -> Array:
    """Go from `start` at step 0 to `end` at step `steps` and stay there; [] int32 -> []."""
    done = jnp.minimum(step.astype(jnp.float32) / steps, 1.0)
    return start * (1.0 - done) + end * done
