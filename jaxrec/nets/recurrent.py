"""Recurrent history encoders: GRU, LSTM, and an LSTM over the history's graph of interests."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import Initializer

from jaxrec.nets.history_inputs import batched, flattened
from jaxrec.types import Array

ALIKE = 0.5  # cosine at which two items are joined by half, before it is learned
STEEP = 10.0  # how fast that rises with the cosine, before it is learned


class GruHistory(nn.Module):
    """Gated recurrent unit (arXiv 1406.1078; reset after the product, as in cuDNN), starting from h = 0.

        x = concat(row / rms(row), feedback)
        xr, xz, xn = split(x @ kernel + bias, 3);  hr, hz, hn = split(h @ recurrent, 3)
        r = sigmoid(xr + hr);  z = sigmoid(xz + hz);  n = tanh(xn + r * hn);  h = (1 - z) * n + z * h

    Parameters: kernel [D + F, 3S], recurrent [S, 3S], bias [3S]; rms(row) = sqrt(mean(row ** 2) + 1e-6). One
    product projects all positions before the scan.
    """

    width: int
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    @batched
    def __call__(self, inputs: Array, mask: Array, last: bool = False) -> Array:
        """Inputs [B, H, D + F], mask [B, H] -> states [B, H + 1, S], or with `last` [B, S]."""
        kernel = self.param("kernel", self.kernel_init, (inputs.shape[-1], 3 * self.width))
        recurrent = self.param("recurrent", orthogonal_gates, (self.width, 3 * self.width))
        bias = self.param("bias", nn.initializers.zeros_init(), (3 * self.width,))

        def step(h: Array, position: tuple[Array, Array]):
            x, valid = position
            (xr, xz, xn), (hr, hz, hn) = jnp.split(x, 3, -1), jnp.split(h @ recurrent, 3, -1)
            r, z = nn.sigmoid(xr + hr), nn.sigmoid(xz + hz)
            new = jnp.where(valid[:, None], (1.0 - z) * nn.tanh(xn + r * hn) + z * h, h)
            return new, new

        start = jnp.zeros((inputs.shape[0], self.width))  # [B, S]
        projected = jnp.swapaxes(inputs, 0, 1) @ kernel + bias[None, None]
        end, states = jax.lax.scan(step, start, (projected, mask.T))
        return end if last else jnp.swapaxes(jnp.concatenate([start[None], states]), 0, 1)


class Lstm(nn.Module):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997; forget gate: Gers et al., 2000), from h = c = 0.

        i, f, g, o = split(x @ kernel + h @ recurrent + bias, 4)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g);  h = sigmoid(o) * tanh(c)

    Parameters: kernel [X, 4S], recurrent [S, 4S], bias [4S], in which the forget gates start at 1.
    """

    width: int
    kernel_init: Initializer

    @nn.compact
    def __call__(self, inputs: Array, mask: Array, last: bool) -> Array:
        """Inputs [B, H, X], mask [B, H] -> states [B, H + 1, S], or with `last` [B, S]."""
        kernel = self.param("kernel", self.kernel_init, (inputs.shape[-1], 4 * self.width))
        recurrent = self.param("recurrent", orthogonal_gates, (self.width, 4 * self.width))
        bias = self.param("bias", _forget_at_one, (4 * self.width,))

        def step(state: tuple[Array, Array], position: tuple[Array, Array]):
            (h, c), (x, valid) = state, position
            i, f, g, o = jnp.split(x + h @ recurrent, 4, -1)
            cell = nn.sigmoid(f) * c + nn.sigmoid(i) * nn.tanh(g)
            new = nn.sigmoid(o) * nn.tanh(cell)
            h, c = (jnp.where(valid[:, None], a, b) for a, b in ((new, h), (cell, c)))
            return (h, c), h

        start = jnp.zeros((inputs.shape[0], self.width))  # [B, S]
        projected = jnp.swapaxes(inputs, 0, 1) @ kernel + bias[None, None]
        (end, _), states = jax.lax.scan(step, (start, start), (projected, mask.T))
        return end if last else jnp.swapaxes(jnp.concatenate([start[None], states]), 0, 1)


