import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.sharding.random_bits import threefry, write_out_rounds

# Known answers of the Random123 library (kat_vectors): counter, key, result.
KNOWN = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


@pytest.mark.parametrize(("count", "key", "bits"), KNOWN)
def test_the_rounds_give_the_published_bits(count: tuple, key: tuple, bits: tuple) -> None:
    arrays = (jnp.asarray([x], jnp.uint32) for x in (*key, *count))
    assert tuple(int(x[0]) for x in jax.jit(threefry)(*arrays)) == bits


def test_draws_are_those_of_jax() -> None:
    write_out_rounds()
    keys = jax.random.split(jax.random.key(7), 5)
    # Numbers that jax 0.10.2 draws without this file.
    np.testing.assert_array_equal(
        jax.random.uniform(jax.random.key(7), (3,)), np.float32([0.6740899, 0.9746169, 0.30284357])
    )
    # Every user's own draw is the row of the batch, whatever its place.
    draw = jax.jit(jax.vmap(lambda key: jax.random.bits(jax.random.fold_in(key, 3), (9,))))
    alone = [jax.random.bits(jax.random.fold_in(key, 3), (9,)) for key in keys]
    np.testing.assert_array_equal(draw(keys), np.stack(alone))
    assert "while" not in draw.lower(keys).as_text()
