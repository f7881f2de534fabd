"""Long-term satisfaction: clickbait ("choc") engages users now but lowers later engagement; "kale" raises it again.

This is RecSim's user model (arXiv 1909.04847). A document has one feature, its clickbait kappa ~ Uniform(0, 1).
Documents are drawn anew at reset and after every step. A user has net positive exposure NPE, at first
Uniform(-1/2, 1/2) / (1 - memory_discount), and satisfaction SAT = sigmoid(sensitivity NPE). Users always choose the
first document of the slate:

    log engagement ~ N((choc_mean kappa + kale_mean (1 - kappa)) SAT, choc_sd kappa + kale_sd (1 - kappa))
    NPE <- memory_discount NPE - 2 (kappa - 1/2) + N(0, innovation_sd)

They leave after exactly `budget` steps. With the published sensitivity of 0.01, always showing the most clickbait is
better than always showing the least. At 0.05 it still is; from 0.1 on it is worse.

Observation: `candidate_features` [M, D = 1]: clickbait. `user` [U = 2]: running means (rate 0.3) of the chosen
clickbait, from 1/2, and of log(1 + observed engagement), from 0. NPE and time are hidden. No history, no table.
Feedback of each shown document: click (1 for the first) and engagement, *observed* up to 100. The reward uses the
engagement before clipping, so it is not always the weighted sum of the feedback.
"""

import math

import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.checks import check_shape
from jaxrec.config.recsim import LongTermSatisfactionConfig
from jaxrec.envs.documents import lognormal, world_without_items
from jaxrec.envs.rewards import feedback_weights, make_reward
from jaxrec.ops.draws import standard_normal
from jaxrec.types import Array, Env, EnvSpec, Observation, SlateAction, StepOutput, World

FEEDBACK = ("click", "engagement")
LARGEST_OBSERVED = 100.0  # engagement
RATE = 0.3  # of the observed running means
CLICKBAIT = 0  # column of the candidate features


class LongTermSatisfactionUsers(struct.PyTreeNode):
    """`World.users`: the constants of the dynamics; other numbers need no new program, and may differ by user."""

    memory_discount: Array  # [] of NPE, per step
    sensitivity: Array  # [] of satisfaction to NPE
    innovation_sd: Array  # [] of NPE
    choc_mean: Array  # [] of log engagement with pure clickbait, at full satisfaction
    choc_sd: Array  # []
    kale_mean: Array  # [] of log engagement without clickbait, at full satisfaction
    kale_sd: Array  # []
    start_npe: Array  # [] largest absolute value at the beginning
    budget: Array  # [] int32 steps


class LongTermSatisfactionState(struct.PyTreeNode):
    """One user between two steps."""

    npe: Array  # [] net positive exposure, hidden from the agent
    clickbait: Array  # [M] of the documents on offer
    recent: Array  # [2] running means: chosen clickbait, log(1 + observed engagement)
    remaining_steps: Array  # [] int32 steps, hidden from the agent


def satisfaction(users: LongTermSatisfactionUsers, npe: Array) -> Array:
    """Satisfaction SAT in (0, 1)."""
    return jax.nn.sigmoid(users.sensitivity * npe)


def engagement(users: LongTermSatisfactionUsers, npe: Array, clickbait: Array, uniform: Array) -> Array:
    """Draw the engagement with a document, not clipped; all []."""
    mean = users.choc_mean * clickbait + users.kale_mean * (1.0 - clickbait)
    sd = users.choc_sd * clickbait + users.kale_sd * (1.0 - clickbait)
    return lognormal(mean * satisfaction(users, npe), sd, uniform)


def next_npe(users: LongTermSatisfactionUsers, npe: Array, clickbait: Array, uniform: Array) -> Array:
    """NPE after a document; all []."""
    return users.memory_discount * npe - 2.0 * (clickbait - 0.5) + users.innovation_sd * standard_normal(uniform)


