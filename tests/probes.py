"""Users whose optimal value is known by hand: what a learner cannot solve here it solves nowhere."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.config.policy import PolicyConfig
from jaxrec.envs import auto_reset
from jaxrec.learn import make_learner
from jaxrec.nets.policy import PolicyOutput, make_policy
from jaxrec.types import (
    Array,
    Env,
    EnvSpec,
    Expected,
    ItemMemory,
    Observation,
    SlateAction,
    StepOutput,
    VectorAction,
    World,
)

PAIR_PAY = jnp.array([[1.0, 0.5, 0.0], [0.2, 0.4, 0.9]])  # of the three items of `pair_probe` in its two steps


class ProbeState(struct.PyTreeNode):
    user: Array  # [2]
    step: Array  # []
    credit: Array  # [] what an earlier choice is worth later


def _spec(name: str, num_items: int) -> EnvSpec:
    return EnvSpec(
        name=name,
        action=SlateAction(size=1),
        num_items=num_items,
        feedback=("click",),
        num_candidates=num_items,
        user_size=2,
    )


def _output(state: ProbeState, num_items: int, reward: Array, terminated: Array, truncated: Array) -> StepOutput:
    obs = observe(state, num_items)
    feedback = reward.reshape(1, 1)
    return StepOutput(obs, reward, terminated, truncated, feedback, obs)


def observe(state: ProbeState, num_items: int) -> Observation:
    return Observation(user=state.user, candidates=jnp.arange(num_items, dtype=jnp.int32))


def taste_probe(num_items: int = 2) -> Env:
    """One step; the user's two numbers say which of two items pays 1. Best value 1, uniform policy 1/2."""

    def reset(key: Array, params: World) -> tuple[ProbeState, Observation]:
        first = jax.random.bernoulli(key).astype(jnp.float32)
        state = ProbeState(jnp.stack([first, 1.0 - first]), jnp.asarray(0), jnp.asarray(0.0))
        return state, observe(state, num_items)

    def step(key: Array, state: ProbeState, action: Array, params: World) -> tuple[ProbeState, StepOutput]:
        reward = state.user[action[0]]
        return state, _output(state, num_items, reward, jnp.asarray(True), jnp.asarray(False))

    return Env(reset, step, World(item_table=jnp.eye(num_items)), _spec("taste_probe", num_items))


def delay_probe(seen: bool = False) -> Env:
    """Two steps: item 1 now costs 0.2 and pays 1 in the second step; item 0 pays 0.1 now. Best return 0.8.

    Whether 1 is on its way is in the second observation only where it is `seen`; else one-step bootstrapping is blind.
    """

    def reset(key: Array, params: World) -> tuple[ProbeState, Observation]:
        state = ProbeState(jnp.array([1.0, 0.0]), jnp.asarray(0), jnp.asarray(0.0))
        return state, observe(state, 2)

    def step(key: Array, state: ProbeState, action: Array, params: World) -> tuple[ProbeState, StepOutput]:
        first = state.step == 0
        invest = action[0] == 1
        now = jnp.where(invest, -0.2, 0.1)
        reward = jnp.where(first, now, state.credit)
        credit = jnp.where(first & invest, 1.0, 0.0)
        user = jnp.stack([credit if seen else jnp.asarray(0.0), jnp.asarray(1.0)])
        after = ProbeState(user, state.step + 1, credit)
        return after, _output(after, 2, reward, after.step >= 2, jnp.asarray(False))

    return Env(reset, step, World(item_table=jnp.eye(2)), _spec("delay_probe", 2))


def endless_probe(length: int = 4, catalogue: bool = False) -> Env:
    """Reward 1 a step, cut (not ended) after `length` steps: every state is worth 1 / (1 - gamma).

    With `catalogue` the two items are a catalogue whose rewards are known.
    """

    def reset(key: Array, params: World) -> tuple[ProbeState, Observation]:
        state = ProbeState(jnp.array([1.0, 1.0]), jnp.asarray(0), jnp.asarray(0.0))
        return state, observe(state, 2)

    def step(key: Array, state: ProbeState, action: Array, params: World) -> tuple[ProbeState, StepOutput]:
        after = state.replace(step=state.step + 1)
        return after, _output(after, 2, jnp.asarray(1.0), jnp.asarray(False), after.step >= length)

    env = Env(reset, step, World(item_table=jnp.eye(2)), _spec("endless_probe", 2))
    return of_catalogue(env, lambda state, world: jnp.ones(2)) if catalogue else env


