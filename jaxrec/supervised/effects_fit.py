"""Fitting short-term effects to a log, on rows that the tastes have not seen.

Rows are split into folds at random. The logits of a fold's rows are expected from all other folds, whether earlier or
later, so tastes are known as well as the log allows. A logistic regression with these logits as offset then asks what
recent rows add. The features are those of `jaxrec.nets.effects`, minus what they would be on average if the
user's rows had come in random order. Without this, a log that shows people what they like would look like immersion:
what was shown often is what is liked. If order does not matter, the coefficients are 0 even if the tastes are wrong.

What makes items alike is not known. Of several ways (alike.py) and memories, those are taken that explain most.

Standard errors are clustered by user. An effect is kept if its interval leaves out 0. The intervals are those of 95%
for all effects that are tried on a kind of feedback (Bonferroni). Tastes and effects are fitted in turn, each given the
other. Only mood is left out when tastes are fitted.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxrec.data.log import Log
from jaxrec.nets.effects import Effects
from jaxrec.nets.tastes import Link, Moments
from jaxrec.ops.vectors import unit_rows
from jaxrec.supervised.alike import Alike
from jaxrec.supervised.recent_rows import RATES, recent_products, recent_sums
from jaxrec.supervised.regression import Curves, logistic_regression

FOLDS, ROUNDS = 3, 3
CALIBRATE = 1  # round in which the curve is fitted anew: without the effects it is too flat
CONFIDENCE = 0.95
CURVES = 2  # to which a log's effects are fitted, see tastes_fit.py
MOOD = 1  # place of mood among the effects, after similarity and before the context

# Rows to fit to [R] bool, offsets [R, F] of all rows -> taste vectors of the items [I, d], and logits [R, F] expected
# for all rows
FitTo = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, Moments]]

# Offsets [R, F] -> the curve that calibrates probabilities
Calibrated = Callable[[np.ndarray], Link]


class Found(NamedTuple):
    """What a fit of effects found."""

    effects: Effects | None  # None: no effect is confirmed
    offsets: np.ndarray  # [R, F] what they add to the logits of the log's rows, but for mood
    report: dict[str, Any]


def fit_effects(
    log: Log,
    link: Link,
    calibrated: Calibrated,
    fit_to: FitTo,
    ways: Sequence[Alike],
    seed: int,
    tried: np.ndarray | None = None,
) -> Found:
    """Fit the effects that the log confirms; `link` is the curve without effects, `ways` the candidate similarities.

    Only kinds `tried` [F] bool can have effects (default: all); the report names the others under "not_fitted".
    """
    tried = np.ones(log.feedback.shape[1], bool) if tried is None else tried
    offsets = np.zeros(log.feedback.shape, np.float32)
    if not tried.any():
        return Found(None, offsets, {"feedback": {}, "not_fitted": list(log.feedback_names)})
    fold = np.random.default_rng([seed, 3]).permutation(len(log)) % FOLDS
    context = np.zeros((len(log), 0)) if log.context is None else np.asarray(log.context, np.float64)
    names = ("similarity", "mood", *log.context_names)
    tests = CURVES * ((len(ways) + 1) * len(RATES) + context.shape[1])
    width = _normal_quantile(1 - (1 - CONFIDENCE) / 2 / tests)
    features = _features(log, link, fold, fit_to, offsets, context)
    possible = np.broadcast_to(tried[:, None], (len(tried), len(names)))
    features, way, rates = _clearest(log, features, fold, ways, possible)
    found = first = _estimate(log, features, rates, possible)
    kept = np.abs(found.weights) > width * found.errors
    if not kept.any():
        return Found(None, offsets, _report(log, tried, found, kept, width, way, rates))
    mood = np.arange(len(names)) == MOOD
    for n in range(ROUNDS):
        # Mood is not taken from the answers that tastes are fitted to: it is made of answers, and would replace them.
        offsets = _offsets(features, rates, np.where(mood, 0.0, found.weights * kept))
        if n == CALIBRATE:
            link = calibrated(offsets)
        features = _again(log, features, link, fold, fit_to, offsets, way)
        change = _estimate(log, features, rates, kept)
        found = change._replace(weights=np.where(mood, 0.0, found.weights * kept) + change.weights)
    kept &= np.abs(found.weights) > width * found.errors
    # What was left out at once keeps the interval for which it was.
    shown = np.isfinite(found.errors)
    weights, errors = (
        np.where(shown, *pair) for pair in ((found.weights, first.weights), (found.errors, first.errors))
    )
    report = _report(log, tried, found._replace(weights=weights, errors=errors), kept, width, way, rates)
    if not kept.any():
        return Found(None, np.zeros_like(offsets), report)
    weights = found.weights * kept
    return Found(_effects(weights, way, rates), _offsets(features, rates, np.where(mood, 0.0, weights)), report)


class _Features(NamedTuple):
    """The regression's inputs for every row of the log."""

    curves: list[Curves]  # of each kind of feedback: expected logits as offsets
    slope: np.ndarray  # [R, F] of the curve's logit by the effects
    mood: np.ndarray  # [R, Q, F] as defined
    mood_extra: np.ndarray  # [R, Q, F] minus the mean over random orders
    context: np.ndarray  # [R, C]
    weight: np.ndarray  # [R, Q] of all rows that are remembered
    others: np.ndarray  # [R] number of the user's other rows
    tastes: list[np.ndarray]  # [I, d] of each fold: taste vectors fitted to the other rows
    alike: np.ndarray  # [R, Q] as defined
    alike_extra: np.ndarray  # [R, Q] minus the mean over random orders


