"""Samples from the prefix tree against enumeration of all items."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.generate.sample import Samples, log_chances, path_chances, sample
from jaxrec.generate.trie import make_trie
from jaxrec.sharding.compile import compiled
from jaxrec.types import PADDING
from tests.generate.test_trie import catalogue, prefix_logits

ITEMS, DRAWS = 12, 4000
CODES, SIZES = catalogue(ITEMS, 3)
TREE = make_trie(CODES, SIZES)
TABLES, STEP = prefix_logits(SIZES, 5)


def exact(history: list[int]) -> np.ndarray:
    """Chance of every item by softmax over the codes that lead to an item outside the history."""
    left = np.setdiff1d(np.arange(ITEMS), history)
    total = np.full(ITEMS, -np.inf)
    for item in left:
        total[item], prefix = 0.0, 0
        for level, size in enumerate(SIZES):
            same = [n for n in left if (CODES[n, :level] == CODES[item, :level]).all()]
            logits = TABLES[level][prefix].astype(np.float64)
            allowed = np.unique(CODES[same, level])
            total[item] += logits[CODES[item, level]] - np.log(np.exp(logits[allowed]).sum())
            prefix = prefix * size + CODES[item, level]
    return np.exp(total)


def draws(history: list[int], count: int, *, replace: bool, number: int = DRAWS) -> Samples:
    seen = jnp.asarray(history, jnp.int32)

    def one(key):
        return sample(STEP, TREE, seen, key, count, replace=replace, repeats=False)

    return compiled(jax.vmap(one))(jax.random.split(jax.random.key(0), number))


@pytest.mark.parametrize("history", [[PADDING], [0, 3, 7]])
def test_chances_of_samples_are_those_of_the_items(history: list[int]) -> None:
    found = draws(history, 4, replace=False, number=20)
    seen = jnp.asarray(history, jnp.int32)
    levels = jax.vmap(lambda path: path_chances(STEP, TREE, seen, path, repeats=False))(found.path)
    want = exact(history)
    assert want.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(log_chances(levels, found.path), np.log(want[np.asarray(found.items)]), atol=1e-5)


def test_samples_with_replacement_have_the_exact_chances() -> None:
    found = draws([0, 3], 3, replace=True)
    want = exact([0, 3])
    shares = np.bincount(np.asarray(found.items).ravel(), minlength=ITEMS) / (3 * DRAWS)
    np.testing.assert_allclose(shares, want, atol=4 * np.sqrt(0.25 / (3 * DRAWS)))
    np.testing.assert_allclose(found.weight, 1 / 3)


def test_samples_without_replacement_are_drawn_one_after_the_other() -> None:
    found, want = draws([5], 3, replace=False), exact([5])
    items = np.asarray(found.items)
    assert all(len(set(row)) == 3 for row in items.tolist()) and 5 not in items
    first = np.bincount(items[:, 0], minlength=ITEMS) / DRAWS
    np.testing.assert_allclose(first, want, atol=4 * np.sqrt(0.25 / DRAWS))
    # The second is drawn from what the first left over: sum over j of p_j p_i / (1 - p_j).
    second = np.array([sum(want[j] * p / (1 - want[j]) for j in range(ITEMS) if j != i) for i, p in enumerate(want)])
    np.testing.assert_allclose(
        np.bincount(items[:, 1], minlength=ITEMS) / DRAWS, second, atol=4 * np.sqrt(0.25 / DRAWS)
    )


def test_weighted_sums_estimate_means_without_bias() -> None:
    found, want = draws([5], 4, replace=False), exact([5])
    value = np.arange(ITEMS) ** 2.0
    sums = (np.asarray(found.weight) * value[np.asarray(found.items)]).sum(-1)
    error = sums.std() / np.sqrt(DRAWS)
    assert error < 0.5
    assert sums.mean() == pytest.approx((want * value).sum(), abs=4 * error)


@pytest.mark.parametrize("replace", [True, False])
def test_what_the_history_leaves_is_all_that_is_sampled(replace: bool) -> None:
    found = draws([n for n in range(ITEMS) if n not in (2, 9)], 4, replace=replace, number=50)
    items, weight = np.asarray(found.items), np.asarray(found.weight)
    if replace:
        assert set(items.ravel().tolist()) == {2, 9}
        return
    assert (np.sort(items, axis=1) == [PADDING, PADDING, 2, 9]).all() and (weight[items == PADDING] == 0).all()
    np.testing.assert_allclose(weight.sum(1), 1.0, rtol=1e-5)  # both are there, so the sum is exact


def test_without_items_left_nothing_is_sampled() -> None:
    for replace in (True, False):
        found = draws(list(range(ITEMS)), 3, replace=replace, number=2)
        assert (np.asarray(found.items) == PADDING).all() and (np.asarray(found.weight) == 0).all()


def test_more_samples_than_items_are_refused() -> None:
    with pytest.raises(ValueError, match="fewer than the 12"):
        draws([PADDING], ITEMS, replace=False, number=1)
