"""The network of slate policies: a state from what is observed, scores of the items on offer, and a value."""

import re
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from jaxrec.config.policy import PolicyConfig
from jaxrec.nets.belief import prior_of
from jaxrec.nets.history import ProfileHistory, make_history_encoder
from jaxrec.nets.offers import masked, on_offer, rows_at
from jaxrec.nets.relevance import RelevanceFeedback
from jaxrec.nets.repetition import TopicBonus, main_topics
from jaxrec.nets.scorer import ItemScorer
from jaxrec.nets.scores import Items, affinity, put, row_products, scores_on_offer
from jaxrec.ops.dense import Dense
from jaxrec.ops.spread_slates import Spread
from jaxrec.ops.top_k import top_k
from jaxrec.types import Array, CriticView, EnvSpec, Observation, World


class Future(struct.PyTreeNode):
    """The two parts of the scores of a policy with `future`, in shares of the highest reward of an item."""

    immediate: Array  # [..., M or R] logits of the expected immediate rewards of items, but for the level `value`
    later: Array  # [..., M or R] what showing an item adds to later rewards


class Choices(struct.PyTreeNode):
    """What a policy with `choice` knows of the items on offer, compared with no item being chosen."""

    mass: Array  # [..., M or R] at least 0, of an item in the choice model; that of choosing nothing is 1
    gain: Array  # [..., M or R] value of an item being chosen, above that of choosing nothing; -inf where masked


class PolicyOutput(struct.PyTreeNode):
    """What a policy computes for one observation."""

    logits: Array  # [..., M], or [..., R] over the recommendable items; -inf where an item may not be shown
    # [...] expected discounted return, in scaled rewards, or in deviations with learner.normalise_targets
    value: Array
    future: Future | None = None
    spread: Spread | None = None  # what earlier picks of a slate add to the logits, with `repetition`
    choices: Choices | None = None  # then `value` is that of nothing being chosen, and logits are mass x gain


class Heads(struct.PyTreeNode):
    """Outputs of the network for one observation, before items of the history are masked."""

    logits: Array  # [..., M or R]
    value: Array  # [...]
    later: Array | None  # [..., M or R] with `future`
    log_mass: Array | None  # [..., M or R] with `choice`
    spread: Spread | None  # with `repetition`


