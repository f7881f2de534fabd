"""History encoders: what a user did -> one state per position; `HISTORY_ENCODERS` names them.

    states = module.apply(params, rows, feedback, mask)            # [..., H + 1, S]
    state = module.apply(params, rows, feedback, mask, last=True)  # [..., S], the state to act from

`rows [..., H, D]` are the items' vectors, `feedback [..., H, F]` what the user did with them, and `mask [..., H]`
is False where a position is empty. `states[..., t, :]` has seen the first t positions, so the first state has
seen nothing and the last one everything. Empty positions change nothing, wherever they are. Except for
the profile, input rows are scaled to unit root mean square, so that unit-length text vectors and one-hot rows have
the same scale.
"""

import functools
import math
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import Initializer

from jaxrec.checks import InputError, check_name, check_shape
from jaxrec.nets.history_inputs import batched
from jaxrec.nets.recurrent import GraphHistory, GruHistory, LstmHistory
from jaxrec.ops.dense import Dense
from jaxrec.types import Array

SMALL_TABLE = 16  # rows per position of the history, up to which a product with the whole table is faster


class MeanHistory(nn.Module):
    """Running mean of a two-layer perceptron of every position, then one layer; ignores the order of items."""

    width: int
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    @batched
    def __call__(self, inputs: Array, mask: Array, last: bool = False) -> Array:
        """Inputs [B, H, D + F], mask [B, H] -> states [B, H + 1, S], or with `last` [B, S]."""
        dense = functools.partial(Dense, self.width, kernel_init=self.kernel_init)
        tokens = dense(name="inner")(nn.gelu(dense(name="embed")(inputs)))
        valid = mask[..., None].astype(tokens.dtype)
        if last:
            total, count = (tokens * valid).sum(1), valid.sum(1)
        else:
            start = ((0, 0), (1, 0), (0, 0))
            total, count = jnp.pad(jnp.cumsum(tokens * valid, 1), start), jnp.pad(jnp.cumsum(valid, 1), start)
        return nn.tanh(dense(name="outer")(total / jnp.maximum(count, 1.0)))


class ProfileHistory(nn.Module):
    """Sums of the rows of items with and without each kind of feedback, at several rates of forgetting; then one layer.

    At rate r, an item counts (1 - r)^age, where age is the number of later items. A sum is divided by its weighted
    count plus 1, and the logarithm of the count is a feature too. The rows enter linearly and as they are, so long
    histories are cheap.
    """

    width: int
    rates: tuple[float, ...] = (0.0, 0.1)
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(
        self, rows: Array, feedback: Array, mask: Array, *, last: bool = False, ids: Array | None = None
    ) -> Array:
        """Rows [..., H, D], feedback [..., H, F], mask [..., H] -> states [..., H + 1, S], or with `last` [..., S].

        With `last`, `rows` may be a table [I, D] of which the history holds the rows `ids` [..., H].
        """
        *lead, length = rows.shape[:-1] if ids is None else ids.shape
        check_shape("feedback", feedback, (*lead, length, None))
        check_shape("mask", mask, (*lead, length))
        rows, answers = rows.astype(jnp.float32), feedback.astype(jnp.float32)
        seen = mask[..., None].astype(jnp.float32)
        kinds, parts = feedback_kinds(answers, seen), []
        ends = faded_sums(kinds, rows, seen, ids, self.rates) if last else self._everywhere(kinds, rows, seen)
        for sums, counts in ends:
            means = sums / (counts[..., None] + 1.0)
            parts += [means.reshape(*means.shape[:-2], -1), jnp.log1p(counts)]
        return nn.gelu(Dense(self.width, kernel_init=self.kernel_init, name="read")(jnp.concatenate(parts, axis=-1)))

    def _everywhere(self, kinds: Array, rows: Array, seen: Array) -> Iterator[tuple[Array, Array]]:
        """Sums [..., H + 1, 2F, D] and counts [..., H + 1, 2F] of every position, for each rate."""
        outer, axis = kinds[..., :, None] * rows[..., None, :], seen.ndim - 2
        for rate in self.rates:
            yield _forgetful_sums(outer, seen[..., 0], rate, axis), _forgetful_sums(kinds, seen[..., 0], rate, axis)


