"""REINFORCE with a learned baseline and advantage actor-critic (A2C): the plain policy gradient.

    loss = -mean(log pi(A | s) advantage) + value_coef value_loss - entropy_coef entropy

Both have this loss, and one pass over what their current policy has shown. They differ in their defaults. REINFORCE
(Williams, 1992) takes the whole return minus the value: `gae_lambda` 1 and a horizon of about an episode. A2C (arXiv
1602.01783, run synchronously) takes short horizons and bootstraps from the value at their end. Over slates log pi is
that of the whole slate under the Plackett-Luce model or, with item-level credit, that of each pick.
"""

from functools import partial

from jaxrec.config.on_policy import A2cConfig, ReinforceConfig
from jaxrec.learn.actor import Judged
from jaxrec.learn.on_policy import Batch, make_on_policy, standardised
from jaxrec.ops.losses import policy_gradient_loss, value_loss
from jaxrec.types import Array, Env, Learner, Metrics


def make(env: Env, config: ReinforceConfig | A2cConfig) -> Learner:
    """Build REINFORCE or A2C over an auto-resetting environment."""
    loss = partial(gradient_loss, value_coef=config.value_coef, entropy_coef=config.entropy_coef)
    return make_on_policy(env, config, loss, by_pick=config.credit == "item")


def gradient_loss(judged: Judged, batch: Batch, *, value_coef: float, entropy_coef: float) -> tuple[Array, Metrics]:
    """Policy, value and entropy terms of one minibatch, leaves [S, B] or [S, B, K] of picks -> ([], metrics)."""
    policy_term = policy_gradient_loss(judged.log_prob, standardised(batch.advantage))
    if batch.advantage.ndim > batch.value.ndim:  # a mean over picks; the gradient of a slate is their sum
        policy_term = policy_term * batch.advantage.shape[-1]
    value_term, entropy = value_loss(judged.value, batch.value, batch.target, None), judged.entropy()
    loss = policy_term + value_coef * value_term - entropy_coef * entropy
    return loss, {"policy_loss": policy_term, "value_loss": value_term, "entropy": entropy}
