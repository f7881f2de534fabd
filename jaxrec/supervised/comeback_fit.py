"""Fitting the model of comeback days to a log's pauses between sessions."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.config.logged import ComebackConfig
from jaxrec.data.log import Log
from jaxrec.data.sessions import session_begins, ticks_per_second
from jaxrec.nets.tastes import Tastes
from jaxrec.ops.parts import equal_parts
from jaxrec.sharding.compile import compiled
from jaxrec.supervised.comeback import CHANCE_RANGE, LONGEST, ComebackModel, day_log_probabilities
from jaxrec.supervised.fit import Schedule, fit
from jaxrec.supervised.histories import user_histories
from jaxrec.supervised.response import Response, user_state
from jaxrec.types import Array, Params

FEWEST = 50  # comebacks; with fewer the model is not fitted
BLOCK, BATCH, STEPS = 1024, 256, 1500
RIDGE = 1e-3  # of v, in states of unit variance
SEED_SCALE = 0.05  # standard deviation of v . z where v is drawn
OUTSIDE = 10.0  # weight of the penalty on scores outside the range of P, where the clipped gradient is 0


class Comebacks(NamedTuple):
    """Sessions of a log after which the user came back, N of them."""

    user: np.ndarray  # [N]
    end: np.ndarray  # [N] row after the session's last one
    satisfaction: np.ndarray  # [N] mean weighted feedback of the session's last rows, at most a slate of them
    day: np.ndarray  # [N] int32, 1 to 10


# The log, sessions that users came back after -> states z [N, d] right after them
StatesAfter = Callable[[Log, Comebacks], np.ndarray]


def fit_comebacks(
    members: Sequence[StatesAfter],
    log: Log,
    config: ComebackConfig,
    weights: tuple[float, ...],
    slate_size: int,
    seed: int,
) -> tuple[ComebackModel, dict[str, Any]]:
    """Fit the comeback model to states of an ensemble, or of tastes alone; gives it and a report.

    `weights` [F] are those of the reward.

    It is trained on the pauses of the log. If the log has no clock times, or fewer than 50 sessions are followed by
    another, v is drawn from `seed`, c is 0, and the source is "seed". The report of a trained model has the mean day
    of the log and of the model, and the mean negative log-likelihood next to that of one P for all users.
    """
    found = comebacks_of(log, config.gap_hours, weights, slate_size)
    if found is None or len(found.day) < FEWEST:
        count = 0 if found is None else len(found.day)
        why = f"{count} users came back within {LONGEST} days, at least {FEWEST} are needed"
        why = "the log has no clock times" if found is None else why
        return _seeded(members, log, config, seed), {"source": "seed", "seed": seed, "why": why, "comebacks": count}
    states = [member(log, found) for member in members]
    fits = [fit_weights(z, found.satisfaction, found.day, config, seed) for z in states]
    v, c = (np.stack(x) for x in zip(*fits, strict=True))
    model = _model(v, c, config, "log")
    score = np.mean([z @ v[m] + c[m] for m, z in enumerate(states)], axis=0)
    chance = clipped(score + config.reward_weight * found.satisfaction + config.base)
    constant = best_constant(found.day)
    report = {
        "source": "log",
        "comebacks": len(found.day),
        "logged_mean_day": float(found.day.mean()),
        "fitted_mean_day": float(mean_day(chance).mean()),
        "nll": mean_nll(chance, found.day),
        "nll_one_chance": mean_nll(np.full(len(found.day), constant), found.day),
    }
    return model, report


def comebacks_of(log: Log, gap_hours: float, weights: tuple[float, ...], slate_size: int) -> Comebacks | None:
    """Sessions followed by another one of the same user within ten days; None if the log has no clock times.

    A pause of up to a day is day 1, of up to two days day 2. Longer pauses than the model has days are left out, so
    the model describes users who come back within ten days.
    """
    ticks = ticks_per_second(log.time)
    if ticks is None:
        return None
    begins = session_begins(log, round(gap_hours * 3600 * ticks))
    ends = np.append(begins[1:], len(log))
    again = np.flatnonzero(log.user[begins[:-1]] == log.user[begins[1:]])  # the next session is the same user's
    days = (log.time[ends[again]] - log.time[ends[again] - 1]) / (86_400 * ticks)
    again, days = again[days <= LONGEST], days[days <= LONGEST]
    begin, end = begins[again], ends[again]
    value = np.concatenate([[0.0], np.cumsum(log.feedback @ np.asarray(weights, np.float64))])
    first = np.maximum(begin, end - slate_size)
    return Comebacks(
        user=log.user[begin],
        end=end,
        satisfaction=((value[end] - value[first]) / (end - first)).astype(np.float32),
        day=np.maximum(np.ceil(days), 1).astype(np.int32),
    )


def states_after(member: Response, log: Log, found: Comebacks) -> np.ndarray:
    """States z [N, d] of users right after their sessions, in the context of the sessions' last rows."""
    run, states = compiled(user_state), []
    for part, _ in equal_parts(len(found.end), BLOCK):
        user, end = found.user[part], found.end[part]
        context = None if log.context is None else log.context[end - 1]
        states.append(np.asarray(run(member, user_histories(log, user, end, member.history_length, context))))
    return np.concatenate(states)[: len(found.end)]


