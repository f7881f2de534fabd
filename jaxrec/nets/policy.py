"""Slate policies: a state from the user's history and features, scores from two towers, and a value.

    items  = policy.items(params, world)              # Items: projected rows, computed once per set of parameters
    output = policy.apply(params, items, obs, world)  # PolicyOutput: logits [..., M or R], value [...]

If `obs` offers no candidates, the logits are over the recommendable items; `to_items` and `to_positions` translate.
Documents that are in no table (`obs.candidate_features`) go through the item tower when they are scored.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from jaxrec.checks import InputError
from jaxrec.config.learners import PolicyConfig
from jaxrec.nets.history import ProfileHistory, make_history_encoder
from jaxrec.ops.slates import diverse_slate, top_slate
from jaxrec.ops.vectors import unit_vectors
from jaxrec.types import PADDING, Array, EnvSpec, Observation, Params, World


class Items(struct.PyTreeNode):
    """The item tower's output for the whole table."""

    vectors: Array  # [I, W]
    bias: Array  # [I]


class Future(struct.PyTreeNode):
    """The two parts of the scores of a policy with `future`, in shares of the highest reward of an item."""

    immediate: Array  # [..., M or R] logits of the expected immediate rewards of items, but for the level `value`
    later: Array  # [..., M or R] what showing an item adds to later rewards


class PolicyOutput(struct.PyTreeNode):
    """What a policy computes for one observation."""

    logits: Array  # [..., M], or [..., R] over the recommendable items; -inf where an item may not be shown
    # [...] expected discounted return, in scaled rewards, or in deviations with learner.normalise_targets
    value: Array
    future: Future | None = None


class Policy(NamedTuple):
    """Pure functions; parameters are a plain nested dict."""

    init: Callable[[Array, World], Params]
    items: Callable[[Params, World], Items]
    apply: Callable[[Params, Items, Observation, World], PolicyOutput]
    # Of every position of a history [..., H]: query [..., H + 1, W], where logits = query @ vectors.T + bias. The query
    # at t has seen the first t rows. The context is that of each position, [..., H + 1, C]. A key turns dropout on.
    queries: Callable[[Params, Items, Observation, Array | None], Array]
    # The slate [..., K] to show, as positions among the logits; the K best scores, or different items.
    slate: Callable[[PolicyOutput, Items, Observation, World, int], Array]


