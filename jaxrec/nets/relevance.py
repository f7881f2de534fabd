"""Relevance feedback: scores of items by how alike their rows are to those of the history.

This is Rocchio's query (in Salton, The SMART Retrieval System, 1971, chapter 14) in a policy. For each kind of feedback
it weighs the mean row of the history's items that got it, and that of those that did not, at several rates of
forgetting. Rocchio sets the weights by hand. Here a perceptron reads the state and learns them, so they may depend on
how much is known of a user. Few numbers are learned, and they say the same about every item, so what was liked once is
found again after little training. A product of two towers has to learn the rows themselves first.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from jaxrec.nets.history import faded_sums, feedback_kinds
from jaxrec.ops.dense import Dense
from jaxrec.types import PADDING, Array, Observation

RATES = (0.0, 0.1)  # of forgetting per item, as in `ProfileHistory`


class RelevanceFeedback(nn.Module):
    """State and history -> a query in the space of item rows [..., E]; zero at first."""

    hidden: Sequence[int]

    @nn.compact
    def __call__(self, state: Array, table: Array, obs: Observation) -> Array:
        """States [..., S] of users who observe a history of items of the table [I, E]."""
        means = history_means(table, obs)
        x = state
        for n, size in enumerate(self.hidden):
            x = nn.tanh(Dense(size, kernel_init=nn.initializers.orthogonal(2**0.5), name=f"hidden_{n}")(x))
        weights = Dense(means.shape[-2], kernel_init=nn.initializers.zeros_init(), name="weights")(x)
        return jnp.einsum("...c,...ce->...e", weights, means)


def history_means(table: Array, obs: Observation) -> Array:
    """Mean rows of the history: [..., 2F R, E], with and without each kind of feedback, for one rate after another.

    A sum is divided by its weighted count plus 1, so it is short where little is known.
    """
    assert obs.history_items is not None and obs.history_feedback is not None
    ids = obs.history_items
    seen = (ids != PADDING)[..., None].astype(jnp.float32)
    kinds = feedback_kinds(obs.history_feedback.astype(jnp.float32), seen)
    parts = faded_sums(kinds, table.astype(jnp.float32), seen, jnp.maximum(ids, 0), RATES)
    return jnp.concatenate([sums / (counts[..., None] + 1.0) for sums, counts in parts], axis=-2)
