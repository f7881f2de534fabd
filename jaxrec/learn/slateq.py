"""SlateQ: Q-learning over slates of which a user chooses at most one item (arXiv 1905.12767).

The value of a slate A is that of what is chosen from it (the paper's Proposition 1), choosing nothing included:

    Q(s, A) = P(nothing | s, A) Q(s, nothing) + sum_{i in A} P(i | s, A) Q(s, i)
    P(i | s, A) = m(s, i) / (1 + sum_{j in A} m(s, j))

Q(s, nothing) is the policy's `value`, Q(s, i) = value + gain(s, i). The masses m are learned from feedback: a
conditional logit, whose loss is the cross-entropy of what was chosen. Gains and value are learned on what was chosen,
towards

    r + discount Q(s', A')        A' = the best slate in s' (`target: q_learning`), or the one shown (`sarsa`)

where s' is what followed. The published agent's code bootstraps from s. How the best slate is found, when it is shown
and in the target, is `learner.serving` (`jaxrec.ops.choice_slates`).
"""

import jax
import jax.numpy as jnp

from jaxrec.checks import InputError, check_name
from jaxrec.config.replay_learners import SlateQConfig
from jaxrec.learn import replay as ring
from jaxrec.learn.dqn import credited_rewards
from jaxrec.learn.value_core import Judgement, make_value_learner, shown
from jaxrec.nets.policy import Choices, Policy, PolicyOutput, to_positions
from jaxrec.ops.choice_slates import value_of
from jaxrec.ops.losses import choice_loss, td_loss
from jaxrec.types import Array, Env, EnvSpec, Learner, Params, Transition, World


def make(env: Env, config: SlateQConfig) -> Learner:
    """Build SlateQ over an auto-resetting environment whose actions are slates and whose feedback says the choice."""
    kind = choice_kind(env.spec, config.choice)

    def remember(transitions: Transition) -> ring.ChosenExperience:
        own = credited_rewards(transitions.feedback, transitions.reward, env.spec, "slate") * config.reward_scale
        chosen = (transitions.feedback[..., kind] > 0).astype(jnp.float32)
        # Users who choose several items have chosen each of them in part.
        chosen = chosen / jnp.maximum(chosen.sum(-1, keepdims=True), 1.0)
        return ring.ChosenExperience(**vars(ring.experience(transitions, own)), chosen=chosen)

    return make_value_learner(env, config, slateq_loss, remember)


def choice_kind(spec: EnvSpec, name: str) -> int:
    """The column of the feedback that says what was chosen; raises InputError if there is none of this name."""
    if not spec.feedback:
        raise InputError(f"learner.choice: {spec.name} gives no feedback; slateq needs one that says what was chosen.")
    check_name("learner.choice", name, spec.feedback)
    return spec.feedback.index(name)


def slateq_loss(
    params: Params, target_params: Params, policy: Policy, batch: ring.Sample, world: World, config: SlateQConfig
) -> tuple[Array, Judgement]:
    """Temporal-difference error of what was chosen, plus the cross-entropy of the choice."""
    items = policy.items(params, world)
    output, known = with_choices(policy.apply(params, items, shown(batch.obs, batch.action), world))
    assert batch.chosen is not None
    q = output.value + (batch.chosen * known.gain).sum(-1)

    target_items = policy.items(target_params, world)
    following, ahead = with_choices(policy.apply(target_params, target_items, batch.next_obs, world))
    if config.target == "sarsa":
        assert batch.next_action is not None
        slate = to_positions(batch.next_action, batch.next_obs, world)
    else:
        chooser = policy.apply(params, items, batch.next_obs, world) if config.double else following
        slate = policy.slate(jax.lax.stop_gradient(chooser), items, batch.next_obs, world, batch.action.shape[-1])
    slate_value = following.value + value_of(slate, ahead.mass, ahead.gain)
    target = batch.item_reward.sum(-1) + batch.discount * slate_value

    error, metrics = td_loss(q[..., None], target[..., None], batch.weight, config.huber)
    surprise = choice_loss(known.mass, batch.chosen, batch.weight)
    loss = error + config.choice_coef * surprise
    return loss, Judgement(metrics | {"loss": loss, "choice_loss": surprise}, jnp.abs(q - target))


def with_choices(output: PolicyOutput) -> tuple[PolicyOutput, Choices]:
    """The output of a policy and its choices."""
    assert output.choices is not None, "slateq's policies have `choice`"
    return output, output.choices
