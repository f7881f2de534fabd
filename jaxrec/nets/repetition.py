"""How often and how long ago a user was shown, and reacted to, items of each topic; and what that does to scores.

An item's main topic is the largest column of its row: the item table's columns are topics. For every topic, what was
shown in the history and each kind of feedback on it are counted, with several rates of forgetting by slates. A
perceptron reads the counts of one topic, the user's own number for it if there is one, and the state. Its outputs are
the topic's bonus for the first, second, ... item of a slate (`jaxrec.ops.spread_slates`). A product of two towers
cannot express that the third item of a topic is one too many, or that a topic should rest.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.ops.dense import Dense
from jaxrec.types import PADDING, Array, Observation

RATES = (0.0, 0.2, 0.5)  # of forgetting per slate
LEVELS = 6  # bonuses of a topic: the sixth item of a slate and those after it share the last


class TopicBonus(nn.Module):
    """State and counts of the topics -> bonus [..., G, L]."""

    hidden: Sequence[int]
    slate_size: int

    @nn.compact
    def __call__(self, state: Array, table: Array, obs: Observation) -> Array:
        """States [..., S] of users who observe a history; the table is [I, G]."""
        counts = topic_counts(table, obs, self.slate_size)
        if obs.user is not None and obs.user.shape[-1] == table.shape[1]:
            counts = jnp.concatenate([counts, obs.user[..., None]], axis=-1)
        wide = nn.initializers.orthogonal(2**0.5)
        x = Dense(self.hidden[0], kernel_init=wide, name="state")(state)[..., None, :]
        x = nn.tanh(x + Dense(self.hidden[0], use_bias=False, kernel_init=wide, name="counts")(counts))
        for n, size in enumerate(self.hidden[1:]):
            x = nn.tanh(Dense(size, kernel_init=wide, name=f"hidden_{n}")(x))
        levels = min(self.slate_size, LEVELS)
        return Dense(levels, kernel_init=nn.initializers.orthogonal(0.01), name="bonus")(x)


def main_topics(rows: Array) -> Array:
    """The largest column of rows: [..., G] -> [...] int32."""
    return jnp.argmax(rows, axis=-1).astype(jnp.int32)


def topic_counts(table: Array, obs: Observation, slate_size: int) -> Array:
    """Logarithms of 1 + counts: [..., G, R (1 + F)], for each rate what was shown and each kind of feedback on it."""
    assert obs.history_items is not None and obs.history_feedback is not None
    ids = obs.history_items
    topics = jax.nn.one_hot(main_topics(table)[jnp.maximum(ids, 0)], table.shape[1])  # [..., H, G]
    seen = (ids != PADDING).astype(jnp.float32)
    kinds = jnp.concatenate([seen[..., None], obs.history_feedback * seen[..., None]], axis=-1)  # [..., H, 1 + F]
    age = (jnp.arange(ids.shape[-1])[::-1] // slate_size).astype(jnp.float32)
    fade = jnp.stack([(1.0 - rate) ** age for rate in RATES], axis=-1)  # [H, R]
    counts = jnp.einsum("...hg,...hf,hr->...grf", topics, kinds, fade)
    return jnp.log1p(jnp.maximum(counts.reshape(*counts.shape[:-2], -1), 0.0))
