"""Fitting short-term effects to a log, on rows that the tastes have not seen.

Rows are split into folds at random. The logits of a fold's rows are expected from all other folds, whether earlier or
later, so tastes are known as well as the log allows. A logistic regression with these logits as offset then asks what
recent rows add. The features are those of `jaxrec.supervised.effects`, minus what they would be on average if the
user's rows had come in random order. Without this, a log that shows people what they like would look like immersion:
what was shown often is what is liked. If order does not matter, the coefficients are 0 even if the tastes are wrong.

Standard errors are clustered by user. An effect is kept if its interval leaves out 0. The intervals are those of 95%
for all tried effects together (Bonferroni). Tastes and effects are fitted in turn, each given the other. Only mood is
left out when tastes are fitted.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxrec.data.log import Log
from jaxrec.supervised.effects import Effects
from jaxrec.supervised.regression import Curves, logistic_regression
from jaxrec.supervised.tastes import Link, Moments

RATES = (0.5, 0.8, 0.9, 0.95, 0.98)  # shares kept from row to row that are tried
FOLDS, ROUNDS = 3, 4
CALIBRATE = 2  # round in which the curve is fitted anew: without the effects it is too flat
CONFIDENCE = 0.95

# Rows to fit to [R] bool, offsets [R, F] of all rows -> item vectors [I, d], and logits [R, F] expected for all rows
FitTo = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, Moments]]

# Offsets [R, F], effects -> the curve that calibrates probabilities
Calibrated = Callable[[np.ndarray, Effects], Link]


class Found(NamedTuple):
    """What a fit of effects found."""

    effects: Effects | None  # None: no effect is confirmed
    offsets: np.ndarray  # [R, F] what they add to the logits of the log's rows, but for mood
    report: dict[str, Any]


def fit_effects(
    log: Log, link: Link, calibrated: Calibrated, fit_to: FitTo, seed: int, tried: np.ndarray | None = None
) -> Found:
    """Fit the effects that the log confirms; `link` is the curve without effects.

    Only kinds `tried` [F] bool can have effects (default: all); the report names the others under "not_fitted".
    """
    tried = np.ones(log.feedback.shape[1], bool) if tried is None else tried
    offsets = np.zeros(log.feedback.shape, np.float32)
    if not tried.any():
        return Found(None, offsets, {"feedback": {}, "not_fitted": list(log.feedback_names)})
    fold = np.random.default_rng([seed, 3]).permutation(len(log)) % FOLDS
    context = np.zeros((len(log), 0)) if log.context is None else np.asarray(log.context, np.float64)
    names = ("similarity", "mood", *log.context_names)
    width = _normal_quantile(1 - (1 - CONFIDENCE) / 2 / (2 * len(RATES) + context.shape[1]))
    features = _features(log, link, fold, fit_to, offsets, context)
    possible = np.broadcast_to(tried[:, None], (len(tried), len(names)))
    rates = _best_rates(log, features, possible)
    found = _estimate(log, features, rates, possible)
    kept = np.abs(found.weights) > width * found.errors
    if not kept.any():
        return Found(None, offsets, _report(log, tried, found, kept, width, rates))
    mood = np.arange(len(names)) == 1
    for n in range(ROUNDS):
        # Mood is not taken from the answers that tastes are fitted to: it is made of answers, and would replace them.
        offsets = _offsets(features, rates, np.where(mood, 0.0, found.weights * kept))
        if n == CALIBRATE:
            link = calibrated(offsets, _effects(found.weights * kept, rates))
        features = _features(log, link, fold, fit_to, offsets, context)
        change = _estimate(log, features, rates, kept)
        found = _Estimate(np.where(mood, 0.0, found.weights * kept) + change.weights, change.errors)
    kept &= np.abs(found.weights) > width * found.errors
    report = _report(log, tried, found, kept, width, rates)
    if not kept.any():
        return Found(None, np.zeros_like(offsets), report)
    weights = found.weights * kept
    return Found(_effects(weights, rates), _offsets(features, rates, np.where(mood, 0.0, weights)), report)


class _Features(NamedTuple):
    """The regression's inputs for every row of the log."""

    curves: list[Curves]  # of each kind of feedback: expected logits as offsets
    slope: np.ndarray  # [R, F] of the curve's logit by the effects
    alike: np.ndarray  # [R, Q] as defined
    mood: np.ndarray  # [R, Q, F]
    alike_extra: np.ndarray  # [R, Q] minus the mean over random orders
    mood_extra: np.ndarray  # [R, Q, F]
    context: np.ndarray  # [R, C]


class _Estimate(NamedTuple):
    weights: np.ndarray  # [F, P] of similarity, mood and context
    errors: np.ndarray  # [F, P]


