"""SARDINE: position-based clicks, boredom and influence (arXiv 2311.16586); presets in `jaxrec.config.sardine`.

Items are unit vectors over T = 10 topics with two or three topics each, the same for all users. An item's main topic is
its largest entry. Users are unit vectors u with three to five topics. The choice model reads the score of each shown
item e, slope (<e, u_cur> - offset). With the presets' position model, item k is clicked with chance
sigmoid(score) decay^k, independently of the others.

Boredom, after every slate: a topic with at least `boredom_threshold` clicks bores the user for W = `boredom_steps`
slates, and may do so again afterwards. Only the latest 10 clicks of the latest W slates count. While any topic bores,
u_cur is 0 ("churn_and_return"), or u without the boring topics ("topic").

Influence: clicks change the interests, u <- normalise(omega u + (1 - omega) mean of the clicked items). With `compat`
the mean is over items and topics, as in the published code, so that clicks make all topics more alike.

A new user is first shown a random slate, drawn with replacement; its clicks change the state, but give no reward. An
episode is exactly `requests` slates long and ends by truncation.

Observation: `history_items` [H] and `history_feedback` [H, 1], H = `history_slates` x K: all *shown* items, clicked or
not, top of a slate first, latest slate last. `user` [U = 10]: remembered clicks of each topic divided by the threshold,
at most 1. With `ideal_state`, `user` continues with u_cur [10] and, divided by W, the slates for which each topic will
still bore [10] (0: it does not bore; here the published code, and `compat`, have 1). `candidates` is None: an action is
K item ids. Items of the history may be shown again. Feedback: click (0 / 1).
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.checks import check_shape
from jaxrec.config.sardine import SardineConfig
from jaxrec.envs.choice import ChoiceNumbers, choice_numbers, make_choice
from jaxrec.envs.rewards import feedback_weights, make_reward
from jaxrec.ops.vectors import unit_vectors
from jaxrec.types import PADDING, Array, Env, EnvSpec, Observation, SlateAction, StepOutput, World

TOPICS = 10
REMEMBERED = 10  # clicks
ITEM_TOPICS = (2, 3)
USER_TOPICS = (3, 4, 5)
FEEDBACK = ("click",)


class SardineUsers(struct.PyTreeNode):
    """Constants of the dynamics; they are leaves, so that other values need no new program."""

    offset: Array  # []
    slope: Array  # []
    omega: Array  # []
    boredom_threshold: Array  # [] int32
    choice: ChoiceNumbers


class SardineState(struct.PyTreeNode):
    """One user between two slates."""

    user: Array  # [T] interests u, unit length
    current: Array  # [T] u_cur, interests as reduced by boredom
    clicked: Array  # [W, K] int32 main topics clicked in the latest slates, newest last, PADDING where not clicked
    boring: Array  # [T] int32 slates for which each topic will still bore
    history_items: Array  # [H] int32
    history_clicks: Array  # [H]
    step: Array  # [] int32, slates that were rewarded


def unit(vectors: Array) -> Array:
    """Vectors [..., T] of no negative entry, at unit length; zeros stay zeros."""
    return jnp.minimum(unit_vectors(vectors), 1.0)  # rounding must not take an entry beyond 1


def some_topics(values: Array, marks: Array, count: Array) -> Array:
    """Unit vectors of uniform `values` [..., T], only in the `count` [...] topics with the lowest `marks` [..., T]."""
    mine, other, place = marks[..., :, None], marks[..., None, :], jnp.arange(marks.shape[-1])
    earlier = jnp.expand_dims(place[None, :] < place[:, None], range(marks.ndim - 1))  # breaks ties
    rank = ((other < mine) | ((other == mine) & earlier)).sum(-1, dtype=jnp.int32)  # faster than a sort
    return unit(jnp.where(rank < count[..., None], values, 0.0))


def draw_items(key: Array, num_items: int) -> Array:
    """Draw item vectors [N, T], half of them with two topics, half with three."""
    draw = jax.random.uniform(key, (num_items, 2 * TOPICS + 1))
    count = jnp.where(draw[:, -1] < 0.5, *ITEM_TOPICS)
    return some_topics(draw[:, :TOPICS], draw[:, TOPICS : 2 * TOPICS], count)


def draw_user(draw: Array) -> Array:
    """Draw a user [T] from uniform numbers [2 T + 1].

    Every topic is kept with chance 0.4, on the condition that three to five are kept. So their number is drawn from a
    truncated binomial distribution and the topics from a permutation; no draw has to be repeated.
    """
    weights = [math.comb(TOPICS, n) * 0.4**n * 0.6 ** (TOPICS - n) for n in USER_TOPICS]
    count = USER_TOPICS[0] + sum((draw[-1] >= sum(weights[: n + 1]) / sum(weights)).astype(int) for n in range(2))
    return some_topics(draw[:TOPICS], draw[TOPICS : 2 * TOPICS], jnp.asarray(count))


def remembered(clicked: Array) -> Array:
    """Count the clicks of each topic among the latest 10 of `clicked` [W, K], newest last: [T] int32.

    A count is at most 10 and takes four bits. A word holds eight counts, so that two sums are enough instead of ten.
    """
    topics = clicked.reshape(-1)
    later = jnp.tri(topics.shape[0])  # a product with it sums from each place to the last, exactly
    since = (topics >= 0).astype(jnp.float32) @ later  # clicks from this one to the newest
    word = jnp.where((topics >= 0) & (since <= REMEMBERED), topics >> 3, PADDING)
    one = jnp.left_shift(1, 4 * (topics & 7))
    words = jnp.stack([jnp.where(word == n, one, 0).sum(dtype=jnp.int32) for n in range(2)])
    topic = jnp.arange(TOPICS)
    return (words[topic >> 3] >> (4 * (topic & 7))) & 15


def bore(boring: Array, counts: Array, threshold: Array, steps: int) -> Array:
    """Slates for which topics [T] will bore after one more slate, given the remembered clicks `counts` [T]."""
    remaining = jnp.maximum(boring - 1, 0)
    return jnp.where((remaining == 0) & (counts >= threshold), steps, remaining)


def influence(user: Array, rows: Array, click: Array, omega: Array, compat: bool) -> Array:
    """Interests [T] after `click` [K] on items `rows` [K, T]; `compat` averages over topics too."""
    mean = (click[:, None] * rows).sum(0) / jnp.maximum(click.sum(), 1.0)
    if compat:
        mean = jnp.broadcast_to(mean.mean(), mean.shape)
    return jnp.where(click.any(), unit(omega * user + (1.0 - omega) * mean), user)


def relevance(state: SardineState, world: World) -> Array:
    """Relevance <e, u_cur> of every item to users [B]: [B, I]. Only an oracle knows it."""
    return jnp.einsum("bt,it->bi", state.current, world.item_table, precision="highest")


def show(
    config: SardineConfig, state: SardineState, slate: Array, uniform: Array, world: World
) -> tuple[SardineState, Array]:
    """Show one slate [K] to a user; `uniform` [draws] decides the clicks -> the user afterwards, clicks [K]."""
    users: SardineUsers = world.users
    rows = world.item_table[slate].astype(jnp.float32)
    liking = (rows * state.current[None]).sum(-1)  # not a matrix product, which accelerators round
    choice = make_choice(config.choice_model, users.choice)
    click = choice.pick(users.slope * (liking - users.offset), uniform)
    # Computed for the whole table, once for all users: for a user's own rows it would be recomputed for every topic.
    main_topic = jnp.argmax(world.item_table, axis=-1).astype(jnp.int32)
    topics = jnp.where(click > 0, main_topic[slate], PADDING)
    clicked = jnp.concatenate([state.clicked[1:], topics[None]])
    boring = bore(state.boring, remembered(clicked), users.boredom_threshold, config.boredom_steps)
    user = influence(state.user, rows, click, users.omega, config.compat)
    lost = (boring > 0).any() if config.boredom == "churn_and_return" else boring > 0
    after = SardineState(
        user=user,
        current=jnp.where(lost, 0.0, user),
        clicked=clicked,
        boring=boring,
        history_items=jnp.concatenate([state.history_items, slate])[slate.shape[0] :],
        history_clicks=jnp.concatenate([state.history_clicks, click])[slate.shape[0] :],
        step=state.step + 1,
    )
    return after, click


def observe(config: SardineConfig, state: SardineState, world: World) -> Observation:
    """What the agent sees of a user."""
    counts, threshold = remembered(state.clicked), world.users.boredom_threshold
    user = jnp.minimum(counts.astype(jnp.float32) / threshold.astype(jnp.float32), 1.0)
    if config.ideal_state:
        remaining = jnp.where((state.boring == 0) & config.compat, config.boredom_steps, state.boring)
        user = jnp.concatenate([user, state.current, remaining.astype(jnp.float32) / config.boredom_steps])
    return Observation(user=user, history_items=state.history_items, history_feedback=state.history_clicks[:, None])


def hidden(config: SardineConfig, state: SardineState, world: World) -> Array:
    """What only the simulator knows [3 T + 1]: interests, what boredom leaves of them, how long it lasts, the time."""
    boring = state.boring.astype(jnp.float32) / config.boredom_steps
    time = state.step.astype(jnp.float32) / config.values.requests
    return jnp.concatenate([state.user, state.current, boring, time[None]])


def make(config: SardineConfig) -> Env:
    """Build the environment; `config.reward` weighs the clicks of a slate."""
    values, length = config.values, config.history_length
    slate_size, num_items = values.slate_size, values.num_items
    reward_of, draws = make_reward(config.reward, FEEDBACK), make_choice(config.choice_model).draws(slate_size)

    def reset(key: Array, world: World) -> tuple[SardineState, Observation]:
        # One draw: interests and their topics, the first slate, its clicks.
        draw = jax.random.uniform(key, (2 * TOPICS + 1 + slate_size + draws,))
        user, first, clicks = jnp.split(draw, [2 * TOPICS + 1, 2 * TOPICS + 1 + slate_size])
        interests = draw_user(user)
        start = SardineState(
            user=interests,
            current=interests,
            clicked=jnp.full((1, slate_size), PADDING, jnp.int32),  # of one slate; the others are still empty
            boring=jnp.zeros(TOPICS, jnp.int32),
            history_items=jnp.full(length, PADDING, jnp.int32),
            history_clicks=jnp.zeros(length),
            step=jnp.asarray(-1, jnp.int32),
        )
        slate = jnp.minimum((first * num_items).astype(jnp.int32), num_items - 1)
        state, _ = show(config, start, slate, clicks, world)
        empty = jnp.full((config.boredom_steps - 1, slate_size), PADDING, jnp.int32)
        return state.replace(clicked=jnp.concatenate([empty, state.clicked])), observe(config, state, world)

    def step(key: Array, state: SardineState, action: Array, world: World) -> tuple[SardineState, StepOutput]:
        check_shape("action", action, (slate_size,))
        after, click = show(config, state, action, jax.random.uniform(key, (draws,)), world)
        feedback, obs = click[:, None], observe(config, after, world)
        return after, StepOutput(
            obs=obs,
            reward=reward_of(feedback),
            terminated=jnp.asarray(False),
            truncated=after.step >= values.requests,
            feedback=feedback,
            final_obs=obs,
        )

    spec = EnvSpec(
        name="sardine",
        action=SlateAction(size=slate_size),
        num_items=num_items,
        feedback=FEEDBACK,
        reward_weights=feedback_weights(config.reward, FEEDBACK),
        feedback_range=((0.0, 1.0),),
        user_size=TOPICS * (3 if config.ideal_state else 1),
        user_range=(0.0, 1.0),
        history_length=length,
        repeats=True,
        hidden_size=3 * TOPICS + 1,
    )
    return Env(reset, step, make_world(config), spec, hidden=partial(hidden, config))


def make_world(config: SardineConfig) -> World:
    """Draw the items from `item_seed`, and collect the constants of the dynamics."""
    values = config.values
    users = SardineUsers(
        offset=jnp.asarray(values.offset, jnp.float32),
        slope=jnp.asarray(values.slope, jnp.float32),
        omega=jnp.asarray(values.omega, jnp.float32),
        boredom_threshold=jnp.asarray(values.boredom_threshold, jnp.int32),
        choice=choice_numbers(config.choice_model),
    )
    return World(item_table=draw_items(jax.random.key(config.item_seed), values.num_items), users=users)
