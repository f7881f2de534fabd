"""Interest exploration: users of two hidden types, documents of two topics; a policy must find out what users like.

This is RecSim's user model (arXiv 1909.04847). A document has topic 1 with chance 0.8, else 0, and quality
q ~ LogNormal(mean[topic], 0.1). Documents are drawn anew at reset and after every step. A user is of type 1 with
chance 0.7, else 0, and has an affinity g ~ LogNormal(mean[type, topic], 0.1) for each topic, which never changes.
The choice model (by default multinomial logit with score 5 for nothing) reads the scores g[topic] + q. Users do not
leave: a session is cut after 100 steps.

Observation: `candidate_features` [M, D = 3]: quality, then the topic as one-hot. `user` [U = 4]: log(1 + documents
shown) of both topics so far, then log(1 + clicks) of both. The user's type and affinities are hidden. No history, no
table. Feedback of each shown document: click (0 / 1).
"""

import math

import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.checks import check_shape
from jaxrec.config.recsim import InterestExplorationConfig
from jaxrec.envs.choice import ChoiceNumbers, choice_numbers, make_choice
from jaxrec.envs.documents import category, lognormal, world_without_items
from jaxrec.envs.rewards import feedback_weights, make_reward
from jaxrec.ops.draws import unit_interval
from jaxrec.types import Array, Env, EnvSpec, Observation, SlateAction, StepOutput, World

TOPICS = 2
FEEDBACK = ("click",)
QUALITY = 0  # column of the candidate features


class InterestExplorationUsers(struct.PyTreeNode):
    """`World.users`: the constants of the population; other numbers need no new program, and may differ by user."""

    topic_share: Array  # [2] of documents
    quality_mean: Array  # [2] of the logarithm, by topic
    quality_sd: Array  # []
    type_share: Array  # [2] of users
    affinity_mean: Array  # [2, 2] of the logarithm, by type and topic
    affinity_sd: Array  # []
    choice: ChoiceNumbers
    steps: Array  # [] int32, after which a session is cut


class InterestExplorationState(struct.PyTreeNode):
    """One user between two steps."""

    affinity: Array  # [2] by topic, hidden from the agent
    topic: Array  # [M] int32 of the documents on offer
    quality: Array  # [M]
    shown: Array  # [2] documents so far, by topic
    clicks: Array  # [2]
    remaining_steps: Array  # [] int32 steps until the cut


def users_of(config: InterestExplorationConfig) -> InterestExplorationUsers:
    """Build RecSim's population, with the choice model and the session length of a config."""
    return InterestExplorationUsers(
        topic_share=jnp.array([0.2, 0.8]),
        quality_mean=jnp.array([0.8, 0.2]),
        quality_sd=jnp.asarray(0.1, jnp.float32),
        type_share=jnp.array([0.3, 0.7]),
        affinity_mean=jnp.array([[0.1, 0.7], [0.7, 0.1]]),
        affinity_sd=jnp.asarray(0.1, jnp.float32),
        choice=choice_numbers(config.choice),
        steps=jnp.asarray(config.steps, jnp.int32),
    )


def document_scores(state: InterestExplorationState) -> Array:
    """The user's score of each document on offer, g[topic] + q: [..., M]. Only an oracle knows it."""
    return jnp.take_along_axis(state.affinity, state.topic, axis=-1) + state.quality


def observe(state: InterestExplorationState) -> Observation:
    """What the agent sees."""
    features = jnp.concatenate([state.quality[:, None], jax.nn.one_hot(state.topic, TOPICS)], axis=-1)
    return Observation(user=jnp.log1p(jnp.concatenate([state.shown, state.clicks])), candidate_features=features)


def draw_documents(users: InterestExplorationUsers, words: Array) -> tuple[Array, Array]:
    """Draw topics [M] and qualities [M] from random words [M]: 16 bits for each, so qualities have 65,536 values."""
    of_topic, of_quality = ((half.astype(jnp.float32) + 0.5) / 2**16 for half in (words & 0xFFFF, words >> 16))
    topic = category(users.topic_share, of_topic)
    mean = jnp.where(topic == 0, *users.quality_mean)  # a gather would prevent vectorisation of the loop
    return topic, lognormal(mean, users.quality_sd, of_quality)


def make(config: InterestExplorationConfig) -> Env:
    """Build the environment; `config.reward` weighs the feedback of a slate."""
    num_candidates, slate_size = config.num_candidates, config.slate_size
    reward_of, draws = make_reward(config.reward, FEEDBACK), make_choice(config.choice).draws(slate_size)

    def reset(key: Array, world: World) -> tuple[InterestExplorationState, Observation]:
        users: InterestExplorationUsers = world.users
        words = jax.random.bits(key, (num_candidates + 1 + TOPICS,))
        topic, quality = draw_documents(users, words[:num_candidates])
        draw = unit_interval(words[num_candidates:])
        mean = users.affinity_mean[category(users.type_share, draw[0])]
        state = InterestExplorationState(
            affinity=lognormal(mean, users.affinity_sd, draw[1:]),
            topic=topic,
            quality=quality,
            shown=jnp.zeros(TOPICS),
            clicks=jnp.zeros(TOPICS),
            remaining_steps=users.steps,
        )
        return state, observe(state)

    def step(
        key: Array, state: InterestExplorationState, action: Array, world: World
    ) -> tuple[InterestExplorationState, StepOutput]:
        check_shape("action", action, (slate_size,))
        users: InterestExplorationUsers = world.users
        # One draw: the next documents, then the choice.
        words = jax.random.bits(key, (num_candidates + draws,))
        choice = make_choice(config.choice, users.choice)
        click = choice.pick(document_scores(state)[action], unit_interval(words[num_candidates:]))
        of_topic = jax.nn.one_hot(state.topic[action], TOPICS)  # [K, 2]
        topic, quality = draw_documents(users, words[:num_candidates])
        after = state.replace(
            topic=topic,
            quality=quality,
            shown=state.shown + of_topic.sum(0),
            clicks=state.clicks + click @ of_topic,
            remaining_steps=state.remaining_steps - 1,
        )
        feedback, obs = click[:, None], observe(after)
        return after, StepOutput(
            obs=obs,
            reward=reward_of(feedback),
            terminated=jnp.asarray(False),
            truncated=after.remaining_steps <= 0,
            feedback=feedback,
            final_obs=obs,
        )

    def hidden(state: InterestExplorationState, world: World) -> Array:
        left = state.remaining_steps.astype(jnp.float32) / world.users.steps.astype(jnp.float32)
        return jnp.append(state.affinity, left)

    spec = _spec(config)
    return Env(reset, step, world_without_items(spec.candidate_size, users_of(config)), spec, hidden=hidden)


def _spec(config: InterestExplorationConfig) -> EnvSpec:
    """Sizes, names and ranges of the environment."""
    return EnvSpec(
        name="interest_exploration",
        action=SlateAction(size=config.slate_size),
        num_items=0,
        feedback=FEEDBACK,
        reward_weights=feedback_weights(config.reward, FEEDBACK),
        num_candidates=config.num_candidates,
        hidden_size=TOPICS + 1,
        candidate_size=1 + TOPICS,
        user_size=2 * TOPICS,
        feedback_range=((0.0, 1.0),),
        user_range=(0.0, math.inf),
        candidate_range=(0.0, math.inf),
    )