def of_catalogue(env: Env, item_rewards: Callable[[Any, World], Array]) -> Env:
    """The same users with all items on offer, whose rewards are known."""

    def reset(key: Array, world: World) -> tuple[Any, Observation]:
        state, obs = env.reset(key, world)
        return state, obs.replace(candidates=None)

    def step(key: Array, state: Any, action: Array, world: World) -> tuple[Any, StepOutput]:
        state, out = env.step(key, state, action, world)
        obs, final = out.obs.replace(candidates=None), out.final_obs.replace(candidates=None)
        return state, out.replace(obs=obs, final_obs=final)

    spec = dataclasses.replace(env.spec, num_candidates=None, reward_weights=(1.0,))
    return Env(reset, step, env.world, spec, item_rewards, still_memory(item_rewards))


def still_memory(item_rewards: Callable[[Any, World], Array]) -> ItemMemory:
    """A memory that fades, of users who answer the same whatever they remember."""

    def expected(state: Any, slate: Array, world: World) -> Expected:
        nothing = jnp.zeros(world.item_table.shape[1])
        return Expected(item_rewards(state, world)[slate].sum(), nothing, nothing, jnp.asarray(0.0))

    return ItemMemory(lambda world: world.item_table, lambda world: jnp.asarray(0.5), expected)


def catalogue_probe() -> Env:
    """One step; a catalogue of three items that pay the product of their row with the user's two numbers."""
    table = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.4, 0.4]])

    def observe(user: Array) -> Observation:
        return Observation(user=user)

    def reset(key: Array, world: World) -> tuple[Array, Observation]:
        user = jax.random.uniform(key, (2,))
        return user, observe(user)

    def item_rewards(user: Array, world: World) -> Array:
        return world.item_table @ user

    def step(key: Array, user: Array, action: Array, world: World) -> tuple[Array, StepOutput]:
        reward = item_rewards(user, world)[action[0]]
        yes, no = jnp.asarray(True), jnp.asarray(False)
        return user, StepOutput(observe(user), reward, yes, no, reward.reshape(1, 1), observe(user))

    spec = EnvSpec(
        name="catalogue_probe",
        action=SlateAction(size=1),
        num_items=3,
        feedback=("pay",),
        reward_weights=(1.0,),
        user_size=2,
    )
    return Env(reset, step, World(item_table=table), spec, item_rewards, still_memory(item_rewards))


def pair_probe() -> Env:
    """Two steps, slates of two of three items. First: items pay 1, 0.5, 0, and any slate 0.2 more; then 0.2, 0.4, 0.9.

    The last two items are the best second slate, mean 0.65; at a discount of 1/2 each item of the first slate is worth
    what it pays, half of the 0.2, and 0.325: 1.425, 0.925, 0.425.
    """

    def reset(key: Array, params: World) -> tuple[ProbeState, Observation]:
        state = ProbeState(jnp.array([1.0, 0.0]), jnp.asarray(0), jnp.asarray(0.0))
        return state, observe(state, 3)

    def step(key: Array, state: ProbeState, action: Array, params: World) -> tuple[ProbeState, StepOutput]:
        own = PAIR_PAY[state.step][action]
        bonus = jnp.where(state.step == 0, 0.2, 0.0)
        after = ProbeState(jnp.array([0.0, 1.0]), state.step + 1, state.credit)
        obs, no = observe(after, 3), jnp.asarray(False)
        return after, StepOutput(obs, own.sum() + bonus, after.step >= 2, no, own[:, None], obs)

    spec = EnvSpec(
        name="pair_probe",
        action=SlateAction(size=2),
        num_items=3,
        feedback=("pay",),
        reward_weights=(1.0,),
        num_candidates=3,
        user_size=2,
    )
    return Env(reset, step, World(item_table=jnp.eye(3)), spec)


