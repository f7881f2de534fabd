"""Slate policies: a state from the user's history and features, scores from two towers, and a value.

    items  = policy.items(params, world)              # Items: projected rows, computed once per set of parameters
    output = policy.apply(params, items, obs, world)  # PolicyOutput: logits [..., M or R], value [...]

If `obs` offers no candidates, the logits are over the recommendable items; `to_items` and `to_positions` translate.
Documents that are in no table (`obs.candidate_features`) go through the item tower when they are scored.
"""

from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp

from jaxrec.checks import InputError
from jaxrec.config.policy import PolicyConfig
from jaxrec.nets.network import Choices, Future, Heads, PolicyNetwork, PolicyOutput
from jaxrec.nets.offers import masked
from jaxrec.nets.scores import Items
from jaxrec.nets.vector_network import VectorNetwork
from jaxrec.ops.choice_slates import CHOICE_SLATES, weighted_gain
from jaxrec.ops.slates import diverse_slate, sample_slate, top_slate
from jaxrec.ops.spread_slates import sample_spread, top_spread
from jaxrec.ops.vectors import unit_vectors
from jaxrec.types import PADDING, Array, EnvSpec, Observation, Params, VectorAction, World

LARGEST_LOG = 20.0  # of masses of the choice model, whose products with gains stay finite


class Policy(NamedTuple):
    """Pure functions; parameters are a plain nested dict."""

    init: Callable[[Array, World], Params]
    items: Callable[[Params, World], Items]
    # With `retrieve`, items at the positions of a last argument [..., K] have scores too, as if they were retrieved.
    apply: Callable[..., PolicyOutput]
    # Of every position of a history [..., H]: query [..., H + 1, W], where logits = query @ vectors.T + bias. The query
    # at t has seen the first t rows. The context is that of each position, [..., H + 1, C]. A key turns dropout on.
    queries: Callable[[Params, Items, Observation, Array | None], Array]
    # The slate [..., K] to show, as positions among the logits; the K best scores, or different items.
    slate: Callable[[PolicyOutput, Items, Observation, World, int], Array]
    # The slate that a trained policy shows, as positions: the same or, with `serving_temperature`, one that is drawn.
    show: Callable[[Array, PolicyOutput, Items, Observation, World, int], Array]


def make_policy(spec: EnvSpec, config: PolicyConfig) -> Policy:
    """Build the policy for environments of `spec`; raises InputError if they lack what `config` needs."""
    check_observed(spec, config)
    if isinstance(spec.action, VectorAction):
        config.check_vectors(spec.name, spec.action.of, spec.action.low, spec.action.high)
        network = VectorNetwork(spec, config)
    else:
        check_slates(spec, config)
        network = PolicyNetwork(spec, config)

    def init(key: Array, world: World) -> Params:
        return network.init(key, example_observation(spec), world)["params"]

    def items(params: Params, world: World) -> Items:
        if config.belief and world.tastes is None:
            raise InputError(
                f"learner.policy.belief: no tastes were fitted to the users of {spec.name}; set env.name to logged and "
                "env.response to tastes, or set learner.policy.belief to false."
            )
        return cast(Items, network.apply({"params": params}, world, method="items"))

    def queries(params: Params, items: Items, obs: Observation, key: Array | None = None) -> Array:
        _ = spec.slate_size  # raises for vectors, which are not learned from a log
        rngs = None if key is None else {"dropout": key}
        query = network.apply({"params": params}, items, obs, method="queries", rngs=rngs)
        return cast(Array, query) / config.width**0.5

    def apply(params: Params, items: Items, obs: Observation, world: World, keep: Array | None = None) -> PolicyOutput:
        heads = cast(Heads, network.apply({"params": params}, items, obs, world, keep, method="heads"))
        logits, value, ahead, choices = heads.logits, heads.value, None, None
        if heads.later is not None:
            ahead = Future(logits, heads.later)
            logits = jax.nn.sigmoid(logits + value[..., None]) + heads.later
        logits = masked(logits, obs, world, spec.repeats)
        if heads.log_mass is not None:
            choices = Choices(jnp.exp(jnp.clip(heads.log_mass, -LARGEST_LOG, LARGEST_LOG)), logits)
            logits = weighted_gain(choices.mass, choices.gain)
        return PolicyOutput(logits, value, ahead, heads.spread, choices)

    def slate(output: PolicyOutput, items: Items, obs: Observation, world: World, slate_size: int) -> Array:
        if config.diversity:
            return _diverse(config, output, items, obs, world, slate_size)
        if output.choices is not None:
            gain = jnp.where(output.logits > -jnp.inf, output.choices.gain, -jnp.inf)
            return CHOICE_SLATES[config.serving](output.choices.mass, gain, slate_size)
        if output.spread is not None:
            return top_spread(output.logits, output.spread, slate_size)
        return top_slate(output.logits, slate_size)

    def show(key: Array, output: PolicyOutput, items: Items, obs: Observation, world: World, slate_size: int) -> Array:
        if config.serving_temperature:
            return drawn_slate(key, cooled(output, config.serving_temperature), slate_size)
        return slate(output, items, obs, world, slate_size)

    return Policy(init, items, apply, queries, slate, show)


