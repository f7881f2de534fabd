import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.ops.dense import Dense


@pytest.mark.parametrize("lead", [(), (5,), (2, 3), (2, 3, 4), (0, 3)])
@pytest.mark.parametrize("use_bias", [True, False])
def test_it_is_the_dense_layer_of_flax(lead: tuple[int, ...], use_bias: bool) -> None:
    ours, theirs = Dense(7, use_bias=use_bias), nn.Dense(7, use_bias=use_bias)
    x = jax.random.normal(jax.random.key(0), (*lead, 6))
    params = ours.init(jax.random.key(1), x)
    assert jax.tree.structure(params) == jax.tree.structure(theirs.init(jax.random.key(1), x))
    np.testing.assert_allclose(ours.apply(params, x), theirs.apply(params, x), rtol=1e-5, atol=1e-6)
    slopes = [jax.grad(lambda p, layer=layer: jnp.square(layer.apply(p, x)).sum())(params) for layer in (ours, theirs)]
    for one, other in zip(*map(jax.tree.leaves, slopes), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_the_gradient_transposes_no_rows() -> None:
    """What the layer is for: in the compiled program, no copy of the rows [8, 32, 16] is laid out anew."""
    layer, x = Dense(24), jnp.ones((8, 32, 16))
    params = layer.init(jax.random.key(0), x)
    slope = jax.jit(jax.grad(lambda p: jnp.square(layer.apply(p, x)).sum()))
    assert " transpose(" not in slope.lower(params).compile().as_text()
