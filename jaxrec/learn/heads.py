"""An ensemble of heads over the trunk of a policy: bootstrapped DQN (arXiv 1602.04621) with fixed priors.

Head e reads what the policy's trunk says of items and histories, and has values of its own:

    Q_e(s, i) = f_e(s, i) + prior_scale x p_e(s, i)

where f_e is learned and p_e is a random function that never changes (arXiv 1806.03335, section 3). What a head has seen
little of keeps the value of its prior, so heads differ where data is missing. Each head learns towards its own target
network, from a part of the user streams that was drawn for it once: the bootstrap over users. The trunk learns from the
policy's own loss alone.
"""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxrec.config.replay_learners import ValueConfig
from jaxrec.learn.replay import Sample
from jaxrec.nets.network import is_trunk_part
from jaxrec.nets.policy import Policy, PolicyOutput
from jaxrec.ops.choice_slates import weighted_gain
from jaxrec.ops.descend import descend
from jaxrec.types import Array, Metrics, Observation, Params, World


class Ensemble(struct.PyTreeNode):
    """The ensemble, leaves [E, ...] but for the trunk of the priors."""

    params: Params  # the parts of a policy that are no trunk
    target_params: Params
    opt_state: optax.OptState
    prior: Params  # the same parts, fixed
    prior_trunk: Params  # of all priors, fixed


class Streams(struct.PyTreeNode):
    """What is remembered of every user stream; a stream goes on with another user when an episode ends."""

    head: Array  # [S, N] int32, the head whose slates are shown
    taught: Array  # [S, N, E] bool, the heads that learn from it


def start(
    key: Array,
    policy: Policy,
    config: ValueConfig,
    params: Params,
    optimizer: optax.GradientTransformation,
    obs: Observation,
    world: World,
) -> Ensemble:
    """Build heads that begin as that of `params`, each with its own prior, of deviation 1 over the items of `obs`."""
    own = parts(params, trunk=False)
    learned = jax.tree.map(lambda x: jnp.repeat(x[None], config.heads, axis=0), own)
    key_trunk, key_priors = jax.random.split(key)

    def prior(key: Array) -> Params:
        return parts(policy.init(key, world), trunk=False)

    def guess(prior: Params) -> Array:
        fixed = trunk | prior
        return values_of(policy.apply(fixed, policy.items(fixed, world), obs, world))

    trunk = parts(policy.init(key_trunk, world), trunk=True)
    priors = jax.vmap(prior)(jax.random.split(key_priors, config.heads))
    guesses = jax.vmap(guess)(priors)
    # Values are products with the query, whose kernel is small in a fresh policy.
    scale = jnp.maximum(guesses.std(where=guesses > -jnp.inf), 1e-6)
    priors["query"] = jax.tree.map(lambda x: x / scale, priors["query"])
    return Ensemble(
        params=learned,
        target_params=jax.tree.map(jnp.copy, learned),  # the state is donated, so no buffer may be shared
        opt_state=jax.vmap(optimizer.init)(learned),
        prior=priors,
        prior_trunk=trunk,
    )


def start_streams(key: Array, config: ValueConfig) -> Streams:
    """Draw the first head of every stream and the heads that learn from it."""

    def shard(key: Array) -> Streams:
        key_head, key_taught = jax.random.split(key)
        users, heads = config.users_per_shard, config.heads
        taught = jax.random.bernoulli(key_taught, config.head_share, (users, heads))
        return Streams(jax.random.randint(key_head, (users,), 0, heads), taught)

    return jax.vmap(shard)(jax.random.split(key, config.shards))


def parts(params: Params, *, trunk: bool) -> Params:
    """The trunk of a policy's parameters, or its heads."""
    return {name: part for name, part in params.items() if is_trunk_part(name) == trunk}


def with_prior(policy: Policy, heads: Ensemble, prior: Params, scale: float) -> Policy:
    """The policy whose values are raised by those of the prior of one head."""
    fixed = heads.prior_trunk | prior

    def items(params: Params, world: World) -> Any:
        return policy.items(params, world), policy.items(fixed, world)

    def apply(params: Params, items: Any, obs: Observation, world: World, keep: Array | None = None) -> PolicyOutput:
        guess = values_of(policy.apply(fixed, items[1], obs, world, keep))
        output = policy.apply(params, items[0], obs, world, keep)
        return lifted(output, scale * jnp.where(guess > -jnp.inf, guess, 0.0))

    def slate(output: PolicyOutput, items: Any, obs: Observation, world: World, size: int) -> Array:
        return policy.slate(output, items[0], obs, world, size)

    return policy._replace(items=items, apply=apply, slate=slate)


def values_of(output: PolicyOutput) -> Array:
    """Values of the items on offer, but for a level that they share: [..., M]; -inf where masked."""
    return output.logits if output.choices is None else output.choices.gain


def lifted(output: PolicyOutput, bonus: Array) -> PolicyOutput:
    """The output with every item worth more by its bonus [..., M]."""
    if output.choices is None:
        return output.replace(logits=output.logits + bonus)
    gain = output.choices.gain + bonus
    return output.replace(logits=weighted_gain(output.choices.mass, gain), choices=output.choices.replace(gain=gain))


def descend_heads(
    heads: Ensemble,
    learned: Any,
    batch: Sample,
    taught: Array,
    world: World,
    rate: Array,
    *,
    policy: Policy,
    loss: Callable[..., tuple[Array, Any]],
    optimizer: optax.GradientTransformation,
    follow: Callable[[Params, Params], Params],
    config: ValueConfig,
) -> tuple[Ensemble, Metrics]:
    """One gradient step of every head on a minibatch; `taught` [S, N, E] says from which users each learns.

    `learned` has the parameters and target parameters of the policy, whose trunk the heads read.
    """
    trunk, target_trunk = (parts(x, trunk=True) for x in (learned.params, learned.target_params))
    assert batch.user is not None
    mask = jax.vmap(lambda rows, user: rows[user])(taught, batch.user).astype(batch.weight.dtype)  # [S, B, E]

    def one(head: Params, target: Params, opt_state: Any, prior: Params, mask: Array) -> Any:
        guided = with_prior(policy, heads, prior, config.prior_scale)
        part = batch.replace(weight=batch.weight * mask)

        def error(head: Params) -> tuple[Array, Any]:
            return loss(trunk | head, target_trunk | target, guided, part, world, config)

        (total, _), grad = jax.value_and_grad(error, has_aux=True)(head)
        head, opt_state = descend(optimizer, grad, head, opt_state, rate)
        return head, follow(head, target), opt_state, total

    given = heads.params, heads.target_params, heads.opt_state, heads.prior
    params, target, opt_state, total = jax.vmap(one, in_axes=(0, 0, 0, 0, -1))(*given, mask)
    moved = heads.replace(params=params, target_params=target, opt_state=opt_state)
    return cast(Ensemble, moved), {"heads_loss": total.mean()}
