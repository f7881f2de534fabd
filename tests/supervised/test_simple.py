import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.baselines import BASELINES, CHEAP
from jaxrec.data import Log
from jaxrec.supervised.baselines import neighbours
from jaxrec.supervised.baselines.neighbours import item_knn, score_item_knn, score_popular
from jaxrec.supervised.simple import SIMPLE_RECOMMENDERS, most_popular, register_recommender


@pytest.fixture
def log() -> Log:
    # user 0: items 0 1 2, user 1: items 0 1, user 2: item 1, user 3: item 3; item 4 has no row
    user = np.array([0, 0, 0, 1, 1, 2, 3], np.int32)
    item = np.array([0, 1, 2, 0, 1, 1, 3], np.int32)
    return Log(user, item, np.arange(7), np.ones((7, 1), np.float32), ("liked",), 4, 5)


@pytest.mark.parametrize("name", list(SIMPLE_RECOMMENDERS))
def test_items_that_nobody_has_touched_have_scores(name: str, log: Log) -> None:
    """Item 4 has no row, and the text of item 1. Those who read texts rank it by that, the others as never seen."""
    vectors = np.array([[1, 0.0], [0, 1], [0.8, 0.6], [-1, 0], [0, 1]], np.float32)
    log = dataclasses.replace(log, untouched=1, feedback=np.array([1, 0, 1, 1, 1, 1, 0], np.float32)[:, None])
    simple = SIMPLE_RECOMMENDERS[name]
    fitted = jax.tree.map(jnp.asarray, simple.fit(log, vectors, **simple.grid[0]))
    history, feedback = jnp.array([[-1, 0, 2], [-1, -1, 1], [-1, -1, -1]]), jnp.ones((3, 3, 1))
    scores = np.asarray(simple.score(fitted, history, feedback))
    assert scores.shape == (3, 5) and np.isfinite(scores).all()
    if name == "content":
        np.testing.assert_allclose(scores[:, 4], [0.6 / np.hypot(1.8, 0.6), 1, 0], atol=1e-6)
    elif name == "ridge":
        # The prior is what the text alone says: without the damped mean of item 1 itself, (answers 0, 1, 1) - text.
        own, rows = np.asarray(fitted.prior)[:, 0], 3
        text = own[4]
        assert own[1] == pytest.approx(text + (2 - rows * text) / (rows + 10), abs=1e-6)
        np.testing.assert_allclose(fitted.features[4], fitted.features[1], atol=1e-6)
    else:
        np.testing.assert_allclose(scores[:, 4], 0 if name != "bias" else scores[:, 4], atol=1e-5)
    if simple.predict is not None:
        predicted = np.asarray(simple.predict(fitted, history, feedback, jnp.full((3, 2), 4)))
        assert predicted.shape == (3, 2, 1) and ((predicted >= 0) & (predicted <= 1)).all()


def test_most_popular_counts_rows(log: Log) -> None:
    np.testing.assert_array_equal(most_popular(log), [2, 3, 1, 1, 0])


def test_item_knn_is_the_cosine_of_shared_users(log: Log) -> None:
    # counts 2 3 1 1 0; items 0, 1 share two users, 0, 2 and 1, 2 one each
    a, b, c = 2 / np.sqrt(6), 1 / np.sqrt(2), 1 / np.sqrt(3)
    want = np.zeros((5, 5))
    want[0, 1] = want[1, 0] = a
    want[0, 2] = want[2, 0] = b
    want[1, 2] = want[2, 1] = c
    got = item_knn(log)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_item_knn_refuses_a_catalogue_that_is_too_large(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "KNN_ITEMS", 4)
    with pytest.raises(InputError, match=r"item_knn: 5 items, wanted at most 4.*data.min_item_rows"):
        item_knn(log)


def test_scores_of_popular_items_are_the_same_for_every_history() -> None:
    got = score_popular(jnp.array([2.0, 1.0, 0.0]), jnp.full((4, 2, 7), -1))
    chex.assert_trees_all_close(got, jnp.broadcast_to(jnp.array([2.0, 1.0, 0.0]), (4, 2, 3)))


def test_scores_of_neighbours_sum_over_the_history_or_take_the_last_item() -> None:
    table = jnp.array([[0.0, 0.5, 0.25], [0.5, 0.0, 0.125], [0.25, 0.125, 0.0]])
    history = jnp.array([[-1, 0, 1], [-1, -1, 2], [-1, -1, -1]])
    whole = jnp.array([[0.5, 0.5, 0.375], [0.25, 0.125, 0.0], [0.0, 0.0, 0.0]])
    chex.assert_trees_all_close(score_item_knn(table, history), whole)
    last = jnp.array([[0.5, 0.0, 0.125], [0.25, 0.125, 0.0], [0.0, 0.0, 0.0]])
    chex.assert_trees_all_close(score_item_knn(table, history, last_only=True), last)
    chex.assert_trees_all_close(score_item_knn(table, history[0]), whole[0])
    chex.assert_trees_all_close(score_item_knn(table, history.reshape(3, 1, 3))[:, 0], whole)


def test_neighbour_scores_never_hold_a_score_for_every_item_of_the_history() -> None:
    users, length, items = 4, 64, 128
    program = jax.jit(score_item_knn).lower(jnp.zeros((items, items)), jnp.zeros((users, length), jnp.int32)).compile()
    assert program.memory_analysis().temp_size_in_bytes < users * length * items * 4


@pytest.mark.parametrize("name", SIMPLE_RECOMMENDERS)
def test_every_simple_recommender_scores_the_whole_catalogue(name: str, log: Log) -> None:
    recommender = SIMPLE_RECOMMENDERS[name]
    fitted = jax.tree.map(jnp.asarray, recommender.fit(log, np.eye(5, 3, dtype=np.float32)))
    history = jnp.array([[-1, 0, 1], [-1, -1, -1]])
    chex.assert_shape(recommender.score(fitted, history, jnp.ones((2, 3, 1))), (2, 5))


def test_every_name_that_a_recipe_may_give_has_its_recommender() -> None:
    assert list(SIMPLE_RECOMMENDERS) == BASELINES and set(CHEAP) <= set(BASELINES)


def test_a_name_that_is_taken_is_not_registered_again() -> None:
    with pytest.raises(InputError, match="register_recommender: 'bias' is taken"):
        register_recommender("bias", SIMPLE_RECOMMENDERS["bias"])


def test_liked_neighbours_read_liked_rows_only(log: Log) -> None:
    # user 0 disliked item 1: liked rows are user 0: 0 2, user 1: 0 1, user 2: 1, user 3: 3
    disliked = dataclasses.replace(log, feedback=np.array([[1], [0], [1], [1], [1], [1], [1]], np.float32))
    recommender = SIMPLE_RECOMMENDERS["item_knn_liked"]
    table = jnp.asarray(recommender.fit(disliked))
    want = np.zeros((5, 5))
    want[0, 1] = want[1, 0] = 1 / 2  # counts 2 2 1 1 0, items 0 and 1 share user 1
    want[0, 2] = want[2, 0] = 1 / np.sqrt(2)
    np.testing.assert_allclose(table, want, rtol=1e-6)
    history, feedback = jnp.array([[-1, 1, 0]]), jnp.array([[[0.0], [0.0], [1.0]]])
    np.testing.assert_allclose(recommender.score(table, history, feedback), want[:1], rtol=1e-6)
