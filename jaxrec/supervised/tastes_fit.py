"""Fitting tastes to a log: strengths chosen on held-out rows, the most likely tastes, then their posterior."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrec.checks import InputError
from jaxrec.config.tastes import TastesConfig
from jaxrec.data.log import Log
from jaxrec.ops.descend import descend
from jaxrec.progress import track
from jaxrec.sharding.compile import compiled
from jaxrec.supervised.calibration import auc, expected_calibration_error, fit_curve
from jaxrec.supervised.effects import Effects
from jaxrec.supervised.effects_fit import fit_effects
from jaxrec.supervised.taste_features import item_features
from jaxrec.supervised.taste_path import follow
from jaxrec.supervised.taste_posterior import (
    Rows,
    Users,
    expected_logits,
    padded,
    population_of,
    rows_of,
    user_posterior,
    with_draws,
)
from jaxrec.supervised.tastes import Link, Moments, Tastes, probabilities
from jaxrec.types import Array, Params

SEARCH = (0.25, 4.0)  # factors by which strengths are varied
SEARCHED = ("text", "item_bias", "user", "item")  # in this order: what all users share comes before single ones


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
    others: Sequence[np.ndarray] = (),
    strengths: Strengths | None = None,
    label: str = "fit tastes",
) -> tuple[Tastes, dict[str, Any]]:
    """Fit tastes to `log`, with text vectors of its items [I, E]; gives them and a report.

    `others` are blocks [I, ...] of other features of the items.

    At first, a share of the rows is held out (`config.holdout`). Strengths are searched for the least log loss there,
    unless they are given or `config.search` is off, and the link is fitted there. Short-term effects are fitted next
    (`jaxrec.supervised.effects_fit`). The final fit has all rows. Users are the `log.num_users` of the log, with or
    without rows. Raises InputError if a kind of feedback has only one value, since there is nothing to learn.
    """
    check_two_values(log)
    task = _task(log, item_features(vectors, log, config.text_components, others), config, seed)
    vary = strengths is None and config.search
    with track(label, 2 + len(SEARCH) * len(SEARCHED) * vary) as advance:
        trials: list[tuple[float, Strengths, Fitted]] = []

        def try_out(chosen: Strengths) -> None:
            fitted = task.fit(~task.held, task.no_offsets, chosen)
            hidden = rows_of(log.take(task.held))
            loss, _ = fit_link(hidden, expected_logits(*fitted, hidden))
            trials.append((loss, chosen, fitted))
            advance(1, f"held-out log loss {loss:.4f}")

        search_strengths(try_out, trials, base_strengths(config) if strengths is None else strengths, vary)
        _, chosen, fitted = min(trials, key=lambda trial: trial[0])
        best = _Curve(*task.calibrated(fitted, task.no_offsets, None), task.no_offsets)
        if config.effects:
            best = _with_effects(task, chosen, best, seed)
        tastes, users = task.fit(np.ones(len(log), bool), best.offsets, chosen)
        advance(1)
    report = {
        "strengths": chosen._asdict(),
        "link": {name: np.asarray(value).tolist() for name, value in vars(best.link).items()},
        "held_out": best.held_out,
        "effects": best.about,
    }
    return with_draws(tastes.replace(link=best.link, effects=best.effects), users, config.draws, seed), report


Fitted = tuple[Tastes, Users]  # items, before calibration, and the posterior of all users


class _Task(NamedTuple):
    """A log to fit, and the rows of it that are held out."""

    log: Log
    features: Array  # [I, k]
    held: np.ndarray  # [R] bool
    start: Params
    program: Callable[..., Params]  # of `most_likely`

    @property
    def no_offsets(self) -> np.ndarray:
        """Offsets [R, F] without short-term effects."""
        return np.zeros_like(self.log.feedback)

    def fit(self, part: np.ndarray, offsets: np.ndarray, strengths: Strengths) -> Fitted:
        """Fit to the rows `part` [R] bool, given the offsets of all rows."""
        log = self.log.take(part)
        rows = rows_of(log, offsets[part])
        params = self.program(self.start, rows, self.features, strengths)
        return with_users(params, rows, self.features, strengths, log)

    def calibrated(
        self, fitted: Fitted, offsets: np.ndarray, effects: Effects | None
    ) -> tuple[Link, dict[str, dict[str, Any]]]:
        """The link of what was fitted to the other rows, and the quality of its predictions for held-out rows."""
        tastes, users = fitted
        # Probabilities must hold for users of whom much and of whom little is known: held-out rows are predicted from
        # all other rows of their user, and from the earlier ones alone.
        hidden, whole = rows_of(self.log.take(self.held), offsets[self.held]), tastes.replace(effects=effects)
        logits = expected_logits(tastes, users, hidden), follow(whole, self.log, np.flatnonzero(self.held)).logits
        _, link = fit_link(*(jax.tree.map(lambda *x: jnp.concatenate(x), *pair) for pair in ((hidden, hidden), logits)))
        return link, quality(tastes.replace(link=link), hidden, logits[0])


class _Curve(NamedTuple):
    """The calibrated curve, and the short-term effects that it goes with."""

    link: Link
    held_out: dict[str, dict[str, Any]]  # quality on held-out rows
    offsets: np.ndarray  # [R, F] of all rows
    effects: Effects | None = None
    about: dict[str, Any] | None = None  # report on the effects; None: they were not fitted


def _task(log: Log, features: np.ndarray, config: TastesConfig, seed: int) -> _Task:
    held = np.random.default_rng(seed).random(len(log)) < config.holdout
    held[np.unique(log.user, return_index=True)[1]] = False  # every user keeps a row
    start = first_params(log, features.shape[1], config, seed)
    return _Task(log, jnp.asarray(features), held, start, compiled(partial(most_likely, config=config)))


def _with_effects(task: _Task, strengths: Strengths, plain: _Curve, seed: int) -> _Curve:
    """Fit the effects that the log confirms, and calibrate anew if there are any."""

    def expected(part: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, Moments]:
        tastes, users = task.fit(part, offsets, strengths)
        return np.asarray(tastes.item_vectors), expected_logits(tastes, users, rows_of(task.log, offsets))

    def calibrated(offsets: np.ndarray, effects: Effects) -> tuple[Link, dict[str, dict[str, Any]]]:
        return task.calibrated(task.fit(~task.held, offsets, strengths), offsets, effects)

    found = fit_effects(task.log, plain.link, lambda offsets, effects: calibrated(offsets, effects)[0], expected, seed)
    if found.effects is None:
        return plain._replace(about=found.report)
    return _Curve(*calibrated(found.offsets, found.effects), found.offsets, found.effects, found.report)


def search_strengths(try_out: Callable[[Strengths], None], trials: list, base: Strengths, vary: bool) -> None:
    """Try the base, then others for one parameter after another, each time from the best so far."""
    try_out(base)
    for name in SEARCHED if vary else ():
        best = min(trials, key=lambda trial: trial[0])[1]
        for factor in SEARCH:
            try_out(best._replace(**{name: getattr(best, name) * factor}))


def base_strengths(config: TastesConfig) -> Strengths:
    """Strengths of the recipe."""
    return Strengths(
        user=config.user_strength,
        bias=config.bias_strength,
        item=config.item_strength,
        item_bias=config.item_bias_strength,
        text=config.text_strength,
    )


def check_two_values(log: Log) -> None:
    """Raise InputError if a kind of feedback is always 0 or always 1."""
    for name, values in zip(log.feedback_names, log.feedback.T, strict=True):
        if not len(values) or values.min() == values.max():
            seen = "no rows" if not len(values) else f"one value, {values[0]:g}, in all {len(values):,} rows"
            raise InputError(
                f"data.feedback.{name}: {seen}, so no tastes can be fitted; choose another threshold or column."
            )


def first_params(log: Log, components: int, config: TastesConfig, seed: int) -> Params:
    """Parameters before the fit: the base rates, and small random tastes and text weights."""
    users, items, kinds, width = log.num_users, log.num_items, log.feedback.shape[1], config.width
    rng = np.random.default_rng([seed, 1])
    base = np.clip(log.feedback.mean(0), 0.001, 0.999)
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


def item_side(params: Params, features: Array) -> tuple[Array, Array]:
    """Vectors [I, d] and logits [I, F] of items."""
    vectors = features @ params["text"] + params["item"]
    logits = features @ params["text_bias"] + params["item_bias"]
    return vectors, logits + jnp.broadcast_to(params["base"], logits.shape)


def log_loss(logits: Array, answers: Array) -> Array:
    """Negative log-likelihood of answers 0 or 1: [...], [...] -> [...]."""
    return jax.nn.softplus(logits) - answers * logits


def most_likely(params: Params, rows: Rows, features: Array, strengths: Strengths, config: TastesConfig) -> Params:
    """Minimise log loss plus penalties over all rows at once: Adam with a cosine schedule."""
    optimiser = optax.scale_by_adam()
    steps = jnp.arange(config.steps, dtype=jnp.float32)
    rates = jnp.asarray(optax.cosine_decay_schedule(config.learning_rate, config.steps)(steps))

    def loss(params: Params) -> Array:
        vectors, logits = item_side(params, features)
        match = jnp.einsum("rfd,rd->rf", params["taste"][rows.user], vectors[rows.item])
        z = logits[rows.item] + params["user_bias"][rows.user] + match + rows.offset
        penalty = 0.5 * (
            strengths.user * jnp.square(params["taste"]).sum()
            + strengths.bias * jnp.square(params["user_bias"]).sum()
            + strengths.item * jnp.square(params["item"]).sum()
            + strengths.item_bias * jnp.square(params["item_bias"]).sum()
            + strengths.text * (jnp.square(params["text"]).sum() + jnp.square(params["text_bias"]).sum())
        )
        return (log_loss(z, rows.answer).sum() + penalty) / rows.answer.size

    def step(carry: tuple[Params, Any], rate: Array):
        params, state = carry
        return descend(optimiser, jax.grad(loss)(params), params, state, rate), None

    return jax.lax.scan(step, (params, optimiser.init(params)), rates)[0][0]


def with_users(params: Params, rows: Rows, features: Array, strengths: Strengths, log: Log) -> tuple[Tastes, Users]:
    """Items of the fitted parameters, and the posterior of all users given these items."""
    vectors, logits = item_side(params, features)
    precision = jnp.asarray([strengths.bias] + [strengths.user] * vectors.shape[1])
    start = jnp.concatenate([params["user_bias"][..., None], params["taste"]], axis=-1)
    users = compiled(user_posterior)(vectors, logits, precision, start, padded(rows))
    population = compiled(population_of)(users, np.unique(log.user))
    link = logistic(logits.shape[1])
    return Tastes(vectors, logits, link, population, feedback_names=log.feedback_names), users


def logistic(kinds: int) -> Link:
    """The link before calibration: the plain sigmoid."""
    return Link(*(jnp.full(kinds, x) for x in (1.0, 0.0, 0.0, 1.0, 1.0)))


def fit_link(rows: Rows, logits: Moments) -> tuple[float, Link]:
    """The link with which expected logits predict the answers best, and its mean log loss on them."""
    parts = [np.asarray(x, np.float64) for x in (rows.answer, logits.mean, logits.variance, logits.offset)]
    fits = [fit_curve(*(part[:, kind] for part in parts)) for kind in range(rows.answer.shape[1])]
    columns = zip(*(curve for _, curve in fits), strict=True)
    return float(np.mean([loss for loss, _ in fits])), Link(*(jnp.asarray(x, jnp.float32) for x in columns))


def quality(tastes: Tastes, rows: Rows, logits: Moments) -> dict[str, dict[str, Any]]:
    """Log loss, AUC and calibration error of predictions for rows, by name of the feedback; None without rows."""
    if not len(rows.answer):
        return {name: {"rows": 0, "log_loss": None, "auc": None, "ece": None} for name in tastes.feedback_names}
    p = np.asarray(compiled(probabilities)(tastes, logits.mean, logits.variance, logits.offset), np.float64)
    answers = np.asarray(rows.answer)
    return {
        name: {
            "rows": len(p),
            "log_loss": float(-np.log(np.where(answers[:, b] > 0, p[:, b], 1 - p[:, b])).mean()),
            "auc": auc(answers[:, b], p[:, b]),
            "ece": expected_calibration_error(answers[:, b], p[:, b]),
        }
        for b, name in enumerate(tastes.feedback_names)
    }
