"""Recurrent history encoders: their documented equations, and a question that only the graph of interests answers."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxrec.nets.history import make_history_encoder

LENGTH, ROW, KINDS, WIDTH = 6, 5, 2, 8


def made(name: str, **options):
    """An encoder with parameters and a random full history."""
    key_rows, key_feedback, key_params = jax.random.split(jax.random.key(0), 3)
    rows = jax.random.normal(key_rows, (3, LENGTH, ROW))
    feedback = jax.random.bernoulli(key_feedback, 0.5, (3, LENGTH, KINDS)).astype(jnp.float32)
    mask = jnp.ones((3, LENGTH), bool)
    module = make_history_encoder(name, WIDTH, **options)
    return module, jax.jit(module.init)(key_params, rows, feedback, mask), rows, feedback, mask


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_gru_is_the_documented_equation() -> None:
    module, params, rows, feedback, mask = made("gru")
    p = {name: np.asarray(value) for name, value in params["params"].items()}
    assert {k: v.shape for k, v in p.items()} == {
        "kernel": (ROW + KINDS, 3 * WIDTH),
        "recurrent": (WIDTH, 3 * WIDTH),
        "bias": (3 * WIDTH,),
    }
    rows, feedback, h = np.asarray(rows[0]), np.asarray(feedback[0]), np.zeros(WIDTH)
    for row, fed in zip(rows, feedback, strict=True):
        x = np.concatenate([row / np.sqrt((row**2).mean() + 1e-6), fed])
        (xr, xz, xn), (hr, hz, hn) = np.split(x @ p["kernel"] + p["bias"], 3), np.split(h @ p["recurrent"], 3)
        r, z = 1 / (1 + np.exp(-xr - hr)), 1 / (1 + np.exp(-xz - hz))
        h = (1 - z) * np.tanh(xn + r * hn) + z * h
    got = module.apply(params, rows[None], feedback[None], mask[:1], last=True)[0]
    np.testing.assert_allclose(got, h, atol=1e-5)


def lstm(p: dict, inputs: np.ndarray) -> np.ndarray:
    """The last state for inputs [H, X]."""
    h = c = np.zeros(WIDTH)
    for x in inputs:
        i, f, g, o = np.split(x @ p["kernel"] + h @ p["recurrent"] + p["bias"], 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    return h


def inputs_of(rows: jax.Array, feedback: jax.Array) -> np.ndarray:
    rows = np.asarray(rows)
    return np.concatenate([rows / np.sqrt((rows**2).mean(-1, keepdims=True) + 1e-6), feedback], -1)


def test_lstm_is_the_documented_equation() -> None:
    module, params, rows, feedback, mask = made("lstm")
    p = {name: np.asarray(value) for name, value in params["params"]["lstm"].items()}
    assert {k: v.shape for k, v in p.items()} == {
        "kernel": (ROW + KINDS, 4 * WIDTH),
        "recurrent": (WIDTH, 4 * WIDTH),
        "bias": (4 * WIDTH,),
    }
    np.testing.assert_array_equal(p["bias"].reshape(4, WIDTH).sum(1), [0, WIDTH, 0, 0])  # it remembers at first
    got = module.apply(params, rows[:1], feedback[:1], mask[:1], last=True)[0]
    np.testing.assert_allclose(got, lstm(p, inputs_of(rows[0], feedback[0])), atol=1e-5)


def test_the_graph_s_edges_and_messages_are_the_documented_ones() -> None:
    module, params, rows, feedback, mask = made("graph", heads=2)
    mask = mask.at[0, 1].set(False)
    own = {name: np.asarray(value) for name, value in params["params"].items() if name != "lstm"}
    assert {k: v.shape for k, v in own.items()} == {"metric": (2, ROW), "steep": (2,), "alike": (2,)}
    x = inputs_of(rows[0], feedback[0])
    read = []
    for i in range(LENGTH):
        earlier = [j for j in range(i) if j != 1]
        parts, degrees = [x[i]], []
        for w, steep, alike in zip(own["metric"], own["steep"], own["alike"], strict=True):
            a, own_row = [], w * x[i, :ROW]
            for j in earlier:
                other = w * x[j, :ROW]
                cosine = own_row @ other / np.linalg.norm(own_row) / np.linalg.norm(other)
                a.append(sigmoid(steep * (cosine - alike)))
            parts.append(
                sum((one * x[j] for one, j in zip(a, earlier, strict=True)), np.zeros(ROW + KINDS)) / (1 + sum(a))
            )
            degrees.append(np.log1p(sum(a)))
        read.append(np.concatenate([*parts, degrees]))
    p = {name: np.asarray(value) for name, value in params["params"]["lstm"].items()}
    want = lstm(p, np.delete(np.array(read), 1, axis=0))
    got = module.apply(params, rows[:1], feedback[:1], mask[:1], last=True)[0]
    np.testing.assert_allclose(got, want, atol=1e-4)


SIZE, SHOWN, PROBED = 16, 6, 64  # of item vectors, of histories, of states


def follow_ups(key: jax.Array, count: int) -> tuple[jax.Array, ...]:
    """Histories of new items in any order, two of them liked, and two candidates: which one comes next?

    Among the four that were not liked, one is half like both liked items, and one is exactly like one of them: in sum
    both are equally like what was liked. The right candidate follows from the first, the wrong one from the second, as
    its vector moved by three places.
    """
    keys = jax.random.split(key, 11)

    def half(n: int) -> jax.Array:
        x = jax.random.normal(keys[n], (count, SIZE // 2))
        return x / jnp.linalg.norm(x, axis=-1, keepdims=True) / 2**0.5

    def item(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.concatenate([a, b], -1)

    p, q, r, s, *others = (half(n) for n in range(8))
    first, second, shared = item(p, r), item(s, q), item(p, q)
    twin = jnp.where(jax.random.bernoulli(keys[8], 0.5, (count, 1)), first, second)
    rows = jnp.stack([first, second, shared, twin, item(*others[:2]), item(*others[2:])], 1)
    liked = jnp.broadcast_to(jnp.array([1.0, 1, 0, 0, 0, 0])[None, :, None], (count, SHOWN, 1))
    order = jax.vmap(lambda k: jax.random.permutation(k, SHOWN))(jax.random.split(keys[9], count))[..., None]
    rows, liked = (jnp.take_along_axis(x, order, 1) for x in (rows, liked))
    swapped = jax.random.bernoulli(keys[10], 0.5, (count,))
    candidates = jnp.roll(jnp.stack([shared, twin], 1), 3, axis=-1)
    return rows, liked, jnp.where(swapped[:, None, None], candidates[:, ::-1], candidates), swapped.astype(jnp.int32)


class Guess(nn.Module):
    """A history encoder, and a perceptron that makes a query of its state."""

    encoder: nn.Module

    @nn.compact
    def __call__(self, rows: jax.Array, liked: jax.Array, candidates: jax.Array) -> jax.Array:
        state = self.encoder(rows, liked, jnp.ones(rows.shape[:2], bool), last=True)
        query = nn.Dense(SIZE)(nn.tanh(nn.Dense(PROBED)(state)))
        return jnp.einsum("nd,ncd->nc", query, candidates)


def share_right(name: str, steps: int) -> float:
    """How often a trained encoder is right about new histories."""
    model, key = Guess(make_history_encoder(name, PROBED, heads=2)), jax.random.key(0)
    params = model.init(key, *follow_ups(key, 4)[:3])
    optimizer = optax.adam(3e-3)

    def step(carry, key):
        params, state = carry
        *inputs, labels = follow_ups(key, 256)

        def loss(params):
            return optax.softmax_cross_entropy_with_integer_labels(model.apply(params, *inputs), labels).mean()

        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return (optax.apply_updates(params, updates), state), None

    train: Callable = jax.jit(lambda carry, keys: jax.lax.scan(step, carry, keys)[0])
    params, _ = train((params, optimizer.init(params)), jax.random.split(jax.random.key(1), steps))
    *inputs, labels = follow_ups(jax.random.key(2), 4000)
    return float((jax.jit(model.apply)(params, *inputs).argmax(-1) == labels).mean())


@pytest.mark.slow
def test_the_graph_finds_what_two_liked_items_share_and_the_mean_does_not() -> None:
    with jax.numpy_dtype_promotion("standard"):  # optax.adam needs it
        assert share_right("graph", 300) > 0.95
        assert share_right("mean", 300) < 0.55
