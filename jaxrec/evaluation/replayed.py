"""Compare simulated with logged users: fitted users are shown the items that the log's users chose.

A visit begins at a row of the log with that user's real history, and shows the items of the following rows in slates of
the environment. The items come from the log and the feedback from the simulator. Within a visit, simulated feedback
enters the history, as it does in training.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.config.logged import LoggedConfig
from jaxrec.data.log import Log
from jaxrec.data.sessions import session_begins, ticks_per_second
from jaxrec.envs import logged
from jaxrec.envs.answers import make_answers
from jaxrec.envs.comeback import one_session
from jaxrec.envs.leave import make_leave
from jaxrec.ops.parts import equal_parts
from jaxrec.sharding.compile import compiled
from jaxrec.supervised.histories import row_histories
from jaxrec.supervised.response import UserHistory
from jaxrec.types import Array, World

SESSION_GAP_S = 30 * 60  # a longer pause begins another session of the log
MOST_VISITS = 4096  # longer logs are sampled
BATCH = 256  # visits simulated at once
CHANCE = 1.358  # scipy.stats.kstwobign.isf(0.05), for large samples; small ones exceed it slightly less often


class Replay(NamedTuple):
    """Visits that begin at rows of a log, with simulated feedback."""

    rows: np.ndarray  # [V, n] rows of the log whose items were shown
    own: np.ndarray  # [V, n] bool, rows of the visit's user; the others are fillers where the user's rows end
    feedback: np.ndarray  # [V, n, F] simulated
    length: np.ndarray  # [V] items shown until the user left, at most n


# Rows [V] at which visits begin, key -> persons of the environment, leaves [V, ...]
Persons = Callable[[np.ndarray, Array], Any]


def simulated_beside_logged(
    config: LoggedConfig, world: World, log: Log, test: np.ndarray, key: Array, persons: Persons | None = None
) -> dict[str, Any]:
    """Compare feedback rates and session lengths over the rows `test` [R] bool, the latest of every user.

    The users of `world` start from the rows of `log`; what was fitted should not have seen the test rows. `persons`
    draws people with tastes from what was known before a row.
    """
    key_rates, key_lengths = jax.random.split(key)
    return {
        "feedback_rates": feedback_rates(config, world, log, test, key_rates, persons),
        "session_lengths": session_lengths(config, world, log, test, key_lengths, persons),
    }


def feedback_rates(
    config: LoggedConfig, world: World, log: Log, test: np.ndarray, key: Array, persons: Persons | None = None
) -> dict[str, Any]:
    """Compare the mean feedback of each user over the same rows, by name of the feedback."""
    rows = np.flatnonzero(test)
    first = rows[np.searchsorted(log.user[rows], log.user[rows])]  # first test row of the same user
    starts = rows[(rows - first) % (config.requests * config.slate_size) == 0]
    played = replay(config, world, log, _drawn(starts), test, key, persons)
    user = log.user[played.rows[played.own]]
    count = np.bincount(user, minlength=log.num_users)
    known = count > 0
    report = {}
    for b, name in enumerate(log.feedback_names):
        answers = log.feedback[played.rows, b], played.feedback[..., b]
        means = [np.bincount(user, x[played.own], log.num_users)[known] / count[known] for x in answers]
        report[name] = {"users": int(known.sum()), "rows": len(user)} | compared(*means)
    return report


def session_lengths(
    config: LoggedConfig, world: World, log: Log, test: np.ndarray, key: Array, persons: Persons | None = None
) -> dict[str, Any]:
    """Compare items per visit: logged rows without a longer pause, and items shown until simulated users leave.

    Both begin at the same rows: the first rows of the log's sessions that begin within the test rows.
    """
    ticks = ticks_per_second(log.time)
    if ticks is None or not np.any(log.time % (SESSION_GAP_S * ticks)):
        return {"left_out": "the log has no clock times finer than half an hour"}
    begins = session_begins(log, SESSION_GAP_S * ticks)
    rows = np.diff(begins, append=len(log))
    inside = test[begins]
    chosen = _drawn(np.arange(int(inside.sum())))
    starts, lengths = begins[inside][chosen], rows[inside][chosen]
    if not len(starts):
        return {"left_out": "no session of the log begins within its test rows"}
    cap = config.requests * config.slate_size
    simulated = replay(config, world, log, starts, test, key, persons).length
    return {
        "sessions": len(starts),
        "most_items": cap,
        "users_leave": config.leave is not None,
        "logged_share_longer": float((lengths > cap).mean()),
        "ks_cut_alike": ks_distance(np.minimum(lengths, cap), simulated),
        **compared(lengths, simulated),
    }


def replay(
    config: LoggedConfig,
    world: World,
    log: Log,
    starts: np.ndarray,
    test: np.ndarray,
    key: Array,
    persons: Persons | None = None,
) -> Replay:
    """Simulate visits that begin at rows `starts` [V], with as many items as the environment allows.

    Where a user's rows end, items of random test rows follow. Pessimism is off.
    """
    # The log's items are shown as they are, even twice.
    config = dataclasses.replace(one_session(config), pessimism=0.0, repeats=True)
    env = logged.make(config, world)
    answers = make_answers(config, world.users)
    leave = make_leave(config.leave, config.reward, world.users.feedback_names)
    key_persons, key = (key, key) if persons is None else jax.random.split(key)
    people = None if persons is None else persons(starts, key_persons)
    shape = config.requests, config.slate_size
    rows = starts[:, None] + np.arange(shape[0] * shape[1])
    own = rows < log.offsets[log.user[starts] + 1][:, None]
    rows = np.where(own, rows, np.random.default_rng(0).choice(np.flatnonzero(test), rows.shape))

    def visit(key: Array, history: UserHistory, person: Any, slates: Array, world: World) -> tuple[Array, Array]:
        def request(carry: tuple, x: tuple) -> tuple:
            state, here = carry
            after, out = env.step(x[0], state, x[1], world)
            return (after, here & ~out.terminated), (out.feedback, here)

        keys = jax.random.split(key, 1 + shape[0])
        person = answers.again(history, history) if people is None else person
        state = logged.begin_visit(config, history, person, leave.start())
        _, (feedback, here) = jax.lax.scan(request, (state, jnp.asarray(True)), (keys[1:], slates))
        return feedback.reshape(-1, feedback.shape[-1]), here.sum() * shape[1]

    program, played = compiled(jax.vmap(visit, in_axes=(0, 0, 0, 0, None))), []
    for n, (batch, _) in enumerate(equal_parts(len(starts), BATCH)):
        history = row_histories(log, starts[batch], env.spec.history_length)
        slates = log.item[rows[batch]].reshape(BATCH, *shape)
        keys = jax.random.split(jax.random.fold_in(key, n), BATCH)
        person = jax.tree.map(lambda x, batch=batch: x[batch], people)
        played.append(jax.device_get(program(keys, history, person, slates, world)))
    feedback, length = (np.concatenate(part)[: len(starts)] for part in zip(*played, strict=True))
    return Replay(rows, own, feedback, length)


def compared(logged: np.ndarray, simulated: np.ndarray) -> dict[str, Any]:
    """Means, percentiles and KS distance of two samples [N], [M].

    `ks_by_chance` is the distance that two samples of one distribution exceed in one case in twenty.
    """
    percent = np.linspace(0, 1, 101)
    return {
        "logged_mean": float(logged.mean()),
        "simulated_mean": float(simulated.mean()),
        "ks": ks_distance(logged, simulated),
        "ks_by_chance": CHANCE * (1 / len(logged) + 1 / len(simulated)) ** 0.5,
        "logged_percentiles": np.quantile(logged, percent, method="inverted_cdf").tolist(),
        "simulated_percentiles": np.quantile(simulated, percent, method="inverted_cdf").tolist(),
    }


def ks_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Largest gap between the distribution functions of two samples [N], [M] (Kolmogorov and Smirnov)."""
    from scipy import stats  # slow to import and needed only for validity reports

    # All methods give the same statistic. This one skips the exact p-value, which is not needed.
    result: Any = stats.ks_2samp(a, b, method="asymp")  # scipy's decorators hide the type
    return float(result.statistic)


def _drawn(values: np.ndarray) -> np.ndarray:
    """Sample `MOST_VISITS` of the values in order, or return all if there are fewer."""
    if len(values) <= MOST_VISITS:
        return values
    return np.sort(np.random.default_rng(0).choice(values, MOST_VISITS, replace=False))