def observe(state: LongTermSatisfactionState) -> Observation:
    """What the agent sees."""
    return Observation(user=state.recent, candidate_features=state.clickbait[:, None])


def hidden(state: LongTermSatisfactionState, world: World) -> Array:
    """What only the simulator knows: satisfaction, and the share of the steps that are left."""
    users: LongTermSatisfactionUsers = world.users
    left = state.remaining_steps.astype(jnp.float32) / users.budget.astype(jnp.float32)
    return jnp.stack([satisfaction(users, state.npe), left])


def make(config: LongTermSatisfactionConfig) -> Env:
    """Build the environment; `config.reward` weighs the feedback, with engagement before clipping."""
    num_candidates, slate_size = config.num_candidates, config.slate_size
    reward_of = make_reward(config.reward, FEEDBACK)
    click = jnp.zeros(slate_size).at[0].set(1.0)

    def reset(key: Array, world: World) -> tuple[LongTermSatisfactionState, Observation]:
        users: LongTermSatisfactionUsers = world.users
        draw = jax.random.uniform(key, (1 + num_candidates,))
        state = LongTermSatisfactionState(
            npe=users.start_npe * (2.0 * draw[0] - 1.0),
            clickbait=draw[1:],
            recent=jnp.array([0.5, 0.0]),
            remaining_steps=users.budget,
        )
        return state, observe(state)

    def step(
        key: Array, state: LongTermSatisfactionState, action: Array, world: World
    ) -> tuple[LongTermSatisfactionState, StepOutput]:
        check_shape("action", action, (slate_size,))
        users: LongTermSatisfactionUsers = world.users
        draw = jax.random.uniform(key, (2 + num_candidates,))  # engagement, innovation, the next documents
        clickbait = state.clickbait[action[0]]
        felt = engagement(users, state.npe, clickbait, draw[0])
        observed = jnp.minimum(felt, LARGEST_OBSERVED)
        latest = jnp.stack([clickbait, jnp.log1p(observed)])
        after = LongTermSatisfactionState(
            npe=next_npe(users, state.npe, clickbait, draw[1]),
            clickbait=draw[2:],
            recent=state.recent + RATE * (latest - state.recent),
            remaining_steps=state.remaining_steps - 1,
        )
        obs, left = observe(after), after.remaining_steps <= 0
        return after, StepOutput(
            obs=obs,
            reward=reward_of(jnp.stack([click, click * felt], axis=-1), left),
            terminated=left,
            truncated=jnp.asarray(False),
            feedback=jnp.stack([click, click * observed], axis=-1),
            final_obs=obs,
        )

    spec = EnvSpec(
        name="long_term_satisfaction",
        action=SlateAction(size=slate_size),
        num_items=0,
        feedback=FEEDBACK,
        reward_weights=feedback_weights(config.reward, FEEDBACK),
        num_candidates=num_candidates,
        candidate_size=1,
        user_size=2,
        feedback_range=((0.0, 1.0), (0.0, LARGEST_OBSERVED)),
        user_range=(0.0, math.log1p(LARGEST_OBSERVED)),
        candidate_range=(0.0, 1.0),
        hidden_size=2,
    )
    return Env(reset, step, world_without_items(spec.candidate_size, users_of(config)), spec, hidden=hidden)


def users_of(config: LongTermSatisfactionConfig) -> LongTermSatisfactionUsers:
    """Collect the constants of the dynamics from a config."""
    names = ("memory_discount", "sensitivity", "innovation_sd", "choc_mean", "choc_sd", "kale_mean", "kale_sd")
    return LongTermSatisfactionUsers(
        **{name: jnp.asarray(getattr(config, name), jnp.float32) for name in names},
        start_npe=jnp.asarray(0.5 / (1.0 - config.memory_discount), jnp.float32),
        budget=jnp.asarray(config.budget, jnp.int32),
    )
