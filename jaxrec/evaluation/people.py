"""Examples for the evaluation page: a few simulated users, what a policy recommends to them, and why."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.evaluation.measures import ItemFacts
from jaxrec.evaluation.simulate import Choose, Recommender
from jaxrec.nets.offers import exclude_history
from jaxrec.nets.policy import to_items
from jaxrec.sharding.compile import compiled
from jaxrec.types import Array, Env, EnvSpec, World

PEOPLE, DRAWN = 5, 64  # users shown, of so many that are drawn
LATEST = 6  # liked items of a history that are shown


class Shown(NamedTuple):
    """A recommended item."""

    title: str
    expected: float  # reward from the user if the item is shown alone
    nearest: str  # title of the liked item of the history with the most similar text; "" if nothing was liked
    similarity: float  # cosine of the two texts; 0 if nothing was liked


class Person(NamedTuple):
    """A user and the slate recommended first."""

    known: int  # rows of the history
    liked: tuple[str, ...]  # titles of the latest liked ones, newest first
    num_liked: int
    slate: tuple[Shown, ...]
    average: float  # expected reward of a random item that may be shown
    best: float  # expected reward per item of the best slate


def has_people(env: Env) -> bool:
    """True if users have a history of catalogue items, and their expected answers are known."""
    spec = env.spec
    return env.item_rewards is not None and spec.history_length > 0 and not (spec.num_candidates or spec.candidate_size)


def meet_people(
    env: Env, world: World, recommender: Recommender, facts: ItemFacts, titles: Sequence[str], key: Array
) -> list[Person]:
    """Draw users of `world` and recommend to five: from few known rows to many, at equal steps of their order."""
    drawn = jax.device_get(compiled(partial(_look, env, recommender.choose))(key, recommender.arrays, world))
    known = (drawn[0] >= 0).sum(-1)
    order = np.argsort(known, kind="stable")
    chosen = order[(2 * np.arange(PEOPLE) + 1) * len(order) // (2 * PEOPLE)]
    return [_person([x[n] for x in drawn], env.spec, np.asarray(facts.rows), titles) for n in chosen]


def _look(env: Env, choose: Choose, key: Array, arrays: Any, world: World) -> tuple[Array, ...]:
    """History items [N, H], feedback [N, H, F], slates [N, K], their expected rewards [N, K], and those of all items
    [N, R], -inf where the item may not be shown.
    """
    key_reset, key_choose = jax.random.split(key)
    state, obs = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(key_reset, DRAWN), world)
    positions = choose(arrays, key_choose, state, obs, world)
    assert env.item_rewards is not None and obs.history_items is not None and obs.history_feedback is not None
    rewards = jax.vmap(env.item_rewards, in_axes=(0, None))(state, world)
    rewards = rewards if env.spec.repeats else exclude_history(rewards, obs, world)
    expected = jnp.take_along_axis(rewards, positions, axis=-1)
    return obs.history_items, obs.history_feedback, to_items(positions, obs, world), expected, rewards


def _person(drawn: list[np.ndarray], spec: EnvSpec, rows: np.ndarray, titles: Sequence[str]) -> Person:
    items, feedback, slate, expected, rewards = drawn
    liked = items[(items >= 0) & (feedback @ np.asarray(spec.reward_weights, np.float32) > 0)][::-1]  # newest first
    shown = []
    for item, value in zip(slate, expected, strict=True):
        nearest, similarity = "", 0.0
        if len(liked):
            alike = rows[liked] @ rows[item]
            nearest, similarity = titles[int(liked[alike.argmax()])], float(alike.max())
        shown.append(Shown(titles[int(item)], float(value), nearest, similarity))
    return Person(
        known=int((items >= 0).sum()),
        liked=tuple(titles[int(item)] for item in liked[:LATEST]),
        num_liked=len(liked),
        slate=tuple(shown),
        average=float(rewards[np.isfinite(rewards)].mean()),
        best=float(np.sort(rewards)[-len(slate) :].mean()),
    )
