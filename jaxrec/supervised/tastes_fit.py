"""Fitting tastes to a log: strengths chosen on held-out rows, the most likely tastes, then their posterior."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.tastes import TastesConfig
from jaxrec.data.log import Log
from jaxrec.nets.effects import Effects
from jaxrec.nets.tastes import Link, Moments, Tastes
from jaxrec.progress import track
from jaxrec.supervised.alike import groups_of, most_groups, ways_alike
from jaxrec.supervised.contrast import (
    Drawing,
    account_of,
    always_one,
    check_values,
    draw_items,
    drawing_for,
    drawn_items,
)
from jaxrec.supervised.effects_fit import Found, fit_effects
from jaxrec.supervised.taste_features import item_features
from jaxrec.supervised.taste_link import Held, fit_link, logits_on, losses_of_users, quality, with_level
from jaxrec.supervised.taste_optimum import (
    Fitted,
    catalogue_side,
    first_params,
    fit_in_rounds,
)
from jaxrec.supervised.taste_path import follow
from jaxrec.supervised.taste_posterior import expected_logits, rows_of, with_draws
from jaxrec.supervised.taste_strengths import (
    TRIALS,
    TRIED_GROUPS,
    Strengths,
    Trial,
    base_strengths,
    made_of,
    same_features,
    search_strengths,
)
from jaxrec.types import Array, Params

ENDS = 2  # parameters of a curve's free ends
NEARLY = 0.02  # what free ends leave below or above, if they are those of the curve from 0 to 1


def fit_tastes(
    log: Log,
    vectors: np.ndarray | None,
    config: TastesConfig,
    seed: int,
    *,
    others: Sequence[np.ndarray] = (),
    strengths: Strengths | None = None,
    ones: np.ndarray | None = None,
    label: str = "fit tastes",
) -> tuple[Tastes, dict[str, Any]]:
    """Fit tastes to `log`, with text vectors of its items [I, E]; gives them and a report.

    `others` are blocks [I, ...] of other features of the items.

    At first, a share of the rows is held out (`config.holdout`). Strengths, and what item vectors are made of, are
    searched there by the rule of taste_strengths.py, unless they are given or `config.search` is off, and the link is
    fitted there. Short-term effects are fitted next (`jaxrec.supervised.effects_fit`). The final fit has all rows.
    Users are the `log.num_users` of the log, with or without rows.

    Kinds `ones` [F] bool are those that are always 1 (default: as in `log`). They are compared with items that the
    users do not have (contrast.py), `config.base_rate` is their level, and they have no short-term effects. Raises
    InputError if another kind of feedback has only one value, since there is nothing to learn.
    """
    ones = always_one(log) if ones is None else ones
    check_values(log, ones)
    task = _task(log, item_features(vectors, log, config.text_components, others), ones, config, seed)
    vary = strengths is None and config.search
    with track(label, 2 + vary * TRIALS) as advance:

        def try_out(chosen: Strengths, best: Trial | None) -> Trial:
            # Other strengths of the same features need only a few steps.
            near = best.fit[0] if best is not None and same_features(chosen, best.strengths) else None
            fit = task.fit_from(near, ~task.held, task.no_offsets, chosen)
            losses = task.losses_of_users(fit[1])
            trial = Trial(chosen, losses, fit)
            advance(1, f"held-out log loss {(best or trial).loss:.4f}")
            return trial

        base = base_strengths(config) if strengths is None else strengths
        found = search_strengths(try_out, base, vary, task.counts if config.groups is None else ())
        chosen = found.strengths
        best = _Curve(*task.calibrated(found.fit[1], task.no_offsets, None), task.no_offsets)
        if config.effects:
            best = _with_effects(task, chosen, best)
        tastes, users = task.fit(np.ones(len(log), bool), best.offsets, chosen)
        advance(1)
    tastes = tastes.replace(link=best.link, expecting=best.expecting, effects=best.effects)
    tastes = catalogue_side(tastes, task.drawing)
    tastes = with_level(with_draws(tastes, users, config.draws, seed), log, config.base_rate, seed)
    report = {
        "strengths": chosen._asdict(),
        "made_of": made_of(chosen, len(task.components.T)),
        "link": {name: np.asarray(value).tolist() for name, value in vars(tastes.link).items()},
        "held_out": best.held_out,
        "effects": best.about,
    }
    return tastes, report | account_of(task.drawing, log.feedback_names, config.base_rate)


class _Task(NamedTuple):
    """A log to fit, and the rows of it that are held out."""

    log: Log
    given: np.ndarray  # [I, k + 1] of items, as `taste_features.item_features` gives them
    held: np.ndarray  # [R] bool
    config: TastesConfig
    drawing: Drawing | None  # of items next to rows; None: no kind is always 1
    seed: int  # of the drawn items, and of all that is random
    most: int  # groups that the items can have
    made: dict[tuple[int, bool], Array]  # what `features` gave

    @property
    def components(self) -> np.ndarray:
        """Components [I, k] of what is known of items."""
        return self.given[:, :-1]

    @property
    def counts(self) -> list[int]:
        """Numbers of groups that are tried."""
        return [count for count in TRIED_GROUPS if count <= self.most]

    def features(self, strengths: Strengths) -> Array:
        """What item vectors are made of: groups, components or both, then how often an item is rated."""
        wanted = strengths.groups, strengths.components
        if wanted not in self.made:
            self.made[wanted] = jax.device_put(self._features(*wanted))
        return self.made[wanted]

    def _features(self, groups: int, components: bool) -> np.ndarray:
        """Columns of zeros make groups as wide as the components, so that fits with either share compiled programs."""
        parts = [self.given if components else self.given[:, -1:]]
        if groups:
            if groups > self.most:
                raise InputError(
                    f"tastes.groups: {groups} groups are too many for {self.log.num_touched:,} items with rows, whose "
                    f"texts and other features make at most {self.most}; lower it, or set it to 0."
                )
            parts.insert(0, groups_of(self.components, self.log, groups, self.seed))
        features = np.concatenate(parts, axis=1, dtype=np.float32)
        return np.pad(features, ((0, 0), (0, max(self.given.shape[1] - features.shape[1], 0))))

    @property
    def no_offsets(self) -> np.ndarray:
        """Offsets [R, F] without short-term effects."""
        return np.zeros_like(self.log.feedback)

    def fit(self, part: np.ndarray, offsets: np.ndarray, strengths: Strengths) -> Fitted:
        """Fit to the rows `part` [R] bool, given the offsets of all rows."""
        return self.fit_from(None, part, offsets, strengths)[1]

    def fit_from(
        self, near: Params | None, part: np.ndarray, offsets: np.ndarray, strengths: Strengths
    ) -> tuple[Params, Fitted]:
        """Fit in fewer steps from parameters of the same rows with other offsets or strengths; None: afresh."""
        log = self.log.take(part)
        rows = rows_of(log, offsets[part])
        # Only the part is known to the fit: the other rows' items may be drawn.
        drawn = None if self.drawing is None else drawn_items(self.drawing, log, self.seed)
        features = self.features(strengths)
        given = rows, features, strengths, log, drawn, self.config
        if near is not None:
            return fit_in_rounds(near, *given, near=True)
        # All fits start at the same tastes of all users, whatever the part.
        start = first_params(self.log, features.shape[1], self.config, self.seed, self.drawing)
        return fit_in_rounds(start, *given)

    def hidden(self, fitted: Fitted, offsets: np.ndarray) -> Held:
        """Held-out rows, and items drawn for them that their users never choose, as expected from the other rows."""
        (tastes, users), part = fitted, self.log.take(self.held)
        rows = rows_of(part, offsets[self.held])
        logits = expected_logits(tastes, users, rows)
        if self.drawing is None:
            return Held(rows, logits)
        items = draw_items(self.drawing, part, self.seed + 1, self.log)
        drawn = logits_on(tastes, users.mean, jnp.linalg.inv(users.precision), part.user, items)
        return Held(rows, logits, drawn, items)

    def losses_of_users(self, fitted: Fitted) -> np.ndarray:
        """What the held-out rows of each user add to their mean log loss, with the curve that fits them best: [U]."""
        held = self.hidden(fitted, self.no_offsets)
        return losses_of_users(held, fit_link([held], self.drawing)[1], self.log.num_users, self.drawing)

    def calibrated(
        self, fitted: Fitted, offsets: np.ndarray, effects: Effects | None, *, bounds: bool = True
    ) -> tuple[Link, Link | None, dict[str, dict[str, Any]]]:
        """The links of what was fitted to the other rows, and the quality of its predictions for held-out rows.

        Held-out rows are predicted from all other rows of their user, as simulated users are known, and from the
        earlier ones alone, as users who are new are known. Both have a link, which is the same one if a kind is always
        1: the level of such a kind is assumed. Without `bounds` both run from 0 to 1.
        """
        known = self.hidden(fitted, offsets)
        followed = follow(fitted[0].replace(effects=effects), self.log, np.flatnonzero(self.held))
        path = Held(known.rows, followed.logits, followed.drawn, followed.items)
        if self.drawing is not None:
            link, expecting = fit_link([known, path], self.drawing, bounds=bounds)[1], None
        else:
            link, expecting = (fit_link([part], bounds=bounds)[1] for part in (known, path))
        return link, expecting, quality(fitted[0].replace(link=link), known)


class _Curve(NamedTuple):
    """The calibrated curve, and the short-term effects that it goes with."""

    link: Link
    expecting: Link | None  # the curve for what is expected from earlier rows
    held_out: dict[str, dict[str, Any]]  # quality on held-out rows
    offsets: np.ndarray  # [R, F] of all rows
    effects: Effects | None = None
    about: dict[str, Any] | None = None  # report on the effects; None: they were not fitted


def _task(log: Log, features: np.ndarray, ones: np.ndarray, config: TastesConfig, seed: int) -> _Task:
    held = np.random.default_rng(seed).random(len(log)) < config.holdout
    held[np.unique(log.user, return_index=True)[1]] = False  # every user keeps a row
    drawing = drawing_for(log, ones, config.negatives)
    return _Task(log, features, held, config, drawing, seed, most_groups(features[:, :-1], log), {})


def _with_effects(task: _Task, strengths: Strengths, plain: _Curve) -> _Curve:
    """Fit the effects that the log confirms, and calibrate anew if there are any.

    Curve and effects explain each other's part: if people tire of what they like, their answers look as if nothing
    were liked by more than a share of them. So effects are fitted twice, given a curve with free ends and given one
    from 0 to 1, unless the free ends are there anyway. The curve that fits held-out rows better is kept; its free ends
    count against it (AIC).

    Kinds that are always 1 have none. Without what was refused, a log does not show whether people tire of what they
    were shown: they may have seen it and not chosen it, or not have seen it.
    """
    kinds = task.log.feedback.shape[1]
    tried = np.ones(kinds, bool) if task.drawing is None else np.asarray(task.drawing.kinds) == 0
    if not tried.any():
        return plain._replace(about={"feedback": {}, "not_fitted": list(task.log.feedback_names)})
    ways = ways_alike(task.components, task.log, task.seed)
    without: dict[bytes, tuple[Params, Fitted]] = {}  # fits without effects, by rows

    def fit(part: np.ndarray, offsets: np.ndarray) -> Fitted:
        key = part.tobytes()
        if key not in without:
            without[key] = task.fit_from(None, part, task.no_offsets, strengths)
        params, fitted = without[key]
        return task.fit_from(params, part, offsets, strengths)[1] if offsets.any() else fitted

    def expected(part: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, Moments]:
        tastes, users = fit(part, offsets)
        return np.asarray(tastes.item_vectors), expected_logits(tastes, users, rows_of(task.log, offsets))

    def curve_of(offsets: np.ndarray, bounds: bool) -> tuple[float, Link]:
        return fit_link([task.hidden(fit(~task.held, offsets), offsets)], task.drawing, bounds=bounds)

    def attempt(bounds: bool) -> tuple[float, bool, Found]:
        link = plain.link if bounds else curve_of(task.no_offsets, bounds)[1]
        calibrated = partial(curve_of, bounds=bounds)
        found = fit_effects(task.log, link, lambda x: calibrated(x)[1], expected, ways, task.seed, tried)
        return calibrated(found.offsets)[0] + ENDS * bounds / max(int(task.held.sum()), 1), bounds, found

    free = float(jnp.maximum(plain.link.low, 1 - plain.link.high).max()) > NEARLY
    _, bounds, found = min((attempt(bounds) for bounds in ((True, False) if free else (True,))), key=lambda one: one[0])
    if found.effects is None:
        return plain._replace(about=found.report)
    links = task.calibrated(fit(~task.held, found.offsets), found.offsets, found.effects, bounds=bounds)
    return _Curve(*links, found.offsets, found.effects, found.report)
