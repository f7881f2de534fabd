"""Action values of single items, from what a policy's network gives."""

import jax.numpy as jnp

from jaxrec.nets.policy import PolicyOutput
from jaxrec.types import Array


def q_values(output: PolicyOutput, dueling: str = "level") -> Array:
    """Q(s, i) of every item on offer, -inf where masked: [..., M].

    "level": value + logit. "mean": value + logit - mean logit of the items on offer (arXiv 1511.06581, eq. 9). "none":
    the logit.
    """
    logits = output.logits
    if dueling == "none":
        return logits
    level = output.value
    if dueling == "mean":
        open_ = logits > -jnp.inf
        total = jnp.where(open_, logits, 0.0).sum(-1)
        level = level - total / jnp.maximum(open_.sum(-1), 1).astype(logits.dtype)
    return logits + level[..., None]
