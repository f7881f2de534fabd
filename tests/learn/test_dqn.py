import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.replay_learners import DqnConfig
from jaxrec.envs import auto_reset
from jaxrec.learn import dqn, make_learner, value_core
from jaxrec.learn.action_values import q_values
from jaxrec.learn.replay import Sample
from jaxrec.nets.policy import make_policy
from jaxrec.types import Env, Observation, World
from tests.learners import VALUES
from tests.probes import delay_probe, document_probe, endless_probe, learn, outputs, pair_probe, taste_probe

POLICY, SMALL = VALUES["policy"], VALUES


def train(env: Env, updates: int, **options):
    return learn("dqn", env, {**SMALL, **options}, updates)


def q_of(env: Env, params) -> jax.Array:
    output, _ = outputs(env, params, POLICY)
    return q_values(output)


def test_dqn_learns_what_each_user_likes() -> None:
    env = taste_probe()
    state, metrics = train(env, 60, gamma=0.9)
    output, obs = outputs(env, state.params, POLICY)
    chex.assert_trees_all_close(q_values(output), obs.user, atol=0.05)  # 1 for the liked item, 0 for the other
    assert float(metrics["reward"][0]) == pytest.approx(0.5, abs=0.1)
    assert float(metrics["reward"][-1]) > 0.9  # one place in twenty is still drawn at random
    np.testing.assert_allclose(metrics["epsilon"][jnp.array([0, 10, 20, 59])], [1.0, 0.525, 0.05, 0.05], rtol=1e-6)


@pytest.mark.parametrize(
    ("seen", "options"),
    [
        (True, {"double": False}),
        pytest.param(False, {"n_step": 2, "target_rate": 1.0, "target_period": 10}, marks=pytest.mark.slow),
    ],
)
def test_dqn_gives_up_a_little_now_for_more_later(seen: bool, options: dict) -> None:
    env = delay_probe(seen)
    state, _ = train(env, 60, gamma=1.0, **options)
    # item 0 pays 0.1 and nothing follows; item 1 costs 0.2 and 1 follows, whatever is shown then
    chex.assert_trees_all_close(q_of(env, state.params)[0], jnp.array([0.1, 0.8]), atol=0.06)


def test_dqn_bootstraps_where_a_session_is_cut() -> None:
    env = endless_probe(length=4)
    state, _ = train(env, 80, gamma=0.8, n_step=3)
    chex.assert_trees_all_close(q_of(env, state.params), jnp.full((32, 2), 5.0), atol=0.25)  # 1 / (1 - 0.8)


def test_items_of_a_slate_have_values_of_their_own() -> None:
    env = pair_probe()
    state, _ = train(env, 80, gamma=0.5, epsilon_end=0.3)
    chex.assert_trees_all_close(q_of(env, state.params)[0], jnp.array([1.425, 0.925, 0.425]), atol=0.06)


def test_dqn_learns_which_features_of_fresh_documents_each_user_likes() -> None:
    env = document_probe()
    state, _ = train(env, 150, gamma=0.9)
    output, obs = outputs(env, state.params, POLICY)
    want = jnp.einsum("nmd,nd->nm", obs.candidate_features, obs.user)
    chex.assert_trees_all_close(q_values(output), want, atol=0.1)


def test_shown_documents_are_the_only_candidates_when_they_are_judged() -> None:
    obs = Observation(user=jnp.ones((3, 2)), candidate_features=jnp.arange(24.0).reshape(3, 4, 2))
    shown = value_core.shown(obs.replace(mask=jnp.zeros((3, 4), bool)), jnp.array([[1, 0], [3, 3], [2, 1]]))
    assert shown.mask is None and shown.candidates is None
    chex.assert_trees_all_equal(
        shown.candidate_features,
        jnp.array([[[2.0, 3.0], [0.0, 1.0]], [[14.0, 15.0], [14.0, 15.0]], [[20.0, 21.0], [18.0, 19.0]]]),
    )


def test_a_slate_reward_is_credited_to_the_items_that_earned_it_and_the_rest_evenly() -> None:
    spec = pair_probe().spec
    feedback, reward = jnp.array([[1.0], [0.5]]), jnp.asarray(1.7)
    np.testing.assert_allclose(dqn.credited_rewards(feedback, reward, spec, "item"), [1.1, 0.6])
    np.testing.assert_allclose(dqn.credited_rewards(feedback, reward, spec, "slate"), [0.85, 0.85])
    without = dqn.credited_rewards(feedback, reward, delay_probe().spec, "item")  # no weights are known
    np.testing.assert_allclose(without, [0.85, 0.85])


