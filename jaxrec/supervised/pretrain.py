"""Pretraining of a policy: each row of a log is predicted from the user's rows before it, over the whole catalogue.

The loss is the cross-entropy of the policy's own logits, so its parameters start a policy. With a Transformer encoder
and a learned residual per item this is SASRec (arXiv 1808.09781) over texts, with a GRU it is GRU4Rec
(arXiv 1511.06939), both with the softmax over all items in place of sampled negatives. With `pretrain.loss: reinforce`
the same network learns from the rewards of the rows instead (`jaxrec.supervised.off_policy`).
"""

from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from jaxrec.config.pretrain import PretrainConfig
from jaxrec.nets.network import is_value_part
from jaxrec.nets.policy import Policy
from jaxrec.nets.scores import Items
from jaxrec.ops.dense import Dense
from jaxrec.ops.descend import descend
from jaxrec.ops.softmax import sampled_softmax_loss, softmax_loss
from jaxrec.supervised.off_policy import Rows, fresh_behaviour, off_policy_loss
from jaxrec.supervised.optimisers import make_optimiser
from jaxrec.supervised.pretrain_batches import Batch, Keys, Plan, PretrainState, batch_of, of_bucket, steps_per_epoch
from jaxrec.supervised.user_windows import (
    Augmentation,
    Bucket,
    Window,
    WindowRows,
    augment,
    cut,
    histories,
    moment_begins,
)
from jaxrec.types import Array, Metrics, Observation, Params, World

Loss = Callable[..., tuple[Array, Metrics]]  # what is trained, batch number, keys, world, data -> [], metrics


class PretrainData(struct.PyTreeNode):
    """What all steps read besides the world."""

    rows: WindowRows
    places: Array  # [M] int32, places among the recommendable items of the rows from which negatives are drawn
    log_share: Array  # [R] log of the share of each recommendable item among these rows
    reward: Array | None = None  # [N] discounted rewards from each row on, for the loss `reinforce`


class Pretraining(NamedTuple):
    """Pure functions of one pretraining; `update` is the other three in a row."""

    init: Callable[[Array, World], PretrainState]
    update: Callable[[PretrainState, World, PretrainData], tuple[PretrainState, Metrics]]
    batch: Callable[[PretrainState], Batch]
    loss: Loss
    descend: Callable[[PretrainState, Params], PretrainState]  # gradient of what `trained_of` gives -> next state


class FeedbackHead(nn.Module):
    """Query of a state and vector of the next row's item -> logits of each kind of feedback: [N, W] twice -> [N, F]."""

    kinds: int

    @nn.compact
    def __call__(self, query: Array, vector: Array) -> Array:
        """Bilinear in query and vector, plus a term of each."""
        width = query.shape[-1]
        match = Dense(self.kinds * width, name="match")(query).reshape(-1, self.kinds, width)
        alone = Dense(self.kinds, name="query")(query) + Dense(self.kinds, name="item")(vector)
        return jnp.einsum("nfw,nw->nf", match, vector) / width**0.5 + alone


def make_pretraining(policy: Policy, config: PretrainConfig, plan: Plan, kinds: int) -> Pretraining:
    """Build the update of `policy` for logs with `kinds` of feedback; a step reads one batch of windows."""
    batches, epoch_steps = sum(bucket.batches for bucket in plan.buckets), steps_per_epoch(config, plan)
    optimiser = make_optimiser(config, config.epochs * epoch_steps, decayed)
    head = FeedbackHead(kinds)
    loss = _make_loss(policy, config, plan, head)

    def init(key: Array, world: World) -> PretrainState:
        key_policy, key_head, key_steps = jax.random.split(key, 3)
        params = policy.init(key_policy, world)
        width = jnp.zeros((1, policy.items(params, world).vectors.shape[1]))
        extra = head.init(key_head, width, width)["params"] if config.feedback_weight else {}
        if config.loss == "reinforce":
            items = plan.known or world.num_recommendable
            behaviour = fresh_behaviour(jax.random.fold_in(key_head, 1), items, width.shape[-1])
            extra = {**extra, "behaviour": behaviour}
        opt_state = optimiser.init({"policy": params, "head": extra})
        return PretrainState(params, extra, opt_state, key_steps, jnp.int32(0))

    def batch(state: PretrainState) -> Batch:
        return batch_of(state, epoch_steps, batches)

    def step(state: PretrainState, grad: Params) -> PretrainState:
        trained, opt_state = descend(optimiser, grad, trained_of(state), state.opt_state)
        return PretrainState(trained["policy"], trained["head"], opt_state, state.key, state.step + 1)

    def update(state: PretrainState, world: World, data: PretrainData) -> tuple[PretrainState, Metrics]:
        slope = jax.value_and_grad(loss, has_aux=True)
        (_, metrics), grad = slope(trained_of(state), *batch(state), world, data)
        metrics |= {"gradient_norm": optax.tree.norm(grad)}
        return step(state, grad), metrics

    return Pretraining(init, update, batch, loss, step)


def trained_of(state: PretrainState) -> dict[str, Params]:
    """Everything that is trained."""
    return {"policy": state.params, "head": state.head}


