"""Losses: arrays in, (scalar, metrics) out."""

import chex
import jax
import jax.numpy as jnp
import optax

from jaxrec.types import Array, Metrics


def clipped_policy_loss(log_prob: Array, old_log_prob: Array, advantage: Array, clip: float) -> tuple[Array, Metrics]:
    """Clipped surrogate of one probability ratio per slate or pick; [...], [...], [...] -> ([], metrics).

    PPO, arXiv 1707.06347, eq. 7. `approx_kl` is the low-variance estimate mean(ratio - 1 - log ratio).
    """
    chex.assert_equal_shape([log_prob, old_log_prob, advantage])
    log_ratio = log_prob - old_log_prob
    ratio = jnp.exp(log_ratio)
    advantage = jax.lax.stop_gradient(advantage)
    loss = -jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage).mean()
    metrics = {
        "policy_loss": loss,
        "approx_kl": (ratio - 1 - log_ratio).mean(),
        "clip_fraction": (jnp.abs(ratio - 1) > clip).mean(),
    }
    return loss, metrics


def policy_gradient_loss(log_prob: Array, advantage: Array) -> Array:
    """Surrogate whose gradient is the policy gradient, -mean(log pi advantage); [...], [...] -> [] (Williams, 1992)."""
    chex.assert_equal_shape([log_prob, advantage])
    return -(log_prob * jax.lax.stop_gradient(advantage)).mean()


def corrected_weights(log_prob: Array, log_behaviour: Array, cap: float, top_k: int) -> Array:
    """Weights of logged actions for a policy that shows the best `top_k` items; [...], [...] -> [...], no gradient.

    min(pi / beta, cap) K (1 - pi)^(K - 1): the importance ratio to the policy that wrote the log, and the derivative of
    the chance 1 - (1 - pi)^K that K draws hold the item by pi (arXiv 1812.02353, equation 6 and section 4.4.2).
    """
    chex.assert_equal_shape([log_prob, log_behaviour])
    ratio = jnp.exp(jnp.minimum(log_prob - log_behaviour, jnp.log(cap)))
    often = top_k * (-jnp.expm1(jnp.minimum(log_prob, 0.0))) ** (top_k - 1)
    return jax.lax.stop_gradient(ratio * often)


def value_loss(value: Array, old_value: Array, target: Array, clip: float | None) -> Array:
    """Half the squared error; [...], [...], [...] -> []. With `clip`, the pessimistic clipped form of PPO."""
    chex.assert_equal_shape([value, old_value, target])
    target = jax.lax.stop_gradient(target)
    error = jnp.square(value - target)
    if clip is not None:
        near = old_value + jnp.clip(value - old_value, -clip, clip)
        error = jnp.maximum(error, jnp.square(near - target))
    return 0.5 * error.mean()


def slate_entropy(log_prob: Array, old_log_prob: Array) -> Array:
    """Entropy of sampled slates, -E log pi, estimated from slates of the older policy; [...], [...] -> [].

    Differentiating the plain estimate -log pi gives zero on average (E grad log pi = 0), so a bonus would have
    no effect. The value here is the importance-weighted estimate; its gradient is the score-function gradient
    -E[ratio (log pi - mean) grad log pi], which pushes towards higher entropy in expectation.
    """
    chex.assert_equal_shape([log_prob, old_log_prob])
    ratio = jnp.exp(log_prob - old_log_prob)
    fixed = jax.lax.stop_gradient(log_prob)
    baseline = fixed.mean()
    return -(ratio * (fixed - baseline)).mean() - baseline


def categorical_entropy(logits: Array) -> Array:
    """Exact entropy of single choices; [..., M] -> []. Masked entries are -inf and contribute nothing."""
    log_p = jax.nn.log_softmax(logits)
    p = jnp.exp(log_p)
    return -jnp.where(p > 0, p * jnp.where(p > 0, log_p, 0.0), 0.0).sum(-1).mean()


def categorical_kl(logits: Array, others: Array) -> Array:
    """Exact KL(softmax(logits) || softmax(others)), mean over states; [..., M], [..., M] -> [].

    Entries that are -inf in `logits` contribute nothing.
    """
    chex.assert_equal_shape([logits, others])
    log_p, log_q = jax.nn.log_softmax(logits), jax.nn.log_softmax(others)
    open_ = logits > -jnp.inf
    ratio = jnp.where(open_, log_p, 0.0) - jnp.where(open_, log_q, 0.0)
    return (jnp.where(open_, jnp.exp(log_p), 0.0) * ratio).sum(-1).mean()


def td_loss(q: Array, target: Array, weight: Array, huber: float) -> tuple[Array, Metrics]:
    """Huber loss of action values against fixed targets; [..., K], [..., K], [...] -> ([], metrics).

    Half the squared error up to `huber`, linear beyond (the clipped error of Mnih et al., Nature 518, 2015). Loss and
    metrics are means weighted by `weight`.
    """
    chex.assert_equal_shape([q, target])
    chex.assert_shape(weight, q.shape[:-1])
    weight = jnp.broadcast_to(weight[..., None], q.shape)
    total = jnp.maximum(weight.sum(), 1.0)
    target = jax.lax.stop_gradient(target)
    loss = (weight * optax.huber_loss(q, target, delta=huber)).sum() / total
    metrics = {
        "loss": loss,
        "td_error": (weight * jnp.abs(q - target)).sum() / total,
        "q_mean": (weight * q).sum() / total,
        "target_mean": (weight * target).sum() / total,
    }
    return loss, metrics


def choice_loss(mass: Array, chosen: Array, weight: Array) -> Array:
    """Cross-entropy of a conditional logit with what was chosen; [..., K], [..., K], [...] -> [].

    Item i of a slate is chosen with chance mass_i / (1 + sum mass), nothing with the rest. `chosen` has sum 1, or 0 for
    nothing. The mean is weighted by `weight`.
    """
    chex.assert_equal_shape([mass, chosen])
    chex.assert_shape(weight, chosen.shape[:-1])
    each = jnp.log1p(mass.sum(-1)) - (chosen * jnp.log(jnp.maximum(mass, 1e-12))).sum(-1)
    return (weight * each).sum() / jnp.maximum(weight.sum(), 1.0)