def _features(
    log: Log, link: Link, fold: np.ndarray, fit_to: FitTo, offsets: np.ndarray, context: np.ndarray
) -> _Features:
    """Logits of rows expected without them, and what was shown before."""
    shape = log.feedback.shape
    mean, variance = np.zeros(shape), np.zeros(shape)
    alike, usual = np.zeros((len(log), len(RATES))), np.zeros(len(log))
    for n in range(FOLDS):
        vectors, logits = fit_to(fold != n, offsets)
        rows = fold == n
        mean[rows], variance[rows] = np.asarray(logits.mean)[rows], np.asarray(logits.variance)[rows]
        directions = (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6))[log.item]
        sums, totals = recent_sums(log, directions)
        alike[rows] = np.einsum("rqd,rd->rq", sums[rows], directions[rows])
        usual[rows] = ((totals - directions) * directions).sum(1)[rows]
    link_of = {name: np.asarray(x, np.float64) for name, x in vars(link).items()}
    flat = 1 / np.sqrt(1 + np.pi / 8 * link_of["spread"] * link_of["scale"] ** 2 * variance)
    usual_logit = link_of["scale"] * mean + link_of["shift"]
    surprise = log.feedback - _curve(link_of, flat * usual_logit)
    sums, totals = recent_sums(log, surprise)
    others = np.maximum(np.diff(log.offsets)[log.user] - 1, 1)
    weights = recent_sums(log, np.ones((len(log), 1)))[0][..., 0]  # [R, Q] of all rows that are remembered
    faded = 1 - np.array(RATES)
    inner = flat * (usual_logit + offsets)
    curves = [Curves(inner[:, kind], link_of["low"][kind], link_of["high"][kind]) for kind in range(shape[1])]
    usual_mood = (totals - surprise) / others[:, None]
    return _Features(
        curves=curves,
        slope=flat,
        alike=alike,
        mood=faded[:, None] * sums,
        alike_extra=alike - weights * (usual / others)[:, None],
        mood_extra=faded[:, None] * (sums - weights[..., None] * usual_mood[:, None]),
        context=context,
    )


def recent_sums(log: Log, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum the values [R, K] of a user's rows before each moment, at every rate: [R, Q, K]; and over the user: [R, K].

    Rows that were shown together do not see each other.
    """
    lengths = np.diff(log.offsets)
    users = np.argsort(-lengths, kind="stable")  # those with rows at a place are the first ones
    moment, keep = log.moments, np.array(RATES)[:, None]
    sums = np.zeros((len(users), len(RATES), values.shape[1]))
    visible, last = np.zeros_like(sums), np.full(len(users), -1)
    found = np.zeros((len(log), *sums.shape[1:]), np.float32)
    for place in range(int(lengths.max(initial=0))):
        here = int(np.searchsorted(-lengths[users], -place, side="left"))
        rows = log.offsets[users[:here]] + place
        new = moment[rows] != last[:here]
        visible[:here][new] = sums[:here][new]
        last[:here] = moment[rows]
        found[rows] = visible[:here]
        sums[:here] = keep * sums[:here] + values[rows][:, None]
    totals = np.stack([np.bincount(log.user, column, log.num_users) for column in values.T], axis=1)
    return found, totals[log.user]


def _curve(link: dict[str, np.ndarray], logits: np.ndarray) -> np.ndarray:
    return link["low"] + (link["high"] - link["low"]) / (1 + np.exp(-logits))


def _best_rates(log: Log, features: _Features, possible: np.ndarray) -> tuple[int, int]:
    """The rates at which similarity and mood are seen most clearly, as places in RATES."""
    clear = np.zeros((len(RATES), 2))
    for place in range(len(RATES)):
        found = _estimate(log, features, (place, place), possible)
        clear[place] = np.square(found.weights / found.errors)[:, :2].sum(0)
    best = clear.argmax(0)
    return int(best[0]), int(best[1])


def _estimate(log: Log, features: _Features, rates: tuple[int, int], kept: np.ndarray) -> _Estimate:
    """Regress every kind of feedback; effects that are not `kept` [F, P] stay 0."""
    kinds, size = log.feedback.shape[1], 2 + features.context.shape[1]
    weights, errors = np.zeros((kinds, size)), np.full((kinds, size), np.inf)
    for kind in range(kinds):
        recent = features.alike_extra[:, rates[0]], features.mood_extra[:, rates[1], kind]
        x = np.column_stack([*recent, features.context])
        use = (x.std(0) > 1e-6) & kept[kind]
        if not use.any():
            continue
        inputs = np.column_stack([np.ones(len(log)), x[:, use]]) * features.slope[:, kind, None]
        fitted = logistic_regression(inputs, log.feedback[:, kind], log.user, features.curves[kind], ridge=1e-3)
        weights[kind, use], errors[kind, use] = fitted.weights[1:], fitted.errors[1:]
    return _Estimate(weights, errors)


def _effects(weights: np.ndarray, rates: tuple[int, int]) -> Effects:
    """Effects of coefficients [F, P]."""
    keep = np.array([RATES[place] for place in rates])
    alike, mood, context, keep = (
        jnp.asarray(x, jnp.float32) for x in (weights[:, 0], weights[:, 1], weights[:, 2:].T, keep)
    )
    return Effects(alike, mood, keep, context if context.shape[0] else None)


def _offsets(features: _Features, rates: tuple[int, int], weights: np.ndarray) -> np.ndarray:
    """What the effects add to the logits of the log's rows: [R, F]."""
    recent = features.alike[:, rates[0], None] * weights[:, 0] + features.mood[:, rates[1]] * weights[:, 1]
    return (recent + features.context @ weights[:, 2:].T).astype(np.float32)


def _report(
    log: Log, tried: np.ndarray, found: _Estimate, kept: np.ndarray, width: float, rates: tuple[int, int]
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
    report = {"keep": {"similarity": RATES[rates[0]], "mood": RATES[rates[1]]}, "feedback": kinds}
    left_out = [name for name, one in zip(log.feedback_names, tried, strict=True) if not one]
    return report | ({"not_fitted": left_out} if left_out else {})


def _normal_quantile(p: float) -> float:
    from scipy import stats  # slow to import

    return float(stats.norm.ppf(p))
