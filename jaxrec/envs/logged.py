"""Users fitted to a log, for whole sessions: each request shows a slate of the catalogue, until the user leaves.

The simulator is of the KuaiSim class (arXiv 2309.12645), with the response model of `jaxrec.supervised.response`.

Observation: `history_items` [H] and `history_feedback` [H, F]: the items that were *rated*, which in a log of ratings
means every shown item, liked or not. `context` [C], if the log has one. `candidates` is None: an action is K item ids.

Feedback of item i: one Bernoulli draw per kind. Its probability is the mean of the fitted ensemble, lowered if the
items of the slate are alike. A new user is a random user of the log at a random position, with that user's real earlier
items as history. The context of that position is kept for the whole visit. The visit ends when the user leaves
(termination, `jaxrec.envs.leave`) or after `requests` slates (truncation). With `comeback_model`, users who left come
back for more visits in the same episode (`jaxrec.envs.comeback`).
"""

import math
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.checks import InputError, check_shape
from jaxrec.config.logged import LoggedConfig
from jaxrec.envs.comeback import make_comeback
from jaxrec.envs.leave import make_leave
from jaxrec.envs.logged_world import LoggedUsers, load_simulator
from jaxrec.envs.rewards import feedback_weights, make_reward
from jaxrec.ops.vectors import mean_cosine
from jaxrec.supervised.response import (
    Response,
    UserHistory,
    add_to_history,
    all_probabilities,
    probabilities,
    user_state,
)
from jaxrec.types import PADDING, Array, Env, EnvSpec, Observation, SlateAction, StepOutput, World


class LoggedState(struct.PyTreeNode):
    """One user between two requests."""

    history: UserHistory
    # The history at the start of the visit, if `drift` is below 1. State z is not stored instead: oracles compute it
    # with other response models, and auto-reset would compute a new user's z at every step anyway.
    first: UserHistory | None
    leave: Any  # of the leave model
    request: Array  # [] int32, slates shown so far in this visit
    session: Array | None = None  # [] int32, visits that ended so far; None if users do not come back


def make(config: LoggedConfig, world: World | None = None) -> Env:
    """Build the environment over `world`, or over the simulator saved in `config.path`."""
    if world is None:
        if not config.path:
            raise InputError(
                "env.path: the logged environment needs a fitted simulator; "
                "`jaxrec train` writes one to RUN/simulators/train."
            )
        world = load_simulator(config.path)
    members: Response = world.users.members
    names, slate_size = members.feedback_names, config.slate_size
    check_room(slate_size, members.history_length, world.num_recommendable)
    check_users(config, names, members.base.shape[0])
    leave = make_leave(config.leave, config.reward, names)
    come_back = make_comeback(config, world.users, leave.start)
    reward_of = make_reward(config.reward, names, comebacks=come_back is not None)

    def reset(key: Array, world: World) -> tuple[LoggedState, Observation]:
        # Draw a user first, then one of their positions: if rows were drawn, most users would be a few heavy raters.
        draw, users = jax.random.uniform(key, (2,)), world.users
        user = _scaled(draw[0], users.begin.shape[0])
        state = begin_visit(config, world, user, _scaled(draw[1], users.length[user]))
        return state, _observation(state.history)

    def step(key: Array, state: LoggedState, action: Array, world: World) -> tuple[LoggedState, StepOutput]:
        check_shape("action", action, (slate_size,))
        p = answer_probabilities(state, world, config, action)
        chex.assert_shape(p, (slate_size, len(names)))
        if config.slate_interaction:
            alike = mean_cosine(world.users.text(world.item_table[action]))
            p = jnp.maximum(p - config.slate_interaction * alike[:, None], 0.0)
        draw, day_draw = draws(key, p.shape, come_back is not None)
        feedback = (draw < p).astype(jnp.float32)
        mood, left = leave.after(state.leave, feedback)
        history, request = add_to_history(state.history, action, feedback), state.request + 1
        after = LoggedState(history, state.first, mood, request, state.session)
        day, terminated = jnp.asarray(0.0), left
        if come_back is not None:
            after, day, terminated = come_back(world.users, after, feedback, left, day_draw)
        obs = _observation(history)
        return after, StepOutput(
            obs=obs,
            reward=reward_of(feedback, left, day),
            terminated=terminated,
            truncated=(request >= config.requests) & ~left,
            feedback=feedback,
            final_obs=obs,
        )

    return Env(reset, step, world, _spec(config, world))


