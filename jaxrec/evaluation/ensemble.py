"""Weighted sums of standardised scores, with weights that make the validation rows likely.

With z_n the scores of recommender n at mean 0 and standard deviation 1 for each user, the weights w maximise the mean
of log softmax(sum_n w_n z_n) at the validation items, over all items that are not in the user's history. The function
is concave in w, so a few Newton steps find its maximum.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrec.checks import InputError
from jaxrec.data import Split
from jaxrec.evaluation.held_out import batches
from jaxrec.evaluation.scorers import Scorer
from jaxrec.sharding.compile import compiled
from jaxrec.types import PADDING, Array, Observation

RIDGE = 1e-4  # of the squared weights: recommenders that agree on everything share their weight
STEPS = 50
CLOSE = 1e-7  # gain of the mean log-likelihood that a step promises when the search ends


def standardised(scores: Array, recommendable: Array | None = None) -> Array:
    """Scores [..., I] at mean 0 and standard deviation 1 over the `recommendable` items [R], or over all.

    Scores that are not finite count nowhere and become 0. So does everything if all scores are equal.
    """
    known = jnp.isfinite(scores)
    scores = jnp.where(known, scores.astype(jnp.float32), 0.0)
    offered, counts = scores, known
    if recommendable is not None:
        offered, counts = (jnp.take(x, recommendable, axis=-1) for x in (scores, known))
    number = jnp.maximum(counts.sum(-1, keepdims=True), 1).astype(jnp.float32)
    mean = jnp.where(counts, offered, 0.0).sum(-1, keepdims=True) / number
    spread = jnp.sqrt(jnp.where(counts, jnp.square(offered - mean), 0.0).sum(-1, keepdims=True) / number)
    # Equal scores differ from their mean by rounding, which must not be blown up to a standard deviation of 1.
    differ = spread > 1e-5 * jnp.abs(mean)
    return jnp.where(known & differ, (scores - mean) / jnp.where(differ, spread, 1.0), 0.0)


def ensemble(scorers: Sequence[Scorer], weights: np.ndarray, recommendable: Array | None = None) -> Scorer:
    """Combine scorers with `weights` [n]."""

    def score(arrays: Any, obs: Observation) -> Array:
        weights, members, recommendable = arrays
        z = _members(scorers, members, recommendable, obs)
        return _weighted(weights, z)

    return Scorer(score, (jnp.asarray(weights, jnp.float32), [one.arrays for one in scorers], recommendable))


def fit_weights(scorers: Sequence[Scorer], split: Split, recommendable: Array | None = None) -> np.ndarray:
    """Weights [n] of the scorers that maximise the log-likelihood of the test rows of `split`.

    Pass validation rows as test rows. Raises InputError if none of them is outside its user's history.
    """
    program = compiled(partial(_sums, scorers))
    arrays = [one.arrays for one in scorers]

    def evaluate(weights: np.ndarray) -> Likelihood:
        now = jnp.asarray(weights, jnp.float32)
        parts = [
            program(now, arrays, recommendable, batch.obs, batch.masked, batch.targets)
            for batch in batches(split, None)
        ]
        total = jax.tree.map(lambda *x: np.sum(np.asarray(x, np.float64), axis=0), *parts)
        rows = float(total[3])
        if not rows:
            raise InputError("evaluate.ensemble: no validation row is new to its user; leave it empty.")
        value, gradient, curvature = (x / rows for x in total[:3])
        ridge = RIDGE * np.eye(len(weights))
        return Likelihood(value - 0.5 * weights @ ridge @ weights, gradient - ridge @ weights, curvature + ridge)

    return _maximum(evaluate, len(scorers))


class Likelihood(NamedTuple):
    """Mean log-likelihood of the targets, less the ridge, and its derivatives in the weights."""

    value: float
    gradient: np.ndarray  # [n]
    curvature: np.ndarray  # [n, n], minus the second derivatives


def _maximum(evaluate: Callable[[np.ndarray], Likelihood], size: int) -> np.ndarray:
    """Newton's method from zero weights; a step is halved until it gains enough."""
    weights, now = np.zeros(size), evaluate(np.zeros(size))
    for _ in range(STEPS):
        step = np.linalg.solve(now.curvature, now.gradient)
        gain = float(now.gradient @ step)
        while gain > CLOSE:
            after = evaluate(weights + step)
            if after.value > now.value + 0.1 * gain:
                break
            step, gain = step / 2, gain / 2
        else:
            return weights
        weights, now = weights + step, after
    return weights


def _members(scorers: Sequence[Scorer], arrays: Sequence[Any], recommendable: Array | None, obs: Observation) -> Array:
    """Standardised scores of every scorer: [n, ..., I]."""
    scores = [one.score(x, obs) for one, x in zip(scorers, arrays, strict=True)]
    return jnp.stack([standardised(x, recommendable) for x in scores])


def _weighted(weights: Array, z: Array) -> Array:
    """Sum of weights [n] times z [n, ..., I]."""
    return jnp.tensordot(weights, z, axes=1, precision=lax.Precision.HIGHEST)


def _sums(
    scorers: Sequence[Scorer],
    weights: Array,
    arrays: Sequence[Any],
    recommendable: Array | None,
    obs: Observation,
    masked: Array,
    targets: Array,
) -> tuple[Array, Array, Array, Array]:
    """Log-likelihood, gradient, curvature and number of the targets [B, t] that are not `masked` [B, I], summed."""
    z = _members(scorers, arrays, recommendable, obs)  # [n, B, I]
    logits = jnp.where(masked, -jnp.inf, _weighted(weights, z))
    log_p = jax.nn.log_softmax(logits, axis=-1)
    place = jnp.maximum(targets, 0)
    counts = (targets != PADDING) & ~jnp.take_along_axis(masked, place, axis=-1)  # [B, t]
    number = counts.sum(-1).astype(jnp.float32)  # [B]
    p = jnp.where(jnp.isfinite(log_p), jnp.exp(log_p), 0.0)  # NaN where the history holds every item
    mean = jnp.einsum("nbi,bi->nb", z, p, precision=lax.Precision.HIGHEST)
    own = jnp.take_along_axis(z, jnp.broadcast_to(place, (len(z), *place.shape)), axis=-1)  # [n, B, t]
    value = jnp.where(counts, jnp.take_along_axis(log_p, place, axis=-1), 0.0).sum()
    gradient = jnp.where(counts[None], own - mean[..., None], 0.0).sum((1, 2))
    centred, share = z - mean[..., None], (p * number[:, None])[None]
    curvature = jnp.einsum("nbi,mbi->nm", centred, centred * share, precision=lax.Precision.HIGHEST)
    return value, gradient, curvature, number.sum()
