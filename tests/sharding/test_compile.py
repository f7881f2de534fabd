import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from jaxrec.sharding.compile import compiled
from jaxrec.sharding.mesh import DATA, make_mesh


def test_a_compiled_function_is_traced_once_for_one_shape() -> None:
    program = compiled(chex.assert_max_traces(lambda x: x + 1.0, n=1))
    np.testing.assert_array_equal(program(jnp.zeros(3)), jnp.ones(3))
    np.testing.assert_array_equal(program(jnp.ones(3)), 2 * jnp.ones(3))


def test_donated_arguments_are_gone_and_others_are_not() -> None:
    program = compiled(lambda state, world: state + world, donate=0)
    state, world = jnp.ones(1000), jnp.full(1000, 2.0)
    np.testing.assert_array_equal(program(state, world), np.full(1000, 3.0))
    assert state.is_deleted() and not world.is_deleted()


def test_static_arguments_are_plain_values() -> None:
    program = compiled(lambda x, n: x.reshape(n, -1), static=1)
    assert program(jnp.zeros(6), 2).shape == (2, 3)
    assert program(jnp.zeros(6), 3).shape == (3, 2)


@pytest.mark.parametrize("devices", [1, 4])
def test_outputs_are_laid_out_as_asked(devices: int) -> None:
    laid = jax.sharding.NamedSharding(make_mesh(devices), PartitionSpec(DATA))
    assert compiled(lambda x: x * 2.0, out_shardings=laid)(jnp.zeros(8)).sharding == laid
