"""Small tastes with known numbers, and logs of users with these tastes."""

import jax.numpy as jnp
import numpy as np

from jaxrec.config.logged import LoggedConfig
from jaxrec.data.log import Log
from jaxrec.envs import logged
from jaxrec.envs.logged_world import make_world
from jaxrec.nets.tastes import Belief, Link, Tastes
from jaxrec.supervised.calibration import sigmoid
from jaxrec.types import Env

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


def two_people(requests: int = 2, *, repeats: bool = False) -> Env:
    """Visits of a few requests of one item, by two kinds of person who are as frequent and have no past.

    Item 0 is liked by the first for sure, and by the second never. They like item 1 at .8 and .1, item 2 at .1 and .7.
    """
    chance = np.array([[1.0, 0.8, 0.1], [0.0, 0.1, 0.7]]).clip(1e-6, 1 - 1e-6)
    theta = np.concatenate([np.zeros((2, 1)), np.log(chance / (1 - chance))], 1)[:, None]  # [U, F = 1, 1 + 3]
    tastes = Tastes(
        item_vectors=jnp.eye(3),
        item_logits=jnp.zeros((3, 1)),
        link=plain_link(1),
        population=random_tastes(3, 3, kinds=1).population,
        means=jnp.asarray(theta, jnp.float32),
        draws=jnp.asarray(theta[None], jnp.float32),
        feedback_names=("liked",),
    )
    log = Log(
        user=np.arange(2, dtype=np.int32),
        item=np.zeros(2, np.int32),
        time=np.arange(2),
        feedback=np.ones((2, 1), np.float32),
        feedback_names=("liked",),
        num_users=2,
        num_items=3,
    )
    config = LoggedConfig(slate_size=1, requests=requests, repeats=repeats)
    return logged.make(config, make_world(tastes, log, np.eye(3, dtype=np.float32), 3))
