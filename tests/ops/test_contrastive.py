import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.ops.contrastive import full_softmax_loss, in_batch_loss

E1, E2 = [1.0, 0.0], [0.0, 1.0]


def test_in_batch_loss_by_hand() -> None:
    vectors = jnp.array([[E1, E2], [E1, E2]])  # cosines are the identity matrix
    items = jnp.array([[0, 1], [2, 3]])
    loss, metrics = in_batch_loss(vectors, items, jnp.zeros((2, 2)), 0.5)
    np.testing.assert_allclose(loss, np.log(1 + np.exp(-2.0)), rtol=1e-6)  # scores 2 and 0
    assert metrics["accuracy"] == 1.0


def test_frequent_items_are_weaker_negatives() -> None:
    vectors = jnp.array([[E1, E1], [E1, E1]])  # all alike
    items = jnp.array([[0, 1], [2, 3]])
    share = jnp.log(jnp.array([[0.5, 0.5], [0.75, 0.25]]))
    loss, _ = in_batch_loss(vectors, items, share, 1.0)
    # Second places: scores -log .75 and -log .25, so P of the partner is 1/4 and 3/4; first places: 1/2.
    want = 0.5 * (0.5 * (np.log(4) + np.log(4 / 3)) + np.log(2))
    np.testing.assert_allclose(loss, want, rtol=1e-6)


def test_an_items_own_partner_and_itself_are_no_negatives() -> None:
    vectors = jnp.array([[E1, E1], [E1, E1]])
    loss, _ = in_batch_loss(vectors, jnp.array([[0, 1], [2, 2]]), jnp.zeros((2, 2)), 1.0)
    # Second places are the same item; of the first places, the other one remains.
    np.testing.assert_allclose(loss, 0.5 * np.log(2), rtol=1e-5)
    loss, _ = in_batch_loss(vectors, jnp.array([[0, 2], [2, 0]]), jnp.zeros((2, 2)), 1.0)
    np.testing.assert_allclose(loss, 0.0, atol=1e-6)


def test_full_softmax_loss_by_hand() -> None:
    table = jnp.array([E1, E1, E2])
    vectors, items = jnp.array([[E1], [E1]]), jnp.array([[0], [1]])
    loss, metrics = full_softmax_loss(vectors, items, table, 0.5)
    np.testing.assert_allclose(loss, np.log(1 + np.exp(-2.0)), rtol=1e-6)  # itself left out: scores 2 and 0
    assert metrics["accuracy"] == 1.0
    slope = jax.grad(lambda t: full_softmax_loss(vectors, items, t, 0.5)[0])(table)
    assert not np.any(slope)
