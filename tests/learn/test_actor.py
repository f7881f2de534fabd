"""Slates of a policy with a temperature; all numbers are worked by hand.

Three items have the logits 0, log 2 and log 4. At the temperature 0.5 they are 0, log 4 and log 16, so single items are
drawn with chances 1/21, 4/21 and 16/21.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec import auto_reset
from jaxrec.checks import InputError
from jaxrec.config.on_policy import PpoConfig
from jaxrec.config.policy import PolicyConfig
from jaxrec.learn import make_learner
from jaxrec.learn.actor import Actor, make_slate_actor
from jaxrec.learn.on_policy import temperature
from jaxrec.nets.policy import make_policy
from jaxrec.types import EnvSpec, Observation, Params, SlateAction, World
from tests.learners import small
from tests.probes import treasure_probe

WORLD = World(item_table=jnp.zeros((3, 2)))
CONFIG = PolicyConfig(width=2, hidden=(2,), item_residual=True)
OBS = Observation(user=jnp.ones((1, 1, 1)))  # [S, N, U]
CHANCES = np.array([1, 4, 16]) / 21


def made(size: int, **options) -> tuple[Actor, Params, Params]:
    """An actor, the parameters whose logits are those above, and others whose logits are all 0."""
    spec = EnvSpec(name="three", action=SlateAction(size=size), num_items=3, feedback=("click",), user_size=1)
    actor = make_slate_actor(spec, CONFIG, temperature=0.5, **options)
    zeros = jax.tree.map(jnp.zeros_like, actor.init(jax.random.key(0), WORLD))
    return actor, zeros | {"residual_bias": jnp.log(jnp.array([1.0, 2.0, 4.0]))}, zeros


def test_slates_are_drawn_as_likely_as_their_log_probability_says() -> None:
    actor, params, _ = made(2)
    users, key = Observation(user=jnp.ones((1, 20_000, 1))), jax.random.split(jax.random.key(1), 1)
    acted = actor.act(key, params, actor.prepare(params, WORLD), users, WORLD)
    slates, log_prob = np.asarray(acted.action[0]), np.asarray(acted.log_prob[0])
    best = (slates == [2, 1]).all(-1)
    np.testing.assert_allclose(np.exp(log_prob[best]), 16 / 21 * 4 / 5, rtol=1e-5)
    assert best.mean() == pytest.approx(16 / 21 * 4 / 5, abs=0.01)
    first = np.bincount(slates[:, 0], minlength=3) / len(slates)
    np.testing.assert_allclose(first, CHANCES, atol=0.01)


def test_a_trained_policy_shows_its_best_slate_or_draws_at_its_temperature() -> None:
    _, params, _ = made(2)
    spec = EnvSpec(name="three", action=SlateAction(size=2), num_items=3, feedback=("click",), user_size=1)
    users = Observation(user=jnp.ones((20_000, 1)))

    def shown(temperature: float) -> np.ndarray:
        policy = make_policy(spec, dataclasses.replace(CONFIG, serving_temperature=temperature))
        items = policy.items(params, WORLD)
        output = policy.apply(params, items, users, WORLD)
        return np.asarray(policy.show(jax.random.key(2), output, items, users, WORLD, 2))

    assert (shown(0.0) == [2, 1]).all()
    drawn = shown(0.5)
    np.testing.assert_allclose(np.bincount(drawn[:, 0], minlength=3) / len(drawn), CHANCES, atol=0.01)
    assert (drawn == [2, 1]).all(-1).mean() == pytest.approx(16 / 21 * 4 / 5, abs=0.01)


def test_drawn_slates_are_not_made_diverse() -> None:
    with pytest.raises(InputError, match="serving_temperature: slates that are drawn are not made diverse"):
        PolicyConfig(serving_temperature=0.5, diversity=0.4)


def test_old_slates_are_judged_at_the_same_temperature() -> None:
    slate = jnp.array([[[2, 1]]], jnp.int32)
    for by_pick, want in ((False, np.log(64 / 105)), (True, np.log([16 / 21, 4 / 5]))):
        actor, params, _ = made(2, by_pick=by_pick)
        judged = actor.judge(params, actor.prepare(params, WORLD), OBS, slate, jnp.zeros(()), WORLD)
        np.testing.assert_allclose(judged.log_prob[0, 0], want, rtol=1e-5)
    _, expected = actor.credit(
        params, actor.prepare(params, WORLD), OBS, slate, jnp.array([[[5.0, 10.0, 21.0]]]), WORLD
    )
    # (5 + 4 * 10 + 16 * 21) / 21, and without the first pick (5 + 4 * 10) / 5.
    np.testing.assert_allclose(expected[0, 0], [381 / 21, 9.0], rtol=1e-5)


def test_entropy_and_divergence_are_those_of_the_drawn_distribution() -> None:
    actor, params, zeros = made(1)
    judged = actor.judge(params, actor.prepare(params, WORLD), OBS, jnp.array([[[2]]]), jnp.zeros((1, 1)), WORLD)
    entropy = -(CHANCES * np.log(CHANCES)).sum()
    assert float(judged.entropy()) == pytest.approx(entropy, rel=1e-5)
    assert float(judged.divergence(zeros)) == pytest.approx(np.log(3) - entropy, rel=1e-5)
    assert float(judged.divergence(params)) == pytest.approx(0.0, abs=1e-6)


def test_the_temperature_falls_over_the_updates_and_the_policy_is_drawn_at_it() -> None:
    env = auto_reset(treasure_probe())
    config = PpoConfig(**small("ppo", learning_rate=1e-9), temperature=1.0, temperature_end=0.25, temperature_updates=2)
    learner = make_learner("ppo", env, config)
    state, entropies = learner.init(jax.random.key(0), env.world), []
    state = state.replace(params=jax.tree.map(lambda x: 20.0 * x, state.params))  # scores that differ
    update = jax.jit(learner.update)
    for at in (1.0, 0.625, 0.25, 0.25):
        assert float(temperature(config, state)) == pytest.approx(at)
        state, metrics = update(state, env.world)
        entropies.append(float(metrics["entropy"]))
    assert entropies[0] > entropies[1] > entropies[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature: expected a value above 0"),
        ({"temperature_end": 0.1}, "temperature_updates: expected a value above 0 if learner.temperature_end is set"),
        ({"temperature_updates": 9}, "temperature_end: expected a value above 0 if learner.temperature_updates is set"),
    ],
)
def test_temperatures_that_mean_nothing_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PpoConfig(**options)
