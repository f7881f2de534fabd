"""Networks that generate the code of the next item: a decoder alone, or an encoder and a decoder; blocks as in T5.

A row of a history is a user's interaction with one item. Its tokens are a start, then the L codes of the item. Each
code is predicted at the token before it. The blocks are those of T5 (arXiv 1910.10683): norms without mean before each
sublayer, no biases, relu, one table of relative positions for all layers, and code tables that are also the output.

- `decoder`: one stack reads all tokens of the history and of the row that is written.
- `encoder_decoder`: an encoder reads the tokens of the history, a decoder those of the row. Unlike T5's, the encoder is
  causal, so that one pass trains every row, and the cross-attention has relative positions.

Feedback and item vectors enter at an item's last code, which no code of this item is predicted from. The context of a
visit enters at the start of its row.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxrec.encoder.positions import MASKED, relative_bucket
from jaxrec.nets.generator_block import Block, KeyValue, Shape
from jaxrec.ops.dense import Dense
from jaxrec.types import Array

__all__ = ["Generator", "History", "Memory", "Shape", "init_generator"]


class History(NamedTuple):
    """Rows of histories, oldest first."""

    codes: Array  # [B, R, L] int32
    feedback: Array  # [B, R, F]
    vectors: Array | None  # [B, R, E] of the items
    context: Array | None  # [B, R, C] of the visits


class Memory(NamedTuple):
    """What the rows of histories leave for the row that is written."""

    keys: tuple[KeyValue, ...]  # of each layer that reads it, [B, T, heads, d]
    bias: Array  # [B, heads, Q, T] for the tokens of Q rows that are written


class Generator(nn.Module):
    """Logits of the next item's codes; see the head of the file."""

    shape: Shape

    def setup(self):
        """Tables of the codes, and one stack of blocks or two."""
        shape = self.shape
        self.tables = [
            self.param(f"codes_{n}", nn.initializers.normal(1.0), (size, shape.width))
            for n, size in enumerate(shape.sizes)
        ]
        self.offsets = [self.param(f"bias_{n}", nn.initializers.zeros, (size,)) for n, size in enumerate(shape.sizes)]
        self.start = self.param("start", nn.initializers.normal(1.0), (shape.width,))
        self.feedback, self.context, self.vectors = (Dense(shape.width, use_bias=False) for _ in range(3))
        table = nn.initializers.normal(0.1)
        self.relative = self.param("relative", table, (shape.buckets, shape.heads))
        self.blocks = [Block(shape, self._encodes) for _ in range(shape.layers)]
        self.norm = nn.RMSNorm()
        self.drop = nn.Dropout(shape.dropout)
        if self._encodes:
            self.encoder = [Block(shape) for _ in range(shape.layers)]
            self.encoder_norm = nn.RMSNorm()
            self.encoder_relative = self.param("encoder_relative", table, (shape.buckets, shape.heads))
            self.cross_relative = self.param("cross_relative", table, (shape.buckets, shape.heads))

    @property
    def _encodes(self) -> bool:
        return self.shape.kind == "encoder_decoder"

    def every_row(self, history: History, sees: Array) -> list[Array]:
        """Logits [B, R, C_l] of each code of every row, from the rows that it sees, [B, R, R] bool, and its own codes.

        This is teacher forcing: the codes before the one that is predicted are the true ones.
        """
        return self.every_row_and_state(history, sees)[0]

    def every_row_and_state(self, history: History, sees: Array) -> tuple[list[Array], Array]:
        """The same, and the state [B, R, W] of each row's start, which knows no code of the row."""
        if not self._encodes:
            read, _ = self._read(self.blocks, history, sees, self.relative)
            return [self._logits(read[:, :, level], level) for level in range(self.shape.levels)], read[:, :, 0]
        memory, carried, logits = self._encoded(history, sees, sees, np.arange(history.codes.shape[1])), None, []
        first = self.state(memory, history.context, rows=history.codes.shape[1])
        for level in range(self.shape.levels):
            before = None if level == 0 else history.codes[:, :, level - 1]
            context = history.context if level == 0 else None
            one, carried = self.write(level, memory, carried, before, context, rows=history.codes.shape[1])
            logits.append(one)
        return logits, first

    def remember(self, history: History, valid: Array) -> Memory:
        """What the row after histories [B, R] reads; valid [B, R] bool: rows that are there."""
        rows = valid.shape[1]
        earlier = jnp.tril(jnp.ones((rows, rows), bool), -1)[None] & valid[:, None]
        if self._encodes:
            return self._encoded(history, earlier, valid[:, None], np.array([rows]))
        _, keys = self._read(self.blocks, history, earlier, self.relative)
        tokens = self.shape.levels + 1
        here = jnp.repeat(valid, tokens, axis=1)[:, None, None]
        return Memory(keys, jnp.where(here, 0.0, MASKED))

    def write(
        self, level: int, memory: Memory, carried: Any, before: Array | None, context: Array | None, rows: int = 1
    ) -> tuple[Array, Any]:
        """Logits [B, Q, C_level] of code `level` of Q rows, after their codes `before` [B, Q], None at level 0.

        `carried` are the keys that the levels before left; context [B, Q, C] is read at level 0.
        """
        x, left = self._written(level, memory, carried, before, context, rows)
        return self._logits(x, level), left

    def state(self, memory: Memory, context: Array | None, rows: int = 1) -> Array:
        """State [B, Q, W] of the start of Q rows, in contexts [B, Q, C]."""
        return self._written(0, memory, None, None, context, rows)[0]

    def _written(
        self, level: int, memory: Memory, carried: Any, before: Array | None, context: Array | None, rows: int
    ) -> tuple[Array, Any]:
        batch = memory.keys[0][0].shape[0]
        if before is None:
            x = jnp.broadcast_to(self.start[None, None], (batch, rows, self.shape.width))
            x = x if context is None else x + self.context(context)
        else:
            x = self.tables[level - 1][before]
        x = self._drop(x)
        own_bias = self.relative[self._buckets(level + 1)[::-1]].T  # of the tokens of this row, oldest first
        bias, left = memory.bias, []
        if not self._encodes:
            length = memory.keys[0][0].shape[1]
            bias = bias + self.relative[self._buckets(length + level + 1)[:level:-1]].T[None, :, None]
        for n, block in enumerate(self.blocks):
            x, own = block.one(x, memory.keys[n], bias, None if carried is None else carried[n], own_bias)
            left.append(own)
        return self.norm(x), tuple(left)

    def _encoded(self, history: History, sees: Array, seen: Array, place: np.ndarray) -> Memory:
        """Keys of the encoder; its rows see `sees` [B, R, R], the Q rows that are written those in `seen` [B, Q, R].

        `place` [Q] is the number of the row that each of them would be.
        """
        read, _ = self._read(self.encoder, history, sees, self.encoder_relative)
        batch, rows, tokens, width = read.shape
        flat = self.encoder_norm(read).reshape(batch, rows * tokens, width)
        distance = np.maximum(tokens * place[:, None] - np.arange(rows * tokens)[None], 0)
        bias = self.cross_relative[self._buckets(rows * tokens + 1)[distance]].transpose(2, 0, 1)
        here = jnp.repeat(seen, tokens, axis=2)[:, None]
        keys = tuple(block.keys_of_encoder(flat) for block in self.blocks)
        return Memory(keys, bias[None] + jnp.where(here, 0.0, MASKED))

    def _read(self, blocks: Any, history: History, sees: Array, relative: Array) -> tuple[Array, tuple[KeyValue, ...]]:
        """States [B, R, L + 1, W] of all tokens; they see the rows in `sees` and earlier tokens of their own row."""
        x = self._tokens(history)
        batch, rows, tokens, width = x.shape
        own = np.kron(np.eye(rows), np.tril(np.ones((tokens, tokens)))) > 0
        seen = jnp.repeat(jnp.repeat(sees, tokens, axis=1), tokens, axis=2) | own[None]
        order = np.arange(rows * tokens)
        distance = np.maximum(order[:, None] - order[None], 0)
        bias = relative[self._buckets(rows * tokens)[distance]].transpose(2, 0, 1)[None]
        bias = bias + jnp.where(seen, 0.0, MASKED)[:, None]
        x, keys = x.reshape(batch, rows * tokens, width), []
        for block in blocks:
            x, new = block.all(x, bias)
            keys.append(new)
        if not self._encodes:
            x = self.norm(x)
        return x.reshape(batch, rows, tokens, width), tuple(keys)

    def _tokens(self, history: History) -> Array:
        """Input vectors of start and codes: [B, R, L + 1, W]."""
        parts = [self.tables[n][history.codes[..., n]] for n in range(self.shape.levels)]
        parts[-1] = parts[-1] + self.feedback(history.feedback)
        if history.vectors is not None and self.shape.item_rows:
            parts[-1] = parts[-1] + self.vectors(history.vectors)
        start = jnp.broadcast_to(self.start[None, None], parts[0].shape)
        start = start if history.context is None else start + self.context(history.context)
        return self._drop(jnp.stack([start, *parts], axis=2))

    def _drop(self, x: Array) -> Array:
        return self.drop(x, deterministic=not self.has_rng("dropout"))

    def _logits(self, x: Array, level: int) -> Array:
        table = self.tables[level] * self.shape.width**-0.5
        return x @ table.T + jnp.expand_dims(self.offsets[level], tuple(range(x.ndim - 1)))

    def _buckets(self, length: int) -> np.ndarray:
        """Bucket of each distance from 0 to `length` - 1."""
        return relative_bucket(length, self.shape.buckets, self.shape.max_distance, causal=True)[-1][::-1]


def init_generator(shape: Shape, key: jax.Array, feedback: int, vectors: int, context: int) -> Any:
    """Parameters of a generator of histories with F = `feedback`, E = `vectors`, C = `context` (0: none)."""
    history = History(
        codes=jnp.zeros((1, 2, shape.levels), jnp.int32),
        feedback=jnp.zeros((1, 2, feedback)),
        vectors=jnp.zeros((1, 2, vectors)) if vectors else None,
        context=jnp.zeros((1, 2, context)) if context else None,
    )
    sees = jnp.tril(jnp.ones((1, 2, 2), bool), -1)
    return Generator(shape).init(key, history, sees, method="every_row")["params"]
