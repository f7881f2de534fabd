"""The most likely items of a log for given strengths, and the posterior of its users given the items.

Items and users are first fitted together, by their most likely values. That alone overfits: an item's vector is fitted
to guesses of its users' tastes as if they were known, and the users to the items in turn, so that both agree on
exceptions which are not there. Held-out rows hardly show them, since they are few. A recommender looks for the largest
predictions, and finds them. So items are then fitted to what is believed of the users. A user's theta has a mean and a
covariance S, and the expected loss of a row is, to second order,

    loss(z) + p (1 - p) x' S x / 2        x = (1, v_i), z at the mean

This is variational EM with the delta method (Braun and McAuliffe, 2010) and Laplace's approximation of users. Rounds
alternate between S and the items. Directions of v_i in which little is known about people shrink.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrec.config.tastes import TastesConfig
from jaxrec.data.log import Log
from jaxrec.nets.exposure import (
    Met,
    centre_of,
    counts_of,
    exposure_of,
    met_by,
    of_itself,
    of_other_rows,
    prior_means,
    with_bias,
)
from jaxrec.nets.tastes import Drawing, Tastes, design
from jaxrec.ops.descend import descend
from jaxrec.sharding.compile import compiled
from jaxrec.supervised.contrast import DrawnItems, asked_of
from jaxrec.supervised.taste_blocks import Blocks, in_blocks
from jaxrec.supervised.taste_link import logistic
from jaxrec.supervised.taste_posterior import (
    Rows,
    Users,
    doubt_about_users,
    filled_up,
    in_chunks,
    padded,
    population_of,
    to_few_sizes,
    user_posterior,
)
from jaxrec.supervised.taste_strengths import Strengths
from jaxrec.types import PADDING, Array, Params

NEAR = 3  # times fewer steps from parameters that are nearly right
Fitted = tuple[Tastes, Users]  # items, before calibration, and the posterior of all users


def first_params(log: Log, components: int, config: TastesConfig, seed: int, drawing: Drawing | None) -> Params:
    """Parameters before the fit: the base rates, and small random tastes and text weights."""
    users, items, kinds, width = log.num_users, log.num_items, log.feedback.shape[1], config.width
    rng = np.random.default_rng([seed, 1])
    base = np.clip(log.feedback.mean(0), 0.001, 0.999)
    if drawing is not None:
        base = np.where(drawing.kinds, 0.5, base)  # the offset already has the share of drawn items
    arrays = {
        "base": np.log(base / (1 - base)),
        "user_bias": np.zeros((users, kinds)),
        "item_bias": np.zeros((items, kinds)),
        "text_bias": np.zeros((components, kinds)),
        "taste": 0.1 * rng.normal(size=(users, kinds, width)),
        "text": 0.3 * rng.normal(size=(components, width)),
        "item": (0.1 if components == 1 else 0.0) * rng.normal(size=(items, width)),  # without texts, start apart
        "exposure": np.zeros((kinds, width, width)),
    }
    return {name: jnp.asarray(x, jnp.float32) for name, x in arrays.items()}


def item_side(params: Params, features: Array, drawn: DrawnItems | None) -> tuple[Array, Array]:
    """Vectors [I, d] and logits [I, F] of items; with `drawn`, those that compare rows with drawn items."""
    vectors = features @ params["text"] + params["item"]
    logits = features @ params["text_bias"] + params["item_bias"]
    logits = logits + jnp.broadcast_to(params["base"], logits.shape)
    return vectors, logits if drawn is None else logits + drawn.drawing.offset


def _weights_of_exposure(params: Params, strengths: Strengths, drawn: DrawnItems | None) -> Array:
    """A [F, d, d] of the fit: 0 without its strength, and for kinds that are always 1, whose answer is the choice."""
    used = jnp.asarray(strengths.exposure > 0, jnp.float32)
    used = jnp.full(len(params["exposure"]), used) if drawn is None else used * (1.0 - drawn.drawing.kinds)
    return used[:, None, None] * params["exposure"]


def catalogue_side(tastes: Tastes, drawing: Drawing | None) -> Tastes:
    """Logits of rows against drawn items become logits of a choice among all items.

    The link scales logits, but not the offset of the drawn items, which is known.
    """
    if drawing is None:
        return tastes
    offset = drawing.offset / tastes.link.scale[None]
    return tastes.replace(item_logits=tastes.item_logits - offset, drawing=drawing.replace(offset=offset))


def log_loss(logits: Array, answers: Array) -> Array:
    """Negative log-likelihood of answers 0 or 1: [...], [...] -> [...]."""
    return jax.nn.softplus(logits) - answers * logits


class DrawnRows(NamedTuple):
    """Items drawn for rows, and the users of the rows."""

    user: Any  # [R] int32
    items: DrawnItems


class _Counts(NamedTuple):
    items: Array  # [I] rows of each
    users: Array  # [U]


def most_likely(
    params: Params,
    blocks: Blocks,
    features: Array,
    strengths: Strengths,
    drawn: DrawnRows | None,
    config: TastesConfig,
    doubt: Array | None = None,
) -> Params:
    """Minimise log loss plus penalties over all rows at once: Adam with a cosine schedule.

    `doubt` [I, D, D] is that about the users (`taste_posterior.doubt_about_users`); None: as if they were known. Items
    `drawn` for the rows have the answer 0. What single items have of their own (e_i) does not learn from the
    exposure of users: with as many e_i as items, it would be item pairs that explain the rows, and held-out rows
    suffer (MovieLens latest-small: log loss .566 in place of .537).
    """
    optimiser = optax.scale_by_adam()
    steps = jnp.arange(config.steps, dtype=jnp.float32)
    rates = jnp.asarray(optax.cosine_decay_schedule(config.learning_rate, config.steps)(steps))
    items = None if drawn is None else drawn.items
    counts = _Counts(
        counts_of(blocks.item, blocks.real, len(params["item"])),
        counts_of(blocks.user, blocks.real.sum(1), len(params["taste"])),
    )

    def loss(params: Params) -> Array:
        vectors, logits = item_side(params, features, items)
        shared = features @ params["text"] + jax.lax.stop_gradient(params["item"])
        weights = _weights_of_exposure(params, strengths, items)
        z = _logits_of_blocks(params, vectors, logits, shared, weights, blocks, counts)
        total = (log_loss(z, blocks.answer) * blocks.real[..., None]).sum()
        if drawn is not None:
            total = total + _drawn_loss(params, drawn.user, vectors, logits, drawn.items)
        if doubt is not None:
            x = design(vectors)
            total = total + 0.5 * jnp.einsum("id,ide,ie->", x, doubt, x)
        return (total + _penalty(params, strengths)) / (blocks.real.sum() * blocks.answer.shape[-1])

    def step(carry: tuple[Params, Any], rate: Array):
        params, state = carry
        return descend(optimiser, jax.grad(loss)(params), params, state, rate), None

    return jax.lax.scan(step, (params, optimiser.init(params)), rates)[0][0]


def _logits_of_blocks(
    params: Params, vectors: Array, logits: Array, shared: Array, weights: Array, blocks: Blocks, counts: _Counts
) -> Array:
    """Logits [N, B, F] of the rows of blocks: users' tastes, and what the items of their other rows tell of them.

    Everything is read from one table of items and one of users, and matched in one product: each gather, and each sum
    of gradients, costs as much as all the arithmetic on it.
    """
    width, kinds = vectors.shape[1], jnp.eye(logits.shape[1])
    centre = centre_of(shared, counts.items)
    own = of_itself(weights, shared, centre)
    rows = jnp.concatenate([vectors, shared, logits, own], axis=1)[blocks.item]  # [N, B, 2 d + 2 F]
    total = (rows[..., width : 2 * width] * blocks.real[..., None]).sum(1)
    total = jax.ops.segment_sum(total, blocks.user, len(counts.users)) - counts.users[:, None] * centre[None]
    tastes, share = of_other_rows(weights, Met(total, counts.users))
    one = jnp.broadcast_to(kinds, (len(share), *kinds.shape))
    users = jnp.concatenate([params["taste"], tastes, one, -share[:, None, None] * one], axis=2)[blocks.user]
    # Products and their sums take five times as long as einsum, which has logits in it and must not round them.
    match = jnp.einsum("nbw,nfw->nbf", rows, users, precision=jax.lax.Precision.HIGHEST)
    return match + params["user_bias"][blocks.user][:, None] + blocks.offset


def _penalty(params: Params, strengths: Strengths) -> Array:
    """Half of the squares of the parameters, times their strengths."""
    return 0.5 * (
        strengths.user * jnp.square(params["taste"]).sum()
        + strengths.bias * jnp.square(params["user_bias"]).sum()
        + strengths.item * jnp.square(params["item"]).sum()
        + strengths.item_bias * jnp.square(params["item_bias"]).sum()
        + strengths.exposure * jnp.square(params["exposure"]).sum()
        + strengths.text * (jnp.square(params["text"]).sum() + jnp.square(params["text_bias"]).sum())
    )


def _drawn_loss(params: Params, user: Array, vectors: Array, logits: Array, drawn: DrawnItems) -> Array:
    """Log loss of the items drawn for rows of users [R], summed over the kinds that are always 1."""
    taste, bias = params["taste"][user], params["user_bias"][user]
    z = logits[drawn.items] + bias[:, None] + jnp.einsum("rfd,rnd->rnf", taste, vectors[drawn.items])
    return (jax.nn.softplus(z) * asked_of(drawn.items, drawn.drawing)).sum()


def fit_in_rounds(
    start: Params,
    rows: Rows,
    features: Array,
    strengths: Strengths,
    log: Log,
    drawn: DrawnItems | None,
    config: TastesConfig,
    *,
    near: bool = False,
) -> tuple[Params, Fitted]:
    """Parameters of the items, fitted in rounds, and the posterior of all users given these items.

    With `near`, `start` was fitted to the same rows with other offsets or strengths, and needs one round of few steps.
    Logits of items compare rows with `drawn`, so there is no offset to add.
    """
    blocks, rows = in_blocks(rows), filled_up(rows)
    if drawn is not None:
        drawn = drawn._replace(items=to_few_sizes(drawn.items, PADDING))
    others = None if drawn is None else DrawnRows(rows.user, drawn)
    short = dataclasses.replace(config, steps=-(-config.steps // NEAR))
    fit, params = compiled(most_likely, static=5), start
    if not (near and config.rounds):
        params = fit(params, blocks, features, strengths, others, short if near else config)
    for _ in range(min(config.rounds, 1) if near else config.rounds):
        known = _known(params, rows, features, strengths, log, drawn)
        doubt = compiled(doubt_about_users)(known.vectors, known.logits, known.users, known.given, known.drawn)
        params = fit(params, blocks, features, strengths, others, short, doubt)
    known = _known(params, rows, features, strengths, log, drawn)
    return params, _as_tastes(params, known, strengths, log, drawn)


class _Known(NamedTuple):
    """Items, and what is known about users given these items."""

    vectors: Array  # [I, d]
    logits: Array  # [I, F]
    priors: "ItemPriors"
    given: Rows  # in chunks, with the offsets of a user's mean from all rows
    drawn: DrawnItems | None  # in chunks
    users: Users


def _known(
    params: Params, rows: Rows, features: Array, strengths: Strengths, log: Log, drawn: DrawnItems | None
) -> _Known:
    vectors, logits = item_side(params, features, drawn)
    precision = jnp.asarray([strengths.bias] + [strengths.user] * vectors.shape[1])
    weights = _weights_of_exposure(params, strengths, drawn)
    priors = compiled(item_priors, static=3)(vectors, rows, weights, log.num_users)
    start = priors.means + jnp.concatenate([params["user_bias"][..., None], params["taste"]], axis=-1)
    chunks = None if drawn is None else drawn._replace(items=in_chunks(drawn.items, PADDING))
    given = padded(rows._replace(offset=np.asarray(rows.offset - priors.own)))
    users = compiled(user_posterior)(vectors, logits, precision, start, given, chunks, priors.means)
    return _Known(vectors, logits, priors, given, chunks, users)


def _as_tastes(params: Params, known: _Known, strengths: Strengths, log: Log, drawn: DrawnItems | None) -> Fitted:
    """Before calibration."""
    rated, priors, users = np.bincount(log.user, minlength=log.num_users) > 0, known.priors, known.users
    used = strengths.exposure > 0 and not (drawn is not None and drawn.drawing.kinds.all())
    weights = _weights_of_exposure(params, strengths, drawn)
    exposure = compiled(exposure_of)(weights, priors.centre, priors.means, rated) if used else None
    population = compiled(population_of)(users._replace(mean=users.mean - priors.means), rated)
    drawing = None if drawn is None else drawn.drawing.replace(offset=jnp.zeros_like(drawn.drawing.offset))
    link = logistic(known.logits.shape[1])
    tastes = Tastes(known.vectors, known.logits, link, population, exposure=exposure, drawing=drawing)
    return tastes.replace(feedback_names=log.feedback_names), users


class ItemPriors(NamedTuple):
    """What the items of the users' rows tell, before the answers."""

    means: Array  # [U, F, D] of theta
    centre: Array  # [d]
    own: Array  # [R, F] what a row adds to its own logit, if its user's mean has the row


def item_priors(vectors: Array, rows: Rows, weights: Array, users: int) -> ItemPriors:
    """What the items of rows [R] tell about the tastes of users below `users`."""
    centre = centre_of(vectors, counts_of(rows.item, (rows.user >= 0).astype(jnp.float32), len(vectors)))
    met = met_by(vectors, rows, users, centre)
    whole, (tastes, share) = prior_means(weights, met), of_other_rows(weights, met)
    more = jnp.einsum("rfd,rd->rf", (whole - tastes)[rows.user], vectors[rows.item])
    more = more + of_itself(weights, vectors, centre)[rows.item] * share[rows.user][:, None]
    return ItemPriors(with_bias(whole), centre, more)
