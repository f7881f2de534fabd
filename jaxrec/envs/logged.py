"""Users fitted to a log, for whole sessions: each request shows a slate of the catalogue, until the user leaves.

By default they are people with tastes of their own (`jaxrec.nets.tastes`), which showing items does not change.
With `response: last_rows` the recipe fits users of the KuaiSim class (arXiv 2309.12645) instead, whose answers follow
what was shown last (`jaxrec.supervised.response`). `jaxrec.envs.answers` has both.

Observation: `history_items` [H] and `history_feedback` [H, F]: the items that were *rated*, which in a log of ratings
means every shown item, liked or not. `history_shown` [], the latest of them that were shown in this episode. `context`
[C], if the log has one. `candidates` is None: an action is K item ids.
Nothing in the history is shown again, unless `repeats`. H holds all items of a visit.

Feedback of item i: one Bernoulli draw per kind. Its probability is lowered if the items of the slate are alike. A new
user is a random user of the log at a random position, with that user's real earlier items as history. The context of
that position is kept for the whole visit. The visit ends when the user leaves (termination, `jaxrec.envs.leave`) or
after `requests` slates (truncation). With `comeback_model`, users who left come back for more visits in the same
episode (`jaxrec.envs.comeback`).
"""

import math
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.checks import InputError, check_shape
from jaxrec.config.logged import LoggedConfig
from jaxrec.envs.answers import make_answers
from jaxrec.envs.comeback import make_comeback
from jaxrec.envs.known_answers import offered_to
from jaxrec.envs.leave import make_leave
from jaxrec.envs.logged_memory import make_memory
from jaxrec.envs.logged_world import LoggedUsers, load_simulator
from jaxrec.envs.rewards import feedback_weights, make_reward
from jaxrec.ops.draws import scaled
from jaxrec.ops.vectors import mean_cosine
from jaxrec.supervised.response import UserHistory, add_to_history
from jaxrec.types import PADDING, Array, Env, EnvSpec, Observation, SlateAction, StepOutput, World

FEW = 4  # known rows of a new user, at most
OBSERVED = 100  # rows of the history that policies observe, unless the recipe says otherwise


class LoggedState(struct.PyTreeNode):
    """One user between two requests."""

    history: UserHistory
    person: Any  # what showing items does not change, see `jaxrec.envs.answers`
    leave: Any  # of the leave model
    request: Array  # [] int32, slates shown so far in this visit
    shown: Array  # [] int32, items shown so far in this episode, earlier visits included
    session: Array | None = None  # [] int32, visits that ended so far; None if users do not come back


def make(config: LoggedConfig, world: World | None = None, *, keep: bool = False) -> Env:
    """Build the environment over `world`, or over the simulator saved in `config.path`.

    With `keep`, users whose chance to leave is fitted stay, and steps give the chance that they would have (`stay`).
    """
    world = _saved_world(config) if world is None else world
    users: LoggedUsers = world.users
    names, slate_size = users.feedback_names, config.slate_size
    length = observed_rows(config, world.num_recommendable)
    _check_fitted(config, users)
    leave = make_leave(config.leave, config.reward, names, keep=keep)
    answers = make_answers(config, users)
    come_back = make_comeback(config, users, answers, leave.start)
    reward_of = make_reward(config.reward, names, comebacks=come_back is not None)

    def reset(key: Array, world: World) -> tuple[LoggedState, Observation]:
        # Draw a user first, then one of their positions: if rows were drawn, most users would be a few heavy raters.
        draw, users = jax.random.uniform(key, (3,)), world.users
        user = scaled(draw[0], users.begin.shape[0])
        history = history_before(users, user, first_place(config, draw[1], users.length[user]), length)
        # The worlds of one evaluation hold users of different kinds, so each call asks those of its own world.
        person = make_answers(config, users).person(users, user, draw[2], history)
        state = begin_visit(config, history, person, leave.start())
        return state, _observation(users, state)

    def step(key: Array, state: LoggedState, action: Array, world: World) -> tuple[LoggedState, StepOutput]:
        check_shape("action", action, (slate_size,))
        p = _slate_probabilities(config, world, state, action)
        chex.assert_shape(p, (slate_size, len(names)))
        draw, (day_draw, leave_draw) = draws(key, p.shape, come_back is not None, leave.random)
        feedback = (draw < p).astype(jnp.float32)
        patience, left, stay = leave.after(world.users.leave, state.leave, feedback, leave_draw)
        history, request = add_to_history(state.history, action, feedback), state.request + 1
        after = LoggedState(history, state.person, patience, request, state.shown + slate_size, state.session)
        day, terminated = jnp.asarray(0.0), left
        if come_back is not None and world.users.comeback is not None:  # the days of known people are unknown
            after, day, terminated = come_back(world.users, after, feedback, left, day_draw)
        obs = _observation(world.users, after)
        return after, StepOutput(
            obs=obs,
            reward=reward_of(feedback, left, day),
            terminated=terminated,
            truncated=(request >= config.requests) & ~left,
            feedback=feedback,
            final_obs=obs,
            stay=stay,
        )

    def item_rewards(state: LoggedState, world: World) -> Array:
        return expected_rewards(state, world, config, world.recommendable)

    return Env(
        reset,
        step,
        world,
        _spec(config, world, length),
        item_rewards,
        make_memory(config, world),
        expected_feedback=_expected_feedback(config, users),
    )