class _Estimate(NamedTuple):
    weights: np.ndarray  # [F, P] of similarity, mood and context
    errors: np.ndarray  # [F, P]
    loss: float  # mean log loss of each kind with an effect, added up


def _again(
    log: Log, features: _Features, link: Link, fold: np.ndarray, fit_to: FitTo, offsets: np.ndarray, way: Alike
) -> _Features:
    """Features given other offsets; what is alike stays, unless it follows the tastes."""
    new = _features(log, link, fold, fit_to, offsets, features.context, features.weight)
    if way.directions is None:
        return _alike(log, new, fold, way)
    return new._replace(alike=features.alike, alike_extra=features.alike_extra)


def _features(
    log: Log,
    link: Link,
    fold: np.ndarray,
    fit_to: FitTo,
    offsets: np.ndarray,
    context: np.ndarray,
    weight: np.ndarray | None = None,
) -> _Features:
    """Logits of rows expected without them, and the answers before. What is alike follows in `_alike`.

    `weight` is that of earlier features of the same log, which saves time.
    """
    shape = log.feedback.shape
    mean, variance, tastes = np.zeros(shape), np.zeros(shape), []
    for n in range(FOLDS):
        vectors, logits = fit_to(fold != n, offsets)
        rows = fold == n
        mean[rows], variance[rows] = np.asarray(logits.mean)[rows], np.asarray(logits.variance)[rows]
        tastes.append(vectors)
    link_of = {name: np.asarray(x, np.float64) for name, x in vars(link).items()}
    flat = 1 / np.sqrt(1 + np.pi / 8 * link_of["spread"] * link_of["scale"] ** 2 * variance)
    usual_logit = link_of["scale"] * mean + link_of["shift"]
    surprise = log.feedback - _curve(link_of, flat * usual_logit)
    sums, totals = recent_sums(log, surprise)
    faded, nothing = 1 - np.array(RATES), np.zeros((len(log), len(RATES)))
    inner = flat * (usual_logit + offsets)
    curves = [Curves(inner[:, kind], link_of["low"][kind], link_of["high"][kind]) for kind in range(shape[1])]
    weight = recent_sums(log, np.ones((len(log), 1)))[0][..., 0] if weight is None else weight
    others = np.maximum(np.diff(log.offsets)[log.user] - 1, 1)
    usual_mood = (totals - surprise) / others[:, None]
    return _Features(
        curves=curves,
        slope=flat,
        mood=faded[:, None] * sums,
        mood_extra=faded[:, None] * (sums - weight[..., None] * usual_mood[:, None]),
        context=context,
        weight=weight,
        others=others,
        tastes=tastes,
        alike=nothing,
        alike_extra=nothing,
    )


def _alike(log: Log, features: _Features, fold: np.ndarray, way: Alike) -> _Features:
    """Add to the features how alike the item of each row and the items before it are."""
    alike, usual = np.zeros((len(log), len(RATES)), np.float32), np.zeros(len(log))
    sides = [unit_rows(side, 1e-6) for side in features.tastes] if way.directions is None else [way.directions]
    for n, directions in enumerate(sides):
        rows = fold == n if len(sides) > 1 else np.ones(len(log), bool)
        found, others = recent_products(log, directions)
        alike[rows], usual[rows] = found[rows], others[rows]
    extra = alike - features.weight * (usual / features.others)[:, None]
    return features._replace(alike=alike, alike_extra=extra)


