import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.ops.slates import pick_log_probs, top_slate
from jaxrec.ops.spread_slates import Spread, sample_spread, spread_log_probs, top_spread

SCORES = jnp.array([0.3, -0.2, 1.1, 0.4, -1.0])
GROUPS = jnp.array([0, 0, 1, 1, 1])
BONUS = jnp.array([[0.5, -0.3], [0.2, -2.0]])  # of the first item of a group, and of all later ones
SPREAD = Spread(GROUPS, BONUS)
SLATES = jnp.array(list(itertools.permutations(range(5), 3)))  # all 60


def by_hand(slate: np.ndarray) -> float:
    """The log-probability of a slate, pick by pick."""
    left, counts, total = list(range(5)), [0, 0], 0.0
    for item in slate:
        logits = {i: float(SCORES[i] + BONUS[GROUPS[i], min(counts[int(GROUPS[i])], 1)]) for i in left}
        total += logits[int(item)] - np.log(sum(np.exp(x) for x in logits.values()))
        left.remove(int(item))
        counts[int(GROUPS[item])] += 1
    return total


@pytest.fixture(scope="module")
def log_probs() -> jax.Array:
    spread = jax.tree.map(lambda x: jnp.broadcast_to(x, (60, *x.shape)), SPREAD)
    return spread_log_probs(jnp.broadcast_to(SCORES, (60, 5)), spread, SLATES).sum(-1)


def test_probabilities_of_all_slates_are_those_by_hand_and_sum_to_one(log_probs: jax.Array) -> None:
    np.testing.assert_allclose(log_probs, [by_hand(slate) for slate in np.asarray(SLATES)], rtol=1e-5)
    assert float(jnp.exp(log_probs).sum()) == pytest.approx(1.0, abs=1e-5)


def test_slates_are_drawn_as_often_as_their_probability_says(log_probs: jax.Array) -> None:
    draws = jax.vmap(lambda key: sample_spread(key, SCORES, SPREAD, 3))(jax.random.split(jax.random.key(0), 20_000))
    code = np.asarray(draws) @ [25, 5, 1]
    share = np.array([(code == one).mean() for one in np.asarray(SLATES) @ [25, 5, 1]])
    chance = np.exp(np.asarray(log_probs))
    assert (np.abs(share - chance) < 4.5 * np.sqrt(chance / 20_000)).all()


def test_masked_items_are_drawn_only_where_no_others_are_left() -> None:
    scores = jnp.full(5, -jnp.inf).at[jnp.array([1, 3])].set(jnp.array([50.0, -50.0]))
    draws = jax.vmap(lambda key: sample_spread(key, scores, SPREAD, 3))(jax.random.split(jax.random.key(1), 64))
    assert (draws[:, 0] == 1).all() and (draws[:, 1] == 3).all()
    for slate in (*draws.tolist(), top_spread(scores, SPREAD, 3).tolist()):
        assert len(set(slate)) == 3  # the third is masked, and no item comes twice
    whole = sample_spread(jax.random.key(2), scores, SPREAD, 5)
    assert sorted(whole.tolist()) == sorted(top_spread(scores, SPREAD, 5).tolist()) == [0, 1, 2, 3, 4]


def test_the_best_slate_spreads_over_groups_and_a_masked_item_stays_out() -> None:
    # First 2 (1.3); then 0 (0.8) rather than 3 (0.4 - 2); then 1 (-0.5).
    assert top_spread(SCORES, SPREAD, 3).tolist() == [2, 0, 1]
    masked = SCORES.at[0].set(-jnp.inf)
    assert top_spread(masked, SPREAD, 3).tolist() == [2, 1, 3]
    found = spread_log_probs(masked, SPREAD, jnp.array([2, 1, 3]))
    chex.assert_tree_all_finite(
        (found, jax.grad(lambda s: spread_log_probs(s, SPREAD, jnp.array([2, 1, 3])).sum())(masked))
    )


def test_without_bonus_it_is_the_plackett_luce_model() -> None:
    scores = jax.random.normal(jax.random.key(0), (4, 6))
    spread = Spread(jnp.zeros((4, 6), jnp.int32), jnp.zeros((4, 2, 3)))
    slate = top_slate(scores, 3)
    chex.assert_trees_all_equal(top_spread(scores, spread, 3), slate)
    chex.assert_trees_all_close(spread_log_probs(scores, spread, slate), pick_log_probs(scores, slate), rtol=1e-5)