CHOICE_MASS = jnp.array([1.0, 2.0, 3.0, 0.05])  # of the items of `choice_probe`; that of choosing nothing is 1
CHOICE_PAY = jnp.array([4.0, 1.0, -1.0, -9.0])


def choice_probe() -> Env:
    """Slates of two of four items, of which users choose at most one, by `CHOICE_MASS`, which pays `CHOICE_PAY`.

    Whoever chooses item 1 stays for one more slate, which pays 2 whatever is chosen. So at a discount of 1 the best
    slate is {0, 1}: (1 x 4 + 2 x 3) / 4 = 2.5. For who looks no further it is {0, 3}, worth (4 - 0.45) / 2.05 = 1.73;
    {0, 1} is then worth (4 + 2) / 4 = 1.5, although its products of mass and pay are the highest.
    """

    def observed(user: Array) -> Observation:
        return Observation(user=user, candidates=jnp.arange(4, dtype=jnp.int32))

    def reset(key: Array, params: World) -> tuple[Array, Observation]:
        user = jnp.array([1.0, 0.0])
        return user, observed(user)

    def step(key: Array, user: Array, action: Array, params: World) -> tuple[Array, StepOutput]:
        edges = jnp.cumsum(jnp.append(CHOICE_MASS[action], 1.0))
        mark = jax.random.uniform(key) * edges[-1]
        chosen = jnp.diff((mark < edges[:2]).astype(jnp.float32), prepend=0.0)
        first, stays = user[0] > 0, jnp.where(action == 1, chosen, 0.0).sum() > 0
        reward = jnp.where(first, (chosen * CHOICE_PAY[action]).sum(), 2.0)
        after = jnp.array([0.0, 1.0])
        return after, StepOutput(
            observed(after), reward, ~(first & stays), jnp.asarray(False), chosen[:, None], observed(after)
        )

    spec = EnvSpec(
        name="choice_probe",
        action=SlateAction(size=2),
        num_items=4,
        feedback=("click",),
        num_candidates=4,
        user_size=2,
    )
    return Env(reset, step, World(item_table=jnp.eye(4)), spec)


def pair_catalogue_probe() -> Env:
    """The same with a catalogue whose rewards are known."""
    env = of_catalogue(pair_probe(), lambda state, world: PAIR_PAY[state.step])
    return env._replace(spec=dataclasses.replace(env.spec, items_add_up=True))


MIXED = ("constant", "likes 0", "likes 1", "first of two", "paid later", "not paid", "cut", "patient")  # states
MIXED_PAY = jnp.array([[1, 1], [1, 0], [0, 1], [0.1, 0], [1, 1], [0, 0], [1, 1], [1, 0.6]], jnp.float32)  # of two items
MIXED_VALUES = (1.0, 1.0, 1.0, 0.8, 1.0, 0.0, 5.0, 3.0)  # of the best policy, at a discount of 0.8
MIXED_ITEMS = {1: 0, 2: 1, 3: 1, 7: 1}  # the best item of the states in which it matters


