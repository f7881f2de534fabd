"""Which slates learners of action values show while they learn: `learner.exploration`, by name.

    epsilon_greedy   the best slate, whose places are filled at random now and then
    boltzmann        slates drawn from softmax(Q / temperature)
    ucb              the best slate of Q + weight x bonus: of counts (Auer et al., 2002), spread of heads, or both
    thompson         the best slate of one head of an ensemble, the same for a whole episode (arXiv 1602.04621)

The policy that is served is learned from all of it, and explores nothing.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.checks import InputError
from jaxrec.config.replay_learners import DqnConfig, ValueConfig
from jaxrec.learn.action_values import q_values
from jaxrec.learn.heads import Ensemble, Streams, lifted, parts, values_of, with_prior
from jaxrec.learn.value_state import Explorer, ExploringState, ValueState
from jaxrec.nets.network import on_offer
from jaxrec.nets.policy import Policy
from jaxrec.ops.exploration import boltzmann_slate, count_bonus, epsilon_greedy_slate, redrawn, spread
from jaxrec.ops.schedules import linear
from jaxrec.types import Array, EnvSpec, Observation, Params, Transition, World


def make_explorer(policy: Policy, config: ValueConfig, state: ValueState, world: World, size: int) -> Explorer:
    """Build the exploration that the config names, for slates of `size` items."""
    return EXPLORERS[config.exploration](policy, config, state, world, size)


def check_countable(spec: EnvSpec, config: ValueConfig) -> None:
    """Raise InputError where shown items cannot be counted."""
    if config.has_counts and spec.candidate_size:
        raise InputError(
            f"learner.bonus: documents of {spec.name} are in no table, so there is nothing to count; set it to spread."
        )


def epsilon_greedy(policy: Policy, config: ValueConfig, state: ValueState, world: World, size: int) -> Explorer:
    """Fill places of the best slate at random with chance epsilon."""
    items = policy.items(state.params, world)
    epsilon = linear(state.step, config.epsilon_start, config.epsilon_end, config.epsilon_updates)

    def slates(key: Array, obs: Observation, memory: Streams | None) -> Array:
        output = policy.apply(state.params, items, obs, world)
        best = policy.slate(output, items, obs, world, size)
        return jax.vmap(partial(epsilon_greedy_slate, epsilon=epsilon))(key, output.logits, best)

    return Explorer(slates, {"epsilon": epsilon})


def boltzmann(policy: Policy, config: ValueConfig, state: ValueState, world: World, size: int) -> Explorer:
    """Draw slates by their values."""
    items = policy.items(state.params, world)
    temperature = linear(state.step, config.temperature_start, config.temperature_end, config.temperature_updates)

    def slates(key: Array, obs: Observation, memory: Streams | None) -> Array:
        output = policy.apply(state.params, items, obs, world)
        return jax.vmap(partial(boltzmann_slate, temperature=temperature, slate_size=size))(key, output.logits)

    return Explorer(slates, {"temperature": temperature})


def ucb(policy: Policy, config: ValueConfig, state: ValueState, world: World, size: int) -> Explorer:
    """Show the best slate of values that are raised where little is known."""
    assert isinstance(state, ExploringState)
    items, counts, heads = policy.items(state.params, world), state.counts, state.heads
    weight = linear(state.step, config.bonus_start, config.bonus_end, config.bonus_updates)
    by_count = None if counts is None else count_bonus(counts)

    def bonus(obs: Observation, like: Array) -> Array:
        total = jnp.zeros_like(like)
        if by_count is not None:
            total = total + jnp.broadcast_to(on_offer(by_count, obs, world), like.shape)
        if heads is not None:
            total = total + spread(jax.lax.map(lambda head: head_values(head, obs), (heads.params, heads.prior)))
        return total

    def head_values(head: tuple[Params, Params], obs: Observation) -> Array:
        assert heads is not None
        own, member = _member(policy, config, state, heads, head)
        output = member.apply(own, member.items(own, world), obs, world)
        if isinstance(config, DqnConfig):
            return q_values(output, config.dueling)
        return values_of(output) + output.value[..., None]

    def slates(key: Array, obs: Observation, memory: Streams | None) -> Array:
        output = policy.apply(state.params, items, obs, world)
        return policy.slate(lifted(output, weight * bonus(obs, output.logits)), items, obs, world, size)

    return Explorer(slates, {"bonus": weight})


def thompson(policy: Policy, config: ValueConfig, state: ValueState, world: World, size: int) -> Explorer:
    """Show every user the best slate of the head that this episode follows."""
    assert isinstance(state, ExploringState) and state.heads is not None
    heads = state.heads

    def slates(key: Array, obs: Observation, memory: Streams | None) -> Array:
        assert memory is not None
        followed = memory.head

        # One head after the other, so that scores of a large catalogue are held once.
        def one(chosen: Array, numbered: Any) -> tuple[Array, None]:
            number, head = numbered
            own, member = _member(policy, config, state, heads, head)
            there = member.items(own, world)
            best = member.slate(member.apply(own, there, obs, world), there, obs, world, size)
            return jnp.where((followed == number)[..., None], best, chosen), None

        nothing = jnp.zeros((*followed.shape, size), jnp.int32)
        return jax.lax.scan(one, nothing, (jnp.arange(config.heads), (heads.params, heads.prior)))[0]

    return Explorer(slates, {})


def _member(
    policy: Policy, config: ValueConfig, state: ValueState, heads: Ensemble, head: tuple[Params, Params]
) -> tuple[Params, Policy]:
    """Parameters and policy of one head, given as (params, prior)."""
    return parts(state.params, trunk=True) | head[0], with_prior(policy, heads, head[1], config.prior_scale)


EXPLORERS = {"epsilon_greedy": epsilon_greedy, "boltzmann": boltzmann, "ucb": ucb, "thompson": thompson}


def next_heads(key: Array, memory: Streams, ended: Array) -> Streams:
    """Draw another head for the next episode where one ended; key [S], ended [S, N]."""
    heads = memory.taught.shape[-1]
    return memory.replace(head=jax.vmap(partial(redrawn, heads=heads))(key, memory.head, ended))


def counted(counts: Array, transitions: Transition) -> Array:
    """Add the items that were shown, [T, S, N, K], to the counts [I]."""
    ids = transitions.action
    if transitions.obs.candidates is not None:
        ids = jnp.take_along_axis(transitions.obs.candidates, ids, axis=-1)
    by_shard = jnp.moveaxis(ids, 1, 0).reshape(ids.shape[1], -1)
    return counts + jax.vmap(lambda shown: jnp.zeros_like(counts).at[shown].add(1.0))(by_shard).sum(0)
