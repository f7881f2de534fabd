import chex
import jax
import jax.numpy as jnp

from jaxrec.learn import on_policy
from jaxrec.learn.minibatches import shuffle


def test_minibatches_are_a_permutation_of_every_shard() -> None:
    batch = jnp.arange(24.0).reshape(2, 12)
    keys = jax.random.split(jax.random.key(0), 2)
    mixed = shuffle(keys, on_policy.Batch(None, None, batch, batch, batch, batch), 3).value  # type: ignore[arg-type]
    chex.assert_shape(mixed, (3, 2, 4))
    by_shard = jnp.sort(jnp.moveaxis(mixed, 1, 0).reshape(2, 12), axis=1)
    chex.assert_trees_all_equal(by_shard, batch)
    assert not jnp.array_equal(jnp.moveaxis(mixed, 1, 0).reshape(2, 12), batch)
