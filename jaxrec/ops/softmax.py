"""Cross-entropy over a catalogue of items: exact in chunks of positions, or with sampled negatives."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.types import Array

NEVER = -1e9  # score of what must not count as a negative


def softmax_loss(queries: Array, vectors: Array, bias: Array, targets: Array, weights: Array, chunk: int) -> Array:
    """Sum over positions of weight x -log softmax(vectors @ query + bias)[target]: [].

    Queries [N, W], vectors [R, W], bias [R], targets [N] int32, weights [N]. Only `chunk` x R scores exist at a time.
    The gradient is computed together with the loss, so no score is computed twice. Positions of weight 0 come at no
    cost, apart from those that fill up a chunk. Targets and weights have no gradient.
    """
    order = jnp.argsort(weights == 0, stable=True)
    return _summed(queries[order], vectors, bias, targets[order], weights[order], min(chunk, len(targets)))


def log_chances(queries: Array, vectors: Array, bias: Array, targets: Array, chunk: int) -> Array:
    """Log softmax(vectors @ query + bias)[target] of every position: [N]; only `chunk` x R scores exist at a time."""
    chunk = min(chunk, len(targets))
    chunks = -(-len(targets) // chunk)
    filled = chunks * chunk - len(targets)
    query = jnp.pad(queries, ((0, filled), (0, 0))).reshape(chunks, chunk, -1)
    target = jnp.pad(targets, (0, filled)).reshape(chunks, chunk)
    losses = jax.lax.map(lambda part: _losses(part[0], vectors, bias, part[1])[0], (query, target))
    return -losses.reshape(-1)[: len(targets)]


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def _summed(queries: Array, vectors: Array, bias: Array, targets: Array, weights: Array, chunk: int) -> Array:
    """The loss alone; positions with a weight come first."""

    def add(start: Array, total: Array) -> Array:
        query, target, weight = _chunk(start, chunk, queries, targets, weights)
        return total + (weight * _losses(query, vectors, bias, target)[0]).sum()

    return _loop(weights, chunk, add, jnp.float32(0.0))


def _forward(queries: Array, vectors: Array, bias: Array, targets: Array, weights: Array, chunk: int):
    """The loss, and its gradient by queries, vectors and bias."""

    def add(start: Array, carry: tuple) -> tuple:
        total, by_query, by_vector, by_bias = carry
        query, target, weight = _chunk(start, chunk, queries, targets, weights)
        losses, p = _losses(query, vectors, bias, target)
        slope = weight[:, None] * p.at[jnp.arange(chunk), target].add(-1.0)  # [chunk, R]
        rows = jnp.where(weight[:, None] != 0, slope @ vectors, 0.0)  # the last chunk may repeat positions
        before = jax.lax.dynamic_slice_in_dim(by_query, _first(start, len(targets), chunk), chunk)
        by_query = jax.lax.dynamic_update_slice_in_dim(by_query, before + rows, _first(start, len(targets), chunk), 0)
        return total + (weight * losses).sum(), by_query, by_vector + slope.T @ query, by_bias + slope.sum(0)

    zeros = jnp.float32(0.0), jnp.zeros_like(queries), jnp.zeros_like(vectors), jnp.zeros_like(bias)
    total, *slopes = _loop(weights, chunk, add, zeros)
    return total, (slopes, targets)


def _backward(chunk: int, saved: tuple, upstream: Array):
    slopes, targets = saved
    return (*(upstream * slope for slope in slopes), np.zeros(targets.shape, jax.dtypes.float0), None)


_summed.defvjp(_forward, _backward)


def _loop(weights: Array, chunk: int, add: Any, start: Any) -> Any:
    """Fold `add(first position, carry)` over the chunks that have weights."""
    chunks = (jnp.sum(weights != 0) + chunk - 1) // chunk
    return jax.lax.fori_loop(0, chunks, lambda n, carry: add(n * chunk, carry), start)


def _first(start: Array, length: int, chunk: int) -> Array:
    return jnp.minimum(start, length - chunk)


def _chunk(start: Array, chunk: int, queries: Array, targets: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Positions from `start`; the last chunk begins earlier, and what it repeats gets the weight 0."""
    first = _first(start, len(targets), chunk)
    query, target, weight = (jax.lax.dynamic_slice_in_dim(x, first, chunk) for x in (queries, targets, weights))
    return query, target, jnp.where(first + jnp.arange(chunk) >= start, weight, 0.0)


def _losses(query: Array, vectors: Array, bias: Array, target: Array) -> tuple[Array, Array]:
    """-log softmax of the targets [N], and the softmax [N, R]."""
    logits = query @ vectors.T + bias[None]
    logits = logits - jax.lax.stop_gradient(logits.max(axis=-1, keepdims=True))
    raised = jnp.exp(logits)
    total = raised.sum(axis=-1, keepdims=True)
    own = jnp.take_along_axis(logits, target[:, None], axis=-1)
    return (jnp.log(total) - own)[:, 0], raised / total


def sampled_softmax_loss(
    queries: Array,
    vectors: Array,
    bias: Array,
    targets: Array,
    weights: Array,
    negatives: Array,
    log_expected: Array,
) -> Array:
    """Estimate `softmax_loss` from `negatives` [n], shared by all positions and drawn with replacement: [].

    `log_expected` [n] is the log of how often each of them is drawn on average, n x probability. It is subtracted from
    their scores (log-Q correction), so that the mean of sum exp(score) over draws is that over all items but the
    target. A negative that is the target of a position does not count there.
    """
    own = jnp.sum(queries * vectors[targets], axis=-1) + bias[targets]  # [N]
    others = queries @ vectors[negatives].T + (bias[negatives] - log_expected)[None]
    others = jnp.where(negatives[None] == targets[:, None], NEVER, others)
    total = jax.nn.logsumexp(jnp.concatenate([own[:, None], others], axis=1), axis=1)
    return jnp.sum(weights * (total - own))