def _curve(link: dict[str, np.ndarray], logits: np.ndarray) -> np.ndarray:
    return link["low"] + (link["high"] - link["low"]) / (1 + np.exp(-logits))


def _clearest(
    log: Log, features: _Features, fold: np.ndarray, ways: Sequence[Alike], possible: np.ndarray
) -> tuple[_Features, Alike, tuple[int, int]]:
    """Choose the way and the rate (a place in RATES) with which similarity explains most, then the rate of mood."""
    without_mood = possible & (np.arange(possible.shape[1]) != MOOD)
    best, chosen = np.inf, (features, ways[0], 0)
    for way in ways:
        tried = _alike(log, features, fold, way)
        losses = [_estimate(log, tried, (place, 0), without_mood).loss for place in range(len(RATES))]
        if min(losses) < best:
            best, chosen = min(losses), (tried, way, int(np.argmin(losses)))
    features, way, place = chosen
    losses = [_estimate(log, features, (place, mood), possible).loss for mood in range(len(RATES))]
    return features, way, (place, int(np.argmin(losses)))


def _estimate(log: Log, features: _Features, rates: tuple[int, int], kept: np.ndarray) -> _Estimate:
    """Regress every kind of feedback; effects that are not `kept` [F, P] stay 0."""
    kinds, size = log.feedback.shape[1], 2 + features.context.shape[1]
    weights, errors, loss = np.zeros((kinds, size)), np.full((kinds, size), np.inf), 0.0
    for kind in range(kinds):
        recent = features.alike_extra[:, rates[0]], features.mood_extra[:, rates[1], kind]
        x = np.column_stack([*recent, features.context])
        use = (x.std(0) > 1e-6) & kept[kind]
        if not kept[kind].any():
            continue
        inputs = np.column_stack([np.ones(len(log)), x[:, use]]) * features.slope[:, kind, None]
        fitted = logistic_regression(inputs, log.feedback[:, kind], log.user, features.curves[kind], ridge=1e-3)
        weights[kind, use], errors[kind, use] = fitted.weights[1:], fitted.errors[1:]
        loss += fitted.loss
    return _Estimate(weights, errors, loss)


def _effects(weights: np.ndarray, way: Alike, rates: tuple[int, int]) -> Effects:
    """Effects of coefficients [F, P]."""
    keep = np.array([RATES[place] for place in rates])
    alike, mood, context, keep = (
        jnp.asarray(x, jnp.float32) for x in (weights[:, 0], weights[:, 1], weights[:, 2:].T, keep)
    )
    directions = None
    if way.directions is not None and alike.any():
        directions = jnp.asarray(way.directions, jnp.float32)
    return Effects(alike, mood, keep, context if context.shape[0] else None, directions)


def _offsets(features: _Features, rates: tuple[int, int], weights: np.ndarray) -> np.ndarray:
    """What the effects add to the logits of the log's rows: [R, F]."""
    recent = features.alike[:, rates[0], None] * weights[:, 0] + features.mood[:, rates[1]] * weights[:, 1]
    return (recent + features.context @ weights[:, 2:].T).astype(np.float32)


def _report(
    log: Log,
    tried: np.ndarray,
    found: _Estimate,
    kept: np.ndarray,
    width: float,
    way: Alike,
    rates: tuple[int, int],
) -> dict[str, Any]:
    """Plain data: each tried effect with its interval, by kind of feedback; None where the log has nothing to say."""
    names, kinds = ("similarity", "mood", *log.context_names), {}
    for kind in np.flatnonzero(tried):
        rows = zip(names, found.weights[kind], found.errors[kind], kept[kind], strict=True)
        kinds[log.feedback_names[kind]] = {
            name: {
                "coefficient": float(w) if used else 0.0,
                "low": float(w - width * e) if np.isfinite(e) else None,
                "high": float(w + width * e) if np.isfinite(e) else None,
            }
            for name, w, e, used in rows
        }
    keep = {"similarity": RATES[rates[0]], "mood": RATES[rates[1]]}
    report = {"alike_by": way.name, "keep": keep, "feedback": kinds}
    left_out = [name for name, one in zip(log.feedback_names, tried, strict=True) if not one]
    return report | ({"not_fitted": left_out} if left_out else {})


def _normal_quantile(p: float) -> float:
    from scipy import stats  # slow to import

    return float(stats.norm.ppf(p))