def mixed_probe(catalogue: bool = False) -> Env:
    """Five questions in one: the user is one of the states `MIXED`, which is seen, and two items are on offer.

    Constant reward and taste end after one step. In the first of two steps, item 0 pays 0.1 and item 1 is paid with 1
    in the second: 0.8 x 1 against 0.1. "cut" pays 1 a step and is cut, not ended, so it is worth 1 / (1 - 0.8) = 5.
    "patient" is cut too: item 0 pays 1 and the user leaves, item 1 pays 0.6 and the user stays, 0.6 / (1 - 0.8) = 3.
    """

    def observed(state: ProbeState) -> Observation:
        return Observation(user=state.user, candidates=jnp.arange(2, dtype=jnp.int32))

    def reset(key: Array, world: World) -> tuple[ProbeState, Observation]:
        kind = jnp.array([0, 1, 2, 3, 6, 7])[jax.random.randint(key, (), 0, 6)]
        state = ProbeState(jnp.eye(8)[kind], jnp.asarray(0), jnp.asarray(0.0))
        return state, observed(state)

    def step(key: Array, state: ProbeState, action: Array, world: World) -> tuple[ProbeState, StepOutput]:
        kind, item = state.user.argmax(), action[0]
        reward = MIXED_PAY[kind, item]
        stays = (kind == 6) | ((kind == 7) & (item == 1))
        following = jnp.where(kind == 3, jnp.where(item == 1, 4, 5), kind)
        after = state.replace(user=jnp.eye(8)[following], step=state.step + 1)
        cut = stays & (after.step >= 6)
        click = (reward > 0).astype(jnp.float32).reshape(1, 1)
        return after, StepOutput(observed(after), reward, ~stays & (kind != 3), cut, click, observed(after))

    spec = dataclasses.replace(_spec("mixed_probe", 2), user_size=8)
    env = Env(reset, step, World(item_table=jnp.eye(2)), spec)
    return of_catalogue(env, lambda state, world: MIXED_PAY[state.user.argmax()]) if catalogue else env


def complements_probe(catalogue: bool = False) -> Env:
    """One step, slates of two of four items: 0 and 1 pay 0.5 each if they are together and else nothing, 2 and 3 pay
    0.3 each. The best slate is {0, 1} and pays 1; by what items pay alone it is {2, 3}, which pays 0.6.
    """

    def observed() -> Observation:
        return Observation(user=jnp.array([1.0, 0.0]), candidates=jnp.arange(4, dtype=jnp.int32))

    def reset(key: Array, world: World) -> tuple[Array, Observation]:
        return jnp.asarray(0.0), observed()

    def step(key: Array, state: Array, action: Array, world: World) -> tuple[Array, StepOutput]:
        together = jnp.where((action < 2).all(), 0.5, 0.0)
        own, yes = jnp.where(action < 2, together, 0.3), jnp.asarray(True)
        return state, StepOutput(observed(), own.sum(), yes, ~yes, own[:, None], observed())

    spec = dataclasses.replace(_spec("complements_probe", 4), action=SlateAction(size=2), reward_weights=(1.0,))
    env = Env(reset, step, World(item_table=jnp.eye(4)), spec)
    return of_catalogue(env, lambda state, world: jnp.array([0.0, 0.0, 0.3, 0.3])) if catalogue else env


def treasure_probe(num_items: int = 8, treasure: int = 2) -> Env:
    """One step; a catalogue of items that all pay 0.5, but for one that pays 1: whoever shows the best so far stays.

    The greedy item pays what its value says, and the other values rise with it by less. So only somebody who tries
    items whose values are lower finds the treasure.
    """
    pay = jnp.full(num_items, 0.5).at[treasure].set(1.0)

    def observed() -> Observation:
        return Observation(user=jnp.array([1.0, 0.0]))

    def reset(key: Array, world: World) -> tuple[Array, Observation]:
        return jnp.asarray(0.0), observed()

    def step(key: Array, state: Array, action: Array, world: World) -> tuple[Array, StepOutput]:
        reward, yes = pay[action[0]], jnp.asarray(True)
        return state, StepOutput(observed(), reward, yes, ~yes, reward.reshape(1, 1), observed())

    spec = dataclasses.replace(_spec("treasure_probe", num_items), num_candidates=None, reward_weights=(1.0,))
    return Env(reset, step, World(item_table=jnp.eye(num_items)), spec)


