import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.data import Log
from jaxrec.supervised.baselines.bias import bias, predict_bias, score_bias, user_bias
from jaxrec.supervised.baselines.content import content, score_content


@pytest.fixture
def log() -> Log:
    user, item = np.array([0, 0, 1, 1], np.int32), np.array([0, 1, 0, 1], np.int32)
    feedback = np.array([[1, 0], [0, 0], [1, 1], [0, 1]], np.float32)
    return Log(user, item, np.arange(4), feedback, ("liked", "bought"), 2, 3)


def test_content_is_the_cosine_with_the_mean_of_the_liked_items(log: Log) -> None:
    vectors = content(log, np.array([[3.0, 0.0], [0.0, 2.0], [-1.0, -1.0]]))
    # liked: items 0 and 1, mean direction (1, 1) / sqrt(2); item 2 is disliked, and no direction at all second
    history = jnp.array([[2, 0, 1], [-1, -1, 2]])
    feedback = jnp.array([[[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 0.0], [0.0, 1.0]]])
    want = [[np.sqrt(0.5), np.sqrt(0.5), -1.0], [0.0, 0.0, 0.0]]
    np.testing.assert_allclose(score_content(jnp.asarray(vectors), history, feedback), want, atol=1e-6)


def test_content_without_vectors_is_refused(log: Log) -> None:
    with pytest.raises(InputError, match="content: the items have no text vectors"):
        content(log, None)


def test_biases_are_damped_means_of_what_remains(log: Log) -> None:
    biases = bias(log)
    # means 1/2 and 1/2; item 0: two rows of +1/2 and of -1/2, +1/2; ten rows of damping
    np.testing.assert_allclose(biases.mean, [0.5, 0.5])
    np.testing.assert_allclose(biases.item, [[1 / 12, 0], [-1 / 12, 0], [0, 0]], atol=1e-7)
    history, feedback = jnp.array([[-1, 0, 2], [-1, -1, -1]]), jnp.array([[[9.0, 9.0], [1.0, 1.0], [1.0, 0.0]]] * 2)
    # liked: (1 - 1/2 - 1/12) + (1 - 1/2 - 0) over 12, bought: 1/2 - 1/2
    want = (5 / 12 + 1 / 2) / 12
    np.testing.assert_allclose(user_bias(biases, history, feedback), [[want, 0], [0, 0]], atol=1e-7)
    scores = [[want + 1 / 12, want - 1 / 12, want], [1 / 12, -1 / 12, 0]]
    np.testing.assert_allclose(score_bias(biases, history, feedback), scores, atol=1e-6)
    got = predict_bias(biases, history, feedback, jnp.array([[1], [0]]))
    np.testing.assert_allclose(got, [[[0.5 + want - 1 / 12, 0.5]], [[0.5 + 1 / 12, 0.5]]], atol=1e-6)


def test_predictions_stay_within_the_range_of_feedback(log: Log) -> None:
    biases = bias(log).replace(mean=jnp.array([0.99, 0.01]))
    history = jnp.zeros((1, 200), jnp.int32)
    feedback = jnp.broadcast_to(jnp.array([1.0, 0.0]), (1, 200, 2))
    got = predict_bias(biases, history, feedback, jnp.array([[0]]))
    assert ((got >= 0) & (got <= 1)).all()
