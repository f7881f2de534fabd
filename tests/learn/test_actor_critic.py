"""DDPG, TD3 and policy gradients whose actions are vectors."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec import auto_reset, make_env, make_learner
from jaxrec.checks import InputError
from jaxrec.config.on_policy import PpoConfig
from jaxrec.config.policy import PolicyConfig
from jaxrec.config.replay_learners import DdpgConfig, Td3Config
from jaxrec.envs.vector_actions import vector_actions
from jaxrec.learn.actor_critic import critic_loss, policy_loss, targets, with_noise
from jaxrec.learn.replay import Sample
from jaxrec.nets.vector_policy import VectorPolicy, make_vector_policy, split
from jaxrec.types import Env, Observation, Params, VectorAction
from tests.probes import aim_probe, catalogue_probe, learn, saving_probe, taste_probe

NETWORK = PolicyConfig(width=8, hidden=(32,))
OFF_POLICY = {
    "policy": NETWORK,
    "num_users": 64,
    "num_shards": 8,
    "horizon": 4,
    "replay_size": 8192,
    "learning_starts": 256,
    "batch_size": 256,
    "gradient_steps": 16,
    "learning_rate": 0.003,
    "target_rate": 0.05,
    "noise_updates": 30,
    "gamma": 1.0,
}
ON_POLICY = {
    "policy": NETWORK,
    "num_users": 64,
    "horizon": 16,
    "learning_rate": 0.01,
    "gamma": 1.0,
    "entropy_coef": 0.0,
}


def solved(name: str, env: Env, updates: int, **options: object) -> tuple[VectorPolicy, Params]:
    """The policy after training, and its parameters."""
    options = {**(ON_POLICY if name in ("ppo", "a2c") else OFF_POLICY), **options}
    state, metrics = learn(name, env, options, updates)
    chex.assert_tree_all_finite(metrics["loss"])
    config = {"ppo": PpoConfig, "ddpg": DdpgConfig, "td3": Td3Config}[name](**options)  # type: ignore[arg-type]
    return make_vector_policy(env.spec, config.policy), state.params


def best_actions(policy: VectorPolicy, params: Params, env: Env, users: list[list[float]]) -> jax.Array:
    """The most likely action [N] for each user."""
    items = policy.slates.items(params, env.world)
    return policy.best(params, items, Observation(user=jnp.array(users)))[:, 0]


@pytest.mark.parametrize("name", ["ppo", pytest.param("ddpg", marks=pytest.mark.slow), "td3"])
def test_the_best_action_of_each_user_is_found(name: str) -> None:
    env = aim_probe()
    action = best_actions(*solved(name, env, 60), env, [[-0.6], [0.4]])
    value = 1.0 - jnp.square(action - jnp.array([-0.6, 0.4])).mean()
    assert float(value) > 0.98, action


@pytest.mark.parametrize("name", ["ppo", pytest.param("ddpg", marks=pytest.mark.slow), "td3"])
def test_what_an_action_changes_later_counts(name: str) -> None:
    env = saving_probe()
    action = float(best_actions(*solved(name, env, 80), env, [[0.0, 1.0]])[0])
    assert -(action**2) + action + 0.5 > 0.98 * 0.75, action


def small_policy(critics: int = 2) -> tuple[VectorPolicy, Params, Sample]:
    """A policy of two critics for the aim probe, and a minibatch [1, 4]."""
    env = aim_probe()
    policy = make_vector_policy(env.spec, PolicyConfig(width=4, hidden=(8,), critics=critics))
    params = jax.jit(policy.slates.init)(jax.random.key(0), env.world)
    keys = jax.random.split(jax.random.key(1), 3)
    user, after, action = (jax.random.uniform(key, (1, 4, 1), minval=-1.0) for key in keys)
    batch = Sample(
        obs=Observation(user=user),
        action=action,
        item_reward=jnp.arange(4.0).reshape(1, 4, 1),
        next_obs=Observation(user=after),
        discount=jnp.array([[0.9, 0.9, 0.0, 0.5]]),
        weight=jnp.array([[1.0, 1.0, 1.0, 0.0]]),
    )
    return policy, params, batch


def test_targets_take_the_lowest_critic_at_the_policys_own_action() -> None:
    policy, params, batch = small_policy()
    world = aim_probe().world
    config = Td3Config(policy=NETWORK, target_noise=0.0)
    got = targets(jax.random.split(jax.random.key(0), 1), params, policy, batch, world, config)
    action = policy.best(params, policy.slates.items(params, world), batch.next_obs)
    q = np.asarray(policy.values(params, batch.next_obs, action, world))
    assert (q[..., 0] < q[..., 1]).any() or (q[..., 1] < q[..., 0]).any()
    want = np.arange(4.0) + np.array([0.9, 0.9, 0.0, 0.5]) * q.min(-1)[0]
    np.testing.assert_allclose(got[0], want, atol=1e-6)


def test_noise_on_targets_is_clipped_and_stays_within_the_range() -> None:
    action = VectorAction(size=1, low=-2.0, high=2.0)  # half of the range is 2
    point = jnp.zeros((1, 4000, 1))
    key = jax.random.split(jax.random.key(0), 1)
    moved = with_noise(key, point, action, 0.2, 0.5)
    assert float(jnp.abs(moved).max()) == 1.0  # 0.5 halves of the range
    assert float(with_noise(key, point, action, 0.2, jnp.inf).std()) == pytest.approx(0.4, rel=0.05)
    assert float(with_noise(key, point + 1.9, action, 0.2, 0.5).max()) == 2.0
    free = VectorAction(size=1)
    assert float(with_noise(key, point, free, 3.0, jnp.inf).std()) == pytest.approx(3.0, rel=0.05)


def test_the_loss_of_critics_is_half_the_squared_error_and_leaves_out_cut_windows() -> None:
    policy, params, batch = small_policy()
    own, critics = split(params)
    world, target = aim_probe().world, jnp.array([[0.3, -0.2, 0.1, 9.0]])
    config = Td3Config(policy=NETWORK, huber=100.0)
    loss, judged = critic_loss(critics, own, policy, batch, target, world, config)
    q = np.asarray(policy.values(params, batch.obs, batch.action, world))[0]
    errors = q - np.asarray(target)[0][:, None]
    assert float(loss) == pytest.approx(0.5 * (errors[:3] ** 2).mean(), rel=1e-5)
    np.testing.assert_allclose(judged.error[0], np.abs(errors).mean(-1), rtol=1e-5)


def test_the_policy_follows_the_slope_of_the_first_critic_as_in_rlax() -> None:
    rlax = pytest.importorskip("rlax")
    policy, params, batch = small_policy()
    world = aim_probe().world
    batch = batch.replace(weight=jnp.ones((1, 4)))
    own, critics = split(params)

    def value(action: jax.Array) -> jax.Array:
        return policy.values(params, batch.obs, action, world)[..., 0].sum()

    def theirs(own: Params) -> jax.Array:
        action = policy.best(own, policy.slates.items(own, world), batch.obs)[0]
        return jax.vmap(rlax.dpg_loss)(action, jax.grad(value)(action[None])[0]).mean()

    chex.assert_trees_all_close(
        jax.grad(policy_loss)(own, critics, policy, batch, world), jax.grad(theirs)(own), atol=1e-6
    )


def test_the_policy_moves_once_in_every_delay_and_critics_at_each_step() -> None:
    env = aim_probe()
    options = OFF_POLICY | {"learning_starts": 0, "gradient_steps": 1, "policy_delay": 3}
    learner = make_learner("td3", auto_reset(env), options)
    state = learner.init(jax.random.key(0), env.world)
    update, moved = jax.jit(learner.update), []
    for _ in range(6):
        before, (state, _) = state, update(state, env.world)
        pairs = zip(split(before.params), split(state.params), strict=True)
        still = jax.tree.map(lambda a, b: bool((a == b).all()), before.target_params, state.target_params)
        moved.append([any(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a != b).any()), *pair))) for pair in pairs])
        moved[-1].append(not all(jax.tree.leaves(still)))
    assert moved == [[False, True, False], [False, True, False], [True, True, True]] * 2


@pytest.mark.slow
def test_wolpertinger_finds_the_best_item_of_each_user() -> None:
    env = vector_actions(catalogue_probe(), low=0.0, high=1.0)
    options = {"policy": PolicyConfig(width=8, hidden=(32,), nearest=3), "noise_start": 1.0, "noise_end": 0.2}
    policy, params = solved("ddpg", env, 60, **options)
    users = jax.random.uniform(jax.random.key(5), (200, 2))
    obs, items = Observation(user=users), policy.slates.items(params, env.world)
    output = policy.slates.apply(params, items, obs, env.world)
    shown = policy.slates.slate(output, items, obs, env.world, 1)[:, 0]
    paid = (env.world.item_table[shown] * users).sum(-1).mean()
    best = (users @ env.world.item_table.T).max(-1).mean()
    assert float(paid) > 0.98 * float(best)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: make_learner("td3", auto_reset(taste_probe())), "taste_probe: an action is a slate of 1 items"),
        (lambda: make_learner("dqn", auto_reset(aim_probe())), "aim_probe: an action is a vector of 1 numbers"),
        (
            lambda: make_learner("ppo", auto_reset(aim_probe()), {"credit": "item"}),
            "learner.credit: item, but a vector of aim_probe is one action without picks; set it to slate.",
        ),
        (
            lambda: make_learner("ppo", auto_reset(aim_probe()), {"policy": PolicyConfig(scorer="mlp")}),
            "learner.policy.scorer: policies of aim_probe act with vectors and score no single items; set it to prod",
        ),
        (
            lambda: make_learner("td3", auto_reset(aim_probe()), {"policy": PolicyConfig(nearest=5)}),
            "learner.policy.nearest: critics choose among rows near to a point, but vectors of aim_probe are no such",
        ),
        (
            lambda: Td3Config(num_users=16, horizon=2, replay_size=64, batch_size=256, learning_starts=0),
            "learner.replay_size: 64 transitions are fewer than a batch of learner.batch_size=256; raise it",
        ),
        (lambda: PpoConfig(policy=PolicyConfig(nearest=2)), "learner.policy.nearest: only ddpg and td3 have critics"),
        (lambda: Td3Config(policy=PolicyConfig(value="hidden")), "td3 has critics instead of a value network"),
        (lambda: vector_actions(make_env("sardine"), low=1.0, high=0.0), "env.action: expected low < high"),
        (lambda: vector_actions(make_env("sardine"), "behaviours"), "behaviours, but sardine has no model"),
        (lambda: vector_actions(auto_reset(make_env("sardine"))), "write auto_reset(vector_actions(...))"),
        (lambda: make_env("sardine", action={"name": "behaviours"}), "SARDINE's users give clicks alone"),
        (lambda: make_env("sardine", action={"name": "itme"}), "did you mean 'item'?"),
    ],
)  # fmt: skip
def test_what_does_not_fit_ends_in_one_line(build, message: str) -> None:
    with pytest.raises(InputError) as caught:
        build()
    assert message in str(caught.value) and "\n" not in str(caught.value)