class PolicyNetwork(nn.Module):
    """Two towers: logits = vectors @ query(state) / sqrt(W) + bias.

    The state joins the last state of the history encoder, user interests and context, as far as they are observed.
    """

    spec: EnvSpec
    config: PolicyConfig

    def setup(self) -> None:
        """Create the layers; the heads have orthogonal kernels, as usual in reinforcement learning."""
        config = self.config
        self.item_vectors = nn.Dense(config.width, use_bias=False)
        self.item_bias = nn.Dense(1, use_bias=False, kernel_init=nn.initializers.zeros_init())
        if config.item_residual:
            zeros, size = nn.initializers.zeros_init(), self.spec.num_items
            self.residual_vectors = self.param("residual_vectors", zeros, (size, config.width))
            self.residual_bias = self.param("residual_bias", zeros, (size,))
        if self.spec.history_length:
            self.history = make_history_encoder(
                config.encoder, config.width, config.layers, config.heads, config.dropout
            )
            self.drop = nn.Dropout(config.dropout)
        hidden, small = nn.initializers.orthogonal(2**0.5), nn.initializers.orthogonal(0.01)
        self.query_hidden = [nn.Dense(size, kernel_init=hidden) for size in config.hidden]
        self.query = nn.Dense(config.width, kernel_init=small)
        # The parts of the value network are listed again in `is_value_part`.
        self.value_hidden = [nn.Dense(size, kernel_init=hidden) for size in config.hidden]
        self.value = nn.Dense(1, kernel_init=nn.initializers.orthogonal(1.0))
        if config.value == "separate" and self.spec.history_length:
            self.value_history = make_history_encoder(config.encoder, config.width, config.layers, config.heads)
        if config.future:
            self.future_hidden = [nn.Dense(size, kernel_init=hidden) for size in config.hidden]
            self.future_query = nn.Dense(config.width, kernel_init=small)

    def tower(self, rows: Array) -> Items:
        """Project rows [..., E] -> vectors [..., W], bias [...]."""
        rows = rows.astype(jnp.float32)
        return Items(self.item_vectors(rows), self.item_bias(rows)[..., 0])

    def items(self, table: Array) -> Items:
        """Project the table [I, E] -> vectors [I, W], bias [I], plus each item's residuals if there are any."""
        vectors, bias = (items := self.tower(table)).vectors, items.bias
        if self.config.item_residual:
            vectors, bias = vectors + self.residual_vectors, bias + self.residual_bias
        return Items(vectors, bias)

    def state(self, items: Items, obs: Observation, *, last: bool = True) -> Array:
        """Build the input of the heads [..., state size], or that of every position [..., H + 1, state size]."""
        return self.read(self.history if self.spec.history_length else None, items, obs, last)

    def value_state(self, items: Items, obs: Observation, state: Array) -> Array:
        """Choose the input of the value network by the config; `state` is that of the policy: [..., state size]."""
        if self.config.value == "shared":
            return state
        if self.config.value == "stopped" or not self.spec.history_length:
            return jax.lax.stop_gradient(state)
        return self.read(self.value_history, jax.lax.stop_gradient(items), obs, True)

    def read(self, encoder: nn.Module | None, items: Items, obs: Observation, last: bool) -> Array:
        """Join what is observed, with the history as `encoder` reads it."""
        parts = []
        if encoder is not None:
            assert obs.history_items is not None and obs.history_feedback is not None
            latest = slice(-self.config.history if last else 0, None)
            ids, feedback = obs.history_items[..., latest], obs.history_feedback[..., latest, :]
            known = jnp.maximum(ids, 0)
            if last and isinstance(encoder, ProfileHistory) and not self.has_rng("dropout"):
                parts.append(encoder(items.vectors, feedback, ids >= 0, last=True, ids=known))
            else:
                rows = self.dropped(items.vectors[known])  # [..., H, W]
                parts.append(encoder(rows, feedback, ids >= 0, last=last))
        parts += [x for x in (obs.user, obs.context) if x is not None]
        return jnp.concatenate(parts, axis=-1)

    def dropped(self, x: Array) -> Array:
        """Leave out channels, only where there is a random key for it."""
        return self.drop(x, deterministic=not self.has_rng("dropout"))

    def query_of(self, state: Array) -> Array:
        """Compute the query [..., W] of states."""
        for layer in self.query_hidden:
            state = nn.tanh(layer(state))
        return self.query(state)

    def queries(self, items: Items, obs: Observation) -> Array:
        """Compute the query of every position of the history: [..., H + 1, W]."""
        return self.query_of(self.state(items, obs, last=False))

    def heads(self, items: Items, obs: Observation) -> tuple[Array, Array, Array | None]:
        """Compute the query [..., W], the value [...] and, with `future`, its query [..., W]."""
        state = self.state(items, obs)
        value = self.value_state(items, obs, state)
        for layer in self.value_hidden:
            value = nn.tanh(layer(value))
        future = None
        if self.config.future:
            future = state
            for layer in self.future_hidden:
                future = nn.tanh(layer(future))
            future = self.future_query(future)
        return self.query_of(state), self.value(value)[..., 0], future

    def __call__(self, table: Array, obs: Observation) -> tuple[Array, Array, Array | None]:
        """Use every parameter once, for `init`."""
        return self.heads(self.items(table), obs)