def _spec(config: LoggedConfig, world: World) -> EnvSpec:
    """Sizes, names and ranges of the environment."""
    members: Response = world.users.members
    names = members.feedback_names
    return EnvSpec(
        name="logged",
        action=SlateAction(size=config.slate_size),
        num_items=world.item_table.shape[0],
        feedback=names,
        reward_weights=feedback_weights(config.reward, names),
        feedback_range=((0.0, 1.0),) * len(names),
        context_size=members.context_size,
        history_length=members.history_length,
    )


def begin_visit(config: LoggedConfig, world: World, user: Array, place: Array) -> LoggedState:
    """Start a visit of a user [] int32 just before their row number `place` [] int32 (from 0) in the log."""
    users: LoggedUsers = world.users
    window = users.members.history_length
    begin = users.begin[user]
    position = begin + place
    rows = position - window + jnp.arange(window)
    valid, rows = rows >= begin, jnp.maximum(rows, 0)
    history = UserHistory(
        items=jnp.where(valid, users.items[rows], PADDING),
        feedback=jnp.where(valid[:, None], users.feedback[rows], 0.0),
        count=place.astype(jnp.float32),
        totals=users.totals[position],
        context=None if users.context is None else users.context[position],
    )
    leave = make_leave(config.leave, config.reward, users.members.feedback_names)
    start = jnp.asarray(0, jnp.int32)
    session = None if config.comeback_model is None else start
    return LoggedState(history, history if config.drift < 1 else None, leave.start(), start, session)


def draws(key: Array, shape: tuple[int, ...], day: bool) -> tuple[Array, Array]:
    """Draw numbers in [0, 1) of `shape` and, with `day`, one more [], all at once."""
    if not day:
        return jax.random.uniform(key, shape), jnp.asarray(0.0)
    numbers = jax.random.uniform(key, (math.prod(shape) + 1,))
    return numbers[:-1].reshape(shape), numbers[-1]


def _scaled(uniform: Array, size: Array | int) -> Array:
    """Scale a number in [0, 1) to a whole number below `size`."""
    size = jnp.asarray(size, jnp.int32)
    return jnp.minimum((uniform * size.astype(jnp.float32)).astype(jnp.int32), size - 1)


def _observation(history: UserHistory) -> Observation:
    return Observation(context=history.context, history_items=history.items, history_feedback=history.feedback)


def answer_probabilities(state: LoggedState, world: World, config: LoggedConfig, items: Array | None = None) -> Array:
    """P(feedback) of single items, before the slate's interaction: [..., K, F] of `items` [..., K], or [..., I, F].

    For each member of the ensemble it is drift p(history now) + (1 - drift) p(history at the start of the visit). The
    result is the mean over the members minus `pessimism` standard deviations, at least 0.
    """

    def answer(model: Response, history: UserHistory) -> Array:
        z = user_state(model, history)
        return all_probabilities(model, z) if items is None else probabilities(model, z, items)

    def member(model: Response) -> Array:
        if state.first is None:
            return answer(model, state.history)
        if config.drift == 0:
            return answer(model, state.first)
        return config.drift * answer(model, state.history) + (1 - config.drift) * answer(model, state.first)

    p = jax.vmap(member)(world.users.members)
    if not config.pessimism:
        return p.mean(0)
    return jnp.maximum(p.mean(0) - config.pessimism * p.std(0), 0.0)


def expected_rewards(state: LoggedState, world: World, config: LoggedConfig) -> Array:
    """Expected feedback reward if each item alone is shown next to users [B]: [B, I]. Only an oracle knows it."""
    p = answer_probabilities(state, world, config)  # [B, I, F]
    return p @ jnp.asarray(feedback_weights(config.reward, world.users.members.feedback_names))


def check_users(config: LoggedConfig, feedback: tuple[str, ...], members: int) -> None:
    """Raise InputError if rewards, leave model or pessimism do not fit the kinds of `feedback` and the `members`."""
    make_leave(config.leave, config.reward, feedback)
    make_reward(config.reward, feedback, comebacks=config.comeback_model is not None)
    if config.pessimism and members < 2:
        raise InputError("env.pessimism: a single fit has no standard deviation; set response.members to 2 or more.")


def check_room(slate_size: int, history_length: int, recommendable: int) -> None:
    """Raise InputError unless a slate fits into the recommendable items that remain without the history."""
    if slate_size + history_length > recommendable:
        raise InputError(
            f"env.slate_size: {slate_size} items and a history of {history_length} do not fit into {recommendable} "
            "recommendable items; lower env.slate_size, response.history_length or data.min_item_ratings."
        )
