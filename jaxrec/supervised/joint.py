"""Joint tuning: the encoder of the item texts learns together with the policy that reads its item table.

In each step some items are encoded by the encoder as it is now. Their vectors take the place of their rows in the
table, which is constant otherwise, so the loss of the policy reaches the encoder's weights. From time to time the whole
catalogue is encoded anew, and the version of the table goes up by one.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from jaxrec.config.pretrain import PretrainConfig
from jaxrec.config.schema import EncoderConfig
from jaxrec.encoder.adapt import joined, merged, new_adapters, with_adapters
from jaxrec.encoder.batches import make_batches
from jaxrec.encoder.load import DTYPES, Encoder
from jaxrec.encoder.transformer import Transformer
from jaxrec.ops.descend import descend
from jaxrec.supervised.encoder_step import decayed
from jaxrec.supervised.item_texts import ItemTexts, lay_out_texts
from jaxrec.supervised.optimisers import make_optimiser
from jaxrec.supervised.pretrain import PretrainData, Pretraining, batch_rows, drawn_negatives, trained_of
from jaxrec.supervised.pretrain_batches import Batch, Plan, PretrainState
from jaxrec.types import Array, Metrics, Params, World

IN_BATCH = 0.75  # share of the texts of a step that are of the batch's own items
FROZEN, LORA = "frozen", "lora"  # values of encoder.train


class JointState(struct.PyTreeNode):
    """What one step reads and writes."""

    policy: PretrainState
    encoder: Params  # all weights, or the adapters
    opt_state: optax.OptState  # of the encoder
    table: Array  # [I, E] item table; the text vectors are those of the encoder `age` steps ago
    version: Array  # [] int32, how often the catalogue was encoded anew
    age: Array  # [] int32, steps since then
    key: Array  # [] typed PRNG key of what is encoded; the same at every step


class TextBatches(struct.PyTreeNode):
    """Texts of the catalogue that are encoded in batches of one shape."""

    rows: Array  # [n, b] int32 items, I where a batch is not full
    length: int = struct.field(pytree_node=False)  # tokens


class JointData(struct.PyTreeNode):
    """What all steps read besides the world."""

    pretrain: PretrainData
    base: Params  # the encoder's weights before the first step
    texts: ItemTexts
    batches: tuple[TextBatches, ...]  # of the whole catalogue


class Joint(NamedTuple):
    """Pure functions of one joint training."""

    init: Callable[[Array, Array, World, JointData], JointState]  # key of the policy, of the encoder, ...
    update: Callable[[JointState, World, JointData], tuple[JointState, Metrics]]
    loss: Callable[..., tuple[Array, Metrics]]  # trained, state, batch, world, data -> [], metrics
    refresh: Callable[[JointState, JointData], JointState]  # encode the catalogue anew
    weights: Callable[[Params, Params], Params]  # base, `JointState.encoder` -> the encoder's weights


class Chosen(NamedTuple):
    """Items that a step encodes."""

    items: Array  # [n] int32, all different
    scale: Array  # [n] items that one of them stands for, 0 for an item without a gradient


def make_joint(
    pretraining: Pretraining, plan: Plan, enc: Encoder, how: EncoderConfig, fit: PretrainConfig, steps: int
) -> Joint:
    """Build the update of a policy's `pretraining` and of `enc`, of which `how.train` says what changes."""
    lora, width, scale = how.train == LORA, enc.width, how.alpha / how.rank
    module: Any = Transformer(enc.config, DTYPES[enc.dtype])
    if lora:
        module = with_adapters(module, how.rank, how.alpha, how.kernels)
    optimiser = make_optimiser(dataclasses.replace(fit, learning_rate=how.learning_rate), steps, decayed)

    def init(key_policy: Array, key: Array, world: World, data: JointData) -> JointState:
        key_adapters, key_items = jax.random.split(key)
        # Copies, since the state is donated and what it was made from is not.
        trained = new_adapters(module, key_adapters) if lora else jax.tree.map(jnp.array, data.base)
        policy, table, zero = pretraining.init(key_policy, world), jnp.array(world.item_table), jnp.int32(0)
        return JointState(policy, trained, optimiser.init(trained), table, zero, zero, key_items)

    def encode(trained: Params, base: Params, ids: Array, mask: Array) -> Array:
        """Text columns of the item table: [n, T], [n, T] -> [n, width]."""
        params = joined(base, trained) if lora else trained
        with jax.numpy_dtype_promotion("standard"):  # qwix multiplies by Python floats
            hidden = module.apply({"params": params}, ids, mask)
        return enc.pool(params, hidden, mask) * width**0.5

    def loss(trained: dict[str, Params], state: JointState, batch: Batch, world: World, data: JointData):
        key = jax.random.fold_in(state.key, state.policy.step)
        own, others = scored_items(plan, batch, world, data.pretrain)
        chosen = draw_items(key, own, others, min(how.texts_per_step, len(own)))
        ids, mask = complete_texts(data.texts, chosen.items, data.texts.ids.shape[2])
        fresh = scaled_gradient(encode(trained["encoder"], data.base, ids, mask), chosen.scale)
        table = state.table.at[chosen.items, :width].set(fresh, unique_indices=True)
        rest = {name: params for name, params in trained.items() if name != "encoder"}
        return pretraining.loss(rest, *batch, world.replace(item_table=table), data.pretrain)

    def refresh(state: JointState, data: JointData) -> JointState:
        def one(rows: Array, length: int) -> Array:
            items = jnp.minimum(rows, state.table.shape[0] - 1)
            return encode(state.encoder, data.base, *complete_texts(data.texts, items, length))

        table = state.table
        for some in data.batches:
            vectors = jax.lax.map(lambda rows, length=some.length: one(rows, length), some.rows)
            table = table.at[some.rows.reshape(-1), :width].set(vectors.reshape(-1, width), mode="drop")
        return state.replace(table=table, version=state.version + 1, age=jnp.zeros_like(state.age))

    def update(state: JointState, world: World, data: JointData) -> tuple[JointState, Metrics]:
        trained = trained_of(state.policy) | {"encoder": state.encoder}
        slope = jax.value_and_grad(loss, has_aux=True)
        (_, metrics), grad = slope(trained, state, pretraining.batch(state.policy), world, data)
        by_encoder = grad.pop("encoder")
        encoder, opt_state = descend(optimiser, by_encoder, state.encoder, state.opt_state)
        policy = pretraining.descend(state.policy, grad)
        after = state.replace(policy=policy, encoder=encoder, opt_state=opt_state, age=state.age + 1)
        after = jax.lax.cond(after.age >= how.refresh_every, lambda s: refresh(s, data), lambda s: s, after)
        return after, metrics | {
            "gradient_norm": optax.tree.norm(grad),
            "encoder_gradient_norm": optax.tree.norm(by_encoder),
            "table_version": after.version.astype(jnp.float32),
        }

    def weights(base: Params, trained: Params) -> Params:
        return merged(base, trained, scale) if lora else trained

    return Joint(init, update, loss, refresh, weights)


