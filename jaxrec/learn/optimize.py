"""The step that every learner takes: clipped gradient, Adam, a rate that lies in the state."""

from typing import Any

import jax
import optax

from jaxrec.config.learners import LearnerConfig
from jaxrec.ops.schedules import linear
from jaxrec.types import Array, Params


def make_optimizer(config: LearnerConfig) -> optax.GradientTransformation:
    """Clip by the global norm, then Adam; `descend` brings the rate."""
    return optax.chain(optax.clip_by_global_norm(config.max_grad_norm), optax.scale_by_adam(eps=1e-5))


def annealed_rate(config: LearnerConfig, learning_rate: Array, step: Array) -> Array:
    """The rate of update `step`: constant, or falling to zero over `config.anneal_updates`."""
    return linear(step, learning_rate, 0.0, config.anneal_updates) if config.anneal_updates else learning_rate


def descend(
    optimizer: optax.GradientTransformation, grad: Params, params: Params, opt_state: Any, rate: Array
) -> tuple[Params, Any]:
    """One step -> (params, opt_state)."""
    with jax.numpy_dtype_promotion("standard"):  # optax raises a Python float to an int32 step
        updates, opt_state = optimizer.update(grad, opt_state, params)
    return optax.apply_updates(params, jax.tree.map(lambda u: -rate * u, updates)), opt_state