def cooled(output: PolicyOutput, temperature: Array | float) -> PolicyOutput:
    """The output with logits, and what earlier picks add to them, divided by a temperature."""
    if isinstance(temperature, float) and temperature == 1.0:
        return output
    colder = output.replace(logits=output.logits / temperature)
    if output.spread is None:
        return colder
    return colder.replace(spread=output.spread.replace(bonus=output.spread.bonus / temperature))


def drawn_slate(key: Array, output: PolicyOutput, slate_size: int) -> Array:
    """Draw slates item by item from the softmax of what is left: [..., K] positions."""
    if output.spread is None:
        return sample_slate(key, output.logits, slate_size)
    return sample_spread(key, output.logits, output.spread, slate_size)


def check_observed(spec: EnvSpec, config: PolicyConfig) -> None:
    """Raise InputError for settings that need what environments of `spec` do not observe or do not know."""
    if not (spec.history_length or spec.user_size or spec.context_size):
        raise InputError(
            f"policy: {spec.name} observes neither history, user nor context; expected at least one to act from."
        )
    if config.item_residual and spec.candidate_size:
        raise InputError(
            f"learner.policy.item_residual: documents of {spec.name} are new each time, so nothing can be learned "
            "about a single one; set it to false."
        )
    if config.value == "hidden" and not spec.hidden_size:
        raise InputError(
            f"learner.policy.value: hidden, but {spec.name} does not say what it hides of users; set it to separate."
        )
    if config.repetition != "none" and (spec.candidate_size or not spec.history_length):
        raise InputError(
            f"learner.policy.repetition: {spec.name} has no history of items of a table to count in; set it to none."
        )
    if config.relevance_feedback and (spec.candidate_size or not spec.history_length):
        raise InputError(
            f"learner.policy.relevance_feedback: {spec.name} has no history of items of a table to compare with; set "
            "it to false."
        )
    if config.future and spec.candidate_size:
        raise InputError(f"learner.policy.future: documents of {spec.name} are in no table; set it to false.")
    if config.belief and (spec.num_candidates or not spec.history_length or not any(spec.reward_weights)):
        raise InputError(
            f"learner.policy.belief: {spec.name} gives no history of items of a catalogue with rewards of their "
            "feedback; set it to false."
        )
    if config.diversity and (spec.candidate_size or not spec.history_length):
        raise InputError(
            f"learner.policy.diversity: {spec.name} has no history of items of a table, by which it fades; set it to 0."
        )


def check_slates(spec: EnvSpec, config: PolicyConfig) -> None:
    """Raise InputError for settings that only policies of vectors have, and for slates beyond what is retrieved."""
    for name in ("critics", "nearest"):
        if getattr(config, name):
            raise InputError(f"learner.policy.{name}: policies of slates have no critics; set it to 0.")
    config.check_retrieval(spec.slate_size)


def _diverse(
    config: PolicyConfig, output: PolicyOutput, items: Items, obs: Observation, world: World, slate_size: int
) -> Array:
    """Positions of slates by expected rewards and by how much their items differ; see `PolicyConfig.diversity`."""
    assert obs.history_items is not None
    gains = output.logits
    if output.future is None:
        # A masked score has no gain, where a probability would have one of 0.
        gains = jnp.where(gains > -jnp.inf, jax.nn.sigmoid(gains + output.value[..., None]), -jnp.inf)
    vectors = unit_vectors(items.vectors - items.vectors.mean(axis=0, keepdims=True))
    if obs.candidates is not None:
        vectors = vectors[obs.candidates]
    elif world.recommendable is not None:
        vectors = vectors[world.recommendable]
    rows = (obs.history_items != PADDING).sum(-1).astype(gains.dtype)
    return diverse_slate(gains, vectors, config.diversity / (1.0 + rows / config.diversity_rows), slate_size)


def catalogue_scores(policy: Policy, params: Params, items: Items, obs: Observation, world: World) -> Array:
    """Score every item for observations [B, ...] without candidates; -inf if it may not be shown: [B, I]."""
    logits = policy.apply(params, items, obs, world).logits
    if world.recommendable is None:
        return logits
    everything = jnp.full((logits.shape[0], items.bias.shape[0]), -jnp.inf)
    return everything.at[:, world.recommendable].set(logits)


def to_items(positions: Array, obs: Observation, world: World) -> Array:
    """Turn positions among the logits into the slate that `Env.step` takes (positions of candidates, or item ids)."""
    if obs.offers_candidates or world.recommendable is None:
        return positions
    return world.recommendable[positions]


def to_positions(slate: Array, obs: Observation, world: World) -> Array:
    """Invert `to_items`, for slates that a policy chose."""
    if obs.offers_candidates or world.recommendable is None:
        return slate
    return jnp.searchsorted(world.recommendable, slate).astype(jnp.int32)


def example_observation(spec: EnvSpec) -> Observation:
    """Build an observation of zeros for one user: [U], [C], [H], [H, F], [M] or [M, D]."""
    length, offered, size = spec.history_length, spec.num_candidates, spec.candidate_size
    return Observation(
        user=jnp.zeros(spec.user_size) if spec.user_size else None,
        context=jnp.zeros(spec.context_size) if spec.context_size else None,
        history_items=jnp.zeros(length, jnp.int32) if length else None,
        history_feedback=jnp.zeros((length, len(spec.feedback))) if length else None,
        candidates=jnp.zeros(offered, jnp.int32) if offered and not size else None,
        candidate_features=jnp.zeros((offered, size)) if offered and size else None,
    )
