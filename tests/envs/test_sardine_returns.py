"""SARDINE as policies meet it: repeats, oracles, returns against the published ones and against users in NumPy."""

import functools
from collections import deque
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec import make_env
from jaxrec.config.policy import PolicyConfig
from jaxrec.config.sardine import SARDINE_PRESETS
from jaxrec.envs.sardine import relevance
from jaxrec.evaluation.recommenders import oracle, ranking, uniform
from jaxrec.evaluation.simulate import ItemFacts, Recommender, Simulated, make_simulation
from jaxrec.nets.policy import make_policy
from jaxrec.types import PADDING, Observation, World

made = functools.cache(functools.partial(make_env, "sardine"))


def test_the_same_items_may_be_shown_again() -> None:
    env = made(preset="SlateRerank-Static")
    state, obs = jax.jit(jax.vmap(env.reset, in_axes=(0, None)))(jax.random.split(jax.random.key(0), 4), env.world)
    assert env.spec.repeats and not make_env("interest_evolution").spec.repeats
    policy = make_policy(env.spec, PolicyConfig(encoder="mean", width=8))

    @jax.jit
    def logits(world: World, obs: Observation) -> jax.Array:
        params = policy.init(jax.random.key(1), world)
        return policy.apply(params, policy.items(params, world), obs, world).logits

    assert np.isfinite(logits(env.world, obs)).all()
    for recommender in (
        uniform(10, repeats=True),
        ranking(-jnp.arange(10.0), 10, repeats=True),
        oracle(relevance, 10, repeats=True),
    ):
        slates = jax.jit(recommender.choose)(recommender.arrays, jax.random.key(2), state, obs, env.world)
        np.testing.assert_array_equal(np.sort(slates, axis=1), np.arange(10)[None].repeat(4, 0))


def test_the_oracle_ranks_by_what_boredom_leaves_and_can_keep_to_new_items() -> None:
    env = made(slate_size=2, num_items=4)
    rows = jnp.zeros((4, 10)).at[:, :3].set(jnp.array([[1.0, 0, 0], [0, 1.0, 0], [0.6, 0.8, 0], [0, 0, 1.0]]))
    world = env.world.replace(item_table=rows)
    state, _ = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(jax.random.key(0), 1), world)
    state = state.replace(current=jnp.zeros((1, 10)).at[0, :2].set(jnp.array([0.6, 0.8])))
    obs = Observation(history_items=jnp.array([[2, PADDING]]))
    for repeats, want in ((True, [2, 1]), (False, [1, 0])):  # cosines .6, .8, 1 and 0
        assert oracle(relevance, 2, repeats).choose(None, jax.random.key(0), state, obs, world)[0].tolist() == want


def simulate(recommender: Recommender, users: int, **options: Any) -> Simulated:
    env = made(**options)
    facts = ItemFacts(rows=env.world.item_table, surprise=jnp.zeros(env.spec.num_items))
    return make_simulation(env, recommender, max_steps=200)(env.world, facts, jax.random.key(11), users)


@pytest.mark.parametrize(
    ("preset", "random", "greedy"),
    [("SingleItem-Static", 7.8, 100.0), ("SlateTopK-Bored", 42.7, 139.0), ("SlateRerank-Static", 14.0, 21.1)],
)
def test_reference_policies_have_the_published_returns(preset: str, random: float, greedy: float) -> None:
    size = SARDINE_PRESETS[preset].slate_size
    for recommender, want in ((uniform(size, True), random), (oracle(relevance, size, True), greedy)):
        got = simulate(recommender, 256, preset=preset)
        assert abs(got.mean / want - 1) < 0.15
        assert (got.lengths == SARDINE_PRESETS[preset].requests).all()


def numpy_return(rng: np.random.Generator, items: np.ndarray, boredom: str, compat: bool) -> float:
    """Return of one user of SlateTopK-BoredInf under greedy slates: the dynamics once more, click by click."""
    user = rng.uniform(size=10)
    keep = rng.uniform(size=10) < 0.4
    while not 3 <= keep.sum() <= 5:
        keep = rng.uniform(size=10) < 0.4
    user = user * keep / np.linalg.norm(user * keep)
    main, current, total = items.argmax(1), user, 0
    log: deque[tuple[int, int]] = deque(maxlen=10)  # slate and topic of the latest clicks
    bored_until = np.zeros(10, int)
    for t in range(101):
        slate = rng.integers(0, len(items), 10) if t == 0 else np.argsort(-items @ current, kind="stable")[:10]
        p = 1 / (1 + np.exp(-100 * (items[slate] @ current - 0.65))) * 0.85 ** np.arange(10)
        clicked = slate[rng.uniform(size=10) < p]
        total += len(clicked) if t else 0
        log.extend((t, topic) for topic in main[clicked])
        counts = np.bincount([topic for when, topic in log if when > t - 5], minlength=10)
        bored_until = np.where((bored_until <= t) & (counts >= 5), t + 5, bored_until)
        if len(clicked):
            mean = items[clicked].mean() if compat else items[clicked].mean(0)
            user = 0.95 * user + 0.05 * mean
            user = user / np.linalg.norm(user)
        bored = bored_until > t
        current = user * ~(bored if boredom == "topic" else bored.any())
    return total


@pytest.mark.parametrize(("boredom", "compat"), [("churn_and_return", False), ("topic", True)])
def test_returns_are_distributed_as_those_of_the_same_users_in_numpy(
    boredom: Literal["churn_and_return", "topic"], compat: bool
) -> None:
    options = {"preset": "SlateTopK-BoredInf", "boredom": boredom, "compat": compat}
    got = simulate(oracle(relevance, 10, repeats=True), 256, **options).returns
    rng, items = np.random.default_rng(5), np.asarray(make_env("sardine").world.item_table, np.float64)
    want = np.array([numpy_return(rng, items, boredom, compat) for _ in range(120)])
    assert abs(got.mean() - want.mean()) < 4 * (got.var() / 256 + want.var() / 120) ** 0.5
    assert abs(got.std() / want.std() - 1) < 0.25