def make_joint_data(pretrain: PretrainData, enc: Encoder, ids: Sequence[Sequence[int]], batch_tokens: int) -> JointData:
    """Lay out the token ids of every item's text, and the batches in which the catalogue is encoded."""
    found: dict[tuple[int, int], list[np.ndarray]] = {}
    for rows, padded, _ in make_batches(ids, batch_tokens, enc.max_length):
        filled = np.full(len(padded), len(ids), np.int32)
        filled[: len(rows)] = rows
        found.setdefault(padded.shape, []).append(filled)
    texts, longest = lay_out_texts([ids]), max(length for _, length in found)
    room = [(0, 0), (0, 0), (0, max(0, longest - texts.ids.shape[2]))]  # batches are a little longer than their texts
    texts = texts.replace(ids=np.pad(texts.ids, room))
    batches = tuple(TextBatches(np.stack(rows), length) for (_, length), rows in found.items())  # type: ignore[arg-type]
    return JointData(pretrain, enc.params, texts, batches)


def complete_texts(texts: ItemTexts, items: Array, length: int) -> tuple[Array, Array]:
    """Token ids and mask of the whole texts of `items` [n], each [n, length] int32."""
    mask = jnp.arange(length)[None] < texts.lengths[0, items][:, None]
    return texts.ids[0, items, :length], mask.astype(jnp.int32)


def scored_items(plan: Plan, batch: Batch, world: World, data: PretrainData) -> tuple[Array, Array]:
    """Mark the items whose rows have a gradient: those in the rows of the batch, and others in the softmax, [I] bool.

    An item that is read, but may not be recommended, has a gradient too.
    """
    size = world.item_table.shape[0]
    rows, valid = batch_rows(plan, data, batch)
    own = _marked(size, jnp.where(valid, data.rows.items[rows], size))
    scored = jnp.arange(size, dtype=jnp.int32) if world.recommendable is None else world.recommendable
    scored = scored[: plan.known]
    if plan.negatives:
        scored = scored[drawn_negatives(plan, data, batch.keys)]
    return own, _marked(size, scored) & ~own


def draw_items(key: Array, own: Array, others: Array, count: int) -> Chosen:
    """Draw `count` different items of [I], three quarters among `own` and the rest among `others`, [I] bool each.

    Where a group is too small, the other one gets its places.
    """
    noise, first = jax.random.uniform(key, own.shape), max(1, round(IN_BATCH * count))
    a, b = own.astype(jnp.float32), others.astype(jnp.float32)
    taken = jax.lax.top_k(2 * a + b + noise, first)[1]
    left = a + 2 * b + noise - 4 * _marked(own.shape[0], taken).astype(jnp.float32)
    items = jnp.concatenate([taken, jax.lax.top_k(left, count - first)[1]])
    scale = jnp.zeros(count)
    for group in (own, others):
        drawn = group[items].astype(jnp.float32)
        scale = scale + drawn * group.sum().astype(jnp.float32) / jnp.maximum(drawn.sum(), 1.0)
    return Chosen(items.astype(jnp.int32), scale)


def scaled_gradient(x: Array, scale: Array) -> Array:
    """Give back `x` [n, E] as it is; its gradient is multiplied by `scale` [n]."""
    scale = scale[:, None]
    constant = jax.lax.stop_gradient(x)
    return constant + scale * (x - constant)


def _marked(size: int, items: Array) -> Array:
    """Mark `items`, ids beyond the end excepted: [size] bool."""
    return jnp.zeros(size, bool).at[items].set(True, mode="drop")
