import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.nets.tastes import Drawing, Moments
from jaxrec.supervised.taste_link import Held, fit_link, logistic, losses_of_users
from jaxrec.supervised.taste_posterior import Rows
from jaxrec.types import PADDING


def certain(logits: np.ndarray) -> Moments:
    return Moments(logits, np.zeros_like(logits), np.zeros_like(logits))


def test_losses_of_users_add_up_to_the_mean_over_rows_and_kinds() -> None:
    """At a logit of 0 every answer has a loss of log 2; user 1 has no rows."""
    answers = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], np.float32)
    rows = Rows(np.array([0, 0, 2]), np.zeros(3, int), answers, np.zeros_like(answers))
    got = losses_of_users(Held(rows, certain(np.zeros((3, 2)))), logistic(2), 4)
    np.testing.assert_allclose(got, np.log(2) * np.array([2 / 3, 0.0, 1 / 3, 0.0]))


def test_items_drawn_for_a_row_count_for_its_user() -> None:
    rows = Rows(np.array([0, 2]), np.zeros(2, int), np.ones((2, 1), np.float32), np.zeros((2, 1), np.float32))
    items = np.array([[3, PADDING], [1, 2]])
    held = Held(rows, certain(np.zeros((2, 1))), certain(np.zeros((2, 2, 1))), items)
    drawing = Drawing(jnp.full(4, 0.25), jnp.ones(1), jnp.zeros((4, 1)), 2)
    got = losses_of_users(held, logistic(1), 3, drawing)
    np.testing.assert_allclose(got, np.log(2) * np.array([2 / 5, 0.0, 3 / 5]))


def test_the_sum_is_the_loss_of_the_fitted_curve() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200, 2))
    answers = (rng.random((200, 2)) < 1 / (1 + np.exp(-2 * logits))).astype(np.float32)
    held = Held(Rows(rng.integers(0, 20, 200), np.zeros(200, int), answers, np.zeros_like(answers)), certain(logits))
    loss, link = fit_link([held])
    assert losses_of_users(held, link, 20).sum() == pytest.approx(loss, abs=1e-6)
