import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.ops.exploration import boltzmann_slate, count_bonus, epsilon_greedy_slate, redrawn, spread
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


def test_boltzmann_slates_follow_the_softmax_of_scores_over_the_temperature() -> None:
    scores = 0.5 * jnp.log(jnp.array([1.0, 3.0, 6.0, 0.0]))  # at temperature 1/2: shares .1, .3, .6, and 0 where masked
    keys = jax.random.split(jax.random.key(0), 20_000)
    slates = np.asarray(jax.vmap(lambda key: boltzmann_slate(key, scores, 0.5, 2))(keys))
    share = np.bincount(slates[:, 0], minlength=4) / 20_000
    np.testing.assert_allclose(share, [0.1, 0.3, 0.6, 0.0], atol=4 * np.sqrt(0.25 / 20_000))
    after = slates[slates[:, 0] == 2, 1]  # of the rest, 1 to 3
    np.testing.assert_allclose((after == 1).mean(), 0.75, atol=4 * np.sqrt(0.1875 / len(after)))
    np.testing.assert_array_equal(boltzmann_slate(keys[0], scores, 1e-4, 3), [2, 1, 0])  # cold: the best slate


def test_the_bonus_of_counts_is_worked_by_hand() -> None:
    bonus = count_bonus(jnp.array([0.0, 1.0, 3.0]))
    np.testing.assert_allclose(bonus, np.sqrt(np.log(5.0) / np.array([1.0, 2.0, 4.0])), rtol=1e-6)
    np.testing.assert_array_equal(count_bonus(jnp.zeros(3)), np.zeros(3))  # all are alike before the first


def test_the_spread_of_an_ensemble_is_a_deviation_and_nothing_where_items_are_masked() -> None:
    values = jnp.array([[[1.0, -jnp.inf, 2.0]], [[3.0, -jnp.inf, 2.0]]])
    np.testing.assert_array_equal(spread(values), [[1.0, 0.0, 0.0]])


def test_a_head_is_kept_within_an_episode_and_drawn_evenly_for_the_next() -> None:
    head, ended = jnp.full(9000, 7, jnp.int32), jnp.arange(9000) % 2 == 0
    after = np.asarray(redrawn(jax.random.key(3), head, ended, 4))
    assert (after[1::2] == 7).all()
    np.testing.assert_allclose(np.bincount(after[::2]) / 4500, np.full(4, 0.25), atol=4 * np.sqrt(0.1875 / 4500))
