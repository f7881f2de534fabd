"""Strengths of the priors on tastes, chosen on held-out rows.

Weaker priors let items and people be exceptional. Whether exceptions are there is seen in the few held-out rows that
have them, and so hardly at all; a recommender, which looks for the largest predictions, shows little else. Hence a
weaker prior must predict held-out rows better by one standard error of the difference (Breiman et al., 1984, section
3.4.3, have the rule of one standard error for the size of trees). A stronger one must only predict them better.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxrec.config.tastes import TastesConfig

VARIED = (0.25, 4.0)
SEARCHED = {  # factors of strengths, in this order: what all users share comes before single ones
    "exposure": (0.0, *VARIED),  # 0: without it
    "text": VARIED,
    "item_bias": VARIED,
    "user": VARIED,
    "item": VARIED,
}
TRIALS = sum(map(len, SEARCHED.values()))  # after the first


class Strengths(NamedTuple):
    """Precisions of the normal priors on the parameters."""

    user: float  # of p_u
    bias: float  # of b_u
    item: float  # of e_i
    item_bias: float  # of c_i
    text: float  # of W and w
    exposure: float = 0.0  # of A (exposure.py); 0: there is none


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
    )


def search_strengths(try_out: Callable[[Strengths, Trial | None], Trial], base: Strengths, vary: bool) -> Trial:
    """Try the base, then others for one strength after another, each time from the best so far; give the best.

    `try_out` gets strengths and the best trial so far, None at first.
    """
    best = try_out(base, None)
    for name, factors in SEARCHED.items() if vary else ():
        start = best.strengths
        for factor in factors if getattr(start, name) else ():
            trial = try_out(start._replace(**{name: getattr(start, name) * factor}), best)
            if is_better(trial.losses, best.losses, weaker=0 < factor < 1):
                best = trial
    return best


def is_better(losses: np.ndarray, others: np.ndarray, *, weaker: bool) -> bool:
    """Whether `losses` [U] are less than `others` [U] in sum; with `weaker`, by a standard error over the users."""
    gain = others - losses
    error = np.sqrt(len(gain) * gain.var(ddof=1)) if weaker and len(gain) > 1 else 0.0
    return bool(gain.sum() > error)
