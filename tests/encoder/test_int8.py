from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.encoder import load_encoder, save_encoder
from jaxrec.encoder.int8 import quantised


def test_weights_are_rounded_to_a_scale_an_output_channel_and_word() -> None:
    params = {
        "words": {"embedding": jnp.array([[1.0, -0.5], [0.0, 0.0]])},
        "layers": {"query": {"kernel": jnp.array([[[2.0, 1.0], [-1.0, 0.3]]]), "bias": jnp.zeros((1, 2))}},
        "positions": {"embedding": jnp.ones((2, 2))},
    }
    got = quantised(params)
    np.testing.assert_array_equal(got["words"]["embedding"], [[127, -64], [0, 0]])  # 63.5 is rounded to the even one
    np.testing.assert_array_equal(got["layers"]["query"]["kernel"], [[[127, 127], [-64, 38]]])
    np.testing.assert_allclose(got["layers"]["query"]["scale"], [[2 / 127, 1 / 127]])
    assert got["words"]["embedding"].dtype == jnp.int8 and got["positions"] is not None
    np.testing.assert_array_equal(got["positions"]["embedding"], np.ones((2, 2)))


@pytest.mark.parametrize("family", ["tiny_bert", "gpt2", "modernbert"])
def test_vectors_stay_where_they_were(family: str, golden: Path) -> None:
    with np.load(golden / family / "reference.npz") as stored:
        ids, mask = stored["ids"], stored["mask"]

    def vectors(**options) -> np.ndarray:
        enc = load_encoder(golden / family, max_length=24, **options)
        x = np.asarray(jax.jit(lambda p, i, m: enc.pool(p, enc.apply(p, i, m), m))(enc.params, ids, mask))
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    assert (vectors() * vectors(weights="int8")).sum(-1).min() > 0.998


def test_they_take_a_third_of_the_memory_and_are_not_saved(golden: Path, tmp_path: Path) -> None:
    def size(enc) -> int:
        return sum(leaf.nbytes for leaf in jax.tree.leaves(enc.params))

    small = load_encoder(golden / "tiny_bert", max_length=24, weights="int8")
    assert size(small) < 0.35 * size(load_encoder(golden / "tiny_bert", max_length=24))
    with pytest.raises(InputError, match="int8 weights cannot be saved"):
        save_encoder(small, tmp_path / "saved")
    with pytest.raises(InputError, match="weights: no 'int4'"):
        load_encoder(golden / "tiny_bert", max_length=24, weights="int4")
