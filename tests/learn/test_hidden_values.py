"""Values that read what the simulator hides, in training only."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import pytest

from jaxrec import auto_reset, make_env, randomize
from jaxrec.checks import InputError
from jaxrec.config.every_item import AllItemsConfig
from jaxrec.config.policy import PolicyConfig
from jaxrec.envs.wrappers import time_limit
from jaxrec.learn import make_learner
from jaxrec.learn.rollout import Decision, critic_view, rollout, start_users
from jaxrec.nets.policy import make_policy
from jaxrec.types import CriticView, Env
from tests.probes import endless_probe, learn, taste_probe

HIDDEN = PolicyConfig(width=8, hidden=(16,), value="hidden")
SMALL = {"num_users": 64, "horizon": 8, "learning_rate": 0.02, "gamma": 0.8, "policy": HIDDEN}


def counting(length: int) -> Env:
    """The endless probe, whose simulator says how far the session is."""
    env = endless_probe(length)

    spec = dataclasses.replace(env.spec, hidden_size=1)
    return env._replace(hidden=lambda state, world: (state.step / length)[None], spec=spec)


def test_views_are_of_the_users_state_and_of_the_one_before_a_reset() -> None:
    env = auto_reset(counting(4))
    users = start_users(env, jax.random.key(0), 2, 3, env.world)

    def act(key, obs):
        assert isinstance(obs, CriticView)
        return Decision(jnp.zeros((2, 3, 1), jnp.int32), jnp.zeros((2, 3)))

    def finish(extras, final_obs, truncated):
        return final_obs.hidden[..., 0]

    users, seen = rollout(env, act, finish, users, env.world, 5, show_hidden=True)
    chex.assert_trees_all_close(seen.obs.hidden[:, 0, 0, 0], jnp.array([0.0, 0.25, 0.5, 0.75, 0.0]))
    chex.assert_trees_all_close(seen.extras[:, 1, 2], jnp.array([0.25, 0.5, 0.75, 1.0, 0.25]))  # of the old user
    assert not isinstance(users.obs, CriticView)
    chex.assert_trees_all_close(critic_view(env, users, env.world).hidden, jnp.full((2, 3, 1), 0.25))


@pytest.mark.parametrize("name", ["ppo", pytest.param("slateq", marks=pytest.mark.slow)])
def test_learners_train_with_them_and_policies_work_without(name: str) -> None:
    env = make_env("interest_evolution")
    small = SMALL if name == "ppo" else SMALL | {"replay_size": 2048, "learning_starts": 0, "batch_size": 64}
    state, metrics = learn(name, env, small, 2)
    chex.assert_tree_all_finite(metrics["loss"])
    network = PolicyConfig(width=8, hidden=(16,), value="hidden", choice=name == "slateq")
    policy = make_policy(env.spec, network)
    _, obs = env.reset(jax.random.key(1), env.world)
    items = policy.items(state.params, env.world)
    output = policy.apply(state.params, items, obs, env.world)
    view = CriticView(**vars(obs), hidden=jnp.array([0.5]))
    other = policy.apply(state.params, items, view, env.world)
    chex.assert_trees_all_equal(output.logits, other.logits)  # the policy does not read it
    assert float(output.value) != float(other.value)


@pytest.mark.parametrize("name", ["interest_evolution", "interest_exploration", "long_term_satisfaction", "sardine"])
def test_environments_say_as_many_numbers_as_their_spec_and_wrappers_keep_them(name: str) -> None:
    env = make_env(name)
    wrapped = time_limit(env, 3)
    if name == "interest_evolution":
        wrapped = randomize(wrapped, {"start_budget": (100.0, 100.0)})
    for one in (env, wrapped):
        state, _ = one.reset(jax.random.key(0), env.world)
        assert one.hidden is not None
        hidden = one.hidden(state, env.world)
        chex.assert_shape(hidden, (env.spec.hidden_size,))
        chex.assert_tree_all_finite(hidden)
    if name == "interest_evolution":
        assert float(hidden[0]) == 1.0  # of the user's own budget


def test_they_are_refused_where_nothing_is_known_or_read() -> None:
    with pytest.raises(InputError, match=r"policy\.value: hidden, but taste_probe does not say"):
        make_learner("ppo", auto_reset(taste_probe()), SMALL)
    with pytest.raises(InputError, match=r"policy\.value: hidden, but this learner learns no values"):
        AllItemsConfig(policy=HIDDEN)
