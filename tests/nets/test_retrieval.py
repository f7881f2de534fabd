"""The product of two towers retrieves items, and the perceptron ranks them."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec import auto_reset, make_env, make_learner
from jaxrec.checks import InputError
from jaxrec.config.every_item import AllItemsConfig
from jaxrec.config.on_policy import PpoConfig
from jaxrec.config.policy import PolicyConfig
from jaxrec.config.replay_learners import DqnConfig, SlateQConfig
from jaxrec.learn.actor import make_slate_actor
from jaxrec.learn.dqn import dqn_loss
from jaxrec.learn.replay import Sample
from jaxrec.nets.policy import make_policy
from jaxrec.types import EnvSpec, Observation, SlateAction, World
from tests.learners import small
from tests.probes import catalogue_probe, learn, outputs

ITEMS, USERS = 30, 6
FULL = PolicyConfig(encoder="mean", width=4, hidden=(8,), scorer="mlp")
SPEC = EnvSpec(
    name="log", action=SlateAction(size=2), num_items=ITEMS, feedback=("liked",), history_length=3, user_size=2
)
WORLD = World(
    item_table=jax.random.normal(jax.random.key(0), (ITEMS, 5)), recommendable=jnp.arange(1, ITEMS, dtype=jnp.int32)
)
OBS = Observation(
    user=jax.random.normal(jax.random.key(1), (USERS, 2)),
    history_items=jax.random.randint(jax.random.key(2), (USERS, 3), -1, ITEMS),
    history_feedback=jnp.ones((USERS, 3, 1)),
)


@functools.cache
def params():
    """Parameters of which nothing is small."""
    fresh = jax.jit(make_policy(SPEC, FULL).init)(jax.random.key(3), WORLD)
    noise = np.random.default_rng(0)
    return jax.tree.map(lambda x: x + noise.normal(0.0, 0.5, x.shape).astype(np.float32), fresh)


def own_logits(config: PolicyConfig, given) -> np.ndarray:
    policy = make_policy(SPEC, config)
    return np.asarray(jax.jit(lambda p: policy.apply(p, policy.items(p, WORLD), OBS, WORLD).logits)(given))


def logits(config: PolicyConfig) -> np.ndarray:
    return own_logits(config, params())


def test_the_best_by_the_product_are_scored_as_without_retrieval_and_nothing_else() -> None:
    every, some = logits(FULL), logits(dataclasses.replace(FULL, retrieve=5))
    cheap = logits(dataclasses.replace(FULL, scorer="product"))
    for user in range(USERS):
        open_ = np.flatnonzero(np.isfinite(cheap[user]))
        best = sorted(open_, key=lambda n, user=user: -cheap[user, n])[:5]
        assert sorted(np.flatnonzero(np.isfinite(some[user]))) == sorted(best)
        np.testing.assert_allclose(some[user, best], every[user, best], rtol=1e-5)
    chex.assert_trees_all_close(logits(dataclasses.replace(FULL, retrieve=29)), every)


def test_slates_of_an_older_policy_stay_possible_and_slopes_finite() -> None:
    actor = make_slate_actor(SPEC, dataclasses.replace(FULL, retrieve=4))
    first, obs = params(), jax.tree.map(lambda x: x[None], OBS)
    acted = jax.jit(lambda p: actor.act(jax.random.key(5)[None], p, actor.prepare(p, WORLD), obs, WORLD))(first)

    @jax.jit
    def log_prob(given):
        return actor.judge(given, actor.prepare(given, WORLD), obs, acted.action, acted.log_prob, WORLD).log_prob

    chex.assert_trees_all_close(log_prob(first), acted.log_prob, atol=1e-5)
    later = jax.tree.map(lambda x: -x, first)  # retrieves the opposite items
    chex.assert_tree_all_finite(log_prob(later))
    chex.assert_tree_all_finite(jax.jit(jax.grad(lambda given: log_prob(given).sum()))(later))


def test_the_target_network_values_what_the_other_chose_also_if_it_would_not_retrieve_it() -> None:
    some = dataclasses.replace(FULL, retrieve=4)
    first, target = params(), jax.tree.map(lambda x: -x, params())  # retrieves the opposite items
    obs = jax.tree.map(lambda x: x[None], OBS)
    ones = jnp.ones((1, USERS))
    batch = Sample(obs, jnp.ones((1, USERS, 2), jnp.int32), jnp.zeros((1, USERS, 2)), obs, ones, ones)
    policy = make_policy(SPEC, some)
    judged = jax.jit(lambda: dqn_loss(first, target, policy, batch, WORLD, DqnConfig(policy=some)))()[1]
    slate = np.argsort(-logits(some), axis=-1)[:, :2]
    every = make_policy(SPEC, FULL)
    valued = jax.jit(lambda: every.apply(target, every.items(target, WORLD), OBS, WORLD))()
    want = np.take_along_axis(np.asarray(valued.logits + valued.value[:, None]), slate, axis=-1)
    assert not np.isfinite(np.take_along_axis(own_logits(some, target), slate, axis=-1)).all()
    np.testing.assert_allclose(judged.metrics["target_mean"], want.mean(), rtol=1e-4)


@pytest.mark.parametrize("name", ["ppo", "dqn"])
def test_learners_find_the_best_item_among_two_retrieved_of_three(name: str) -> None:
    env = catalogue_probe()
    network = PolicyConfig(width=8, hidden=(16,), scorer="mlp", retrieve=2)
    state, metrics = learn(name, env, small(name, policy=network, learning_rate=0.02, epsilon_updates=20), 50)
    chex.assert_tree_all_finite(metrics["loss"])
    output, obs = outputs(env, state.params, network, users=200)
    assert bool((jnp.isfinite(output.logits).sum(-1) == 2).all())
    worth = obs.user @ env.world.item_table.T
    paid = jnp.take_along_axis(worth, output.logits.argmax(-1)[:, None], axis=-1).mean()
    assert float(paid) > 0.98 * float(worth.max(-1).mean())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: make_learner("ppo", auto_reset(make_env("sardine")), {"policy": {"scorer": "mlp", "retrieve": 5}}),
            "learner.policy.retrieve: 5 items do not fill a slate of 10; raise it to 10 or more, or set it to 0.",
        ),
        (lambda: PolicyConfig(retrieve=5), "learner.policy.retrieve: only with learner.policy.scorer: mlp"),
        (
            lambda: AllItemsConfig(policy=dataclasses.replace(FULL, retrieve=5)),
            "learner.policy.retrieve: this learner scores every item on offer",
        ),
        (lambda: SlateQConfig(policy=dataclasses.replace(FULL, retrieve=5)), "learner.policy.retrieve: "),
        (
            lambda: DqnConfig(policy=dataclasses.replace(FULL, retrieve=5), exploration="thompson"),
            "learner.policy.retrieve: heads of an ensemble retrieve different items",
        ),
        (
            lambda: DqnConfig(policy=dataclasses.replace(FULL, retrieve=5), dueling="mean"),
            "learner.dueling: mean, but with learner.policy.retrieve only some items on offer have a logit",
        ),
        (
            lambda: PpoConfig(policy=dataclasses.replace(FULL, retrieve=5), start_kl=0.1),
            "learner.start_kl: two policies that retrieve different items have no finite divergence",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_ends_in_one_line(build, message: str) -> None:
    with pytest.raises(InputError) as caught:
        build()
    assert message in str(caught.value) and "\n" not in str(caught.value)
