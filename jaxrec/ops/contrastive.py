"""Losses that separate an item's partner from other items: arrays in, (scalar, metrics) out."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxrec.types import Array, Metrics

NEVER = -1e9  # score of what must not count as a negative


def in_batch_loss(vectors: Array, items: Array, log_share: Array, temperature: float) -> tuple[Array, Metrics]:
    """Symmetric InfoNCE over the pairs of a batch; [2, B, E] unit length, [2, B], [2, B] -> ([], metrics).

    The negatives of an item are the partners of the others. `log_share` is subtracted from the scores of the drawn
    items (the log-Q correction, arXiv:1906.07979, section 3.2), since frequent items are negatives more often. An item
    of another pair that is also in this pair is not a negative.
    """
    scores = _cosines(vectors[0], vectors[1]) / temperature
    first, second = items
    other = ~jnp.eye(len(first), dtype=bool)
    losses, hits = [], []
    for logits, own, partner, share in ((scores, first, second, log_share[1]), (scores.T, second, first, log_share[0])):
        same = (partner[None] == partner[:, None]) | (partner[None] == own[:, None])
        logits = jnp.where(other & same, NEVER, logits - share[None])
        losses.append(-jnp.diagonal(jax.nn.log_softmax(logits)).mean())
        hits.append((logits.argmax(-1) == jnp.arange(len(own))).astype(jnp.float32).mean())
    loss = 0.5 * (losses[0] + losses[1])
    return loss, {"loss": loss, "accuracy": 0.5 * (hits[0] + hits[1])}


def full_softmax_loss(vectors: Array, items: Array, table: Array, temperature: float) -> tuple[Array, Metrics]:
    """Cross-entropy of the partner among all items; [2, B, E] unit length, [2, B], [I, E] -> ([], metrics).

    The table has no gradient and may be some steps old. The partner is read from it too: next to a fresh vector
    of the partner, old negatives could be recognised by their age. Both directions count equally. An item is not its
    own negative.
    """
    rows = jnp.arange(items.shape[1])
    losses, hits = [], []
    for one, own, partner in ((vectors[0], items[0], items[1]), (vectors[1], items[1], items[0])):
        logits = _cosines(one, lax.stop_gradient(table)) / temperature
        logits = logits.at[rows, own].set(NEVER)
        losses.append((jax.nn.logsumexp(logits, axis=-1) - logits[rows, partner]).mean())
        hits.append((logits.argmax(-1) == partner).astype(jnp.float32).mean())
    loss = 0.5 * (losses[0] + losses[1])
    return loss, {"loss": loss, "accuracy": 0.5 * (hits[0] + hits[1])}


def _cosines(x: Array, y: Array) -> Array:
    return jnp.matmul(x, y.T, precision=lax.Precision.HIGHEST)
