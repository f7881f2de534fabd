"""Interest evolution: users with a time budget whose interests drift towards or away from what they click.

This is RecSim's user model as used for SlateQ (arXiv 1905.12767). Observation: `user` [U = 20] interests and
`candidates` [M] topic ids, drawn anew at reset and after every step. The item table is the identity over topics. No
history. Hidden: the share of the budget that is left. Feedback of each shown document: click (0 / 1), watch_time
(minutes), quality (also of documents not clicked). The numbers of the model are leaves of `InterestEvolutionUsers` in
`World.users`.
"""

import math

import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.checks import InputError, check_shape
from jaxrec.config.recsim import InterestEvolutionConfig
from jaxrec.envs.choice import make_choice
from jaxrec.envs.rewards import make_reward
from jaxrec.ops.draws import standard_normal, two_a_word, unit_interval, whole_numbers
from jaxrec.types import Array, Env, EnvSpec, Observation, SlateAction, StepOutput, World

TOPICS = 20
FEEDBACK = ("click", "watch_time", "quality")
DOCUMENT_MINUTES = 4.0


class InterestEvolutionState(struct.PyTreeNode):
    """One user between two steps."""

    user: Array  # [U] interests in [-1, 1]
    budget: Array  # [] minutes left, hidden from the agent
    candidates: Array  # [M] int32 topics


class InterestEvolutionUsers(struct.PyTreeNode):
    """The numbers of the model, each of shape [] unless noted."""

    start_budget: Array  # minutes
    document_minutes: Array  # length of every document
    no_click_cost: Array  # minutes spent if nothing is clicked
    quality_sd: Array  # of documents around their topic's mean
    learning_rate: Array  # of interests
    budget_per_quality: Array  # minutes won or lost per minute watched and unit of quality
    topic_quality: Array  # [20] mean quality of each topic


def topic_quality() -> Array:
    """Mean quality of each topic [20]: fourteen from -3 to 0, then six from 0 to 3."""
    return jnp.concatenate([jnp.linspace(-3.0, 0.0, 14), jnp.linspace(0.0, 3.0, 6)])


def published_users() -> InterestEvolutionUsers:
    """The numbers of the SlateQ experiment."""
    return InterestEvolutionUsers(
        start_budget=jnp.float32(200.0),
        document_minutes=jnp.float32(DOCUMENT_MINUTES),
        no_click_cost=jnp.float32(0.5),
        quality_sd=jnp.float32(0.1),
        learning_rate=jnp.float32(0.3),
        budget_per_quality=jnp.float32(0.9 / 3.4),
        topic_quality=topic_quality(),
    )


def drift(interest: Array, toss: Array, learning_rate: Array | float = 0.3) -> Array:
    """Interest in the clicked topic after the click; `toss` is uniform in [0, 1)."""
    delta = learning_rate * (1.0 - jnp.abs(interest)) * (1.0 - interest)
    liked = toss < (interest + 1.0) / 2.0
    return jnp.clip(jnp.where(liked, interest + delta, interest - delta), -1.0, 1.0)


def make(config: InterestEvolutionConfig) -> Env:
    """Build the environment; `config.reward` weighs the feedback of a slate."""
    num_candidates, slate_size = config.num_candidates, config.slate_size
    reward_of, choice = make_reward(config.reward, FEEDBACK), make_choice(config.choice)
    if not choice.single:
        raise InputError(
            "env.choice.name: these users click at most one document; choose proportional, logit or cascade."
        )

    half = (num_candidates + 1) // 2  # random words for the next candidates, two in each word

    def observe(state: InterestEvolutionState) -> Observation:
        return Observation(user=state.user, candidates=state.candidates)

    def reset(key: Array, world: World) -> tuple[InterestEvolutionState, Observation]:
        halves = two_a_word(jax.random.bits(key, (TOPICS // 2 + half,)))
        state = InterestEvolutionState(
            user=(halves[:TOPICS].astype(jnp.float32) + 0.5) / 2**15 - 1.0,
            budget=jnp.array(world.users.start_budget),  # a copy: states are donated, world parameters are not
            candidates=whole_numbers(halves[TOPICS : TOPICS + num_candidates], TOPICS),
        )
        return state, observe(state)

    def step(
        key: Array, state: InterestEvolutionState, action: Array, world: World
    ) -> tuple[InterestEvolutionState, StepOutput]:
        check_shape("action", action, (slate_size,))
        users: InterestEvolutionUsers = world.users
        # One draw: the next candidates, quality of the shown documents, the direction of drift, the choice.
        words = jax.random.bits(key, (half + slate_size + 1 + choice.draws(slate_size),))
        draw = unit_interval(words[half:])
        topics = state.candidates[action]
        quality = users.topic_quality[topics] + users.quality_sd * standard_normal(draw[:slate_size])
        click = choice.pick(state.user[topics], draw[slate_size + 1 :])
        clicked = click.any()

        topic = (topics * click.astype(jnp.int32)).sum()
        moved = (jnp.arange(TOPICS) == topic) & clicked
        watched = jnp.minimum(state.budget, users.document_minutes)
        gained = users.budget_per_quality * watched * (click * quality).sum()
        budget = state.budget + jnp.where(clicked, gained - watched, -users.no_click_cost)

        after = InterestEvolutionState(
            user=jnp.where(moved, drift(state.user, draw[slate_size], users.learning_rate), state.user),
            budget=budget,
            candidates=whole_numbers(two_a_word(words[:half])[:num_candidates], TOPICS),
        )
        feedback = jnp.stack([click, click * watched, quality], axis=-1)
        obs = observe(after)
        return after, StepOutput(
            obs=obs,
            reward=reward_of(feedback, budget <= 0.0),
            terminated=budget <= 0.0,
            truncated=jnp.asarray(False),
            feedback=feedback,
            final_obs=obs,
        )

    def hidden(state: InterestEvolutionState, world: World) -> Array:
        return (state.budget / world.users.start_budget)[None]

    world = World(item_table=jnp.eye(TOPICS), users=published_users())
    return Env(reset, step, world, _spec(config), hidden=hidden)


def _spec(config: InterestEvolutionConfig) -> EnvSpec:
    """Sizes, names and ranges of the environment."""
    return EnvSpec(
        name="interest_evolution",
        action=SlateAction(size=config.slate_size),
        num_items=TOPICS,
        feedback=FEEDBACK,
        reward_weights=tuple(config.reward.get(name, 0.0) for name in FEEDBACK),
        num_candidates=config.num_candidates,
        user_size=TOPICS,
        feedback_range=((0.0, 1.0), (0.0, DOCUMENT_MINUTES), (-math.inf, math.inf)),
        user_range=(-1.0, 1.0),
        hidden_size=1,
    )
