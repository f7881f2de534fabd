"""Cold items in slates, with numbers worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.generate.beam import Slate
from jaxrec.generate.dense import (
    NAME,
    DenseItems,
    chances_of,
    checked,
    dense_arrays,
    dense_items_of,
    dense_loss,
    init_towers,
    with_cold,
)
from jaxrec.types import PADDING

ITEMS = DenseItems(
    vectors=jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32),
    known=jnp.array([0, 2, 3], jnp.int32),
    cold=jnp.array([1, 4], jnp.int32),
)
PARAMS = {NAME: init_towers(jax.random.key(0), 4, (5, 3), False)}
STATE = jnp.asarray(np.random.default_rng(1).normal(size=4), jnp.float32)


def scores() -> np.ndarray:
    """Scores of all items in numpy, from the formula."""
    x = np.asarray(ITEMS.vectors)
    x = x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-6)
    query, item = (np.asarray(PARAMS[NAME][name]["kernel"]) for name in ("query", "item"))
    return (x @ item) @ (np.asarray(STATE) @ query) / 2  # the square root of the width 4


def test_cold_items_have_the_chance_that_a_known_item_would_have() -> None:
    s = scores()
    want = s - np.log(np.exp(s[[0, 2, 3]]).sum())
    chances = chances_of(PARAMS, ITEMS, STATE)
    np.testing.assert_allclose(chances, want, rtol=1e-5)
    slate = Slate(jnp.full(3, PADDING), jnp.full(3, -jnp.inf))
    seen = jnp.array([2, PADDING, 4])  # item 2 is in the history, and so is the cold item 4
    assert checked(slate, ITEMS, chances, seen, repeats=False).items.tolist() == [1, PADDING, PADDING]
    again = checked(slate, ITEMS, chances, seen, repeats=True)
    assert sorted(again.items.tolist()) == [PADDING, 1, 4]
    np.testing.assert_allclose(again.scores[:2], sorted(want[[1, 4]], reverse=True), rtol=1e-5)


def test_the_towers_order_what_was_generated() -> None:
    slate = Slate(jnp.array([3, 0, 2, PADDING]), jnp.array([-1.0, -2.0, -2.5, -jnp.inf]))
    chances, nothing = jnp.array([-0.5, -1.2, -3.0, -4.0, -9.0]), jnp.zeros(0, jnp.int32)
    codes = checked(slate, ITEMS, chances, nothing, repeats=False)
    assert codes.items.tolist() == [3, 1, 0, 2] and codes.scores.tolist() == pytest.approx([-1.0, -1.2, -2.0, -2.5])
    both = checked(slate, ITEMS.replace(order=0.5), chances, nothing, repeats=False)
    # -2 - .25, 1.5 x -1.2, -1 - 2, -2.5 - 1.5 and, left out, 1.5 x -9
    assert both.items.tolist() == [1, 0, 3, 2] and both.scores.tolist() == pytest.approx([-1.8, -2.25, -3.0, -4.0])


def test_known_items_may_have_a_vector_of_their_own() -> None:
    params = {NAME: init_towers(jax.random.key(0), 4, (5, 3), True)}
    np.testing.assert_array_equal(chances_of(params, ITEMS, STATE), chances_of(PARAMS, ITEMS, STATE))
    own = jnp.zeros((5, 4)).at[2].set(1.0)
    moved = chances_of({NAME: {**params[NAME], "own": own}}, ITEMS, STATE)
    query = np.asarray(STATE) @ np.asarray(PARAMS[NAME]["query"]["kernel"]) / 2
    s = scores() + np.array([0, 0, query.sum(), 0, 0])
    np.testing.assert_allclose(moved, s - np.log(np.exp(s[[0, 2, 3]]).sum()), rtol=1e-4)
    slope = jax.grad(lambda p: dense_loss(p, ITEMS, STATE[None], jnp.array([2]), jnp.ones(1), 2))(params)
    assert np.abs(slope[NAME]["own"]).sum(1)[[0, 2, 3]].min() > 0 and not np.any(slope[NAME]["own"][jnp.array([1, 4])])


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


def test_towers_without_cold_items_are_saved_and_read() -> None:
    arrays = dense_arrays(ITEMS.replace(cold=jnp.zeros(0, jnp.int32), order=jnp.float32(0.5)))["dense"]
    assert all(array.size for array in arrays.values())  # Orbax refuses empty ones
    again = dense_items_of(arrays)
    assert again.cold.shape == (0,) and float(again.order) == 0.5 and again.known.tolist() == [0, 2, 3]
    before = dense_items_of({name: arrays[name] for name in ("vectors", "known")})  # of a version without order
    assert before.order.shape == () and float(before.order) == 0.0