def _saved_world(config: LoggedConfig) -> World:
    """The fitted simulator that the recipe names."""
    if not config.path:
        raise InputError(
            "env.path: the logged environment needs a fitted simulator; "
            "`jaxrec train` writes one to RUN/simulators/train."
        )
    return load_simulator(config.path)


def _check_fitted(config: LoggedConfig, users: LoggedUsers) -> None:
    """Raise InputError if the recipe asks for what was not fitted to these users."""
    check_users(config, users.feedback_names, users.num_members)
    if config.leave is not None and config.leave.name == "hazard" and users.leave is None:
        raise InputError("env.leave: the simulator was fitted without visits; fit it again with env.leave: hazard.")


def _expected_feedback(config: LoggedConfig, users: LoggedUsers) -> Callable[[LoggedState, World], Array] | None:
    """`Env.expected_feedback`. Tastes are hidden from policies; users of the KuaiSim class answer by what they see."""
    if config.response != "last_rows" or users.known is not None:
        return None
    return lambda state, world: answer_probabilities(state, world, config, world.recommendable)


def _slate_probabilities(config: LoggedConfig, world: World, state: LoggedState, slate: Array) -> Array:
    """P(feedback) of the items of a slate [K], lowered as far as they are alike: [K, F]."""
    p = answer_probabilities(state, world, config, slate)
    if not config.slate_interaction:
        return p
    alike = mean_cosine(world.users.text(world.item_table[slate]))
    return jnp.maximum(p - config.slate_interaction * alike[:, None], 0.0)


def _spec(config: LoggedConfig, world: World, length: int) -> EnvSpec:
    """Sizes, names and ranges of the environment."""
    names = world.users.feedback_names
    return EnvSpec(
        name="logged",
        action=SlateAction(size=config.slate_size),
        num_items=world.item_table.shape[0],
        feedback=names,
        reward_weights=feedback_weights(config.reward, names),
        feedback_range=((0.0, 1.0),) * len(names),
        context_size=world.users.context_size,
        history_length=length,
        repeats=config.repeats,
        items_add_up=not config.slate_interaction,
    )


def observed_rows(config: LoggedConfig, recommendable: int) -> int:
    """H, rows of the history that policies observe and that are not shown again.

    Raises InputError unless they hold a whole visit, and a slate fits into the items that remain.
    """
    visit, most = config.requests * config.slate_size, recommendable - config.slate_size
    if config.slate_size > recommendable:
        raise InputError(
            f"env.slate_size: slates of {config.slate_size} items do not fit into {recommendable} recommendable items; "
            "lower env.slate_size or data.min_item_ratings."
        )
    if config.repeats:
        return config.history_length or OBSERVED
    length = config.history_length or min(max(OBSERVED, visit), most)
    if length > most or visit > most:
        raise InputError(
            f"env.history_length: slates of {config.slate_size} items, after {max(length, visit)} that are not shown "
            f"again, do not fit into {recommendable} recommendable items; lower env.requests, env.slate_size, "
            "env.history_length or data.min_item_ratings, or set env.repeats."
        )
    if length < visit:
        raise InputError(
            f"env.history_length: {length} rows do not hold the {visit} items of a visit ({config.requests} requests "
            f"of {config.slate_size}), so items would be shown twice; raise it to {visit}, or set env.repeats."
        )
    return length


