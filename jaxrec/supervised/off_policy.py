"""Top-K off-policy corrected REINFORCE (arXiv 1812.02353): learning from rewards in a log that another policy chose.

    loss = -mean_t  w_t R_t log pi(a_t | s_t)                                           (equations 3 and 6)
    w_t  = min(pi(a_t | s_t) / beta(a_t | s_t), cap) x K (1 - pi(a_t | s_t))^(K - 1)

R_t is the discounted reward of the row and of those that follow it. beta is what the log's own policy would show. It is
a head of its own, fitted to all rows, which reads the state of pi and passes no gradient back to it (section 4.3). With
K = 1 the weight is the ratio alone. With more, an item that is likely to be among the K shown anyway gains no more.
"""

from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxrec.data.log import Log
from jaxrec.nets.scores import Items
from jaxrec.ops.dense import Dense
from jaxrec.ops.losses import corrected_weights
from jaxrec.ops.softmax import log_chances, softmax_loss
from jaxrec.types import Array, Metrics, Params


class Rows(NamedTuple):
    """The rows of a batch as the loss reads them."""

    queries: Array  # [N, W] of the policy
    target: Array  # [N] int32, place of the shown item
    valid: Array  # [N] float, 0 where there is no target
    reward: Array  # [N] discounted rewards from the row on


class Behaviour(nn.Module):
    """The policy that wrote the log: queries [N, W] -> queries [N, W] of its own, and a bias [R] of each item."""

    items: int  # R

    @nn.compact
    def __call__(self, queries: Array) -> tuple[Array, Array]:
        """One hidden layer; the biases are how often items are shown to anybody."""
        width = queries.shape[-1]
        own = Dense(width, name="query")(nn.tanh(Dense(2 * width, name="hidden")(queries)))
        return own, self.param("bias", nn.initializers.zeros_init(), (self.items,))


def fresh_behaviour(key: Array, items: int, width: int) -> Params:
    """First parameters of the head."""
    return Behaviour(items).init(key, jnp.zeros((1, width)))["params"]


def off_policy_loss(
    rows: Rows, items: Items, behaviour: Params, *, cap: float, top_k: int, chunk: int
) -> tuple[Array, Metrics]:
    """The corrected loss of the policy plus the cross-entropy of the behaviour policy: [], metrics."""
    fixed = jax.lax.stop_gradient(rows.queries), jax.lax.stop_gradient(items.vectors), jax.lax.stop_gradient(items.bias)
    own, bias = cast(tuple[Array, Array], Behaviour(len(items.bias)).apply({"params": behaviour}, fixed[0]))
    count = jnp.maximum(rows.valid.sum(), 1.0)
    surprise = softmax_loss(own, fixed[1], bias, rows.target, rows.valid, chunk) / count
    log_pi = log_chances(*fixed, rows.target, chunk)
    log_beta = log_chances(jax.lax.stop_gradient(own), fixed[1], jax.lax.stop_gradient(bias), rows.target, chunk)
    weights = corrected_weights(log_pi, log_beta, cap, top_k)
    earned = rows.valid * rows.reward * weights
    loss = softmax_loss(rows.queries, items.vectors, items.bias, rows.target, earned, chunk) / count
    capped = jnp.where(log_pi - log_beta > jnp.log(cap), rows.valid, 0.0).sum() / count
    metrics = {
        "policy_loss": loss,
        "behaviour_loss": surprise,
        "weight": (rows.valid * weights).sum() / count,
        "capped": capped,
    }
    return loss + surprise, metrics | {"loss": loss + surprise, "targets": rows.valid.sum()}


def returns_of_rows(log: Log, reward: np.ndarray, gamma: float) -> np.ndarray:
    """Discounted reward of each row and of its user's later ones, from rewards [R] of single rows: [R] float32."""
    total = reward.astype(np.float64)
    if gamma:
        last = np.append(np.diff(log.user) != 0, True)
        for row in range(len(total) - 2, -1, -1):
            if not last[row]:
                total[row] += gamma * total[row + 1]
    return total.astype(np.float32)
