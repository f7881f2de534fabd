"""Vectors become items as a brute-force search would choose them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.policy import PolicyConfig
from jaxrec.config.replay_learners import Td3Config
from jaxrec.nets.nearest import item_scores
from jaxrec.nets.offers import masked
from jaxrec.nets.policy import make_policy
from jaxrec.nets.vector_policy import make_vector_policy
from jaxrec.ops.slates import top_slate
from jaxrec.types import PADDING, EnvSpec, Observation, VectorAction, World

ITEMS, SIZE, SLATE = 40, 3, 4
SPEC = EnvSpec(
    name="points",
    action=VectorAction(size=SIZE, low=-1.0, high=1.0, of="item", slate=SLATE),
    num_items=ITEMS,
    feedback=("click",),
    user_size=2,
)


def eighths(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Multiples of 1/8, whose products and sums are exact, so that equal distances are equal."""
    return (rng.integers(-8, 9, shape) / 8).astype(np.float32)


def brute_force(point: np.ndarray, rows: np.ndarray, allowed: np.ndarray, product: bool) -> list[int]:
    """Positions of the K best allowed rows; the first of equal ones comes first."""
    worth = [(float(rows[n] @ point) if product else -float(((rows[n] - point) ** 2).sum())) for n in range(len(rows))]
    order = sorted((n for n in range(len(rows)) if allowed[n]), key=lambda n: (-worth[n], n))
    return order[:SLATE]


@pytest.mark.parametrize("of", ["item", "query"])
@pytest.mark.parametrize("offer", ["everything", "recommendable", "candidates", "documents"])
def test_the_nearest_items_are_those_of_a_brute_force_search(of: str, offer: str) -> None:
    rng, action = np.random.default_rng(0), dataclasses.replace(SPEC.action, of=of)
    for _ in range(25):
        table, point = eighths(rng, ITEMS, SIZE), eighths(rng, SIZE)
        table[10:20] = table[:10]  # ties
        some = np.sort(rng.choice(ITEMS, 25, replace=False)).astype(np.int32)
        history = rng.choice(some, 5).astype(np.int32)
        history[0] = PADDING
        obs, ids, rows = Observation(history_items=jnp.asarray(history)), np.arange(ITEMS), table
        world = World(
            item_table=jnp.asarray(table), recommendable=jnp.asarray(some) if offer == "recommendable" else None
        )
        if offer == "recommendable":
            ids, rows = some, table[some]
        allowed = ~np.isin(ids, history)
        if offer in ("candidates", "documents"):
            mask = rng.random(15) < 0.6
            mask[:SLATE] = True
            ids, allowed = rng.choice(ITEMS, 15, replace=False).astype(np.int32), mask
            rows = table[ids]
            offered = {"candidates": ids} if offer == "candidates" else {"candidate_features": rows}
            obs = obs.replace(mask=jnp.asarray(mask), **{name: jnp.asarray(x) for name, x in offered.items()})
        scores = masked(item_scores(jnp.asarray(point), action, obs, world), obs, world, repeats=False)  # type: ignore[arg-type]
        assert top_slate(scores, SLATE).tolist() == brute_force(point, rows, allowed, of == "query")


def test_critics_choose_among_the_nearest_items_that_may_be_shown() -> None:
    """Wolpertinger: the best value among the n nearest, by a search of every row."""
    network = Td3Config(policy=PolicyConfig(width=4, hidden=(8,), nearest=6)).policy
    spec = dataclasses.replace(SPEC, history_length=3)
    policy, rng = make_vector_policy(spec, network), np.random.default_rng(1)
    world = World(item_table=jnp.asarray(eighths(rng, ITEMS, SIZE)), recommendable=jnp.arange(0, ITEMS, 2))
    params = jax.jit(policy.slates.init)(jax.random.key(0), world)
    params = jax.tree.map(lambda x: x + rng.normal(0.0, 0.3, x.shape).astype(np.float32), params)
    items = jax.jit(policy.slates.items)(params, world)
    obs = Observation(
        user=jax.random.normal(jax.random.key(1), (8, 2)),
        history_items=jax.random.randint(jax.random.key(2), (8, 3), -1, ITEMS),
        history_feedback=jnp.ones((8, 3, 1)),
    )
    point = jax.jit(policy.best)(params, items, obs)
    got = jax.jit(policy.refine)(params, items, obs, point, world)
    rows, shown = np.asarray(world.item_table), np.asarray(obs.history_items)
    every = jax.jit(policy.values)(params, obs, jnp.broadcast_to(world.item_table, (8, ITEMS, SIZE)), world).min(-1)
    for n in range(8):
        allowed = [i for i in range(0, ITEMS, 2) if i not in shown[n]]
        near = sorted(allowed, key=lambda i: (float(((rows[i] - np.asarray(point[n])) ** 2).sum()), i))[:6]
        best = max(near, key=lambda i: float(every[n, i]))
        np.testing.assert_array_equal(got[n], rows[best])
    # The policy's slates begin with the item that critics chose, and go on with its neighbours.
    output = jax.jit(policy.slates.apply)(params, items, obs, world)
    first = world.recommendable[policy.slates.slate(output, items, obs, world, 2)[:, 0]]  # type: ignore[index]
    np.testing.assert_array_equal(rows[np.asarray(first)], got)


def test_vectors_that_name_no_items_have_no_scores() -> None:
    for of, what in (("numbers", "names no items"), ("behaviours", "weighs behaviours")):
        spec = dataclasses.replace(SPEC, action=dataclasses.replace(SPEC.action, of=of))
        policy, world = (
            make_policy(spec, PolicyConfig(width=4, hidden=(8,))),
            World(item_table=jnp.zeros((ITEMS, SIZE))),
        )
        obs = Observation(user=jnp.zeros((1, 2)))
        params = policy.init(jax.random.key(0), world)
        with pytest.raises(InputError, match=f"a vector of points {what}"):
            policy.apply(params, policy.items(params, world), obs, world)
