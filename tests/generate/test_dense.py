"""Cold items in slates, with numbers worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.generate.beam import Slate
from jaxrec.generate.dense import NAME, DenseItems, cold_chances, dense_loss, init_towers, with_cold
from jaxrec.types import PADDING

ITEMS = DenseItems(
    vectors=jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32),
    known=jnp.array([0, 2, 3], jnp.int32),
    cold=jnp.array([1, 4], jnp.int32),
)
PARAMS = {NAME: init_towers(jax.random.key(0), 4, 3)}
STATE = jnp.asarray(np.random.default_rng(1).normal(size=4), jnp.float32)


def scores() -> np.ndarray:
    """Scores of all items in numpy, from the formula."""
    x = np.asarray(ITEMS.vectors)
    x = x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-6)
    query, item = (np.asarray(PARAMS[NAME][name]["kernel"]) for name in ("query", "item"))
    return (x @ item) @ (np.asarray(STATE) @ query) / 2  # the square root of the width 4


def test_cold_items_have_the_chance_that_a_known_item_would_have() -> None:
    s = scores()
    want = s[1] - np.log(np.exp(s[[0, 2, 3]]).sum())  # item 2 is in the history, and so is the cold item 4
    found = cold_chances(PARAMS, ITEMS, STATE, jnp.array([2, PADDING, 4]), repeats=False)
    np.testing.assert_allclose(found, [want, -np.inf], rtol=1e-5)
    again = cold_chances(PARAMS, ITEMS, STATE, jnp.array([2, PADDING, 4]), repeats=True)
    np.testing.assert_allclose(again, s[[1, 4]] - np.log(np.exp(s[[0, 2, 3]]).sum()), rtol=1e-5)


def test_the_towers_learn_known_items_alone() -> None:
    s, states = scores(), jnp.stack([STATE, STATE, STATE])
    known = s[[0, 2, 3]]
    want = -(s[2] - np.log(np.exp(known).sum()))  # row 0 alone: row 1 has no weight, row 2 a cold item
    found = dense_loss(PARAMS, ITEMS, states, jnp.array([2, 0, 4]), jnp.array([1.0, 0.0, 1.0]), 2)
    assert float(found) == pytest.approx(want, rel=1e-5)


def test_cold_items_are_sorted_into_the_slate() -> None:
    slate = Slate(jnp.array([3, 0, PADDING]), jnp.array([-1.0, -2.0, -jnp.inf]))
    found = with_cold(slate, ITEMS, jnp.array([-1.5, -jnp.inf]))
    assert found.items.tolist() == [3, 1, 0] and found.scores.tolist() == [-1.0, -1.5, -2.0]
    nothing = with_cold(slate, ITEMS, jnp.full(2, -jnp.inf))
    assert nothing.items.tolist() == [3, 0, PADDING]
