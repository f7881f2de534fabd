"""The learner that adds to every item's immediate reward what showing it changes later."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec import make_env
from jaxrec.checks import InputError
from jaxrec.config.every_item import FarSightedConfig
from jaxrec.config.logged import HazardConfig, LoggedConfig
from jaxrec.config.policy import PolicyConfig
from jaxrec.data.log import Log
from jaxrec.envs import auto_reset, logged
from jaxrec.envs.logged_world import make_world
from jaxrec.learn import make_learner
from jaxrec.learn.far_sighted import Ahead, later_loss, later_of_items, look_ahead, still_there
from jaxrec.learn.rollout import Decision, rollout, start_users
from jaxrec.nets.effects import Effects
from jaxrec.nets.policy import Future, PolicyOutput, make_policy
from jaxrec.supervised.calibration import sigmoid
from jaxrec.supervised.leaving import LeaveModel
from jaxrec.types import Env, World
from tests.learners import small
from tests.probes import learn
from tests.tiny_tastes import plain_link, random_log, random_tastes

ITEMS, WIDTH, USERS = 14, 3, 2
CONFIG = LoggedConfig(slate_size=2, requests=4, reward={"liked": 2.0}, leave=HazardConfig())
GAMMA = 0.9


GROUPS = np.eye(5, dtype=np.float32)[np.arange(ITEMS) % 5]


def bored_world(groups: bool = False) -> World:
    tastes = random_tastes(ITEMS, WIDTH, kinds=1)
    draws = np.random.default_rng(3).normal(size=(1, USERS, 1, 1 + WIDTH))
    effects = Effects(alike=jnp.array([-0.8]), mood=jnp.zeros(1), keep=jnp.array([0.9, 0.0]))
    effects = effects.replace(directions=jnp.asarray(GROUPS)) if groups else effects
    draws = jnp.asarray(draws, jnp.float32)
    tastes = tastes.replace(draws=draws, means=draws[0], effects=effects, feedback_names=("liked",))
    log = random_log(np.array([2, 1]), ITEMS, kinds=1)
    leave = LeaveModel(jnp.array([0.3, -1.5, 0.2]))
    return make_world(tastes, log, np.eye(ITEMS, dtype=np.float32), ITEMS, np.arange(ITEMS) != 5, leave=leave)


@pytest.mark.parametrize("groups", [pytest.param(False, marks=pytest.mark.slow), True])
def test_the_later_part_is_the_derivative_of_the_visits_expected_reward(groups: bool) -> None:
    """Finite differences of a visit whose answers and chances to stay are computed here, in NumPy."""
    world = bored_world(groups)
    env = logged.make(CONFIG, world, keep=True)
    assert env.memory is not None
    users = start_users(env, jax.random.key(0), 1, 1, world)
    slates = np.array([[0, 1], [2, 3], [4, 6], [7, 8]])

    def act(key, obs):
        request = (obs.history_items[0, 0] >= 0).sum() - known
        return Decision(jnp.asarray(slates)[request // 2][None, None])

    known = int((users.obs.history_items >= 0).sum())
    _, transitions = rollout(env, act, lambda extras, *_: extras, users, world, 4, keep_states=True)
    theta = np.asarray(users.env_state.person)[0, 0, 0]
    past = [int(i) for i in np.asarray(users.obs.history_items)[0, 0] if i >= 0]
    vectors, logits = np.asarray(world.users.tastes.item_vectors), np.asarray(world.users.tastes.item_logits)[:, 0]
    directions = GROUPS if groups else vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    size = directions.shape[1]

    def visit(first: int, more: np.ndarray) -> tuple[float, list[float]]:
        """Expected reward from slate `first` on, with more in the memory; chances to stay."""
        shown = [*past, *slates[:first].reshape(-1)]
        total, reach, stays = 0.0, 1.0, []
        for n in range(first, 4):
            fading = 0.9 ** np.arange(len(shown))[::-1]
            memory = fading @ directions[shown] + 0.9 ** (2 * (n - first)) * more
            items = slates[n]
            p = 1 / (
                1 + np.exp(-(theta[0] + vectors[items] @ theta[1:] + logits[items] - 0.8 * directions[items] @ memory))
            )
            total += reach * 2 * p.sum()
            leave = sigmoid(0.3 - 1.5 * 2 * p.mean() + 0.2 * np.log1p(n))
            stays.append(1 - leave)
            reach *= GAMMA * (1 - leave)
            shown = [*shown, *items]
        return total, stays

    # The learner discounts by the chance after the sampled answers; here by the expected ones, as above.
    stays = jnp.asarray(visit(0, np.zeros(size))[1], jnp.float32).reshape(4, 1, 1)
    ahead = look_ahead(env.memory, transitions.replace(stay=stays), world, GAMMA)
    for n in range(3):
        slope = [(visit(n + 1, e)[0] - visit(n + 1, -e)[0]) / 2e-4 for e in 1e-4 * np.eye(size)]
        want = GAMMA * float(stays[n, 0, 0]) * 0.9**0.5 * np.array(slope)
        np.testing.assert_allclose(ahead.push[n, 0, 0], want, rtol=2e-3, atol=1e-5)
        stay = float(stays[n, 0, 0])
        # Satisfaction is the slate's reward over its size, so a unit of reward takes 1.5 / 2 from the leaving logit.
        gain = GAMMA * stay * (1 - stay) * 1.5 / 2 * visit(n + 1, np.zeros(size))[0]
        np.testing.assert_allclose(ahead.gain[n, 0, 0], gain, rtol=1e-4)
    np.testing.assert_allclose(ahead.push[3], 0.0)  # nothing follows the last slate
    np.testing.assert_allclose(ahead.gain[3], 0.0)


def test_the_later_part_of_items_and_its_loss_are_worked_by_hand() -> None:
    ahead = Ahead(push=jnp.array([[1.0, -2.0]]), gain=jnp.array([0.5]), reach=jnp.ones(1))
    later = later_of_items(ahead, jnp.array([[0.2, 0.4, 0.0]]), jnp.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]))
    np.testing.assert_allclose(later, [[1.1, -1.8, -1.0]], rtol=1e-6)
    future = Future(jnp.zeros((1, 3)), jnp.array([[1.0, -2.0, 7.0]]))
    output = PolicyOutput(jnp.array([[0.0, 0.0, -jnp.inf]]), jnp.zeros(1), future)
    assert float(later_loss(output, later)) == pytest.approx(0.5 * (0.01 + 0.04) / 2, rel=1e-5)


def test_states_count_as_much_as_users_are_likely_to_reach_them() -> None:
    stay = jnp.array([0.5, 0.8, 0.25, 0.5])[:, None]
    ended = jnp.array([False, False, True, False])[:, None]
    np.testing.assert_allclose(still_there(stay, ended)[:, 0], [1.0, 0.5, 0.4, 1.0], rtol=1e-6)
    output = PolicyOutput(jnp.zeros((2, 1)), jnp.zeros(2), Future(jnp.zeros((2, 1)), jnp.array([[1.0], [3.0]])))
    assert float(later_loss(output, jnp.zeros((2, 1)), jnp.array([1.5, 0.5]))) == pytest.approx(0.5 * (1.5 + 4.5) / 2)


def two_topics(alike: float) -> Env:
    """Visits of two requests of one item. Items 0 and 1 are alike, liked at .6 and .9; item 2 is liked at .5.

    With boredom, whoever has seen one of two alike items likes the other less.
    """
    chance = np.array([0.6, 0.9, 0.5])
    theta = jnp.zeros((1, 1, 1, 3))
    tastes = random_tastes(3, 2, kinds=1, link=plain_link(1)).replace(
        item_vectors=jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),
        item_logits=jnp.asarray(np.log(chance / (1 - chance))[:, None], jnp.float32),
        draws=theta,
        means=theta[0],
        effects=Effects(jnp.array([alike]), jnp.zeros(1), jnp.array([0.9, 0.0])),
        feedback_names=("liked",),
    )
    log = Log(
        user=np.zeros(1, np.int32),
        item=np.zeros(1, np.int32),
        time=np.zeros(1, np.int64),
        feedback=np.ones((1, 1), np.float32),
        feedback_names=("liked",),
        num_users=1,
        num_items=3,
    )
    world = make_world(tastes, log, np.eye(3, dtype=np.float32), 3)
    return logged.make(LoggedConfig(slate_size=1, requests=2, reward={"liked": 1.0}), world)


@pytest.mark.parametrize("alike", [-2.0, 3.0])
def test_it_learns_what_each_item_does_to_the_next_answer(alike: float) -> None:
    """Immersion, and boredom: what the item adds to the answer to the one that follows, to first order."""
    env = two_topics(alike)
    options = small("far_sighted", horizon=2, gamma=1.0, learning_rate=0.01, epochs=1, minibatches=1)
    options["policy"] = PolicyConfig(encoder="profile", width=8, hidden=(16,))
    params = learn("far_sighted", env, options, 400)[0].params
    policy = make_policy(env.spec, FarSightedConfig(**options).policy)
    _, obs = jax.jit(env.reset)(jax.random.key(0), env.world)
    output = jax.jit(lambda obs: policy.apply(params, policy.items(params, env.world), obs, env.world))(obs)
    assert output.future is not None
    np.testing.assert_allclose(jax.nn.sigmoid(output.future.immediate + output.value), [0.6, 0.9, 0.5], atol=0.05)
    shown = [int(np.argmax(output.logits))]
    after = [i for i in range(3) if i not in shown]
    # What followed in training: the best of the others, by the learned scores after the first slate.
    _, out = jax.jit(env.step)(
        jax.random.key(1), env.reset(jax.random.key(0), env.world)[0], jnp.array(shown), env.world
    )
    second = policy.apply(params, policy.items(params, env.world), out.obs, env.world)
    follows = int(np.argmax(second.logits))
    assert follows in after
    chance, directions = np.array([0.6, 0.9, 0.5]), np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    memory = directions[shown[0]]
    p = sigmoid(np.log(chance / (1 - chance))[follows] + alike * directions[follows] @ memory)
    later = p * (1 - p) * alike * directions @ directions[follows]
    np.testing.assert_allclose(output.future.later, later, atol=0.05)
    assert shown[0] == (1 if alike > 0 else int(np.argmax(chance + later)))


def test_users_without_effects_and_without_known_answers_are_refused() -> None:
    with pytest.raises(InputError, match=r"learner\.name: far_sighted .* use all_items"):
        make_learner("far_sighted", auto_reset(logged.make(CONFIG, without_effects(bored_world()))))
    with pytest.raises(InputError, match=r"far_sighted learns from the expected answer to every item"):
        make_learner("far_sighted", auto_reset(make_env("interest_evolution")), small("far_sighted"))


def without_effects(world: World) -> World:
    return world.replace(users=world.users.replace(tastes=world.users.tastes.replace(effects=None)))
