"""When users come back: the model of comeback days that cross-session simulators read (KuaiSim, arXiv 2309.12645).

    P = clip(v . z + c + reward_weight * satisfaction + base, .001, .999)
    P(day d) ~ P (1 - P)^(d - 1), d = 1..10

z is the user's state after the session, satisfaction the mean weighted feedback of the session's last slate. Fitting is
in comeback_fit.py.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.types import Array

LONGEST = 10  # days; the model describes users who come back within them
CHANCE_RANGE = (0.001, 0.999)  # of P


class ComebackModel(struct.PyTreeNode):
    """Weights on the states of an ensemble of response models; their scores are averaged."""

    v: Array  # [members, d]
    c: Array  # [members]
    reward_weight: Array  # []
    base: Array  # []
    source: str = struct.field(pytree_node=False)  # "log": trained on its gaps; "seed": drawn, nothing to train on


def comeback_chance(model: ComebackModel, z: Array, satisfaction: Array) -> Array:
    """P of a user in states z [members, d] after `satisfaction` []: []."""
    return jnp.clip(comeback_score(model, z, satisfaction), *CHANCE_RANGE)


def comeback_score(model: ComebackModel, z: Array, satisfaction: Array) -> Array:
    """P before it is clipped: []."""
    liking = ((model.v * z).sum(-1) + model.c).mean()
    return liking + model.reward_weight * satisfaction + model.base


def day_log_probabilities(chance: Array) -> Array:
    """Log P(day) of days 1 to 10: [...] -> [..., 10]."""
    days = jnp.expand_dims(jnp.arange(LONGEST, dtype=chance.dtype), tuple(range(chance.ndim)))
    return jax.nn.log_softmax(jnp.log(chance)[..., None] + days * jnp.log1p(-chance)[..., None])


def draw_day(chance: Array, uniform: Array) -> Array:
    """The day of the comeback, 1 to 10, from a number in [0, 1): [], [] -> [] int32."""
    below = uniform >= jnp.cumsum(jnp.exp(day_log_probabilities(chance)))
    return jnp.minimum(1 + below.sum(dtype=jnp.int32), LONGEST)
