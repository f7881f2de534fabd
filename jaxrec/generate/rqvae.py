"""RQ-VAE (arXiv 2203.01941, for items arXiv 2305.05065): codebooks between an encoder and a decoder that are learned.

    loss = |x - x'|^2 / |x|^2 + sum_l (|sg(r_l) - e_l|^2 + commitment x |r_l - sg(e_l)|^2) / |z|^2

`sg` stops the gradient, and gradients pass straight through the quantiser. It starts as residual
k-means of principal components: both perceptrons are 0, so training begins at the error of k-means and is only kept
where it lowers it. Codes without items in a whole epoch move to vectors that are drawn at random.
"""

from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax import lax

from jaxrec.config.tokens import TokensConfig
from jaxrec.generate.quantise import (
    Autoencoder,
    Quantiser,
    fit_kmeans,
    from_latent,
    gain_of,
    loads_of,
    perceive,
    prices_of,
    quantised,
    relative_error,
    residual_codes,
    sweep,
)
from jaxrec.ops.descend import descend
from jaxrec.types import Array


class Trained(struct.PyTreeNode):
    """What descends the gradient."""

    autoencoder: Autoencoder
    codebooks: Array  # [L, C, d]


class Epoch(NamedTuple):
    """What one epoch leaves to the next."""

    trained: Trained
    opt_state: optax.OptState
    prices: Array  # [L, C]
    best: Quantiser  # that of the lowest error so far
    error: Array  # [] its relative error


def latent_size(vectors: np.ndarray, held: float = 0.9) -> int:
    """How many principal components hold the share `held` of the variance of vectors [N, E]."""
    shares = np.linalg.eigvalsh(np.cov(vectors, rowvar=False, dtype=vectors.dtype))[::-1].cumsum()
    return int((shares < held * shares[-1]).sum()) + 1


def fit_rqvae(key: Array, vectors: Array, fit: TokensConfig) -> tuple[Quantiser, Array]:
    """Fit to vectors [N, E], with `fit.latent` above 0.

    Returns the quantiser of the best epoch, and the relative error after every epoch. The number before the first
    epoch, at index 0, is that of residual k-means of the principal components.
    """
    key_start, key_epochs = jax.random.split(key)
    start = initial(key_start, vectors, fit)
    batch = min(fit.batch_size, vectors.shape[0])
    batches = -(-vectors.shape[0] // batch)
    rate = optax.cosine_decay_schedule(fit.learning_rate, fit.epochs * batches)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))

    def epoch(carry: Epoch, key: Array) -> tuple[Epoch, Array]:
        key_order, key_new = jax.random.split(key)
        order = jnp.resize(jax.random.permutation(key_order, vectors.shape[0]), (batches, batch))
        trained, opt_state = carry.trained, carry.opt_state

        def step(inner: tuple, rows: Array) -> tuple[tuple, None]:
            trained, opt_state = inner
            grad = jax.grad(rqvae_loss)(trained, carry.prices, vectors[rows] - start.mean[None], fit.commitment)
            return descend(optimiser, grad, trained, opt_state), None

        (trained, opt_state), _ = lax.scan(step, (trained, opt_state), order)
        made = Quantiser(start.mean, trained.codebooks, carry.prices, trained.autoencoder)
        found = quantised(made, vectors)
        error = relative_error(vectors, from_latent(made, found.sums), start.mean)
        better = error < carry.error
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), made, carry.best)
        books, prices = _rebalanced(key_new, trained.codebooks, carry.prices, found.latent, fit.balance)
        trained = trained.replace(codebooks=books)
        return Epoch(trained, opt_state, prices, best, jnp.where(better, error, carry.error)), error

    assert start.autoencoder is not None
    trained = Trained(start.autoencoder, start.codebooks)
    first = relative_error(vectors, from_latent(start, quantised(start, vectors).sums), start.mean)
    begun = Epoch(trained, optimiser.init(cast(optax.Params, trained)), start.prices, start, first)
    ended, errors = lax.scan(epoch, begun, jax.random.split(key_epochs, fit.epochs))
    return ended.best, jnp.concatenate([first[None], errors])


def initial(key: Array, vectors: Array, fit: TokensConfig) -> Quantiser:
    """Residual k-means of the first principal components of vectors [N, E], as an RQ-VAE whose perceptrons are 0."""
    key_books, key_in, key_back = jax.random.split(key, 3)
    mean, size = vectors.mean(0), vectors.shape[1]
    centred = vectors - mean[None]
    axes = jnp.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, : min(fit.latent, size)]  # [E, d]
    latent = axes.shape[1]
    books = fit_kmeans(key_books, centred @ axes, fit.levels, fit.codes, fit.steps, fit.balance)

    def perceptron(key: Array, inner: int, outer: int) -> dict[str, Array]:
        into = jax.random.normal(key, (inner, fit.hidden)) * (1.0 / jnp.maximum(jnp.std(centred), 1e-6)) / inner**0.5
        return {"in": into, "in_bias": jnp.zeros(fit.hidden), "out": jnp.zeros((fit.hidden, outer))}

    both = Autoencoder(
        encode={"linear": axes, **perceptron(key_in, size, latent)},
        decode={"linear": axes.T, **perceptron(key_back, latent, size)},
    )
    return Quantiser(mean, books.codebooks, books.prices, both)


def rqvae_loss(trained: Trained, prices: Array, x: Array, commitment: float) -> Array:
    """The loss of centred vectors [B, E], relative to their squared length: []."""
    latent = perceive(trained.autoencoder.encode, x)
    codes, _ = residual_codes(lax.stop_gradient(latent), lax.stop_gradient(trained.codebooks), prices)
    scale = jnp.maximum(lax.stop_gradient(jnp.square(latent).sum()), 1e-12)
    left, total, wrong = latent, jnp.zeros_like(latent), jnp.float32(0.0)
    for level in range(codes.shape[1]):
        row = trained.codebooks[level][codes[:, level]]
        wrong += jnp.square(lax.stop_gradient(left) - row).sum()
        wrong += commitment * jnp.square(left - lax.stop_gradient(row)).sum()
        left, total = left - lax.stop_gradient(row), total + row
    past = latent + lax.stop_gradient(total - latent)  # the value of the sum, with the gradient of the latent vector
    back = perceive(trained.autoencoder.decode, past)
    return jnp.square(x - back).sum() / jnp.maximum(jnp.square(x).sum(), 1e-12) + wrong / scale


def _rebalanced(key: Array, books: Array, prices: Array, latent: Array, balance: float) -> tuple[Array, Array]:
    """Codebooks [L, C, d] without dead codes, and new prices [L, C], from latent vectors [N, d] of all items."""
    left, new_books, new_prices = latent, [], []
    for level, (book, price) in enumerate(zip(books, prices, strict=True)):
        codes, rows = residual_codes(left, book[None], price[None])
        code, row = codes[:, 0], rows[:, 0]
        gain = gain_of(left, jnp.square(left - row).sum(-1))
        dead = loads_of(code, book.shape[0]) == 0
        drawn = jax.random.randint(jax.random.fold_in(key, level), dead.shape, 0, left.shape[0])
        book = jnp.where(dead[:, None], left[drawn], book)
        code = sweep(left, book, code, gain, balance)
        new_books.append(book)
        new_prices.append(prices_of(loads_of(code, book.shape[0]), gain, balance))
        left = left - row
    return jnp.stack(new_books), jnp.stack(new_prices)
