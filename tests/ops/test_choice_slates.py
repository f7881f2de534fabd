import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.ops.choice_slates import CHOICE_SLATES, value_of
from jaxrec.ops.losses import choice_loss

ITEMS, SIZE = 7, 3


@functools.cache
def instances(count: int = 1000) -> tuple[jax.Array, jax.Array]:
    """Masses and gains [count, ITEMS]; in every third instance all gains are below 0."""
    key_mass, key_gain = jax.random.split(jax.random.key(0))
    mass = jnp.exp(jax.random.normal(key_mass, (count, ITEMS)))
    gain = 5.0 * jax.random.normal(key_gain, (count, ITEMS))
    return mass, jnp.where(jnp.arange(count)[:, None] % 3 == 0, -jnp.abs(gain), gain)


def best_by_enumeration(mass: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """The highest value of the 35 slates: [count]."""
    slates = np.array(list(itertools.combinations(range(ITEMS), SIZE)))
    mass, gain = mass.astype(np.float64)[:, slates], gain.astype(np.float64)[:, slates]
    return ((mass * gain).sum(-1) / (1 + mass.sum(-1))).max(-1)


def test_the_exact_slate_is_the_best_of_all() -> None:
    mass, gain = instances()
    slate = CHOICE_SLATES["exact"](mass, gain, SIZE)
    assert all(len(set(one)) == SIZE for one in slate.tolist())
    best = best_by_enumeration(np.asarray(mass), np.asarray(gain))
    np.testing.assert_allclose(value_of(slate, mass, gain), best, rtol=1e-5, atol=1e-5)


def test_no_slate_is_better_than_the_exact_one_and_greedy_beats_top_k_on_average() -> None:
    mass, gain = instances()
    value = {name: np.asarray(value_of(best(mass, gain, SIZE), mass, gain)) for name, best in CHOICE_SLATES.items()}
    assert all((one <= value["exact"] + 1e-5).all() for one in value.values())
    assert value["top_k"].mean() < value["greedy"].mean() < value["exact"].mean()


def test_a_small_instance_by_hand() -> None:
    mass, gain = jnp.array([1.0, 2.0, 3.0]), jnp.array([4.0, 1.0, -1.0])
    # of two items: {0, 1} = (4 + 2) / 4 = 1.5, {0, 2} = (4 - 3) / 5 = 0.2, {1, 2} = (2 - 3) / 6
    assert sorted(CHOICE_SLATES["exact"](mass, gain, 2).tolist()) == [0, 1]
    assert float(value_of(jnp.array([0, 1]), mass, gain)) == pytest.approx(1.5)
    # An item of no mass is never chosen, and so costs nothing: {0, 3} = 4 / 2.
    mass, gain = jnp.append(mass, 0.0), jnp.append(gain, -9.0)
    assert sorted(CHOICE_SLATES["exact"](mass, gain, 2).tolist()) == [0, 3]
    assert CHOICE_SLATES["greedy"](mass, gain, 2).tolist() == [0, 3]
    assert CHOICE_SLATES["top_k"](mass, gain, 2).tolist() == [0, 1]


@pytest.mark.parametrize("name", CHOICE_SLATES)
def test_masked_items_are_shown_only_where_too_few_others_remain(name: str) -> None:
    mass = jnp.ones((2, 4))
    gain = jnp.array([[-jnp.inf, 1.0, -2.0, -jnp.inf], [3.0, -jnp.inf, -jnp.inf, -jnp.inf]])
    slate = CHOICE_SLATES[name](mass, gain, 2)
    assert sorted(slate[0].tolist()) == [1, 2]
    assert 0 in slate[1].tolist() and len(set(slate[1].tolist())) == 2
    np.testing.assert_allclose(value_of(slate, mass, gain), [-1 / 3, 1.5], rtol=1e-6)


def test_the_cross_entropy_of_choices_by_hand() -> None:
    mass, chosen = jnp.array([[1.0, 2.0], [1.0, 2.0], [5.0, 5.0]]), jnp.array([[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    weight = jnp.array([1.0, 1.0, 0.0])
    want = -0.5 * (np.log(2 / 4) + np.log(1 / 4))  # the last slate has no weight
    assert float(choice_loss(mass, chosen, weight)) == pytest.approx(want, rel=1e-6)
