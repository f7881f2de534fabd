"""Strengths of the priors on tastes, and what item vectors are made of, chosen on held-out rows.

Item vectors are made of components of the items' features, or of N groups of them (k-means), or of both. Components say
more, but each of them may move each taste a little, so every item has chance differences from its neighbours that
people seem to like or to dislike. Groups have none.

Weaker priors let items and people be exceptional. Whether exceptions are there is seen in the few held-out rows that
have them, and so hardly at all; a recommender, which looks for the largest predictions, shows little else. Hence a
weaker prior must predict held-out rows better by one standard error of the difference (Breiman et al., 1984, section
3.4.3, have the rule of one standard error for the size of trees). A stronger one must only predict them better.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxrec.config.tastes import TastesConfig

TRIED_GROUPS = (8, 16, 32, 64)  # numbers of groups that are tried
VARIED = (0.25, 4.0)
SEARCHED = {  # factors of strengths, in this order: what all users share comes before single ones
    "exposure": (0.0, *VARIED),  # 0: without it
    "text": VARIED,
    "bias": VARIED,
    "item_bias": (0.25, 0.5, 4.0),
    "user": VARIED,
    "item": VARIED,
}
TRIALS = sum(map(len, SEARCHED.values())) + len(TRIED_GROUPS) + 1  # at most, after the first


class Strengths(NamedTuple):
    """Precisions of the normal priors on the parameters, and what item vectors are made of."""

    user: float  # of p_u
    bias: float  # of b_u
    item: float  # of e_i
    item_bias: float  # of c_i
    text: float  # of W and w
    exposure: float = 0.0  # of A (exposure.py); 0: there is none
    groups: int = 0  # N, of the features; 0: none
    components: bool = True  # of the features


def same_features(one: Strengths, other: Strengths) -> bool:
    """Whether item vectors are made of the same."""
    return (one.groups, one.components) == (other.groups, other.components)


def made_of(strengths: Strengths, components: int) -> str:
    """What item vectors are made of, in words; items have `components` of their features."""
    components *= strengths.components
    parts = [f"{count} {name}" for count, name in ((strengths.groups, "groups"), (components, "components")) if count]
    return f"{' and '.join(parts)} of the features" if parts else "the log alone"


class Trial(NamedTuple):
    """A fit with some strengths, and how it predicts held-out rows."""

    strengths: Strengths
    losses: np.ndarray  # [U] what each user's rows add to the mean log loss
    fit: Any  # parameters, and what follows from them

    @property
    def loss(self) -> float:
        """Mean log loss of held-out rows."""
        return float(self.losses.sum())


def base_strengths(config: TastesConfig) -> Strengths:
    """Strengths of the recipe."""
    return Strengths(
        user=config.user_strength,
        bias=config.bias_strength,
        item=config.item_strength,
        item_bias=config.item_bias_strength,
        text=config.text_strength,
        exposure=config.exposure_strength,
        groups=config.groups or 0,
        components=not config.groups,
    )


TryOut = Callable[[Strengths, Trial | None], Trial]  # strengths and the best trial so far, None at first


def search_strengths(try_out: TryOut, base: Strengths, vary: bool, groups: Sequence[int] = ()) -> Trial:
    """Try the base, then others for one strength after another, each time from the best so far; give the best.

    Numbers of `groups`, increasing, are tried before strengths.
    """
    best = _search_groups(try_out, try_out(base, None), groups if vary else ())
    for name, factors in SEARCHED.items() if vary else ():
        start = best.strengths
        for factor in factors if getattr(start, name) else ():
            trial = try_out(start._replace(**{name: getattr(start, name) * factor}), best)
            if is_better(trial.losses, best.losses, weaker=0 < factor < 1):
                best = trial
    return best


def _search_groups(try_out: TryOut, best: Trial, groups: Sequence[int]) -> Trial:
    """Try groups in place of components, then both; more groups, and both, count as a weaker prior."""
    for count in groups:
        trial = try_out(best.strengths._replace(groups=count, components=False), best)
        if is_better(trial.losses, best.losses, weaker=best.strengths.groups > 0):
            best = trial
    if groups and best.strengths.groups:
        trial = try_out(best.strengths._replace(components=True), best)
        if is_better(trial.losses, best.losses, weaker=True):
            best = trial
    return best


def is_better(losses: np.ndarray, others: np.ndarray, *, weaker: bool) -> bool:
    """Whether `losses` [U] are less than `others` [U] in sum; with `weaker`, by a standard error over the users."""
    gain = others - losses
    error = np.sqrt(len(gain) * gain.var(ddof=1)) if weaker and len(gain) > 1 else 0.0
    return bool(gain.sum() > error)
