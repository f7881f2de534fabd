"""Small tastes with known numbers, and logs of users with these tastes."""

import jax.numpy as jnp
import numpy as np

from jaxrec.data.log import Log
from jaxrec.supervised.calibration import sigmoid
from jaxrec.supervised.tastes import Belief, Link, Tastes

KINDS = ("liked", "disliked")


def plain_link(kinds: int) -> Link:
    """The sigmoid itself, with the whole variance."""
    return Link(*(jnp.full(kinds, x) for x in (1.0, 0.0, 0.0, 1.0, 1.0)))


def random_tastes(items: int, width: int, kinds: int = 2, link: Link | None = None, seed: int = 0) -> Tastes:
    """Items with random vectors and logits, and a population of unit variance around random means."""
    rng = np.random.default_rng(seed)
    size = 1 + width
    return Tastes(
        item_vectors=jnp.asarray(rng.normal(size=(items, width)), jnp.float32),
        item_logits=jnp.asarray(0.5 * rng.normal(size=(items, kinds)), jnp.float32),
        link=plain_link(kinds) if link is None else link,
        population=Belief(
            jnp.asarray(0.3 * rng.normal(size=(kinds, size)), jnp.float32), jnp.tile(jnp.eye(size)[None], (kinds, 1, 1))
        ),
        feedback_names=KINDS[:kinds],
    )


def random_log(lengths: np.ndarray, items: int, kinds: int = 2, seed: int = 0) -> Log:
    """Rows of users with `lengths` [U] rows on random items, answered by the toss of a coin."""
    rng = np.random.default_rng(seed)
    rows = int(lengths.sum())
    return Log(
        user=np.repeat(np.arange(len(lengths)), lengths).astype(np.int32),
        item=rng.integers(0, items, rows).astype(np.int32),
        time=np.arange(rows),
        feedback=(rng.random((rows, kinds)) < 0.5).astype(np.float32),
        feedback_names=KINDS[:kinds],
        num_users=len(lengths),
        num_items=items,
    )


def newton(x: np.ndarray, offset: np.ndarray, answers: np.ndarray, mean: np.ndarray, precision: np.ndarray):
    """Most likely theta [D] of logistic regression with a normal prior, and the curvature there [D, D].

    Rows x [R, D] with offsets [R] and answers [R]; the prior has `mean` [D] and `precision` [D, D].
    """
    theta = np.array(mean, np.float64)
    for _ in range(50):
        p = 1 / (1 + np.exp(-(x @ theta + offset)))
        gradient = x.T @ (p - answers) + precision @ (theta - mean)
        theta = theta - np.linalg.solve((x.T * (p * (1 - p))) @ x + precision, gradient)
    p = 1 / (1 + np.exp(-(x @ theta + offset)))
    return theta, (x.T * (p * (1 - p))) @ x + precision


def known_people(users: int = 80, items: int = 40, rows: int = 25, seed: int = 0):
    """A log of two kinds of feedback by people with tastes in two dimensions -> log, item vectors, P [R, F]."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(items, 2))
    taste = 1.5 * rng.normal(size=(users, 2, 2))  # [U, F, 2]
    item = np.concatenate([rng.permutation(items)[:rows] for _ in range(users)])
    user = np.repeat(np.arange(users), rows)
    p = sigmoid(np.einsum("rfd,rd->rf", taste[user], vectors[item]))
    log = Log(
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        time=np.tile(np.arange(rows), users),
        feedback=(rng.random(p.shape) < p).astype(np.float32),
        feedback_names=("liked", "disliked"),
        num_users=users,
        num_items=items,
    )
    return log, vectors.astype(np.float32), p
