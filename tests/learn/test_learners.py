"""What every learner owes, whatever it computes."""

import chex
import jax
import jax.numpy as jnp
import pytest

from jaxrec.checks import InputError
from jaxrec.config.learners import LEARNER_CONFIGS
from jaxrec.config.schema import TrainConfig
from jaxrec.envs import auto_reset
from jaxrec.learn import list_learners, make_learner
from jaxrec.learn.program import compile_learner
from jaxrec.learn.registry import LEARNERS
from tests.learners import KNOWING, SMALL, acted_on, endless_for, env_for, learner_cases, network_of, small
from tests.probes import learn, outputs, taste_probe

NAMES = learner_cases(list_learners(), also=["ddpg"])  # ddpg is the cheaper one of those that act by vectors


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_recipes_and_registry_know_the_same_learners() -> None:
    assert {name: entry.config for name, entry in LEARNERS.items()} == LEARNER_CONFIGS


def test_the_same_seed_repeats_and_another_changes_everything(name: str) -> None:
    env = env_for(name)
    first, metrics = learn(name, env, small(name), 2)
    again, metrics_again = learn(name, env, small(name), 2)
    other, _ = learn(name, env, small(name), 2, seed=1)
    chex.assert_trees_all_equal(first.params, again.params)
    chex.assert_trees_all_equal(metrics, metrics_again)
    chex.assert_trees_all_equal(jax.random.key_data(first.users.key), jax.random.key_data(again.users.key))
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path((first.params, first.users.obs, first.users.env_state)),
        jax.tree.leaves((other.params, other.users.obs, other.users.env_state)),
        strict=True,
    ):
        assert not jnp.array_equal(a, b), jax.tree_util.keystr(path)


def test_another_learning_rate_is_not_another_program(name: str) -> None:
    env = env_for(name)
    texts = []
    for rate in (1e-3, 1e-4):
        learner = make_learner(name, auto_reset(env), small(name, learning_rate=rate))
        state = jax.eval_shape(learner.init, jax.random.key(0), env.world)
        texts.append(jax.jit(learner.update).lower(state, env.world).as_text())
    assert texts[0] == texts[1]


@pytest.fixture(scope="module", params=learner_cases(list_learners()))
def annealed(request: pytest.FixtureRequest) -> dict[str, jax.Array]:
    options = {"learning_rate": 0.01, "anneal_updates": 4, "reward_scale": 0.01}
    return learn(request.param, endless_for(request.param), small(request.param, **options), 4)[1]


def test_the_learning_rate_falls_to_zero_when_annealed(annealed: dict[str, jax.Array]) -> None:
    chex.assert_trees_all_close(annealed["learning_rate"], jnp.array([0.01, 0.0075, 0.005, 0.0025]), rtol=1e-6)


def test_rewards_are_reported_as_they_were_before_scaling(annealed: dict[str, jax.Array]) -> None:
    assert float(annealed["reward"][-1]) == pytest.approx(1.0)
    assert float(annealed["episode_return"][-1]) == pytest.approx(4.0)


def test_learning_starts_from_given_parameters_which_stay_the_callers(name: str) -> None:
    env = env_for(name) if name in KNOWING else acted_on(name, taste_probe())
    learner = make_learner(name, auto_reset(env), small(name))
    program = compile_learner(learner, env.world, TrainConfig(devices=1, updates_per_call=1), SMALL["num_shards"])
    given = program.init(jax.random.key(5), program.world).params
    state = program.init(jax.random.key(0), program.world, given)
    chex.assert_trees_all_equal(state.params, given)
    program.update_many(state, program.world)  # donates the state
    before, _ = outputs(env, given, network_of(name))
    assert bool(jnp.isfinite(before.logits).all())


def test_an_environment_that_does_not_replace_users_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="auto_reset"):
        make_learner(name, taste_probe())
