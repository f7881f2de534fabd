import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.on_policy import PpoConfig
from jaxrec.config.policy import PolicyConfig
from jaxrec.config.replay_learners import SlateQConfig
from jaxrec.envs import auto_reset
from jaxrec.learn import make_learner, slateq
from jaxrec.learn.replay import Sample
from jaxrec.nets.policy import make_policy
from jaxrec.ops.choice_slates import value_of
from jaxrec.types import Env, Observation
from tests.learners import VALUES
from tests.probes import CHOICE_MASS, choice_probe, endless_probe, learn, pair_probe

POLICY = VALUES["policy"]
SMALL = VALUES | {"replay_size": 8192, "batch_size": 512, "epsilon_end": 0.5}


def judged(env: Env, params, config: SlateQConfig, obs: Observation):
    """The policy's output for one observation, and its slate."""
    policy = make_policy(env.spec, config.policy)
    items = policy.items(params, env.world)
    output = policy.apply(params, items, obs, env.world)
    return output, policy.slate(output, items, obs, env.world, env.spec.slate_size)


@pytest.mark.parametrize(
    ("gamma", "options", "best", "worth"),
    [
        pytest.param(
            *(1.0, {"serving": "exact", "policy": PolicyConfig(width=8, hidden=(16,), scorer="mlp")}, [0, 1], 2.5),
            marks=pytest.mark.slow,
        ),
        (0.0, {"serving": "greedy"}, [0, 3], 3.55 / 2.05),
    ],
)
def test_slateq_learns_choices_and_the_best_slate(gamma: float, options: dict, best: list[int], worth: float) -> None:
    env, options = choice_probe(), SMALL | options | {"gamma": gamma}
    state, _ = learn("slateq", env, {**options, "huber": 10.0, "anneal_updates": 120}, 120)
    _, obs = env.reset(jax.random.key(0), env.world)
    output, slate = judged(env, state.params, SlateQConfig(**options), obs)
    np.testing.assert_allclose(output.choices.mass, CHOICE_MASS, rtol=0.25, atol=0.05)
    assert sorted(slate.tolist()) == best
    value = output.value + value_of(slate, output.choices.mass, output.choices.gain)
    assert float(value) == pytest.approx(worth, abs=0.25)  # users choose at random


def test_slateq_bootstraps_where_a_session_is_cut() -> None:
    env = endless_probe(length=4)
    state, _ = learn("slateq", env, {**SMALL, "gamma": 0.8, "n_step": 3, "target": "sarsa"}, 80)
    _, obs = env.reset(jax.random.key(0), env.world)
    output, slate = judged(env, state.params, SlateQConfig(**SMALL), obs)
    value = output.value + value_of(slate, output.choices.mass, output.choices.gain)
    assert float(value) == pytest.approx(5.0, abs=0.1)  # 1 / (1 - 0.8)


def test_targets_are_the_value_of_the_best_next_slate_or_of_the_one_that_was_shown() -> None:
    """The loss against its equation, term by term."""
    env = choice_probe()
    network = PolicyConfig(width=8, hidden=(16,), choice=True, serving="exact")
    policy = make_policy(env.spec, network)
    params, old = (jax.tree.map(lambda x: x + 0.1, policy.init(jax.random.key(n), env.world)) for n in (0, 1))
    obs = Observation(user=jnp.array([[[1.0, 0.0]]]), candidates=jnp.arange(4)[None, None])
    after = obs.replace(user=jnp.array([[[0.0, 1.0]]]))
    action, following = jnp.array([[[2, 0]]]), jnp.array([[[3, 1]]])
    chosen = jnp.array([[[0.0, 1.0]]])  # item 0
    batch = Sample(
        obs, action, jnp.full((1, 1, 2), 0.5), after, jnp.full((1, 1), 0.9), jnp.ones((1, 1)), following, chosen
    )

    def of(params, obs):
        return policy.apply(params, policy.items(params, env.world), obs, env.world)

    now, then, chooser = of(params, obs), of(old, after), of(params, after)
    q = float(now.value[0, 0] + now.choices.gain[0, 0, 0])
    best = policy.slate(chooser, None, after, env.world, 2)
    for target, slate in (("q_learning", best), ("sarsa", following)):
        want = 1.0 + 0.9 * float((then.value + value_of(slate, then.choices.mass, then.choices.gain))[0, 0])
        config = SlateQConfig(policy=POLICY, target=target, huber=100.0)
        loss, judgement = slateq.slateq_loss(params, old, policy, batch, env.world, config)
        assert float(judgement.error[0, 0]) == pytest.approx(abs(q - want), rel=1e-5)
        surprise = jnp.log(1 + now.choices.mass[0, 0, jnp.array([0, 2])].sum()) - jnp.log(now.choices.mass[0, 0, 0])
        assert float(loss) == pytest.approx(0.5 * (q - want) ** 2 + float(surprise), rel=1e-5)


def test_users_who_choose_several_items_have_chosen_each_in_part() -> None:
    env = pair_probe()  # both shown items may pay
    state, _ = learn("slateq", env, {**SMALL, "choice": "pay"}, 2)
    chex.assert_trees_all_equal(jnp.unique(state.replay.rows.chosen), jnp.array([0.0, 0.5, 1.0]))


def test_what_slateq_cannot_learn_from_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"learner\.choice: no 'clicks'; did you mean 'click'"):
        make_learner("slateq", auto_reset(choice_probe()), {**SMALL, "choice": "clicks"})
    with pytest.raises(InputError, match=r"learner\.policy\.choice: only slateq learns a choice model"):
        PpoConfig(policy=PolicyConfig(choice=True))
    with pytest.raises(InputError, match=r"learner\.policy\.hidden: the scorer mlp and repetition need at least one"):
        PolicyConfig(scorer="mlp", hidden=())
