"""Users fitted to a log, request level: every request shows a slate of the catalogue, every shown item is answered.

The KuaiSim class of simulators (arXiv 2309.12645) with the response model of `jaxrec.supervised.response`.
Observation: `history_items` [H] and `history_feedback` [H, F]: the items that were *rated*, which in a log of ratings
means every shown item, liked or not; `candidates` is None, an action is K item ids. Feedback of item i: one Bernoulli
draw a kind from the fitted probability, the mean of an ensemble. A new user is a random user of the log at a random
position, with that user's real earlier items as history. After `requests` slates the episode is truncated; nobody
leaves.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrec.checks import InputError, check_shape
from jaxrec.config.users import LoggedConfig
from jaxrec.data.log import Log
from jaxrec.envs.rewards import make_reward
from jaxrec.storage.files import atomic_path
from jaxrec.storage.portable import load_portable, save_portable
from jaxrec.supervised.response import (
    Response,
    UserHistory,
    all_probabilities,
    load_response,
    observe,
    probabilities,
    save_response,
    user_state,
)
from jaxrec.types import PADDING, Array, Env, EnvSpec, Observation, StepOutput, World

KIND = "simulator"


class LoggedUsers(struct.PyTreeNode):
    """What the user model reads: the fitted response and the log whose positions new users start from."""

    members: Response  # an ensemble, leaves [members, ...]; users follow its mean probability
    items: Array  # [L] int32, rows of the log sorted by user and time
    feedback: Array  # [L, F]
    totals: Array  # [L, F] feedback that the row's user gave before the row
    begin: Array  # [U] int32, first row of every user with rows
    length: Array  # [U] int32, rows of every user


class LoggedState(struct.PyTreeNode):
    """One user between two requests."""

    history: UserHistory
    request: Array  # [] int32, slates shown so far


def make_world(
    members: Sequence[Response], log: Log, item_table: np.ndarray, recommendable: np.ndarray | None = None
) -> World:
    """World parameters of users who start from positions of `log`; `item_table` [I, E] is what policies read.

    `members` are response models of one shape, fitted with different seeds; `recommendable` is [I] bool.
    """
    if not len(log):
        raise InputError("simulator: the log has no rows to start users from.")
    first, length = log.offsets[:-1], np.diff(log.offsets)
    begin = first[log.user]  # [L]
    before = np.concatenate([np.zeros((1, log.feedback.shape[1])), np.cumsum(log.feedback, 0, dtype=np.float64)])
    users = LoggedUsers(
        members=_stack(members),
        items=jnp.asarray(log.item, jnp.int32),
        feedback=jnp.asarray(log.feedback, jnp.float32),
        totals=jnp.asarray(before[np.arange(len(log))] - before[begin], jnp.float32),
        begin=jnp.asarray(first[length > 0], jnp.int32),
        length=jnp.asarray(length[length > 0], jnp.int32),
    )
    shown = None if recommendable is None else jnp.asarray(np.flatnonzero(recommendable), jnp.int32)
    return World(item_table=jnp.asarray(item_table), recommendable=shown, users=users)


def make(config: LoggedConfig, world: World | None = None) -> Env:
    """Build the environment over `world`, or over the simulator saved in `config.path`."""
    if world is None:
        if not config.path:
            raise InputError(
                "env.path: the logged environment needs a fitted simulator; "
                "`jaxrec train` leaves one in RUN/simulators/train."
            )
        world = load_simulator(config.path)
    members: Response = world.users.members
    names, window, num_items = members.feedback_names, members.history_length, world.item_table.shape[0]
    slate_size = config.slate_size
    shown = num_items if world.recommendable is None else world.recommendable.shape[0]
    check_room(slate_size, window, shown)
    reward_of = make_reward(config.reward, names)

    def observation(history: UserHistory) -> Observation:
        return Observation(history_items=history.items, history_feedback=history.feedback)

    def reset(key: Array, params: World) -> tuple[LoggedState, Observation]:
        users: LoggedUsers = params.users
        # A user, then a position of theirs: drawing rows instead would let a handful of heavy raters be the crowd.
        draw = jax.random.uniform(key, (2,))
        user = _scaled(draw[0], users.begin.shape[0])
        begin = users.begin[user]
        position = begin + _scaled(draw[1], users.length[user])
        rows = position - window + jnp.arange(window)
        valid, rows = rows >= begin, jnp.maximum(rows, 0)
        history = UserHistory(
            items=jnp.where(valid, users.items[rows], PADDING),
            feedback=jnp.where(valid[:, None], users.feedback[rows], 0.0),
            count=(position - begin).astype(jnp.float32),
            totals=users.totals[position],
        )
        return LoggedState(history, jnp.asarray(0, jnp.int32)), observation(history)

    def step(key: Array, state: LoggedState, action: Array, params: World) -> tuple[LoggedState, StepOutput]:
        check_shape("action", action, (slate_size,))
        p = _mean(params, lambda model: probabilities(model, user_state(model, state.history), action))  # [K, F]
        feedback = (jax.random.uniform(key, p.shape) < p).astype(jnp.float32)
        after = LoggedState(observe(state.history, action, feedback), state.request + 1)
        obs = observation(after.history)
        return after, StepOutput(
            obs=obs,
            reward=reward_of(feedback),
            terminated=jnp.asarray(False),
            truncated=after.request >= config.requests,
            feedback=feedback,
            final_obs=obs,
        )

    spec = EnvSpec(name="logged", slate_size=slate_size, num_items=num_items, feedback=names, history_length=window)
    return Env(reset, step, world, spec)


def _mean(params: World, answer: Callable[[Response], Array]) -> Array:
    """Mean over the members of the ensemble of what each answers."""
    return jax.vmap(answer)(params.users.members).mean(0)


def _stack(members: Sequence[Response]) -> Response:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)


def _scaled(uniform: Array, size: Array | int) -> Array:
    """A whole number below `size` from a number in [0, 1)."""
    size = jnp.asarray(size, jnp.int32)
    return jnp.minimum((uniform * size.astype(jnp.float32)).astype(jnp.int32), size - 1)


def check_room(slate_size: int, history_length: int, recommendable: int) -> None:
    """The history is never shown again: a slate must fit into what is left of the recommendable items."""
    if slate_size + history_length > recommendable:
        raise InputError(
            f"env.slate_size: {slate_size} items beside a history of {history_length} do not fit into {recommendable} "
            "recommendable items; lower env.slate_size, response.history_length or data.min_item_ratings."
        )


def item_rewards(state: LoggedState, params: World, config: LoggedConfig) -> Array:
    """Expected reward of showing each item next to users [B]: [B, I]. What only an oracle knows."""
    p = _mean(params, lambda model: all_probabilities(model, user_state(model, state.history)))  # [B, I, F]
    weights = jnp.asarray([config.reward.get(name, 0.0) for name in params.users.members.feedback_names])
    return p @ weights


def save_simulator(folder: Path, world: World) -> None:
    """Write a fitted simulator, whole or not at all."""
    users: LoggedUsers = world.users
    arrays: dict[str, Any] = {
        "item_table": world.item_table,
        "items": users.items,
        "feedback": users.feedback,
        "totals": users.totals,
        "begin": users.begin,
        "length": users.length,
    }
    if world.recommendable is not None:
        arrays["recommendable"] = world.recommendable
    with atomic_path(Path(folder).absolute()) as temporary:
        save_portable(temporary, KIND, arrays, {"members": users.members.base.shape[0]})
        for n in range(users.members.base.shape[0]):
            save_response(temporary / f"response_{n}", jax.tree.map(lambda x, n=n: x[n], users.members))


def load_simulator(folder: str | Path) -> World:
    """Open a folder written by `save_simulator`; raises InputError where there is none or it is damaged."""
    arrays, description = load_portable(Path(folder), KIND)
    try:
        members = _stack([load_response(Path(folder) / f"response_{n}") for n in range(description["members"])])
        arrays = {name: jnp.asarray(value) for name, value in arrays.items()}
        users = LoggedUsers(members, *(arrays[name] for name in ("items", "feedback", "totals", "begin", "length")))
        return World(item_table=arrays["item_table"], recommendable=arrays.get("recommendable"), users=users)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder}: damaged simulator ({error}); fit it again with `jaxrec train`.") from None
