"""Fitting tastes to a log: strengths chosen on held-out rows, the most likely tastes, then their posterior."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrec.checks import check_shape
from jaxrec.config.tastes import TastesConfig
from jaxrec.data.log import Log
from jaxrec.ops.descend import descend
from jaxrec.progress import track
from jaxrec.sharding.compile import compiled
from jaxrec.supervised.contrast import (
    Drawing,
    DrawnItems,
    account_of,
    always_one,
    asked_of,
    check_values,
    draw_items,
    drawing_for,
    drawn_items,
)
from jaxrec.supervised.taste_link import Held, fit_link, logistic, logits_on, quality, with_level
from jaxrec.supervised.taste_path import follow
from jaxrec.supervised.taste_posterior import (
    Rows,
    Users,
    expected_logits,
    in_chunks,
    padded,
    population_of,
    rows_of,
    user_posterior,
    with_draws,
)
from jaxrec.supervised.tastes import Tastes
from jaxrec.types import PADDING, Array, Params

SEARCH = (0.25, 4.0)  # factors by which strengths are varied


class Strengths(NamedTuple):
    """Precisions of the normal priors on the parameters."""

    user: float  # of p_u
    bias: float  # of b_u
    item: float  # of e_i
    item_bias: float  # of c_i
    text: float  # of W and w


def fit_tastes(
    log: Log,
    vectors: np.ndarray | None,
    config: TastesConfig,
    seed: int,
    *,
    strengths: Strengths | None = None,
    ones: np.ndarray | None = None,
    label: str = "fit tastes",
) -> tuple[Tastes, dict[str, Any]]:
    """Fit tastes to `log`, with text vectors of its items [I, E]; gives them and a report.

    At first, a share of the rows is held out (`config.holdout`). Strengths are searched for the least log loss there,
    unless they are given or `config.search` is off, and the link is fitted there. The final fit has all rows. Users are
    the `log.num_users` of the log, with or without rows.

    Kinds `ones` [F] bool are those that are always 1 (default: as in `log`); they are compared with items that the
    users do not have (contrast.py), and `config.base_rate` is their level. Raises InputError if another kind of
    feedback has only one value, since there is nothing to learn.
    """
    ones = always_one(log) if ones is None else ones
    check_values(log, ones)
    drawing = drawing_for(log, ones, config.negatives)
    drawn = None if drawing is None else drawn_items(drawing, log, seed)
    features = jnp.asarray(item_features(vectors, log, config.text_components))
    held = np.random.default_rng(seed).random(len(log)) < config.holdout
    held[np.unique(log.user, return_index=True)[1]] = False  # every user keeps a row
    hidden, others = hidden_rows(log, held, drawing, seed)
    program = compiled(partial(most_likely, config=config))
    start = first_params(log, features.shape[1], config, seed, drawing)

    kept = log.take(~held)
    kept_drawn = None if drawing is None else drawn_items(drawing, kept, seed)  # the rest is unknown to it

    def fit_to(part: Log, drawn: DrawnItems | None, chosen: Strengths) -> tuple[Tastes, Users]:
        rows = rows_of(part)
        params = program(start, rows, features, chosen, drawn)
        return with_users(params, rows, features, chosen, part, drawn)

    def known_of_users(tastes: Tastes, users: Users) -> Held:
        logits, drawn = expected_logits(tastes, users, hidden), None
        if others is not None:
            covariance = jnp.linalg.inv(users.precision)
            drawn = logits_on(tastes, users.mean, covariance, np.asarray(hidden.user), others)
        return Held(hidden, logits, drawn, others)

    vary = strengths is None and config.search
    with track(label, 6 if vary else 2) as advance:
        trials: list[tuple[float, Strengths, Tastes, Held]] = []

        def try_out(chosen: Strengths) -> None:
            tastes, users = fit_to(kept, kept_drawn, chosen)
            known = known_of_users(tastes, users)
            loss, link = fit_link([known], drawing)
            trials.append((loss, chosen, tastes.replace(link=link), known))
            advance(1, f"held-out log loss {loss:.4f}")

        search_strengths(try_out, trials, base_strengths(config) if strengths is None else strengths, vary)
        _, chosen, tastes, known = min(trials, key=lambda trial: trial[0])
        # Probabilities must hold for users of whom much and of whom little is known: held-out rows are predicted from
        # all other rows of their user, and from the earlier ones alone.
        followed = follow(tastes, log, np.flatnonzero(held))
        _, link = fit_link([known, Held(hidden, followed.logits, followed.drawn, followed.items)], drawing)
        held_out = quality(tastes.replace(link=link), known)
        tastes, users = fit_to(log, drawn, chosen)
        advance(1)
    tastes = with_level(
        with_draws(catalogue_side(tastes.replace(link=link), drawing), users, config.draws, seed),
        log,
        config.base_rate,
        seed,
    )
    report = {
        "strengths": chosen._asdict(),
        "link": {name: np.asarray(value).tolist() for name, value in vars(tastes.link).items()},
        "held_out": held_out,
    }
    assumed = account_of(drawing, log.feedback_names, config.base_rate)
    return tastes, report | ({"assumed": assumed} if assumed else {})


def hidden_rows(log: Log, held: np.ndarray, drawing: Drawing | None, seed: int) -> tuple[Rows, np.ndarray | None]:
    """The rows `held` [R] bool of a log, and the items drawn for them, which their users never choose."""
    part = log.take(held)
    return rows_of(part), None if drawing is None else draw_items(drawing, part, seed + 1, log)


def catalogue_side(tastes: Tastes, drawing: Drawing | None) -> Tastes:
    """Logits of rows against drawn items become logits of a choice among all items.

    The link scales logits, but not the offset of the drawn items, which is known.
    """
    if drawing is None:
        return tastes
    offset = drawing.offset / tastes.link.scale[None]
    return tastes.replace(item_logits=tastes.item_logits - offset, drawing=drawing.replace(offset=offset))


def search_strengths(try_out: Callable[[Strengths], None], trials: list, base: Strengths, vary: bool) -> None:
    """Try the base, then other strengths for users, then for items and texts with the best so far."""
    try_out(base)
    if not vary:
        return
    for factor in SEARCH:
        try_out(base._replace(user=base.user * factor))
    best = min(trials, key=lambda trial: trial[0])[1]
    for factor in SEARCH:
        try_out(best._replace(item=best.item * factor, text=best.text * factor))


def base_strengths(config: TastesConfig) -> Strengths:
    """Strengths of the recipe."""
    return Strengths(
        user=config.user_strength,
        bias=config.bias_strength,
        item=config.item_strength,
        item_bias=config.item_bias_strength,
        text=config.text_strength,
    )


def item_features(vectors: np.ndarray | None, log: Log, components: int) -> np.ndarray:
    """Features of items: components of their texts, then the standardised logarithm of their rows: [I, k + 1].

    What many people rate is liked more on average, and terms of single items must not have to say so: they are shrunk
    to what the features say, and an item with few rows would be shrunk to the mean of all items.
    """
    count = np.log1p(np.bincount(log.item, minlength=log.num_items))
    count = (count - count.mean()) / (count.std() + 1e-8)
    text = text_features(vectors, log.num_items, components)
    return np.concatenate([text, count[:, None]], axis=1).astype(np.float32)


def text_features(vectors: np.ndarray | None, num_items: int, components: int) -> np.ndarray:
    """Leading principal components of item vectors, scaled to mean square length 1: [I, E] -> [I, k]."""
    if vectors is None:
        return np.zeros((num_items, 0), np.float32)
    check_shape("item vectors", vectors, (num_items, None))
    centred = vectors - vectors.mean(0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    kept = left[:, :components] * size[:components]
    return (kept / max(float(np.sqrt((kept**2).sum(1).mean())), 1e-8)).astype(np.float32)


def first_params(log: Log, components: int, config: TastesConfig, seed: int, drawing: Drawing | None = None) -> Params:
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
    }
    return {name: jnp.asarray(x, jnp.float32) for name, x in arrays.items()}


def item_side(params: Params, features: Array, others: DrawnItems | None = None) -> tuple[Array, Array]:
    """Vectors [I, d] and logits [I, F] of items; with `others`, those that compare rows with drawn items."""
    vectors = features @ params["text"] + params["item"]
    logits = features @ params["text_bias"] + params["item_bias"]
    logits = logits + jnp.broadcast_to(params["base"], logits.shape)
    return vectors, logits if others is None else logits + others.drawing.offset


def log_loss(logits: Array, answers: Array) -> Array:
    """Negative log-likelihood of answers 0 or 1: [...], [...] -> [...]."""
    return jax.nn.softplus(logits) - answers * logits


def most_likely(
    params: Params,
    rows: Rows,
    features: Array,
    strengths: Strengths,
    others: DrawnItems | None = None,
    *,
    config: TastesConfig,
) -> Params:
    """Minimise log loss plus penalties over all rows at once: Adam with a cosine schedule.

    `others` are drawn for the rows, and their answer is 0.
    """
    optimiser = optax.scale_by_adam()
    steps = jnp.arange(config.steps, dtype=jnp.float32)
    rates = jnp.asarray(optax.cosine_decay_schedule(config.learning_rate, config.steps)(steps))

    def loss(params: Params) -> Array:
        vectors, logits = item_side(params, features, others)
        taste, bias = params["taste"][rows.user], params["user_bias"][rows.user]
        z = logits[rows.item] + bias + jnp.einsum("rfd,rd->rf", taste, vectors[rows.item])
        total = log_loss(z, rows.answer).sum()
        if others is not None:
            z = logits[others.items] + bias[:, None] + jnp.einsum("rfd,rnd->rnf", taste, vectors[others.items])
            total = total + (jax.nn.softplus(z) * asked_of(others.items, others.drawing)).sum()
        penalty = 0.5 * (
            strengths.user * jnp.square(params["taste"]).sum()
            + strengths.bias * jnp.square(params["user_bias"]).sum()
            + strengths.item * jnp.square(params["item"]).sum()
            + strengths.item_bias * jnp.square(params["item_bias"]).sum()
            + strengths.text * (jnp.square(params["text"]).sum() + jnp.square(params["text_bias"]).sum())
        )
        return (total + penalty) / rows.answer.size

    def step(carry: tuple[Params, Any], rate: Array):
        params, state = carry
        return descend(optimiser, jax.grad(loss)(params), params, state, rate), None

    return jax.lax.scan(step, (params, optimiser.init(params)), rates)[0][0]


def with_users(
    params: Params, rows: Rows, features: Array, strengths: Strengths, log: Log, others: DrawnItems | None = None
) -> tuple[Tastes, Users]:
    """Items of the fitted parameters, and the posterior of all users given these items.

    Logits are those that compare rows with `others`, so there is no offset to add.
    """
    vectors, logits = item_side(params, features, others)
    precision = jnp.asarray([strengths.bias] + [strengths.user] * vectors.shape[1])
    start = jnp.concatenate([params["user_bias"][..., None], params["taste"]], axis=-1)
    drawing = None if others is None else others.drawing.replace(offset=jnp.zeros_like(others.drawing.offset))
    chunks = None if others is None else others._replace(items=in_chunks(others.items, PADDING))
    users = compiled(user_posterior)(vectors, logits, precision, start, padded(rows), chunks)
    population = compiled(population_of)(users, np.unique(log.user))
    link = logistic(logits.shape[1])
    return Tastes(vectors, logits, link, population, drawing=drawing, feedback_names=log.feedback_names), users