def feedback_kinds(answers: Array, seen: Array) -> Array:
    """Feedback [..., H, F] and the lack of it, 0 where not seen [..., H, 1]: [..., H, 2F]."""
    # Feedback outside [0, 1], such as minutes, must not make counts negative.
    return jnp.maximum(jnp.concatenate([answers, 1.0 - answers], axis=-1), 0.0) * seen


def faded_sums(
    kinds: Array, rows: Array, seen: Array, ids: Array | None, rates: Sequence[float]
) -> Iterator[tuple[Array, Array]]:
    """Sums [..., C, D] of rows and of weights [..., C] after the last position of a history, for each rate.

    At rate r, an item counts `kinds` [..., H, C] x (1 - r)^age, where age is the number of later items `seen`
    [..., H, 1]. Rows are [..., H, D], or a table [I, D] of which the history holds the rows `ids` [..., H].
    """
    age = jnp.cumsum(seen[..., ::-1, :], axis=-2)[..., ::-1, :] - seen
    # (1 - rate)^age: powers cost several times as much as exponentials, and one product serves all rates.
    fades = [kinds * jnp.exp(math.log1p(-rate) * age) if rate else kinds for rate in rates]
    weights = jnp.concatenate(fades, axis=-1)
    sums = jnp.einsum("...hc,...hd->...cd", weights, rows) if ids is None else sums_of_rows(weights, rows, ids)
    parts = len(fades)
    return zip(jnp.split(sums, parts, axis=-2), jnp.split(weights.sum(-2), parts, axis=-1), strict=True)


def sums_of_rows(weights: Array, table: Array, ids: Array) -> Array:
    """Weighted sums of rows of a table: weights [..., H, C], table [I, D], ids [..., H] int32 -> [..., C, D].

    The weights are first added up per item where the table is small. The product with the whole table is then faster
    than a gather of the rows, and its gradient several times faster than a scatter into them.
    """
    size, length = table.shape[0], ids.shape[-1]
    if size > SMALL_TABLE * length:
        return jnp.einsum("...hc,...hd->...cd", weights, table[ids])

    def by_item(ids: Array, weights: Array) -> Array:
        return jnp.zeros(size, weights.dtype).at[ids].add(weights)

    add_up = jax.vmap(by_item, in_axes=(None, 1))
    for _ in ids.shape[:-1]:
        add_up = jax.vmap(add_up)
    return add_up(ids, weights) @ table


def _forgetful_sums(values: Array, seen: Array, rate: float, axis: int) -> Array:
    """Sums before every position and after the last along `axis`; a seen position fades what came before by 1 - rate.

    Values [..., H, *], seen [..., H] 0 or 1 -> [..., H + 1, *].
    """
    fade = jnp.expand_dims(1.0 - rate * seen, tuple(range(seen.ndim, values.ndim)))

    def step(total: Array, position: tuple[Array, Array]) -> tuple[Array, Array]:
        value, keep = position
        total = total * keep + value
        return total, total

    moved = jnp.moveaxis(values, axis, 0), jnp.moveaxis(fade, axis, 0)
    start = jnp.zeros_like(moved[0][0])
    sums = jax.lax.scan(step, start, moved)[1]
    return jnp.moveaxis(jnp.concatenate([start[None], sums]), 0, axis)


