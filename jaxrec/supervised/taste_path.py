"""Follow what is known about users row by row: each row of a log predicted from the earlier rows of its user."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.data.log import Log
from jaxrec.ops.parts import equal_parts
from jaxrec.sharding.compile import compiled
from jaxrec.supervised.contrast import asked_of, draw_items
from jaxrec.supervised.tastes import Belief, Moments, Tastes, design, learn_row, probabilities
from jaxrec.types import Array

ROWS_PER_CALL = 2**14  # users times rows; a belief takes F (D + D^2) numbers


class Followed(NamedTuple):
    """What was known before rows of a log."""

    probabilities: np.ndarray  # [N, F] predicted
    logits: Moments  # [N, F] expected, before calibration
    beliefs: Belief | None  # [N, ...]; None unless asked for
    drawn: Moments | None = None  # [N, n, F] of the n items drawn for each row, expected before the row too
    items: np.ndarray | None = None  # [N, n] drawn


def follow(tastes: Tastes, log: Log, rows: np.ndarray, *, beliefs: bool = False) -> Followed:
    """Predict rows [N] of the log, increasing, from the items of `tastes` and the earlier rows of each user.

    Nothing is known about a user before their first row, whoever the tastes were fitted to. If a kind of feedback is
    always 1, the items drawn for a row (contrast.py) are learned after it, as zeros. They are items that the user
    had not chosen by then, so that nothing tells of later rows.
    """
    others = None if tastes.drawing is None else draw_items(tastes.drawing, log, 0, before=True)
    starts, users = log.offsets, np.unique(log.user[rows])
    last = rows[np.searchsorted(log.user[rows], users, side="right") - 1]
    needed = last + 1 - starts[users]
    lengths = 2 ** np.ceil(np.log2(needed)).astype(int)
    program = compiled(_follow_users, static=5)
    found: dict[str, np.ndarray] = {}
    for length in np.unique(lengths):
        same = users[lengths == length]
        for places, own in equal_parts(len(same), min(max(1, ROWS_PER_CALL // int(length)), len(same))):
            group = same[places]
            window = starts[group][:, None] + np.arange(length)
            inside = window < starts[group + 1][:, None]
            window = np.where(inside, window, 0)
            drawn = None if others is None else others[window]
            before = program(tastes, log.item[window], log.feedback[window], drawn, inside, beliefs)
            before = jax.device_get(before)
            for user, outputs in zip(group[:own], range(own), strict=True):
                first, past = np.searchsorted(log.user[rows], [user, user + 1])
                at = rows[first:past] - starts[user]
                for name, values in before.items():
                    if name not in found:
                        found[name] = np.zeros((len(rows), *values.shape[2:]), np.float32)
                    found[name][first:past] = values[outputs][at]
    if not found:
        empty = jnp.zeros((0, len(tastes.feedback_names)))
        return Followed(np.asarray(empty), Moments(empty, empty), None)
    arrays = {name: jnp.asarray(x) for name, x in found.items()}
    belief = Belief(arrays["mean"], arrays["covariance"]) if beliefs else None
    followed = Followed(found["p"], Moments(arrays["logit"], arrays["variance"]), belief)
    if others is None:
        return followed
    drawn = Moments(arrays["drawn_logit"], arrays["drawn_variance"])
    return followed._replace(drawn=drawn, items=others[rows])


def _follow_users(
    tastes: Tastes, items: Array, answers: Array, others: Array | None, inside: Array, beliefs: bool
) -> dict[str, Array]:
    """What was known before each row of users, leaves [B, L, ...].

    Items [B, L], answers [B, L, F], others [B, L, n] items drawn for the rows or None, inside [B, L] bool.
    """

    def learn_others(belief: Belief, drawn: Array) -> Belief:
        assert tastes.drawing is not None
        asked = asked_of(drawn, tastes.drawing)

        def learn(belief: Belief, one: tuple[Array, Array]) -> tuple[Belief, None]:
            return learn_row(tastes, belief, one[0], jnp.zeros_like(one[1]), one[1])[0], None

        return jax.lax.scan(learn, belief, (drawn, asked))[0]

    def step(belief: Belief, row: tuple[Array, Array, Array | None, Array]) -> tuple[Belief, dict[str, Array]]:
        item, answer, drawn, real = row
        after, logits = learn_row(tastes, belief, item, answer)
        known = {"logit": logits.mean, "variance": logits.variance}
        known["p"] = probabilities(tastes, logits.mean, logits.variance)
        if drawn is not None:
            expected = moments(tastes, belief, drawn)
            known |= {"drawn_logit": expected.mean, "drawn_variance": expected.variance}
            after = learn_others(after, drawn)
        if beliefs:
            known |= {"mean": belief.mean, "covariance": belief.covariance}
        return jax.tree.map(lambda new, old: jnp.where(real, new, old), after, belief), known

    def user(items: Array, answers: Array, others: Array | None, inside: Array) -> dict[str, Array]:
        return jax.lax.scan(step, tastes.population, (items, answers, others, inside))[1]

    return jax.vmap(user)(items, answers, others, inside)


def moments(tastes: Tastes, belief: Belief, items: Array) -> Moments:
    """Expected logits of a user on items [K], and their variances: [K, F]."""
    x = design(tastes.item_vectors[items])
    logit = tastes.item_logits[items] + x @ belief.mean.T
    return Moments(logit, jnp.einsum("kd,fde,ke->kf", x, belief.covariance, x))


def drawn(tastes: Tastes, beliefs: Belief, key: Array) -> Array:
    """Draw theta from beliefs [N, ...], with the share of their variance that is calibrated: [N, F, D]."""

    def draw(spread: Array, beliefs: Belief, key: Array) -> Array:
        noise = jax.random.normal(key, beliefs.mean.shape) * jnp.sqrt(spread)[None, :, None]
        tiny = 1e-6 * jnp.eye(noise.shape[-1])[None, None]
        return beliefs.mean + jnp.einsum("nfde,nfe->nfd", jnp.linalg.cholesky(beliefs.covariance + tiny), noise)

    return compiled(draw)(tastes.link.spread, beliefs, key)
