import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.load import build_section, to_dict
from jaxrec.types import EnvSpec, SlateAction, VectorAction, World

VECTOR = EnvSpec(name="points", action=VectorAction(size=4, low=-1.0, high=1.0), num_items=9, feedback=("click",))


def test_an_action_says_its_shape_and_type() -> None:
    slates, vectors = SlateAction(size=3).zeros((2, 5)), VECTOR.action.zeros((2,))
    assert slates.shape == (2, 5, 3) and slates.dtype == jnp.int32
    assert vectors.shape == (2, 4) and vectors.dtype == jnp.float32


def test_who_needs_slates_refuses_vectors_in_one_line() -> None:
    with pytest.raises(InputError, match=r"points: an action is a vector of 4 numbers, expected a slate of items"):
        _ = VECTOR.slate_size


@pytest.mark.parametrize("action", [SlateAction(size=3), VECTOR.action])
def test_a_spec_survives_being_written_and_read(action) -> None:
    spec = EnvSpec(name="x", action=action, num_items=2, feedback=("click",), user_range=(0.0, 1.0))
    assert build_section(EnvSpec, to_dict(spec), "spec", "description.json") == spec


def test_the_recommendable_items_are_counted() -> None:
    table = jnp.zeros((5, 2))
    assert World(item_table=table).num_recommendable == 5
    assert World(item_table=table, recommendable=jnp.asarray(np.array([1, 4]))).num_recommendable == 2
