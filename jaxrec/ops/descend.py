"""One step of gradient descent."""

from typing import Any

import jax
import optax

from jaxrec.types import Array, Params


def descend(
    optimiser: optax.GradientTransformation, grad: Params, params: Params, opt_state: Any, rate: Array | None = None
) -> tuple[Params, Any]:
    """Take one step -> (params, opt_state).

    With `rate` [] the optimiser gives a direction, and the step goes against it. The rate is an argument, so a new one
    needs no new compile. Without `rate` the optimiser uses its own, and gives the whole step.
    """
    with jax.numpy_dtype_promotion("standard"):  # optax takes a Python float to the power of an int32 step
        updates, opt_state = optimiser.update(grad, opt_state, params)
    if rate is not None:
        updates = jax.tree.map(lambda u: -rate * u, updates)
    return optax.apply_updates(params, updates), opt_state
