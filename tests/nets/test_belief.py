"""Policies that start from what the fitted tastes expect of a person."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.every_item import AllItemsConfig
from jaxrec.config.logged import LoggedConfig
from jaxrec.config.policy import PolicyConfig
from jaxrec.config.replay_learners import DqnConfig
from jaxrec.envs import logged
from jaxrec.envs.logged_world import make_world
from jaxrec.evaluation.recommenders import posterior_mean
from jaxrec.nets.belief import prior_of
from jaxrec.nets.effects import Effects
from jaxrec.nets.policy import make_policy
from jaxrec.types import Env, EnvSpec, Observation, SlateAction, World
from tests.tiny_tastes import random_log, random_tastes

ITEMS, WIDTH, USERS = 12, 3, 4
SETTINGS = LoggedConfig(slate_size=2, requests=3, history_length=8, reward={"liked": 2.0, "disliked": -1.0})
NETWORK = PolicyConfig(encoder="mean", width=4, hidden=(6,), belief=True)


def people(effects: bool = False, seed: int = 0) -> Env:
    tastes = random_tastes(ITEMS, WIDTH, seed=seed)
    draws = jnp.asarray(np.random.default_rng(seed).normal(size=(1, USERS, 2, 1 + WIDTH)), jnp.float32)
    if effects:
        tastes = tastes.replace(effects=Effects(jnp.array([-0.8, 0.3]), jnp.array([0.4, 0.0]), jnp.array([0.9, 0.7])))
    tastes = tastes.replace(draws=draws, means=draws[0])
    log = random_log(np.full(USERS, 5), ITEMS)
    table = np.random.default_rng(1).normal(size=(ITEMS, 6)).astype(np.float32)
    return logged.make(SETTINGS, make_world(tastes, log, table, 6, np.arange(ITEMS) != 5))


def visited(env: Env, seed: int = 0, steps: int = 1) -> Observation:
    """Observations of 7 users who were shown some slates, [7, ...]."""
    states, obs = jax.vmap(env.reset, (0, None))(jax.random.split(jax.random.key(seed), 7), env.world)
    for n in range(steps):
        slate = jnp.tile(jnp.array([[2 * n, 2 * n + 1]]), (7, 1))
        keys = jax.random.split(jax.random.key(n + 10), 7)
        states, out = jax.vmap(env.step, (0, 0, 0, None))(keys, states, slate, env.world)
        obs = out.obs
    return obs


@pytest.mark.parametrize("effects", [pytest.param(False, marks=pytest.mark.slow), True])
def test_the_first_policy_is_the_posterior_mean(effects: bool) -> None:
    env = people(effects)
    obs, policy = visited(env), make_policy(env.spec, NETWORK)
    params = policy.init(jax.random.key(3), env.world)
    items = policy.items(params, env.world)
    output = policy.apply(params, items, obs, env.world)
    baseline = posterior_mean(SETTINGS, env.world)
    assert baseline.score is not None
    want = baseline.score(baseline.arrays, obs, env.world)[:, np.asarray(env.world.recommendable)]
    shown = output.logits > -jnp.inf
    assert 0 < int((~shown).sum()) < shown.size  # what is in the history
    share = jax.nn.sigmoid(output.logits + output.value[:, None])
    np.testing.assert_allclose(jnp.where(shown, 3.0 * share - 1.0, 0.0), jnp.where(shown, want, 0.0), atol=2e-4)


def test_items_shown_in_this_visit_tell_only_by_their_answers() -> None:
    env = people()
    assert env.world.tastes.exposure is None
    np.testing.assert_array_equal(visited(env, steps=0).history_shown, np.zeros(7))
    np.testing.assert_array_equal(visited(env, steps=2).history_shown, np.full(7, 4))


def test_a_policy_keeps_the_tastes_it_was_made_with_in_another_world() -> None:
    """The second simulator has tastes of its own, fitted to other people."""
    env, other = people(), people(seed=5)
    policy, obs = make_policy(env.spec, NETWORK), visited(env)
    params = policy.init(jax.random.key(3), env.world)
    items = policy.items(params, env.world)
    here, there = (policy.apply(params, items, obs, world).logits for world in (env.world, other.world))
    np.testing.assert_array_equal(here, there)
    with_others = policy.apply(params, policy.items(params, other.world), obs, other.world).logits
    assert not np.allclose(here, with_others, atol=1e-2)


def test_belief_takes_any_leading_axes_and_no_gradient() -> None:
    env = people(effects=True)
    obs = visited(env)
    flat = prior_of(env.world.tastes, obs, env.world, env.spec)
    folded = jax.tree.map(lambda x: x.reshape(7, 1, *x.shape[1:]), obs)
    again = prior_of(env.world.tastes, folded, env.world, env.spec)
    np.testing.assert_allclose(again.logits[:, 0], flat.logits, rtol=1e-5)
    one = prior_of(env.world.tastes, jax.tree.map(lambda x: x[2], obs), env.world, env.spec)
    np.testing.assert_allclose(one.state, flat.state[2], rtol=1e-5)
    assert flat.state.shape == (7, 2 * 2 * (1 + WIDTH) + WIDTH)

    def total(tastes):
        return prior_of(tastes, obs, env.world, env.spec).logits.sum()

    slopes = jax.tree.leaves(jax.grad(total)(env.world.tastes))
    assert all(not np.asarray(slope).any() for slope in slopes)


def test_what_cannot_start_from_tastes_is_refused() -> None:
    with pytest.raises(InputError, match=r"learner.policy.belief: scores would start from expected rewards"):
        DqnConfig(policy=NETWORK)
    with pytest.raises(InputError, match=r"remove learner.start_from"):
        AllItemsConfig(policy=NETWORK, start_from="pretrain")
    spec = EnvSpec(name="other", action=SlateAction(size=2), num_items=6, feedback=("liked",), history_length=3)
    with pytest.raises(InputError, match=r"learner.policy.belief: other gives no history of items of a catalogue"):
        make_policy(spec, NETWORK)
    policy = make_policy(people().spec, NETWORK)
    with pytest.raises(InputError, match=r"policy.belief: no tastes were fitted to the users of logged; set env"):
        policy.items({}, World(item_table=jnp.zeros((ITEMS, 6))))