def make_policy(spec: EnvSpec, config: PolicyConfig) -> Policy:
    """Build the policy for environments of `spec`; raises InputError if the observation is empty."""
    if not (spec.history_length or spec.user_size or spec.context_size):
        raise InputError(
            f"policy: {spec.name} observes neither history, user nor context; expected at least one to act from."
        )
    if config.item_residual and spec.candidate_size:
        raise InputError(
            f"learner.policy.item_residual: documents of {spec.name} are new each time, so nothing can be learned "
            "about a single one; set it to false."
        )
    if config.future and spec.candidate_size:
        raise InputError(f"learner.policy.future: documents of {spec.name} are in no table; set it to false.")
    if config.diversity and (spec.candidate_size or not spec.history_length):
        raise InputError(
            f"learner.policy.diversity: {spec.name} has no history of items of a table, by which it fades; set it to 0."
        )
    network = PolicyNetwork(spec, config)

    def init(key: Array, world: World) -> Params:
        return network.init(key, world.item_table, example_observation(spec))["params"]

    def items(params: Params, world: World) -> Items:
        return cast(Items, network.apply({"params": params}, world.item_table, method="items"))

    def queries(params: Params, items: Items, obs: Observation, key: Array | None = None) -> Array:
        rngs = None if key is None else {"dropout": key}
        query = network.apply({"params": params}, items, obs, method="queries", rngs=rngs)
        return cast(Array, query) / config.width**0.5

    def apply(params: Params, items: Items, obs: Observation, world: World) -> PolicyOutput:
        query, value, future = cast(Any, network.apply({"params": params}, items, obs, method="heads"))
        query = query / config.width**0.5
        if obs.candidate_features is not None:
            documents = network.apply({"params": params}, obs.candidate_features, method="tower")
            logits = _document_scores(query, cast(Items, documents))
        else:
            logits = _scores(query, items, obs, world)
        ahead = None
        if future is not None:
            unbiased = Items(items.vectors, jnp.zeros_like(items.bias))
            later = _scores(future / config.width**0.5, unbiased, obs, world)
            ahead = Future(logits, later)
            logits = jax.nn.sigmoid(logits + value[..., None]) + later
        if obs.mask is not None:
            logits = jnp.where(obs.mask, logits, -jnp.inf)
        return PolicyOutput(logits if spec.repeats else exclude_history(logits, obs, world), value, ahead)

    def slate(output: PolicyOutput, items: Items, obs: Observation, world: World, slate_size: int) -> Array:
        if config.diversity:
            return _diverse(config, output, items, obs, world, slate_size)
        return top_slate(output.logits, slate_size)

    return Policy(init, items, apply, queries, slate)


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


def _scores(query: Array, items: Items, obs: Observation, world: World) -> Array:
    """Score the items on offer: products of the query [..., W] with their rows."""
    vectors, bias = items.vectors, items.bias
    if obs.candidates is None:
        if world.recommendable is not None:
            vectors, bias = vectors[world.recommendable], bias[world.recommendable]
        logits = query @ vectors.T
        return logits + jnp.broadcast_to(bias, logits.shape)
    num_items, num_candidates = bias.shape[0], obs.candidates.shape[-1]
    if num_items <= 16 * num_candidates:  # for a small table, one product is faster than a gather per candidate
        logits = query @ vectors.T
        return jnp.take_along_axis(logits + jnp.broadcast_to(bias, logits.shape), obs.candidates, axis=-1)
    return _document_scores(query, Items(vectors[obs.candidates], bias[obs.candidates]))


def _document_scores(query: Array, documents: Items) -> Array:
    """Score documents: products of the query [..., W] with vectors [..., M, W]."""
    return jnp.einsum("...w,...mw->...m", query, documents.vectors) + documents.bias


def exclude_history(scores: Array, obs: Observation, world: World) -> Array:
    """Set scores of items in the history to -inf; scores over recommendable items [..., R] -> [..., R]."""
    if obs.history_items is None or obs.offers_candidates:
        return scores
    ids, beyond = obs.history_items, scores.shape[-1]  # what is beyond the end is dropped by the scatter
    positions = ids
    if world.recommendable is not None:
        # A look-up: a binary search for every row of every history takes ten times as long.
        places = jnp.full(world.item_table.shape[0], beyond, jnp.int32)
        positions = places.at[world.recommendable].set(jnp.arange(beyond, dtype=jnp.int32))[jnp.maximum(ids, 0)]
    outside = jnp.where(ids >= 0, positions, beyond)

    def seen(where: Array) -> Array:
        return jnp.zeros(beyond, bool).at[where].set(True, mode="drop")

    # A mask, not a scatter into the scores, whose gradient would be four more passes over them.
    lead = scores.shape[:-1]
    mask = jax.vmap(seen)(outside.reshape(-1, ids.shape[-1])).reshape(*lead, beyond)
    return jnp.where(mask, -jnp.inf, scores)


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


def is_value_part(name: str) -> bool:
    """True for the parts of a policy's parameters that belong to the value, as `PolicyNetwork.setup` names them."""
    return re.fullmatch(r"value|value_hidden_\d+|value_history", name) is not None


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
