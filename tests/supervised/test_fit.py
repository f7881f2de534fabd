import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrec.supervised import fit as fitting
from jaxrec.supervised.fit import Schedule, fit

SCHEDULE = Schedule(epochs=3, learning_rate=0.1, weight_decay=0.01)
TARGETS = np.random.default_rng(0).normal(size=(3, 20, 2)).astype(np.float32)  # 20 batches in each of 3 epochs


def loss(params, data, batch, key):
    return jnp.square(params["w"] - batch).sum()


def fitted() -> np.ndarray:
    params = {"w": jnp.zeros(2)}
    return np.asarray(fit(loss, params, None, lambda epoch: TARGETS[epoch], SCHEDULE, jax.random.key(0))[0]["w"])


@pytest.mark.parametrize("size", [1, 3, 7, 16, 64])
def test_the_batches_that_fill_the_last_call_change_nothing(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 batches fill calls of 1, and leave 1, 6, 12 and 0 places in calls of 3, 7, 16 and 20."""
    monkeypatch.setattr(fitting, "STEPS_PER_CALL", size)
    np.testing.assert_allclose(fitted(), by_optax(), rtol=1e-5)


def by_optax() -> np.ndarray:
    """The same fit as a plain loop over optax, one batch after the other."""
    optimiser = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.scale_by_adam(),
        optax.add_decayed_weights(0.01, lambda tree: jax.tree.map(lambda x: x.ndim > 1, tree)),
    )
    params = {"w": jnp.zeros(2)}
    state, rates = optimiser.init(params), SCHEDULE.rates(60)
    for rate, batch in zip(rates, TARGETS.reshape(60, 2), strict=True):
        gradient = jax.grad(loss)(params, None, batch, None)
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimiser.update(gradient, state, params)
        params = jax.tree.map(lambda p, u, rate=rate: p - rate * u, params, updates)
    return np.asarray(params["w"])
