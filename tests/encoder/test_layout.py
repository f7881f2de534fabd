"""An encoder over a mesh of eight virtual devices."""

import dataclasses

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, PartitionSpec

from jaxrec.checks import InputError
from jaxrec.encoder import Encoder
from jaxrec.encoder.encode_ids import encode_ids
from jaxrec.encoder.layout import RULES, lay_out, sharding_of


def mesh_of(data: int, model: int) -> Mesh:
    return jax.make_mesh((data, model), ("data", "model"), (AxisType.Auto,) * 2)


def encoded(enc: Encoder, mesh: Mesh | None = None) -> np.ndarray:
    rng = np.random.default_rng(0)
    ids = [rng.integers(5, 60, n).tolist() for n in rng.integers(1, 40, 45)]
    return encode_ids(enc, ids, 512, lambda *_: None, mesh=mesh)


@pytest.mark.parametrize("shape", [(4, 2), (8, 1), (2, 4)])
def test_eight_devices_give_the_vectors_of_one(tiny: Encoder, shape: tuple[int, int]) -> None:
    mesh = mesh_of(*shape)
    spread = dataclasses.replace(tiny, params=lay_out(tiny.params, tiny.config, mesh))
    np.testing.assert_allclose(encoded(spread, mesh), encoded(tiny), atol=1e-5)


def test_heads_channels_and_words_are_split_where_they_divide(tiny: Encoder) -> None:
    mesh, one_key_head = mesh_of(4, 2), dataclasses.replace(tiny.config, num_key_value_heads=1)
    want = {
        "words/embedding": ((64, 32), ("model", None)),
        "layers/query/kernel": ((4, 32, 32), (None, None, "model")),
        "layers/attention_output/kernel": ((4, 32, 32), (None, "model", None)),
        "layers/attention_output/bias": ((4, 32), (None, None)),
        "layers/mlp_in/bias": ((4, 64), (None, "model")),
        "layers/attention_norm/scale": ((4, 32), (None, None)),
    }
    config = dataclasses.replace(tiny.config, vocab_size=64)
    for path, (shape, axes) in want.items():
        assert sharding_of(path, shape, config, mesh).spec == PartitionSpec(*axes)
    odd = dataclasses.replace(tiny.config, vocab_size=63)
    assert sharding_of("words/embedding", (63, 32), odd, mesh).spec == PartitionSpec(None, None)
    assert sharding_of("layers/key/kernel", (4, 32, 8), one_key_head, mesh).spec == PartitionSpec(None, None, None)


def test_two_axes_of_a_parameter_along_one_mesh_axis_are_refused(tiny: Encoder) -> None:
    with pytest.raises(InputError, match=r"two of which map to 'model'"):
        sharding_of("words/embedding", (64, 32), tiny.config, mesh_of(4, 2), {**RULES, "embed": "model"})