class LstmHistory(nn.Module):
    """`Lstm` over x = concat(row / rms(row), feedback)."""

    width: int
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    @batched
    def __call__(self, inputs: Array, mask: Array, last: bool = False) -> Array:
        """Inputs [B, H, D + F], mask [B, H] -> states [B, H + 1, S], or with `last` [B, S]."""
        return Lstm(self.width, self.kernel_init, name="lstm")(inputs, mask, last)


class GraphHistory(nn.Module):
    """A graph of interests: each item reads the earlier items that are like it, then an `Lstm` reads them all.

        a_ij = sigmoid(steep (cos(w * x_i, w * x_j) - alike)) for j before i, else 0
        m_i = sum_j a_ij [x_j, feedback_j] / (1 + sum_j a_ij)

    x are the items' rows. With several `heads` there are several graphs, each with its own weights w [D] of the cosine
    (the metric of SURGE, arXiv 2106.14226), steep and alike. The LSTM reads [x_i / rms(x_i), feedback_i], the messages
    m_i and the logarithms of 1 + sum_j a_ij. An edge is known when its later item is, so states see no later item.
    Memory grows with H^2.
    """

    width: int
    heads: int = 4
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, rows: Array, feedback: Array, mask: Array, *, last: bool = False) -> Array:
        """Rows [..., H, D], feedback [..., H, F], mask [..., H] -> states [..., H + 1, S], or with `last` [..., S]."""
        inputs, valid, lead = flattened(rows, feedback, mask)
        edges = self._edges(inputs[..., : rows.shape[-1]], valid)  # [B, G, H, H]
        degree = jnp.swapaxes(edges.sum(-1), 1, 2)  # [B, H, G]
        messages = jnp.einsum("bgij,bjx->bigx", edges, inputs) / (1.0 + degree[..., None])
        messages = messages.reshape(*messages.shape[:2], -1)
        joined = jnp.concatenate([inputs, messages, jnp.log1p(degree)], axis=-1)
        states = Lstm(self.width, self.kernel_init, name="lstm")(joined, valid, last)
        return states.reshape(*lead, *states.shape[1:])

    def _edges(self, rows: Array, valid: Array) -> Array:
        """How much position i reads position j in each graph: [B, H, D], [B, H] -> [B, G, H, H]."""
        graphs, length = self.heads, rows.shape[1]
        weights = self.param("metric", _near_one, (graphs, rows.shape[-1]))
        steep = self.param("steep", nn.initializers.constant(STEEP), (graphs,))
        alike = self.param("alike", nn.initializers.constant(ALIKE), (graphs,))
        x = rows[:, None] * weights[None, :, None]
        x = x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-6)
        cosine = jnp.einsum("bgid,bgjd->bgij", x, x)
        strength = nn.sigmoid(steep[None, :, None, None] * (cosine - alike[None, :, None, None]))
        earlier = jnp.tril(jnp.ones((length, length), bool), -1)[None] & valid[:, None, :] & valid[:, :, None]
        return jnp.where(earlier[:, None], strength, 0.0)


def orthogonal_gates(key: Array, shape: tuple[int, int]) -> Array:
    """Draw one orthogonal matrix per gate, side by side: [S, gates * S]."""
    keys = jax.random.split(key, shape[1] // shape[0])
    return jnp.concatenate([nn.initializers.orthogonal()(part, (shape[0], shape[0])) for part in keys], axis=1)


def _forget_at_one(_: Array, shape: tuple[int]) -> Array:
    """Biases [4S] of the LSTM: 1 for forget gates, which come second, and 0 for the others."""
    return jnp.repeat(jnp.array([0.0, 1.0, 0.0, 0.0]), shape[0] // 4)


def _near_one(key: Array, shape: tuple[int, int]) -> Array:
    """Weights of the cosine, which differ a little, so that graphs learn different ones."""
    return 1.0 + 0.1 * jax.random.normal(key, shape)
