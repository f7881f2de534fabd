"""Follow what is known about users row by row: each row of a log predicted from the earlier rows of its user."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.data.log import Log
from jaxrec.ops.parts import equal_parts
from jaxrec.sharding.compile import compiled
from jaxrec.supervised.effects import forgotten, offsets, remember
from jaxrec.supervised.tastes import Belief, Moments, Tastes, learn_row, probabilities
from jaxrec.types import Array

ROWS_PER_CALL = 2**14  # users times rows; a belief takes F (D + D^2) numbers


class Followed(NamedTuple):
    """What was known before rows of a log."""

    probabilities: np.ndarray  # [N, F] predicted
    logits: Moments  # [N, F] expected, before calibration
    beliefs: Belief | None  # [N, ...]; None unless asked for


def follow(tastes: Tastes, log: Log, rows: np.ndarray, *, beliefs: bool = False) -> Followed:
    """Predict rows [N] of the log, increasing, from the items of `tastes` and the earlier rows of each user.

    Nothing is known about a user before their first row, whoever the tastes were fitted to.
    """
    starts, users = log.offsets, np.unique(log.user[rows])
    last = rows[np.searchsorted(log.user[rows], users, side="right") - 1]
    needed = last + 1 - starts[users]
    lengths = 2 ** np.ceil(np.log2(needed)).astype(int)
    showing = showings(log)
    program = compiled(_follow_users, static=2)
    found: dict[str, np.ndarray] = {}
    for length in np.unique(lengths):
        same = users[lengths == length]
        for places, own in equal_parts(len(same), min(max(1, ROWS_PER_CALL // int(length)), len(same))):
            group = same[places]
            window = starts[group][:, None] + np.arange(length)
            inside = window < starts[group + 1][:, None]
            window = np.where(inside, window, 0)
            context = None if log.context is None else jnp.asarray(log.context[window])
            arrays = log.item[window], log.feedback[window], inside, showing[window]
            item, answer, real, shown = (jnp.asarray(x) for x in arrays)
            path = Path(item, answer, real, shown, context)
            before = jax.device_get(program(tastes, path, beliefs))
            for user, outputs in zip(group[:own], range(own), strict=True):
                first, past = np.searchsorted(log.user[rows], [user, user + 1])
                at = rows[first:past] - starts[user]
                for name, values in before.items():
                    if name not in found:
                        found[name] = np.zeros((len(rows), *values.shape[2:]), np.float32)
                    found[name][first:past] = values[outputs][at]
    if not found:
        empty = jnp.zeros((0, len(tastes.feedback_names)))
        return Followed(np.asarray(empty), Moments(empty, empty, empty), None)
    arrays = {name: jnp.asarray(x) for name, x in found.items()}
    belief = Belief(arrays["mean"], arrays["covariance"]) if beliefs else None
    return Followed(found["p"], Moments(*(arrays[name] for name in ("logit", "variance", "offset"))), belief)


def showings(log: Log) -> np.ndarray:
    """Number the showings of a log: rows of a user with the same time were shown together; [R] int32, increasing."""
    return np.cumsum((np.diff(log.time, prepend=-1) != 0) | (np.diff(log.user, prepend=-1) != 0)).astype(np.int32)


class Path(NamedTuple):
    """Rows of users in order of time, leaves [B, L, ...]."""

    item: Array
    answer: Array  # [B, L, F]
    inside: Array  # bool, False after a user's last row
    showing: Array  # int32, the same for rows that were shown together
    context: Array | None  # [B, L, C]


def _follow_users(tastes: Tastes, path: Path, beliefs: bool) -> dict[str, Array]:
    """What was known before each row, leaves [B, L, ...]."""
    effects = tastes.effects

    def step(carry: tuple, row: Path) -> tuple[tuple, dict[str, Array]]:
        belief, memory, visible, last = carry
        offset = jnp.zeros(row.answer.shape)
        vector = tastes.item_vectors[row.item]
        if effects is not None:
            visible = jax.tree.map(lambda new, old: jnp.where(row.showing != last, new, old), memory, visible)
            offset = offsets(effects, visible, vector[None], row.context)[0]
        after, logits = learn_row(tastes, belief, row.item, row.answer, offset)
        known = {"logit": logits.mean, "variance": logits.variance, "offset": offset}
        known["p"] = probabilities(tastes, logits.mean, logits.variance, offset)
        if effects is not None:
            surprise = row.answer - probabilities(tastes, logits.mean, logits.variance)
            memory = remember(effects, memory, vector, surprise)
        if beliefs:
            known |= {"mean": belief.mean, "covariance": belief.covariance}
        after = after, memory, visible, row.showing
        return jax.tree.map(lambda new, old: jnp.where(row.inside, new, old), after, carry), known

    def user(path: Path) -> dict[str, Array]:
        nothing = None if effects is None else forgotten(tastes.item_vectors.shape[1], path.answer.shape[-1])
        start = tastes.population, nothing, nothing, jnp.asarray(-1, path.showing.dtype)
        return jax.lax.scan(step, start, path)[1]

    return jax.vmap(user)(path)


def drawn(tastes: Tastes, beliefs: Belief, key: Array) -> Array:
    """Draw theta from beliefs [N, ...], with the share of their variance that is calibrated: [N, F, D]."""

    def draw(spread: Array, beliefs: Belief, key: Array) -> Array:
        noise = jax.random.normal(key, beliefs.mean.shape) * jnp.sqrt(spread)[None, :, None]
        tiny = 1e-6 * jnp.eye(noise.shape[-1])[None, None]
        return beliefs.mean + jnp.einsum("nfde,nfe->nfd", jnp.linalg.cholesky(beliefs.covariance + tiny), noise)

    return compiled(draw)(tastes.link.spread, beliefs, key)
