"""The K best of each row: as XLA's own on one device, and without moving rows between several."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxrec.ops.top_k import FEW, top_k


@pytest.mark.parametrize(("size", "k"), [(1, 1), (10, 3), (FEW, 5), (FEW, FEW), (FEW + 1, 5), (200, 10)])
def test_values_and_positions_are_those_of_a_stable_sort(size: int, k: int) -> None:
    scores = jax.random.randint(jax.random.key(0), (50, size), -4, 4).astype(jnp.float32)  # many ties
    scores = jnp.where(scores == 3, -jnp.inf, scores)
    values, positions = top_k(scores, k)
    want = np.argsort(-np.asarray(scores), axis=-1, kind="stable")[:, :k]
    np.testing.assert_array_equal(positions, want)
    np.testing.assert_array_equal(values, np.take_along_axis(np.asarray(scores), want, axis=-1))
    assert positions.dtype == jnp.int32


@pytest.mark.parametrize("size", [10, 100])
def test_a_row_of_masked_items_is_not_repeated(size: int) -> None:
    _, positions = top_k(jnp.full((size,), -jnp.inf).at[4].set(1.0), 3)
    assert positions[0] == 4 and len(set(positions.tolist())) == 3


def test_mapped_rows_are_rows() -> None:
    scores = jax.random.normal(jax.random.key(1), (4, 5, 60))
    mapped = jax.vmap(jax.vmap(lambda row: top_k(row, 7)[1]))(scores)
    np.testing.assert_array_equal(mapped, top_k(scores, 7)[1])


def test_no_gradient_flows_through_the_values() -> None:
    gradient = jax.grad(lambda x: top_k(x, 2)[0].sum())(jnp.arange(5.0))
    np.testing.assert_array_equal(gradient, jnp.zeros(5))


@pytest.mark.parametrize("size", [10, 100])
def test_rows_of_several_devices_stay_where_they_are(size: int) -> None:
    devices = jax.devices()[:4]
    mesh = jax.make_mesh((4,), ("data",), (AxisType.Auto,), devices=devices)
    rows = NamedSharding(mesh, PartitionSpec("data"))
    scores = jax.device_put(jax.random.normal(jax.random.key(2), (8, 3, size)), rows)
    program = jax.jit(lambda x: jax.vmap(lambda shard: top_k(2 * shard, 3)[1])(x)).lower(scores).compile()
    assert not re.search(r"\ball-|\bcollective", program.as_text())
    np.testing.assert_array_equal(program(scores), jax.lax.top_k(2 * scores, 3)[1])
