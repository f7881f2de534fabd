"""The networks of the user response model: item fields and a user's past -> logits of every feedback kind.

    logit_b(i) = <A_b(z), E(i)> / sqrt(d) + item_b(i) + user_b(z)

E(i) is the sum of layer-normed projections of the item's fields (text vector, statistics) and a learned vector of its
id. z reads the window of latest items through a causal Transformer and a feedback-weighted mean, totals of the
whole past, and the context of the visit. Terms of one id are multiplied by `trust` = count / (count + strength), so
rare items depend mostly on their text. The form is that of KuaiSim's response model (arXiv 2309.12645), with the
sigmoid applied once.
"""

import jax.numpy as jnp
from flax import linen as nn

from jaxrec.nets.history import make_history_encoder
from jaxrec.ops.dense import Dense
from jaxrec.types import Array


class ItemEncoder(nn.Module):
    """Fields of items -> encodings [..., d] and item logits [..., F]."""

    num_items: int
    num_feedback: int
    width: int
    dropout: float = 0.0

    @nn.compact
    def __call__(self, ids: Array, text: Array | None, statistics: Array, trust: Array) -> tuple[Array, Array]:
        """Ids [...], text [..., E] or None, statistics [..., 1 + F], trust [...]."""
        fields = nn.LayerNorm(name="statistics_norm")(Dense(self.width, name="statistics")(statistics))
        if text is not None:
            fields += nn.LayerNorm(name="text_norm")(Dense(self.width, name="text")(text))
        zeros = nn.initializers.zeros_init()
        id_vector = nn.Embed(self.num_items, self.width, embedding_init=zeros, name="id_vector")(ids)
        id_logit = nn.Embed(self.num_items, self.num_feedback, embedding_init=zeros, name="id_logit")(ids)
        fields = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))(fields)
        shared = Dense(self.num_feedback, name="fields_logit")(fields)
        direct = Dense(self.num_feedback, use_bias=False, name="statistics_logit")(statistics)
        return fields + trust[..., None] * id_vector, shared + direct + trust[..., None] * id_logit


class UserEncoder(nn.Module):
    """What a user did -> state z: with `last` the state to act from, else the state before each position."""

    width: int
    layers: int
    heads: int
    dropout: float = 0.0

    @nn.compact
    def __call__(self, rows: Array, feedback: Array, mask: Array, features: Array, *, last: bool = False) -> Array:
        """Rows [..., H, d], feedback [..., H, F], mask [..., H], features [..., H, D] (last: [..., D])."""
        history = make_history_encoder("transformer", self.width, self.layers, self.heads, self.dropout)
        if last:
            read = history(rows, feedback, mask, last=True)
        else:
            read = history(rows[..., :-1, :], feedback[..., :-1, :], mask[..., :-1])
        mixed = Dense(self.width, name="history")(read) + Dense(self.width, name="features")(features)
        taste = Dense(self.width, name="taste")(taste_profile(rows, feedback, mask, last))
        return nn.gelu(nn.LayerNorm(name="norm")(mixed)) + taste


def taste_profile(rows: Array, feedback: Array, mask: Array, last: bool) -> Array:
    """Feedback-weighted means of item rows, shrunk to 0 by five zero rows: [..., H, d] -> [..., H or none, d (1 + F)].

    They give the direction of the liked items. They are linear in every answer, so few learning steps find it.
    """
    count = mask[..., None].astype(rows.dtype)
    weights = jnp.concatenate([count, feedback * count], axis=-1)  # of seen items, and of each kind of feedback
    each = (weights[..., :, None] * rows[..., None, :]).reshape(*rows.shape[:-1], -1)
    if last:
        return each.sum(-2) / (count.sum(-2) + 5.0)
    before, count = jnp.cumsum(each, axis=-2) - each, jnp.cumsum(count, axis=-2) - count
    return before / (count + 5.0)


class ResponseHead(nn.Module):
    """State and items -> logits of every kind of feedback."""

    num_feedback: int

    @nn.compact
    def __call__(self, z: Array, encoding: Array, item_logit: Array) -> Array:
        """States [..., d], encodings [..., K, d], item logits [..., K, F] -> [..., K, F]."""
        width = encoding.shape[-1]
        query = Dense(self.num_feedback * width, name="query")(z)
        query = query.reshape(*z.shape[:-1], self.num_feedback, width)
        match = jnp.einsum("...fd,...kd->...kf", query, encoding) / width**0.5
        shared = Dense(self.num_feedback, name="user_logit")(z)[..., None, :]
        return match + jnp.expand_dims(item_logit, tuple(range(match.ndim - item_logit.ndim))) + shared
