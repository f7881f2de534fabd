"""One small fitting loop: minibatches, AdamW, a warm-up and a cosine, many steps in one compiled call."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrec.checks import InputError
from jaxrec.ops.descend import descend
from jaxrec.progress import track
from jaxrec.sharding.compile import compiled
from jaxrec.types import Array, Params

STEPS_PER_CALL = 16
Loss = Callable[[Params, Any, Any, Array], Array]  # (params, data, batch, key) -> []
Carry = tuple[Params, optax.OptState]


class Schedule(NamedTuple):
    """Length and rate of a fit; the rate rises over the first tenth of the steps and falls as a cosine to 0."""

    epochs: int
    learning_rate: float
    weight_decay: float = 0.0
    clip: float = 1.0  # global norm of the gradient

    def rates(self, steps: int) -> np.ndarray:
        """[steps] float32 learning rates."""
        warm = max(1, steps // 10)
        time = np.arange(steps) + 1.0
        cosine = 0.5 * (1 + np.cos(np.pi * np.clip((time - warm) / max(1, steps - warm), 0, 1)))
        return (self.learning_rate * np.minimum(time / warm, cosine)).astype(np.float32)


def fit(
    loss: Loss,
    params: Params,
    data: Any,
    batches: Callable[[int], Any],
    schedule: Schedule,
    key: Array,
    label: str = "fit",
) -> tuple[Params, np.ndarray]:
    """Minimise `loss(params, data, batch, key)`; returns parameters and the mean loss of each epoch.

    `batches(epoch)` gives arrays [N, ...] of N batches, the same N in every epoch; `data` is the same at every
    step. Learning rates are an argument of the compiled call, not a constant, so that fits which differ in
    length share one program.
    """
    optimiser = optax.chain(
        optax.clip_by_global_norm(schedule.clip),
        optax.scale_by_adam(),
        optax.add_decayed_weights(schedule.weight_decay, lambda tree: jax.tree.map(lambda x: x.ndim > 1, tree)),
    )
    run = compiled(partial(_several, loss, optimiser), donate=0)
    carry = (jax.tree.map(jnp.array, params), optimiser.init(params))  # a copy: the caller keeps `params`
    losses = np.zeros(schedule.epochs)
    with track(label, schedule.epochs) as advance:
        for epoch in range(schedule.epochs):
            arrays = batches(epoch)
            count = len(jax.tree.leaves(arrays)[0])
            rates = schedule.rates(schedule.epochs * count)[epoch * count :][:count]
            keys = jax.random.split(jax.random.fold_in(key, epoch), count)
            size = min(count, STEPS_PER_CALL)
            values = []
            for start in range(0, count, size):
                rows = np.arange(start, start + size)
                real = rows < count
                rows = np.where(real, rows, count - 1)  # the last call repeats a batch, which changes nothing
                part = jax.tree.map(lambda x, rows=rows: x[rows], arrays)
                carry, value = run(carry, data, part, rates[rows], keys[rows], real)
                values.append(np.asarray(value)[real])
            losses[epoch] = np.concatenate(values).mean()
            _check_loss(losses[epoch], epoch, label)
            advance(1, f"loss {losses[epoch]:.4f}")
    return carry[0], losses


def _check_loss(loss: float, epoch: int, label: str) -> None:
    if not np.isfinite(loss):
        raise InputError(f"{label}: epoch {epoch + 1}: the loss is {loss}, the fit diverged; lower its learning rate.")


def _several(
    loss: Loss,
    optimiser: optax.GradientTransformation,
    carry: Carry,
    data: Any,
    batch: Any,
    rates: Array,
    keys: Array,
    real: Array,
) -> tuple[Carry, Array]:
    """One step per batch, leaves [N, ...], at rates [N] with keys [N] -> losses [N].

    Batches that are not `real` [N] only fill the call: they move neither parameters nor the optimiser's moments.
    """

    def step(carry: Carry, inputs: tuple[Any, Array, Array, Array]) -> tuple[Carry, Array]:
        (params, opt_state), (batch, rate, key, counts) = carry, inputs
        value, gradient = jax.value_and_grad(loss)(params, data, batch, key)
        after = descend(optimiser, gradient, params, opt_state, rate)
        return jax.tree.map(lambda new, old: jnp.where(counts, new, old), after, carry), value

    return jax.lax.scan(step, carry, (batch, rates, keys, real))