def taste_states(tastes: Tastes) -> StatesAfter:
    """States of people with tastes: the posterior mean of theta, of whole logs."""
    assert tastes.means is not None
    flat = np.asarray(tastes.means).reshape(len(tastes.means), -1)
    return lambda log, found: flat[found.user]


def fit_weights(
    z: np.ndarray, satisfaction: np.ndarray, day: np.ndarray, config: ComebackConfig, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Most likely v [d] and c [] given states z [N, d], satisfaction [N] and days [N]."""
    mean, spread = z.mean(0), np.maximum(z.std(0), 1e-6)
    arrays = {"z": (z - mean) / spread, "offset": config.reward_weight * satisfaction + config.base, "day": day - 1}
    size = min(BATCH, len(day))
    steps = len(day) // size
    passes = -(-100 // steps)  # over the rows in each epoch of the loop: few comebacks make few steps

    def batches(epoch: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([seed, epoch])
        rows = np.concatenate([rng.permutation(len(day))[: steps * size].reshape(steps, size) for _ in range(passes)])
        kinds = {"z": np.float32, "offset": np.float32, "day": np.int32}
        return {name: x[rows].astype(kinds[name]) for name, x in arrays.items()}

    def loss(params: Params, data: None, batch: dict[str, Array], key: Array) -> Array:
        score = batch["z"] @ params["v"] + params["c"] + batch["offset"]
        inside = jnp.clip(score, *CHANCE_RANGE)
        likely = jnp.take_along_axis(day_log_probabilities(inside), batch["day"][:, None], axis=1)
        return RIDGE * jnp.square(params["v"]).sum() + OUTSIDE * jnp.square(score - inside).mean() - likely.mean()

    params = {"v": jnp.zeros(z.shape[1]), "c": jnp.zeros(())}
    schedule = Schedule(epochs=-(-STEPS // (steps * passes)), learning_rate=0.01)
    params, _ = fit(loss, params, None, batches, schedule, jax.random.key(seed), "fit comeback days")
    v = np.asarray(params["v"]) / spread
    return v, np.asarray(params["c"]) - v @ mean


def best_constant(day: np.ndarray) -> float:
    """The one P with the mean day of the log, to a thousandth."""
    grid = np.linspace(*CHANCE_RANGE, 999)
    return float(grid[np.abs(mean_day(grid) - day.mean()).argmin()])


def clipped(score: np.ndarray) -> np.ndarray:
    """Clip scores to the range of P."""
    return np.clip(score, *CHANCE_RANGE)


def mean_nll(chance: np.ndarray, day: np.ndarray) -> float:
    """Mean negative log-likelihood of days [N] with chances P [N]."""
    log_p = np.asarray(day_log_probabilities(jnp.asarray(chance, jnp.float32)))
    return float(-log_p[np.arange(len(day)), day - 1].mean())


def mean_day(chance: np.ndarray) -> np.ndarray:
    """E[d] of chances P: [...] -> [...]."""
    p = np.exp(np.asarray(day_log_probabilities(jnp.asarray(chance))))
    return p @ np.arange(1, LONGEST + 1)


def _seeded(members: Sequence[StatesAfter], log: Log, config: ComebackConfig, seed: int) -> ComebackModel:
    ends = np.array([0])  # the start of the log, only for the width of a state
    first = Comebacks(log.user[:1], ends + 1, np.zeros(1, np.float32), ends + 1)
    width = members[0](log, first).shape[1]
    v = np.random.default_rng(seed).normal(size=(len(members), width)) * SEED_SCALE / width**0.5
    return _model(v, np.zeros(len(members)), config, "seed")


def _model(v: np.ndarray, c: np.ndarray, config: ComebackConfig, source: str) -> ComebackModel:
    arrays = (jnp.asarray(x, jnp.float32) for x in (v, c, config.reward_weight, config.base))
    return ComebackModel(*arrays, source=source)