class TransformerHistory(nn.Module):
    """Causal pre-norm Transformer (the SASRec shape, arXiv 1808.09781) with feedback at every position.

    A learned start token comes first. The place of a token is the number of valid tokens before it, encoded as
    sinusoids, so any length works. Dropout is on when `apply` gets `rngs={"dropout": key}`.
    """

    width: int
    layers: int = 2
    heads: int = 4
    dropout: float = 0.0
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    @batched
    def __call__(self, inputs: Array, mask: Array, last: bool = False) -> Array:
        """Inputs [B, H, D + F], mask [B, H] -> states [B, H + 1, S], or with `last` [B, S]."""
        batch, length = mask.shape
        tokens = Dense(self.width, kernel_init=self.kernel_init, name="embed")(inputs)
        start = self.param("start", nn.initializers.normal(1.0), (self.width,))
        start = jnp.broadcast_to(start[None, None], (batch, 1, self.width))
        valid = jnp.pad(mask, ((0, 0), (1, 0)), constant_values=True)
        place = jnp.cumsum(valid, axis=1) - 1
        x = jnp.concatenate([start, tokens], axis=1) + sinusoids(place, self.width)
        # The state at an empty position is that of the last valid one before it.
        seen = jax.lax.cummax(jnp.where(valid, jnp.arange(length + 1)[None], 0), axis=1)
        seen = seen[:, -1:] if last else seen
        order = jnp.arange(length + 1)
        everywhere = (order[None, :, None] >= order[None, None]) & valid[:, None]  # [B, H + 1, H + 1]
        for layer in range(self.layers):
            block = Block(self.heads, self.dropout, self.kernel_init, name=f"layer_{layer}")
            if layer < self.layers - 1:
                x = block(x, x, everywhere)
            else:  # only the states that are asked for
                query = jnp.take_along_axis(x, seen[:, :, None], axis=1)
                x = block(query, x, (order[None, None] <= seen[:, :, None]) & valid[:, None])
        x = nn.LayerNorm(name="norm")(x)
        return x[:, 0] if last else x


class Block(nn.Module):
    """Pre-norm attention and perceptron: query [B, Q, S], memory [B, T, S], mask [B, Q, T] -> [B, Q, S]."""

    heads: int
    dropout: float
    kernel_init: Initializer

    @nn.compact
    def __call__(self, query: Array, memory: Array, mask: Array) -> Array:
        """Add the output of attention, then that of the perceptron."""
        width, size = query.shape[-1], query.shape[-1] // self.heads
        dense = functools.partial(Dense, kernel_init=self.kernel_init)
        drop = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))
        norm = nn.LayerNorm(name="norm_attention")
        q, kv = dense(width, name="query")(norm(query)), dense(2 * width, name="key_value")(norm(memory))
        q, (k, v) = q.reshape(*q.shape[:2], self.heads, size), jnp.split(kv, 2, axis=-1)
        k, v = (a.reshape(*a.shape[:2], self.heads, size) for a in (k, v))
        logits = jnp.einsum("bqhd,bthd->bhqt", q, k) / size**0.5
        weights = nn.softmax(jnp.where(mask[:, None], logits, -1e9), axis=-1)
        read = jnp.einsum("bhqt,bthd->bqhd", weights, v).reshape(query.shape)
        query = query + drop(dense(width, name="out")(read))
        hidden = nn.gelu(dense(2 * width, name="up")(nn.LayerNorm(name="norm_mlp")(query)))
        return query + drop(dense(width, name="down")(hidden))


def sinusoids(place: Array, width: int) -> Array:
    """Sines and cosines of places at geometric wavelengths up to 10,000: [...] int32 -> [..., width]."""
    rate = 10_000.0 ** (-jnp.arange(0, width, 2) / width)
    angle = place[..., None].astype(jnp.float32) * rate.reshape((1,) * place.ndim + (-1,))
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)[..., :width]


HISTORY_ENCODERS = {
    "profile": ProfileHistory,
    "mean": MeanHistory,
    "gru": GruHistory,
    "lstm": LstmHistory,
    "graph": GraphHistory,
    "transformer": TransformerHistory,
}


def make_history_encoder(
    name: str,
    width: int,
    layers: int = 2,
    heads: int = 4,
    dropout: float = 0.0,
    kernel_init: Initializer | None = None,
) -> nn.Module:
    """Build the encoder called `name` with S = `width`; only the Transformer uses layers and dropout.

    `heads` are those of the Transformer's attention, or the graphs of the graph encoder. `kernel_init` replaces the
    scaled normal of the kernels: `nn.initializers.orthogonal(2**0.5)` for RL.
    """
    check_name("history encoder", name, HISTORY_ENCODERS)
    options = {} if kernel_init is None else {"kernel_init": kernel_init}
    if name == "transformer":
        if width % heads:
            raise InputError(f"history encoder: expected a width that {heads} heads divide, got {width}.")
        options |= {"layers": layers, "heads": heads, "dropout": dropout}
    if name == "graph":
        options |= {"heads": heads}
    return HISTORY_ENCODERS[name](width=width, **options)