def document_probe() -> Env:
    """One step; four fresh documents of two random features. Feature 0 pays those who have 1 in `user[0]`, feature 1
    the others: a document's Q is its feature of that number.
    """
    spec = EnvSpec(
        name="document_probe",
        action=SlateAction(size=1),
        num_items=0,
        feedback=("pay",),
        reward_weights=(1.0,),
        num_candidates=4,
        candidate_size=2,
        user_size=2,
    )

    def observed(state: tuple[Array, Array]) -> Observation:
        return Observation(user=state[0], candidate_features=state[1])

    def reset(key: Array, params: World) -> tuple[tuple[Array, Array], Observation]:
        draw = jax.random.uniform(key, (9,))
        first = (draw[0] < 0.5).astype(jnp.float32)
        state = jnp.stack([first, 1.0 - first]), draw[1:].reshape(4, 2)
        return state, observed(state)

    def step(key: Array, state: tuple[Array, Array], action: Array, params: World):
        reward = (state[0] * state[1][action[0]]).sum()
        obs, feedback = observed(state), reward.reshape(1, 1)
        return state, StepOutput(obs, reward, jnp.asarray(True), jnp.asarray(False), feedback, obs)

    return Env(reset, step, World(item_table=jnp.zeros((1, 2))), spec)


def vector_spec(name: str, user_size: int) -> EnvSpec:
    """Sizes of users who take one number between -1 and 1 and are shown no items."""
    action = VectorAction(size=1, low=-1.0, high=1.0)
    return EnvSpec(name=name, action=action, num_items=1, feedback=("pay",), user_size=user_size)


def aim_probe() -> Env:
    """One step; the action pays 1 - (a - u)^2, u = -0.6 or 0.4 as the user's number says. Best value 1."""

    def reset(key: Array, world: World) -> tuple[Array, Observation]:
        user = jnp.where(jax.random.bernoulli(key), 0.4, -0.6)[None]
        return user, Observation(user=user)

    def step(key: Array, user: Array, action: Array, world: World) -> tuple[Array, StepOutput]:
        reward, obs = 1.0 - jnp.square(action - user).sum(), Observation(user=user)
        return user, StepOutput(obs, reward, jnp.asarray(True), jnp.asarray(False), reward.reshape(1, 1), obs)

    return Env(reset, step, World(item_table=jnp.zeros((1, 1))), vector_spec("aim_probe", 1))


def saving_probe() -> Env:
    """Two steps: the first action a costs a^2 now and pays a + 0.5 in the second step, whatever is done then.

    At a discount of 1 the best is a = 0.5, with a return of 0.75; who looks no further does a = 0, for 0.5.
    """

    def observed(saved: Array) -> Observation:
        return Observation(user=saved)

    def reset(key: Array, world: World) -> tuple[Array, Observation]:
        saved = jnp.array([0.0, 1.0])
        return saved, observed(saved)

    def step(key: Array, saved: Array, action: Array, world: World) -> tuple[Array, StepOutput]:
        first = saved[1] > 0
        reward = jnp.where(first, -jnp.square(action[0]), saved[0] + 0.5)
        after = jnp.stack([action[0], jnp.asarray(0.0)])
        obs = observed(after)
        return after, StepOutput(obs, reward, ~first, jnp.asarray(False), reward.reshape(1, 1), obs)

    return Env(reset, step, World(item_table=jnp.zeros((1, 1))), vector_spec("saving_probe", 2))


def learn(name: str, env: Env, options: dict[str, Any], updates: int, seed: int = 0) -> tuple[Any, dict[str, Array]]:
    """Train the learner called `name` in one compiled call -> state, metrics [updates]."""
    learner = make_learner(name, auto_reset(env), options)
    quickly = {"xla_backend_optimization_level": 0}  # halves the seconds of compiling, of which tests are made
    state = jax.jit(learner.init, compiler_options=quickly)(jax.random.key(seed), env.world)
    many = jax.jit(
        lambda s, w: jax.lax.scan(lambda s, _: learner.update(s, w), s, None, length=updates), compiler_options=quickly
    )
    return many(state, env.world)


def outputs(env: Env, params: Any, config: PolicyConfig, users: int = 32) -> tuple[PolicyOutput, Observation]:
    """What a policy says of new users."""
    policy = make_policy(env.spec, config)
    _, obs = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(jax.random.key(9), users), env.world)
    return policy.apply(params, policy.items(params, env.world), obs, env.world), obs
