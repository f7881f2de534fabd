"""Exploration by name, from the scores to what is found."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.replay_learners import DqnConfig
from jaxrec.envs import auto_reset
from jaxrec.learn import heads as ensemble
from jaxrec.learn import make_learner
from jaxrec.learn.explore import counted, next_heads
from jaxrec.learn.value_state import ValueState
from jaxrec.nets.network import Choices, PolicyOutput
from jaxrec.nets.policy import make_policy
from jaxrec.types import Env, Observation, Transition
from tests.learners import EXPLORING, VALUES, env_for, small
from tests.probes import catalogue_probe, delay_probe, document_probe, endless_probe, learn, outputs, treasure_probe
from tests.quick import slow_unless

POLICY = VALUES["policy"]
OPTIONS = {key: value for key, value in VALUES.items() if not key.startswith("epsilon")}
FEW = {"num_users": 32, "num_shards": 8, "horizon": 8, "learning_starts": 0, "replay_size": 2048}
NO_EXPLORATION = {"epsilon_start": 0.0, "epsilon_end": 0.0}


def best_item(env: Env, params) -> int:
    output, _ = outputs(env, params, POLICY, users=1)
    return int(output.logits[0].argmax())


def test_without_exploration_learning_stays_at_a_worse_item() -> None:
    env = treasure_probe()
    state, metrics = learn("dqn", env, {**OPTIONS, **NO_EXPLORATION}, 40)
    assert best_item(env, state.params) != 2
    chex.assert_trees_all_equal(metrics["reward"], jnp.full(40, 0.5))


@pytest.mark.parametrize(
    "options",
    [
        {"exploration": "epsilon_greedy", "epsilon_start": 0.5, "epsilon_updates": 30},
        {"exploration": "boltzmann", "temperature_start": 0.5, "temperature_updates": 30},
        {"exploration": "ucb", "bonus_updates": 30},
        pytest.param({"exploration": "ucb", "bonus": "spread", "bonus_updates": 30}, marks=pytest.mark.slow),
        {"exploration": "thompson"},
    ],
    ids=["epsilon_greedy", "boltzmann", "counts", "spread", "thompson"],
)
def test_every_exploration_finds_the_better_item(options: dict) -> None:
    env = treasure_probe()
    state, metrics = learn("dqn", env, {**OPTIONS, **options}, 40)
    assert best_item(env, state.params) == 2
    assert float(metrics["reward"][-1]) > 0.95


def shown(action: list, candidates: list | None = None) -> Transition:
    """Transitions [T=1, S, N, K] of these slates."""
    slates = jnp.array(action)[None]
    obs = Observation(candidates=None if candidates is None else jnp.array(candidates)[None])
    flag = jnp.zeros(slates.shape[:-1], bool)
    return Transition(obs, slates, jnp.zeros(flag.shape), flag, flag, jnp.zeros((*slates.shape, 1)))


def test_shown_items_are_counted_over_all_shards_by_their_ids() -> None:
    slates = [[[0, 1]], [[1, 2]]]  # two shards of one user
    np.testing.assert_array_equal(counted(jnp.array([5.0, 0.0, 0.0, 0.0]), shown(slates)), [6.0, 2.0, 1.0, 0.0])
    offered = [[[3, 1, 0]], [[3, 0, 2]]]  # positions 0, 1 are items 3, 1; positions 1, 2 are items 0, 2
    np.testing.assert_array_equal(counted(jnp.zeros(4), shown(slates, offered)), [1.0, 1.0, 1.0, 1.0])


def test_a_bonus_raises_logits_or_the_gains_behind_them() -> None:
    bonus, logits = jnp.array([1.0, 2.0, 3.0]), jnp.array([0.5, -1.0, -jnp.inf])
    plain = ensemble.lifted(PolicyOutput(logits, jnp.asarray(0.0)), bonus)
    np.testing.assert_array_equal(plain.logits, [1.5, 1.0, -np.inf])
    choices = Choices(jnp.array([2.0, 0.5, 1.0]), logits)
    chosen = ensemble.lifted(PolicyOutput(logits, jnp.asarray(0.0), choices=choices), bonus)
    np.testing.assert_array_equal(chosen.choices.gain, [1.5, 1.0, -np.inf])
    np.testing.assert_array_equal(chosen.logits, [3.0, 0.5, -np.inf])  # mass x gain


def ensemble_of(env: Env, **options):
    """A learner with heads, and its first state."""
    config = DqnConfig(policy=POLICY, exploration="thompson", heads=3, **options)
    learner = make_learner("dqn", auto_reset(env), config)
    return config, learner, learner.init(jax.random.key(1), env.world)


def test_heads_differ_by_their_priors_alone_before_they_have_learned() -> None:
    env = catalogue_probe()
    config, _, state = ensemble_of(env, prior_scale=2.0)
    policy, obs, guesses = make_policy(env.spec, POLICY), state.users.obs, []
    plain = policy.apply(state.params, policy.items(state.params, env.world), obs, env.world)
    for n in range(3):
        own, prior = (jax.tree.map(lambda x, n=n: x[n], tree) for tree in (state.heads.params, state.heads.prior))
        fixed = state.heads.prior_trunk | prior
        guess = policy.apply(fixed, policy.items(fixed, env.world), obs, env.world).logits
        guesses.append(guess)
        member = ensemble.with_prior(policy, state.heads, prior, config.prior_scale)
        params = ensemble.parts(state.params, trunk=True) | own
        output = member.apply(params, member.items(params, env.world), obs, env.world)
        np.testing.assert_allclose(output.logits, plain.logits + 2.0 * guess, rtol=1e-5)
        np.testing.assert_array_equal(output.value, plain.value)
    assert float(jnp.stack(guesses).std()) == pytest.approx(1.0, rel=1e-4)  # in units of `prior_scale`


def test_heads_learn_from_their_own_streams_and_leave_trunk_and_priors_alone() -> None:
    env = catalogue_probe()
    _, learner, state = ensemble_of(env, **FEW)
    nobody = state.users.memory.replace(taught=state.users.memory.taught.at[..., 0].set(False).at[..., 1].set(True))
    state = state.replace(users=state.users.replace(memory=nobody))
    after, metrics = jax.jit(learner.update)(state, env.world)
    assert float(metrics["heads_loss"]) > 0
    chex.assert_trees_all_equal(after.heads.prior, state.heads.prior)
    chex.assert_trees_all_equal(after.heads.prior_trunk, state.heads.prior_trunk)
    moved = [
        max(float(jnp.abs(new[n] - old[n]).max()) for new, old in zip(*map(jax.tree.leaves, trees), strict=True))
        for trees in [(after.heads.params, state.heads.params)]
        for n in range(2)
    ]
    assert moved[0] == 0.0 and moved[1] > 0.0
    assert not any(name.startswith("item_") for name in after.heads.params)


def test_the_policy_learns_the_same_whatever_the_heads_learn() -> None:
    """With the data given, no head has a part in the gradient of the policy that is served."""
    env = endless_probe(catalogue=True)
    _, learner, state = ensemble_of(env, **FEW)
    update = jax.jit(learner.update)
    other = state.replace(heads=state.heads.replace(target_params=jax.tree.map(jnp.ones_like, state.heads.params)))
    first, second = update(state, env.world)[0], update(other, env.world)[0]
    chex.assert_trees_all_equal(first.params, second.params)
    assert not jnp.array_equal(*(x.heads.params["value"]["kernel"] for x in (first, second)))


def test_thompson_follows_one_head_for_a_whole_episode() -> None:
    streams = ensemble.Streams(jnp.array([[2, 2, 2, 2]]), jnp.ones((1, 4, 3), bool))
    after = [
        next_heads(jax.random.split(jax.random.key(n), 1), streams, jnp.array([[False, True, False, True]])).head[0]
        for n in range(40)
    ]
    assert {int(head[0]) for head in after} == {2} and {int(head[2]) for head in after} == {2}
    assert {int(head[1]) for head in after} == {0, 1, 2}
    # In a learner: heads of two-step users change every other step, together with the episode.
    env, options = delay_probe(), small("dqn", horizon=1, exploration="thompson", heads=8)
    learner = make_learner("dqn", auto_reset(env), options)
    state, update = learner.init(jax.random.key(0), env.world), jax.jit(learner.update)
    seen = [state.users.memory.head]
    for _ in range(4):
        state, _ = update(state, env.world)
        seen.append(state.users.memory.head)
    changed = [bool((a != b).any()) for a, b in itertools.pairwise(seen)]
    assert changed == [False, True, False, True]


def test_explorations_that_remember_nothing_keep_the_state_of_earlier_versions() -> None:
    env = catalogue_probe()
    for options in ({}, {"exploration": "boltzmann"}):
        state = make_learner("dqn", auto_reset(env), small("dqn", **options)).init(jax.random.key(0), env.world)
        assert type(state) is ValueState


def test_documents_that_are_in_no_table_cannot_be_counted() -> None:
    with pytest.raises(InputError, match=r"learner\.bonus: documents of document_probe .* set it to spread") as caught:
        make_learner("dqn", auto_reset(document_probe()), {"exploration": "ucb"})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", slow_unless(["dqn ucb"], EXPLORING))
def test_what_an_exploration_remembers_is_in_the_state(case: str) -> None:
    env = env_for(case)
    learner = make_learner(case.split()[0], auto_reset(env), small(case))
    update = jax.jit(learner.update)
    state, other = (learner.init(jax.random.key(n), env.world) for n in (0, 1))
    state, _ = update(state, env.world)
    # Carried over as plain arrays into a state of another seed, as a checkpoint is.
    copied = jax.tree.unflatten(jax.tree.structure(other), jax.tree.leaves(state))
    chex.assert_trees_all_equal(update(copied, env.world)[1], update(state, env.world)[1])
