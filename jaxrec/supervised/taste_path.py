"""Follow what is known about users: each row of a log is predicted from its user's rows at strictly earlier times."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.data.log import Log
from jaxrec.nets.belief import Known, expected_logits, meet_item, nothing_known, outlook
from jaxrec.nets.effects import offsets, remember
from jaxrec.nets.tastes import (
    Belief,
    Moments,
    Tastes,
    as_expected,
    directions_of,
    learn_row,
    probabilities,
)
from jaxrec.ops.parts import equal_parts, next_power
from jaxrec.sharding.compile import compiled
from jaxrec.supervised.contrast import asked_of, draw_items
from jaxrec.types import Array

ROWS_PER_CALL = 2**14  # users times rows; a belief takes F (D + D^2) numbers
SHORTEST_PATH = 8  # rows


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
    tastes = as_expected(tastes)
    others = None if tastes.drawing is None else draw_items(tastes.drawing, log, 0, before=True)
    starts, users = log.offsets, np.unique(log.user[rows])
    last = rows[np.searchsorted(log.user[rows], users, side="right") - 1]
    needed = last + 1 - starts[users]
    lengths = next_power(np.maximum(needed, SHORTEST_PATH))  # few shapes are compiled
    moments = log.moments.astype(np.int32)
    program = compiled(_follow_users, static=2)
    found: dict[str, np.ndarray] = {}
    for length in np.unique(lengths):
        same = users[lengths == length]
        size = min(max(1, ROWS_PER_CALL // int(length)), int(next_power(len(same))))
        for places, own in equal_parts(len(same), size):
            group = same[places]
            window = starts[group][:, None] + np.arange(length)
            inside = window < starts[group + 1][:, None]
            window = np.where(inside, window, 0)
            context = None if log.context is None else log.context[window]
            drawn = None if others is None else others[window]
            path = Path(log.item[window], log.feedback[window], inside, moments[window], context, drawn)
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
    belief = Belief(*jax.device_put((found["mean"], found["covariance"]))) if beliefs else None
    logits = Moments(*(found[name] for name in ("logit", "variance", "offset")))
    followed = Followed(found["p"], logits, belief)
    if others is None:
        return followed
    expected = Moments(*(found[f"drawn_{name}"] for name in ("logit", "variance", "offset")))
    return followed._replace(drawn=expected, items=others[rows])


class Path(NamedTuple):
    """Rows of users in order of time, leaves [B, L, ...]."""

    item: Any
    answer: Any  # [B, L, F]
    inside: Any  # bool, False after a user's last row
    moment: Any  # int32, the same for rows that were shown together
    context: Any  # [B, L, C], or None
    drawn: Any = None  # [B, L, n] items drawn for the rows, or None


def _follow_users(tastes: Tastes, path: Path, beliefs: bool) -> dict[str, Array]:
    """What was known before each row, leaves [B, L, ...]."""
    effects = tastes.effects

    def step(carry: tuple[Known, Known, Array], row: Path) -> tuple[tuple, dict[str, Array]]:
        learned, before, last = carry
        before = jax.tree.map(lambda new, old: jnp.where(row.moment != last, new, old), learned, before)
        offset = jnp.zeros(row.answer.shape)
        direction = None
        if effects is not None:
            direction = directions_of(tastes, row.item)
            offset = offsets(effects, before.memory, direction[None], row.context)[0]
        ahead = outlook(tastes, before)
        logit, variance = (x[0] for x in expected_logits(tastes, ahead, row.item[None]))
        known = {"logit": logit, "variance": variance, "offset": offset}
        known["p"] = probabilities(tastes, logit, variance, offset)
        belief, memory = learn_row(tastes, learned.belief, row.item, row.answer, offset)[0], learned.memory
        belief, met = meet_item(tastes, belief, learned.met, row.item)
        if row.drawn is not None:
            mean, spread = expected_logits(tastes, ahead, row.drawn)
            # Drawn items matter to kinds that are always 1, and those have no short-term effects.
            known |= {"drawn_logit": mean, "drawn_variance": spread, "drawn_offset": jnp.zeros_like(mean)}
            belief = _learn_drawn(tastes, belief, row.drawn)
        if effects is not None and direction is not None and memory is not None:
            memory = remember(effects, memory, direction, row.answer - probabilities(tastes, logit, variance))
        if beliefs:
            known |= {"mean": ahead.mean, "covariance": ahead.covariance}
        after = Known(belief, memory, met), before, row.moment
        return jax.tree.map(lambda new, old: jnp.where(row.inside, new, old), after, carry), known

    def user(path: Path) -> dict[str, Array]:
        start = nothing_known(tastes)
        return jax.lax.scan(step, (start, start, jnp.asarray(-1, path.moment.dtype)), path)[1]

    return jax.vmap(user)(path)


def _learn_drawn(tastes: Tastes, belief: Belief, items: Array) -> Belief:
    """Learn that items [n] were drawn for a row, and not chosen."""
    assert tastes.drawing is not None

    def learn(belief: Belief, one: tuple[Array, Array]) -> tuple[Belief, None]:
        item, asked = one
        return learn_row(tastes, belief, item, jnp.zeros_like(asked), asked=asked)[0], None

    return jax.lax.scan(learn, belief, (items, asked_of(items, tastes.drawing)))[0]


def drawn(tastes: Tastes, beliefs: Belief, key: Array) -> Array:
    """Draw theta from beliefs [N, ...], with the share of their variance that is calibrated: [N, F, D]."""

    def draw(spread: Array, beliefs: Belief, key: Array) -> Array:
        noise = jax.random.normal(key, beliefs.mean.shape) * jnp.sqrt(spread)[None, :, None]
        tiny = 1e-6 * jnp.eye(noise.shape[-1])[None, None]
        return beliefs.mean + jnp.einsum("nfde,nfe->nfd", jnp.linalg.cholesky(beliefs.covariance + tiny), noise)

    return compiled(draw)(tastes.link.spread, beliefs, key)
