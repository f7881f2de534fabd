"""Actions of other libraries, and how they become slates.

slate          K positions, [K] int (a single one, [], if K = 1)
scores         one score per position, [M] float; the slate is the K best, best first
query          one weight per column of the items' features, [E] float; a position's score is the product with its row
permutations   one number for every ordered slate: M! / (M - K)! of them
combinations   one number for every set of K positions, shown in increasing order: M! / (K! (M - K)!)
vector         the action of users whose actions are vectors, [A] float within its range, and of no others

A query is as long as a row, however many items are on offer. It is the proto-action of Dulac-Arnold et al. (arXiv
1512.07679) with the product instead of the distance. Rows are those of the item table, or the features of fresh
documents.

Positions are among the candidates or, if there are none, among the recommendable items. Some items may not be shown:
those that `Observation.mask` excludes, and those of the history if the whole catalogue is on offer (unless
`EnvSpec.repeats`). Such items and repeated positions never reach the users: their place in the slate gets the first
free position that the slate does not name.
"""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxrec.checks import InputError, check_name
from jaxrec.foreign import quoted
from jaxrec.nets.nearest import rows_on_offer
from jaxrec.nets.offers import exclude_history
from jaxrec.nets.policy import to_items
from jaxrec.ops.slates import top_slate
from jaxrec.types import Array, Env, Observation, VectorAction, World

NUMBERED = {
    "permutations": (math.perm, itertools.permutations),
    "combinations": (math.comb, itertools.combinations),
}
KINDS = ("slate", "scores", "query", *NUMBERED)
VECTOR = "vector"
MOST_NUMBERED = 20_000  # most slates that get a number each


class Actions(NamedTuple):
    """One way to name slates."""

    kind: str
    num_positions: int  # M
    slate_size: int  # K
    numbered: int  # slates that have a number (M for a slate of one position); 0 if an action is not one number
    weights: int  # length of an action of real numbers: M scores, a query of E, a vector; 0 if it is whole numbers
    to_slate: Callable[[Array, Observation, World], Array]  # action -> slate [K] or vector that `Env.step` takes
    bounds: tuple[float, float] | None = None  # of the numbers of a vector; None: only their order or direction matters


def make_actions(env: Env, kind: str) -> Actions:
    """Build actions of a `kind` for `env`; raises InputError for unknown kinds and too many slates.

    An empty kind is the environment's own: slates, or vectors.
    """
    if isinstance(env.spec.action, VectorAction):
        return _vectors(env.spec.action, kind or VECTOR)
    kind = kind or "slate"
    check_name("actions", kind, KINDS)
    m, k = num_positions(env), env.spec.slate_size
    if kind == "scores":
        return Actions(kind, m, k, 0, m, _from_scores(env, m))
    if kind == "query":
        return Actions(kind, m, k, 0, query_size(env), _from_query(env, m))
    if kind == "slate":
        mend = _mended(env, m)
        return Actions(kind, m, k, m if k == 1 else 0, 0, lambda a, obs, world: mend(jnp.reshape(a, (k,)), obs, world))
    count, list_all = NUMBERED[kind]
    numbered = count(m, k)
    if numbered > MOST_NUMBERED:
        raise InputError(f"actions: {numbered} {kind} are too many (at most {MOST_NUMBERED}); choose 'scores'.")
    table, mend = np.array(list(list_all(range(m), k)), np.int32), _mended(env, m)
    return Actions(kind, m, k, numbered, 0, lambda a, obs, world: mend(jnp.asarray(table)[a], obs, world))


def _vectors(action: VectorAction, kind: str) -> Actions:
    """Vectors as the users take them; numbers that are not finite or outside the range become the nearest ones."""
    if kind != VECTOR:
        raise InputError(f"actions: {quoted(kind)} names slates, but these users take vectors; set actions to vector.")

    def within(vector: Array, obs: Observation, world: World) -> Array:
        return jnp.clip(jnp.nan_to_num(vector.astype(jnp.float32)), action.low, action.high)

    bounds = (action.low, action.high)
    return Actions(kind, action.size, max(action.slate, 1), 0, action.size, within, bounds)


def num_positions(env: Env) -> int:
    """M, or the number of recommendable items if an action is an item id."""
    if env.spec.num_candidates is not None:
        return env.spec.num_candidates
    return env.world.num_recommendable


def query_size(env: Env) -> int:
    """E: columns of the item table, or features of a fresh document."""
    return env.spec.candidate_size or env.world.item_table.shape[1]


def mend_slate(slate: Array, allowed: Array) -> Array:
    """Replace positions that repeat an earlier one or are not `allowed` [M]; slate [K] -> [K] without repetition.

    Each becomes the first allowed position that the slate does not name, else the first unused one.
    """
    place = jnp.arange(allowed.shape[0], dtype=slate.dtype)
    named = (place[:, None] == slate[None, :]).any(1)
    used, mended = jnp.zeros_like(allowed), []
    for k in range(slate.shape[0]):
        wishes = jnp.stack([~used, ~used & allowed, ~used & allowed & ~named]).astype(jnp.int32)
        wanted = slate[k]
        keep = allowed[wanted] & ~used[wanted]
        position = jnp.where(keep, wanted, jnp.argmax(wishes.sum(0)).astype(slate.dtype))
        used = used | (place == position)
        mended.append(position)
    return jnp.stack(mended)


def _mended(env: Env, m: int) -> Callable[[Array, Observation, World], Array]:
    plain = env.spec.slate_size == 1

    def mend(slate: Array, obs: Observation, world: World) -> Array:
        slate, allowed = slate.astype(jnp.int32), _allowed(env, m, obs, world)
        if not plain or allowed is not None:
            slate = mend_slate(slate, jnp.ones(m, bool) if allowed is None else allowed)
        return _items(env, slate, obs, world)

    return mend


def _from_scores(env: Env, m: int) -> Callable[[Array, Observation, World], Array]:
    def best(scores: Array, obs: Observation, world: World) -> Array:
        allowed = _allowed(env, m, obs, world)
        scores = jnp.nan_to_num(scores.astype(jnp.float32))
        scores = scores if allowed is None else jnp.where(allowed, scores, -jnp.inf)
        return _items(env, top_slate(scores, env.spec.slate_size), obs, world)

    return best


def _from_query(env: Env, m: int) -> Callable[[Array, Observation, World], Array]:
    best = _from_scores(env, m)

    def largest(query: Array, obs: Observation, world: World) -> Array:
        rows = rows_on_offer(obs, world)
        return best(jnp.dot(rows, jnp.nan_to_num(query.astype(jnp.float32)), precision="highest"), obs, world)

    return largest


def _allowed(env: Env, m: int, obs: Observation, world: World) -> Array | None:
    """Mark the positions that may be shown, [M] bool; None: all of them."""
    allowed = obs.mask
    if env.spec.num_candidates is None and obs.history_items is not None and not env.spec.repeats:
        unseen = exclude_history(jnp.zeros(m), obs, world) == 0
        allowed = unseen if allowed is None else allowed & unseen
    return None if allowed is None else allowed.astype(bool)


def _items(env: Env, positions: Array, obs: Observation, world: World) -> Array:
    return positions if env.spec.num_candidates is not None else to_items(positions, obs, world)
