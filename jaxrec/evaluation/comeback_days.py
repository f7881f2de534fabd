"""Compare simulated and logged days until users come back, on sessions that the comeback model has not seen."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.config.logged import ComebackConfig
from jaxrec.data.log import Log
from jaxrec.evaluation.replayed import compared
from jaxrec.supervised.comeback import draw_day
from jaxrec.supervised.comeback_fit import (
    FEWEST,
    Comebacks,
    StatesAfter,
    best_constant,
    clipped,
    comebacks_of,
    fit_weights,
    mean_nll,
)


def comeback_days(
    config: ComebackConfig,
    states: StatesAfter,
    log: Log,
    test: np.ndarray,
    weights: tuple[float, ...],
    slate_size: int,
) -> dict[str, Any]:
    """Fit comeback days to sessions that end before the rows `test` [R] bool; draw days for sessions within them.

    `weights` [F] are those of the reward. The report holds both distributions of days, the mean negative log-likelihood
    of the later ones, and that of a single P for all users, fitted to the earlier mean.
    """
    found = comebacks_of(log, config.gap_hours, weights, slate_size)
    if found is None:
        return {"left_out": "the log has no clock times"}
    later = test[found.end - 1]
    before, after = (Comebacks(*(x[chosen] for x in found)) for chosen in (~later, later))
    if min(len(before.day), len(after.day)) < FEWEST:
        why = f"users came back {len(before.day)} times before the test rows and {len(after.day)} times in them"
        return {"left_out": f"{why}; at least {FEWEST} of each are needed"}
    v, c = fit_weights(states(log, before), before.satisfaction, before.day, config, seed=0)
    score = states(log, after) @ v + c
    chance = clipped(score + config.reward_weight * after.satisfaction + config.base)
    uniform = np.random.default_rng(0).random(len(chance))
    drawn = jax.vmap(draw_day)(jnp.asarray(chance), jnp.asarray(uniform))
    return {
        "comebacks": len(chance),
        "nll": mean_nll(chance, after.day),
        "nll_one_chance": mean_nll(np.full(len(chance), best_constant(before.day)), after.day),
        **compared(after.day, np.asarray(drawn)),
    }