class PolicyNetwork(nn.Module):
    """Two towers: logits = vectors @ query(state) / sqrt(W) + bias, plus what the options of the config add.

    The state joins the last state of the history encoder, user interests and context, as far as they are observed.
    """

    spec: EnvSpec
    config: PolicyConfig

    def setup(self) -> None:
        """Create the layers; the heads have orthogonal kernels, as usual in reinforcement learning."""
        config = self.config
        self.item_vectors = Dense(config.width, use_bias=False)
        self.item_bias = Dense(1, use_bias=False, kernel_init=nn.initializers.zeros_init())
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
        level = nn.initializers.orthogonal(1.0)
        if config.belief:  # the first policy is what the tastes expect, and nothing else; level of a user included
            small = level = nn.initializers.zeros_init()
        self.query_hidden = [Dense(size, kernel_init=hidden) for size in config.hidden]
        self.query = Dense(config.width, kernel_init=small)
        # The parts of the value network are listed again in `is_value_part`.
        self.value_hidden = [Dense(size, kernel_init=hidden) for size in config.hidden]
        self.value = Dense(1, kernel_init=level)
        if config.value in ("separate", "hidden") and self.spec.history_length:
            self.value_history = make_history_encoder(config.encoder, config.width, config.layers, config.heads)
        if config.belief:
            self.trust = self.param("trust", nn.initializers.ones_init(), ())
        if config.future:
            self.future_hidden = [Dense(size, kernel_init=hidden) for size in config.hidden]
            self.future_query = Dense(config.width, kernel_init=small)
        if config.choice:
            self.choice_hidden = [Dense(size, kernel_init=hidden) for size in config.hidden]
            self.choice_query = Dense(config.width, kernel_init=small)
            self.nothing = Dense(1, kernel_init=small)
        if config.repetition == "topic":
            self.topic_bonus = TopicBonus(config.hidden, self.spec.slate_size)
        if config.relevance_feedback:
            self.relevance = RelevanceFeedback(config.hidden)
        if config.scorer == "mlp":
            self.item_scorer = ItemScorer(config.hidden, 2 if config.choice else 1)

    def tower(self, rows: Array) -> Items:
        """Project rows [..., E] -> vectors [..., W], bias [...]."""
        rows = rows.astype(jnp.float32)
        return Items(self.item_vectors(rows), self.item_bias(rows)[..., 0])

    def items(self, world: World) -> Items:
        """Project the table [I, E] -> vectors [I, W], bias [I], plus each item's residuals if there are any."""
        vectors, bias = (items := self.tower(world.item_table)).vectors, items.bias
        if self.config.item_residual:
            vectors, bias = vectors + self.residual_vectors, bias + self.residual_bias
        return Items(vectors, bias, world.tastes if self.config.belief else None)

    def state(self, items: Items, obs: Observation, *, last: bool = True) -> Array:
        """Build the input of the heads [..., state size], or that of every position [..., H + 1, state size]."""
        return self.read(self.history if self.spec.history_length else None, items, obs, last)

    def value_state(self, items: Items, obs: Observation, state: Array) -> Array:
        """Choose the input of the value network by the config; `state` is that of the policy: [..., state size]."""
        if self.config.value == "shared":
            return state
        if self.config.value == "stopped" or not self.spec.history_length:
            state = jax.lax.stop_gradient(state)
        else:
            state = self.read(self.value_history, jax.lax.stop_gradient(items), obs, True)
        if self.config.value != "hidden":
            return state
        hidden = obs.hidden if isinstance(obs, CriticView) else None
        if hidden is None:  # whoever has no simulator, such as a server, reads no values
            hidden = jnp.zeros((*state.shape[:-1], self.spec.hidden_size))
        return jnp.concatenate([state, hidden], axis=-1)

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
        return through(self.query_hidden, self.query, state)

    def queries(self, items: Items, obs: Observation) -> Array:
        """Compute the query of every position of the history: [..., H + 1, W]."""
        return self.query_of(self.state(items, obs, last=False))

    def heads(self, items: Items, obs: Observation, world: World, keep: Array | None = None) -> Heads:
        """Score the items on offer, and value the state; with `retrieve`, positions `keep` [..., K] are scored too."""
        state, config, prior = self.state(items, obs), self.config, None
        if items.tastes is not None:
            prior = prior_of(items.tastes, obs, world, self.spec)
            state = jnp.concatenate([state, prior.state], axis=-1)
        value = through(self.value_hidden, self.value, self.value_state(items, obs, state))[..., 0]
        if obs.candidate_features is not None:
            items = self.tower(obs.candidate_features)
        unbiased, scale = items.replace(bias=jnp.zeros_like(items.bias)), config.width**0.5
        query, later, log_mass = self.query_of(state) / scale, None, None
        logits = scores_on_offer(query, items, obs, world)
        if prior is not None:
            logits = logits + self.trust * prior.logits
        if config.relevance_feedback:
            logits = logits + row_products(self.relevance(state, world.item_table, obs), obs, world)
        if config.future:
            ahead = through(self.future_hidden, self.future_query, state) / scale
            later = scores_on_offer(ahead, unbiased, obs, world)
        if config.choice:
            wish = through(self.choice_hidden, self.choice_query, state) / scale
            log_mass = scores_on_offer(wish, unbiased, obs, world) - self.nothing(state)
        if config.scorer == "mlp" and 0 < config.retrieve < logits.shape[-1]:
            logits = self.retrieved(state, query, logits, items, obs, world, keep)
        elif config.scorer == "mlp":
            vectors = on_offer(items.vectors, obs, world)
            more = self.item_scorer(state, query, vectors, affinity(obs, world))
            logits = logits + more[..., 0]
            log_mass = None if log_mass is None else log_mass + more[..., 1]
        spread = None
        if config.repetition == "topic":
            topics = main_topics(on_offer(world.item_table, obs, world))
            bonus = self.topic_bonus(state, world.item_table, obs)
            spread = Spread(jnp.broadcast_to(topics, logits.shape), bonus)
        return Heads(logits, value, later, log_mass, spread)

    def retrieved(
        self,
        state: Array,
        query: Array,
        logits: Array,
        items: Items,
        obs: Observation,
        world: World,
        keep: Array | None,
    ) -> Array:
        """Rank only the `retrieve` items with the highest products [..., M or R] that may be shown; others get -inf."""
        cheap = masked(logits, obs, world, self.spec.repeats)
        where = top_k(cheap, self.config.retrieve)[1]
        where = where if keep is None else jnp.concatenate([where, keep], axis=-1)
        vectors, product = on_offer(items.vectors, obs, world), affinity(obs, world)
        rows = rows_at(vectors, where)
        product = None if product is None else jnp.take_along_axis(product, where, axis=-1)
        more = self.item_scorer(state, query, rows, product)[..., 0]
        return put(jnp.take_along_axis(logits, where, axis=-1) + more, where, logits.shape[-1])

    def __call__(self, obs: Observation, world: World) -> Heads:
        """Use every parameter once, for `init`."""
        return self.heads(self.items(world), obs, world)


def through(hidden: Sequence[nn.Module], last: nn.Module, x: Array) -> Array:
    """Apply hidden layers with tanh, and then a last one without."""
    for layer in hidden:
        x = nn.tanh(layer(x))  # type: ignore[operator]
    return last(x)  # type: ignore[operator]


def is_trunk_part(name: str) -> bool:
    """True for the parts of a policy's parameters that read items and histories; the others are heads over them."""
    return re.fullmatch(r"item_(vectors|bias)|residual_(vectors|bias)|(value_)?history", name) is not None


def is_value_part(name: str) -> bool:
    """True for the parts of a policy's parameters that belong to the value, as `PolicyNetwork.setup` names them."""
    return re.fullmatch(r"value|value_hidden_\d+|value_history", name) is not None
