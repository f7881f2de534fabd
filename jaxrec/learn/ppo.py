"""Proximal policy optimisation (arXiv 1707.06347): one probability ratio per action, kept near 1 by clipping.

Over slates the ratio is that of the whole slate under the Plackett-Luce model or, with item-level credit, that of each
pick given the earlier ones (`jaxrec.learn.credit`). Advantages are normalised over the minibatch of all shards.
"""

from functools import partial

from jaxrec.config.on_policy import PpoConfig
from jaxrec.learn.actor import Judged
from jaxrec.learn.on_policy import Batch, make_on_policy, standardised
from jaxrec.ops.losses import clipped_policy_loss, value_loss
from jaxrec.types import Array, Env, Learner, Metrics


def make(env: Env, config: PpoConfig) -> Learner:
    """Build PPO over an auto-resetting environment."""
    loss = partial(
        ppo_loss,
        clip=config.clip,
        value_clip=config.value_clip,
        value_coef=config.value_coef,
        entropy_coef=config.entropy_coef,
    )
    return make_on_policy(env, config, loss, by_pick=config.credit == "item")


def ppo_loss(
    judged: Judged, batch: Batch, *, clip: float, value_clip: float | None, value_coef: float, entropy_coef: float
) -> tuple[Array, Metrics]:
    """Policy, value and entropy terms of one minibatch, leaves [S, B] or [S, B, K] of picks -> ([], metrics)."""
    advantage = standardised(batch.advantage)
    policy_term, metrics = clipped_policy_loss(judged.log_prob, batch.log_prob, advantage, clip)
    if advantage.ndim > batch.value.ndim:  # a mean over picks; the gradient of a slate is their sum
        policy_term = policy_term * advantage.shape[-1]
    value_term = value_loss(judged.value, batch.value, batch.target, value_clip)
    entropy = judged.entropy()
    loss = policy_term + value_coef * value_term - entropy_coef * entropy
    return loss, metrics | {"value_loss": value_term, "entropy": entropy}