def test_the_next_slate_is_chosen_by_one_network_and_valued_by_the_other() -> None:
    chooser, values = jnp.array([1.0, 3.0, 2.0, -jnp.inf]), jnp.array([8.0, 1.0, 4.0, -jnp.inf])
    assert float(dqn.best_mean(chooser, values, 2)) == 2.5  # (1 + 4) / 2
    assert float(dqn.best_mean(values, values, 2)) == 6.0
    assert float(dqn.best_mean(chooser, values, 4)) == pytest.approx(13 / 3)  # what is masked counts nothing
    assert float(dqn.best_mean(jnp.full(3, -jnp.inf), jnp.full(3, -jnp.inf), 2)) == 0.0


def test_masked_items_leave_loss_and_gradient_finite() -> None:
    env = pair_probe()
    policy, config = make_policy(env.spec, POLICY), DqnConfig(policy=POLICY)
    params = policy.init(jax.random.key(0), env.world)
    obs = Observation(
        user=jnp.ones((1, 2, 2)),
        candidates=jnp.broadcast_to(jnp.arange(3), (1, 2, 3)),
        mask=jnp.array([[[True, False, False], [False, False, False]]]),
    )
    batch = Sample(obs, jnp.array([[[0, 1], [1, 2]]]), jnp.ones((1, 2, 2)), obs, jnp.ones((1, 2)), jnp.ones((1, 2)))
    grad, judged = jax.grad(dqn.dqn_loss, has_aux=True)(params, params, policy, batch, env.world, config)
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves((grad, judged)))
    assert float(judged.metrics["loss"]) > 0


def test_shown_items_of_a_catalogue_have_the_values_that_rank_them() -> None:
    """The loss scores shown items as candidates; acting scores all recommendable ones."""
    rows = jax.random.normal(jax.random.key(1), (100, 4))
    world = World(item_table=rows, recommendable=jnp.arange(10, 90, dtype=jnp.int32))
    env = pair_probe()
    policy = make_policy(env.spec, POLICY)
    params = jax.tree.map(lambda x: x + 0.1, policy.init(jax.random.key(0), world))
    obs, slate = Observation(user=jnp.array([[0.3, -1.0]])), jnp.array([[12, 89]])
    items = policy.items(params, world)
    everything = q_values(policy.apply(params, items, obs, world))
    shown = q_values(policy.apply(params, items, value_core.shown(obs, slate), world))
    chex.assert_trees_all_close(shown, everything[:, jnp.array([2, 79])], rtol=1e-5)


def test_nothing_is_learned_before_the_replay_holds_enough() -> None:
    env = taste_probe()
    learner = make_learner("dqn", auto_reset(env), {**SMALL, "learning_starts": 700})
    start = learner.init(jax.random.key(0), env.world)
    update = jax.jit(learner.update, compiler_options={"xla_backend_optimization_level": 0})
    state, metrics = update(start, env.world)
    state, metrics = update(state, env.world)
    assert (float(metrics["loss"]), float(metrics["td_error"]), int(metrics["replay_size"])) == (0.0, 0.0, 512)
    chex.assert_trees_all_equal(state.params, start.params)
    state, metrics = update(state, env.world)
    assert float(metrics["loss"]) > 0 and int(metrics["replay_size"]) == 768
    assert (int(state.gradient_step), int(state.step)) == (8, 3)


def test_the_target_network_follows_at_its_rate_and_period() -> None:
    new, old = {"w": jnp.array([8.0])}, {"w": jnp.array([4.0])}

    def target(step: int, **moves) -> float:
        return float(value_core.follow(new, old, jnp.asarray(step), DqnConfig(**moves))["w"][0])

    assert target(1, target_rate=0.25) == 5.0
    assert target(1, target_rate=1.0) == 8.0
    assert [target(step, target_rate=1.0, target_period=3) for step in (1, 2, 3, 4, 6)] == [4.0, 4.0, 8.0, 4.0, 8.0]


def test_a_replay_too_small_for_its_windows_is_refused_with_the_size_that_fits() -> None:
    options = {"num_users": 100, "horizon": 4, "n_step": 8, "learning_starts": 0, "batch_size": 4}
    with pytest.raises(InputError, match=r"1199 transitions hold 8 steps of 100 users .* raise it to 1200"):
        DqnConfig(**options, replay_size=1199)
    assert DqnConfig(**options, replay_size=1200).replay_steps == 12