def first_place(config: LoggedConfig, uniform: Array, rows: Array) -> Array:
    """Rows [] int32 of a user with `rows` [] rows that come before the visit, from a number in [0, 1)."""
    if not config.new_users:
        return scaled(uniform, rows)
    few = jnp.minimum(rows, FEW + 1)
    new = uniform < config.new_users
    rest = jnp.where(new, uniform / config.new_users, (uniform - config.new_users) / max(1 - config.new_users, 1e-6))
    return scaled(rest, jnp.where(new, few, rows))


def history_before(users: LoggedUsers, user: Array, place: Array, length: int) -> UserHistory:
    """The latest `length` rows of a user [] int32 before their row number `place` [] int32 (from 0) in the log."""
    begin = users.begin[user]
    position = begin + place
    rows = position - length + jnp.arange(length)
    valid, rows = rows >= begin, jnp.maximum(rows, 0)
    return UserHistory(
        items=jnp.where(valid, users.items[rows], PADDING),
        feedback=jnp.where(valid[:, None], users.feedback[rows], 0.0),
        count=place.astype(jnp.float32),
        totals=users.totals[position],
        context=None if users.context is None else users.context[position],
    )


def begin_visit(config: LoggedConfig, history: UserHistory, person: Any, leave: Any) -> LoggedState:
    """Start an episode of a person with this history; `leave` is the first state of the leave model."""
    start = jnp.asarray(0, jnp.int32)
    return LoggedState(history, person, leave, start, start, None if config.comeback_model is None else start)


def draws(key: Array, shape: tuple[int, ...], *more: bool) -> tuple[Array, list[Array]]:
    """Draw numbers in [0, 1) of `shape` and one more [] for each true one of `more`, all at once; 0 for the others."""
    size = math.prod(shape)
    if not any(more):
        return jax.random.uniform(key, shape), [jnp.asarray(0.0) for _ in more]
    numbers = jax.random.uniform(key, (size + sum(more),))
    rest = iter(range(size, size + sum(more)))
    return numbers[:size].reshape(shape), [numbers[next(rest)] if wanted else jnp.asarray(0.0) for wanted in more]


def _observation(users: LoggedUsers, state: LoggedState) -> Observation:
    history, mask = state.history, offered_to(users.known, state.person)
    return Observation(
        context=history.context,
        history_items=history.items,
        history_feedback=history.feedback,
        history_shown=state.shown,
        mask=mask,
    )


def answer_probabilities(state: LoggedState, world: World, config: LoggedConfig, items: Array | None = None) -> Array:
    """P(feedback) of single items, before the slate's interaction: [..., K, F] of `items` [..., K], or [..., I, F]."""
    users = world.users
    return make_answers(config, users).probabilities(users, state.person, state.history, items)


def expected_rewards(state: LoggedState, world: World, config: LoggedConfig, items: Array | None = None) -> Array:
    """Expected feedback reward if each item alone is shown to users [...]: [..., K] of `items`, or [..., I]."""
    p = answer_probabilities(state, world, config, items)
    return p @ jnp.asarray(feedback_weights(config.reward, world.users.feedback_names))


def check_users(config: LoggedConfig, feedback: tuple[str, ...], members: int) -> None:
    """Raise InputError if rewards, leave model or pessimism do not fit the kinds of `feedback` and the `members`."""
    make_leave(config.leave, config.reward, feedback)
    make_reward(config.reward, feedback, comebacks=config.comeback_model is not None)
    if config.pessimism and members < 2:
        raise InputError("env.pessimism: a single fit has no standard deviation; set response.members to 2 or more.")
