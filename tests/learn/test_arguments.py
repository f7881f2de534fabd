"""Numbers of a learner's section as arguments: every learner takes them, and computes the same."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import pytest

import jaxrec
from jaxrec.config.learners import LEARNER_CONFIGS
from jaxrec.learn import make_learner
from jaxrec.learn.arguments import NUMBERS, Arguments, numbers_of, with_arguments
from jaxrec.types import Learner
from tests.learners import EXPLORING, env_for, learner_cases, learner_of, small_config


def both(name: str) -> tuple[Learner, Learner, Arguments]:
    env, config = jaxrec.auto_reset(env_for(name)), small_config(name)
    numbers = {key: jnp.asarray(value) for key, value in numbers_of(config, NUMBERS).items()}
    other = dataclasses.replace(config, learning_rate=0.5, gamma=0.1)  # what the arguments replace
    general = with_arguments(lambda section: make_learner(learner_of(name), env, section), other)
    return make_learner(learner_of(name), env, config), general, Arguments(env.world, numbers)


@pytest.mark.parametrize("name", learner_cases([*sorted(LEARNER_CONFIGS), *EXPLORING], also=["td3", "slateq thompson"]))
def test_every_learner_takes_its_numbers_as_arguments(name: str) -> None:
    fixed, general, arguments = both(name)
    state = jax.eval_shape(general.init, jax.random.key(0), arguments)
    found = jax.eval_shape(general.update, state, arguments)
    want = jax.eval_shape(fixed.update, state, arguments.world)
    assert {"learning_rate", "gamma"} <= set(arguments.numbers)
    chex.assert_trees_all_equal_shapes_and_dtypes(found, want)


def test_arguments_give_the_numbers_of_constants() -> None:
    fixed, general, arguments = both("ppo")
    state = jax.jit(general.init)(jax.random.key(0), arguments)
    assert state.learning_rate == arguments.numbers["learning_rate"] != 0.5
    want = jax.jit(fixed.update)(state, arguments.world)
    got = jax.jit(general.update)(state, arguments)
    chex.assert_trees_all_close(got[1], want[1], rtol=1e-4)
    chex.assert_trees_all_close(got[0].params, want[0].params, rtol=1e-4, atol=1e-6)
