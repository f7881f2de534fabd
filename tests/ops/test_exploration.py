import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.ops.exploration import epsilon_greedy_slate
from jaxrec.ops.slates import top_slate

SCORES = jnp.array([0.1, 0.9, -jnp.inf, 0.5, 0.7, 0.2])  # best two: 1, 4; never 2; the others: 0, 3, 5


def draw(scores: jax.Array, size: int, epsilon: float, count: int = 8000) -> np.ndarray:
    keys = jax.random.split(jax.random.key(0), count)
    best = top_slate(scores, size)
    return np.asarray(jax.jit(jax.vmap(lambda k: epsilon_greedy_slate(k, scores, best, epsilon)))(keys))


def test_without_epsilon_the_slate_is_the_best_one() -> None:
    np.testing.assert_array_equal(draw(SCORES, 3, 0.0, 20), [[1, 4, 3]] * 20)


def test_every_place_is_replaced_alone_and_evenly_over_the_items_left() -> None:
    slates = draw(SCORES, 2, 0.3)
    for place, best in enumerate((1, 4)):
        counts = np.bincount(slates[:, place], minlength=6) / len(slates)
        want = np.array([0.1, 0.0, 0.0, 0.1, 0.0, 0.1])
        want[best] = 0.7
        np.testing.assert_allclose(counts, want, atol=4 * np.sqrt(0.7 * 0.3 / 8000))
    both = (slates != np.array([1, 4])).all(1).mean()
    np.testing.assert_allclose(both, 0.09, atol=4 * np.sqrt(0.09 * 0.91 / 8000))


def test_no_item_repeats_and_masked_items_are_never_shown() -> None:
    slates = draw(SCORES, 3, 0.5)
    assert all(len(set(slate)) == 3 for slate in slates.tolist())
    assert not (slates == 2).any()


def test_with_epsilon_one_all_places_leave_the_best_items_where_others_are_left() -> None:
    slates = draw(SCORES, 2, 1.0)
    assert set(map(tuple, slates.tolist())) == {(0, 3), (3, 0), (0, 5), (5, 0), (3, 5), (5, 3)}


def test_places_keep_their_best_item_where_nothing_else_is_left() -> None:
    # best three 1, 4, 3; left over 0 and 5: the third place has no stand-in
    slates = draw(SCORES, 3, 1.0)
    assert set(map(tuple, slates.tolist())) == {(0, 5, 3), (5, 0, 3)}
    np.testing.assert_array_equal(draw(SCORES[:2], 2, 1.0, 10), [[1, 0]] * 10)


def test_users_of_a_batch_explore_on_their_own() -> None:
    scores = jnp.broadcast_to(SCORES, (4000, 6))
    slates = np.asarray(epsilon_greedy_slate(jax.random.key(1), scores, top_slate(scores, 1), 0.4))
    assert slates.shape == (4000, 1)
    np.testing.assert_allclose((slates != 1).mean(), 0.4, atol=4 * np.sqrt(0.24 / 4000))