def _make_loss(policy: Policy, config: PretrainConfig, plan: Plan, head: FeedbackHead) -> Loss:
    """Build the loss of batch `slot` [] -> [], metrics."""
    how = Augmentation(config.crop, config.mask, config.reorder)

    def loss(trained: dict[str, Params], slot: Array, keys: Keys, world: World, data: PretrainData):
        params = trained["policy"]
        items = policy.items(params, world)
        at = _positions(policy, plan, how, params, items, data.rows, slot, keys)
        target = data.rows.target[at.rows]
        weights = (at.valid & (target >= 0)).astype(jnp.float32)
        some, target = world.recommendable, jnp.maximum(target, 0)
        vectors, bias = (items.vectors, items.bias) if some is None else (items.vectors[some], items.bias[some])
        # Items that nobody has touched may be new, so it means nothing that they are never the target.
        known = Items(vectors[: plan.known], bias[: plan.known])
        if config.loss == "reinforce":
            assert data.reward is not None
            rows = Rows(at.queries, target, weights, data.reward[at.rows])
            how_far = {"cap": config.weight_cap, "top_k": config.top_k, "chunk": config.chunk}
            value, metrics = off_policy_loss(rows, known, trained["head"]["behaviour"], **how_far)
        else:
            if plan.negatives:
                drawn = drawn_negatives(plan, data, keys)
                expected = data.log_share[drawn] + jnp.log(jnp.float32(plan.negatives))
                total = sampled_softmax_loss(at.queries, vectors, bias, target, weights, drawn, expected)
            else:
                total = softmax_loss(at.queries, known.vectors, known.bias, target, weights, config.chunk)
            value = total / jnp.maximum(weights.sum(), 1.0)
            metrics = {"loss": value, "targets": weights.sum()}
        if config.feedback_weight:
            own = items.vectors[data.rows.items[at.rows]]
            logits = head.apply({"params": trained["head"]}, at.queries, own)
            wrong = feedback_loss(cast(Array, logits), data.rows.feedback[at.rows], at.valid)
            value, metrics = value + config.feedback_weight * wrong, metrics | {"feedback_loss": wrong}
        return value, metrics

    return loss


def drawn_negatives(plan: Plan, data: PretrainData, keys: Keys) -> Array:
    """Places of the sampled negatives among the recommendable items; the item of a random row: by popularity."""
    row = jax.random.randint(keys.negatives, (plan.negatives,), 0, data.places.shape[0])
    return data.places[row]


def batch_rows(plan: Plan, data: PretrainData, batch: Batch) -> tuple[Array, Array]:
    """Rows of the log in a batch, before any augmentation, and which of them are there: [N] int32, [N] bool."""

    def branch(n: int, bucket: Bucket, number: Array) -> tuple[Array, Array]:
        window = cut(data.rows, n, bucket, number, batch.keys.cut, plan.num_users)
        return _padded(window.rows, plan.positions), _padded(window.valid, plan.positions)

    return of_bucket(plan, batch.slot, branch)


class Positions(NamedTuple):
    """The positions of a batch, without the shape of its windows."""

    queries: Array  # [N, W]
    rows: Array  # [N] int32, rows of the log
    valid: Array  # [N] bool


def _positions(
    policy: Policy,
    plan: Plan,
    how: Augmentation,
    params: Params,
    items: Items,
    data: WindowRows,
    slot: Array,
    keys: Keys,
) -> Positions:
    """Cut and encode batch `slot` []; the batches are numbered through the buckets."""

    def branch(n: int, bucket: Bucket, number: Array, params: Params, items: Items) -> Positions:
        window = cut(data, n, bucket, number, keys.cut, plan.num_users)
        if any(how):
            window = augment(window, how, keys.augment)
        queries = window_queries(policy, data, window, params, items, keys.dropout)
        return Positions(*(_padded(x, plan.positions) for x in (queries, window.rows, window.valid)))

    return of_bucket(plan, slot, branch, params, items)


def window_queries(policy: Policy, data: WindowRows, window: Window, params: Params, items: Items, key: Array) -> Array:
    """Query of the state before the moment of each row of the windows [B, L]: [B, L, W].

    Rows of one moment share the query of the first, so that no answer is read from others that were given with it.
    """
    ids, feedback = histories(data, window)
    context = None if data.context is None else data.context[window.rows]
    obs = Observation(context=context, history_items=ids, history_feedback=feedback)
    queries = policy.queries(params, items, obs, key)
    return jnp.take_along_axis(queries, moment_begins(data, window)[..., None], axis=1)


def feedback_loss(logits: Array, feedback: Array, valid: Array) -> Array:
    """Mean binary cross-entropy over valid positions and kinds; [N, F], [N, F], [N] -> []."""
    losses = optax.sigmoid_binary_cross_entropy(logits, feedback).mean(axis=-1)
    return jnp.sum(jnp.where(valid, losses, 0.0)) / jnp.maximum(valid.sum(), 1).astype(jnp.float32)


def _padded(x: Array, length: int) -> Array:
    """Flatten [B, L, ...] to [N, ...] with N = `length`, the rest zeros."""
    flat = x.reshape(-1, *x.shape[2:])
    return jnp.pad(flat, [(0, length - flat.shape[0])] + [(0, 0)] * (flat.ndim - 1))


def decayed(trained: dict[str, Params]) -> Params:
    """Select parameters that decay: all but biases, norms and the value network, which is not trained."""

    def decays(path: tuple, _: Array) -> bool:
        names = [str(part.key) for part in path]
        return names[-1] not in ("bias", "scale", "residual_bias") and not is_value_part(names[1])

    return jax.tree_util.tree_map_with_path(decays, trained)
