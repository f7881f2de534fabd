"""Full-matrix replay: users answer every item with an entry of a known matrix of rewards, one item per turn.

EasyRL4Rec (arXiv 2402.15164) has such users for KuaiRec, Coat, Yahoo R3 and MovieLens. A new user is a random row of
the matrix [U, I], which the agent does not see. Feedback of the shown item: `value`, its entry. Only the choice of the
user is random.

Observation: `history_items` [H] and `history_feedback` [H, F = 1]: what was shown in this visit and its value, with
H = `turns`. There is no user and no context. `candidates` is None, and policies exclude the history, so that no item is
shown twice. With `repeats` the candidates are all recommendable items, the action is a position among them, and any
item may be shown again. The item table has scaled vectors, then categories, as far as the matrix comes with them.

The visit ends when the user leaves (termination), by a rule about the items shown lately (`jaxrec.envs.leave`):
    categories  a category of the new item was in more than `threshold` of the last `window` items (KuaiRec: 1 of 9)
    distance    the new item is nearer than `threshold` to one of the last `window` items, by the item vectors; the
                published distances are between matrix columns, so give the transposed matrix as vectors
It also ends after `turns` items (truncation). The item that makes the user leave still gives its reward. Until `window`
items have been shown, all of them count; `compat` uses EasyRL4Rec's shorter window instead.

Always read the coverage next to a return: showing a few items to everyone is often the best policy here.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrec.checks import InputError, check_shape
from jaxrec.config.full_matrix import FullMatrixConfig
from jaxrec.data.matrix import RewardMatrix, load_matrix
from jaxrec.envs.leave import ITEM_RULES, leave_window
from jaxrec.envs.rewards import feedback_weights, make_reward
from jaxrec.types import PADDING, Array, Env, EnvSpec, Observation, SlateAction, StepOutput, World

FEEDBACK = ("value",)
COMPARED = {"categories": "categories", "distance": "vectors"}  # item features that each leave rule reads


class MatrixUsers(struct.PyTreeNode):
    """What the user model reads; the constants of the leave rule can change without compiling again."""

    matrix: Array  # [U, I]
    compared: Array | None  # [I, C] categories or [I, E] vectors that the leave rule reads
    window: Array  # [] int32, how many items the leave rule looks back, at most as in the config
    threshold: Array  # [] float32, of the leave rule
    turns: Array  # [] int32, at most H


class FullMatrixState(struct.PyTreeNode):
    """One user between two turns."""

    user: Array  # [] int32 row of the matrix, hidden from the agent
    items: Array  # [H] int32 shown in this visit
    values: Array  # [H, 1]
    turn: Array  # [] int32, items shown so far


def make(config: FullMatrixConfig, world: World | None = None) -> Env:
    """Build the environment over `world`, or over the matrix in `config.path`."""
    if world is None:
        if not config.path:
            raise InputError("env.path: the full_matrix environment needs a matrix; set it to a .npz file.")
        world = make_world(load_matrix(config.path), config)
    offered = world.num_recommendable
    if config.turns >= offered and not config.repeats:
        raise InputError(
            f"env.turns: {config.turns} turns without repeats need more than the {offered} recommendable items; "
            "lower env.turns or set env.repeats."
        )
    reward_of = make_reward(config.reward, FEEDBACK)

    def observe(state: FullMatrixState, world: World) -> Observation:
        candidates = offer(world) if config.repeats else None
        return Observation(history_items=state.items, history_feedback=state.values, candidates=candidates)

    def reset(key: Array, world: World) -> tuple[FullMatrixState, Observation]:
        state = FullMatrixState(
            user=jax.random.randint(key, (), 0, world.users.matrix.shape[0], jnp.int32),
            items=jnp.full(config.turns, PADDING, jnp.int32),
            values=jnp.zeros((config.turns, 1)),
            turn=jnp.asarray(0, jnp.int32),
        )
        return state, observe(state, world)

    def step(key: Array, state: FullMatrixState, action: Array, world: World) -> tuple[FullMatrixState, StepOutput]:
        check_shape("action", action, (1,))
        item = offer(world)[action] if config.repeats else action.astype(jnp.int32)
        feedback = world.users.matrix[state.user, item][:, None]  # [1, 1]
        left = leaves(config, world.users, state, item)[0]
        after = FullMatrixState(
            user=state.user,
            items=jnp.concatenate([state.items[1:], item]),
            values=jnp.concatenate([state.values[1:], feedback]),
            turn=state.turn + 1,
        )
        obs = observe(after, world)
        return after, StepOutput(
            obs=obs,
            reward=reward_of(feedback, left),
            terminated=left,
            truncated=(after.turn >= world.users.turns) & ~left,
            feedback=feedback,
            final_obs=obs,
        )

    return Env(reset, step, world, _spec(config, world))


def _spec(config: FullMatrixConfig, world: World) -> EnvSpec:
    """Sizes, names and ranges of the environment."""
    matrix = world.users.matrix
    return EnvSpec(
        name="full_matrix",
        action=SlateAction(size=1),
        num_items=world.item_table.shape[0],
        feedback=FEEDBACK,
        reward_weights=feedback_weights(config.reward, FEEDBACK),
        num_candidates=world.num_recommendable if config.repeats else None,
        history_length=config.turns,
        feedback_range=((float(matrix.min()), float(matrix.max())),),
    )


def make_world(rewards: RewardMatrix, config: FullMatrixConfig) -> World:
    """Build world parameters of a matrix; raises InputError if it lacks what the leave rule of `config` reads."""
    compared = None
    if config.leave is not None:
        name = COMPARED[config.leave.name]
        if getattr(rewards, name) is None:
            raise InputError(f"env.leave: {config.leave.name} needs {name} of the items, which the matrix lacks.")
        compared = jnp.asarray(getattr(rewards, name), jnp.float32)
    parts = [] if rewards.vectors is None else [_scaled(rewards.vectors)]
    parts += [] if rewards.categories is None else [rewards.categories.astype(np.float32)]
    shown = rewards.recommendable
    users = MatrixUsers(
        matrix=jnp.asarray(rewards.matrix, jnp.float32),
        compared=compared,
        window=jnp.asarray(config.leave.window if config.leave else 0, jnp.int32),
        threshold=jnp.asarray(config.leave.threshold if config.leave else 0.0, jnp.float32),
        turns=jnp.asarray(config.turns, jnp.int32),
    )
    return World(
        item_table=jnp.asarray(np.concatenate(parts, axis=1)),
        recommendable=None if shown is None or shown.all() else jnp.asarray(np.flatnonzero(shown), jnp.int32),
        users=users,
    )


def check_source(config: FullMatrixConfig, feedback: tuple[str, ...] | None) -> None:
    """Raise InputError unless a recipe has one source: a file, or a log with one kind of `feedback`."""
    if bool(config.path) == (feedback is not None):
        raise InputError("env.path: expected one source, a matrix or a log; give either env.path or data.")
    if feedback is not None and len(feedback) != 1:
        raise InputError(f"data.feedback: a matrix holds one kind of feedback, got {', '.join(feedback)}; keep one.")
    make_reward(config.reward, FEEDBACK)


def leaves(config: FullMatrixConfig, users: MatrixUsers, state: FullMatrixState, items: Array) -> Array:
    """Tell whether the user would leave after seeing each of `items` [N] int32: [N] bool."""
    if config.leave is None or users.compared is None:
        return jnp.zeros(items.shape, bool)
    recent = jnp.maximum(state.items[-config.leave.window :], 0)
    in_window = leave_window(state.turn, users.window, recent.shape[0], compat=config.compat)
    return ITEM_RULES[config.leave.name](users.compared, items, recent, in_window, users.threshold)


def matrix_rewards(config: FullMatrixConfig, state: FullMatrixState, world: World, *, staying: bool = False) -> Array:
    """Feedback reward of every item for one user: [I]. Only an oracle knows it.

    With `staying`, items that make the user leave rank last, whatever their reward.
    """
    values = world.users.matrix[state.user] * feedback_weights(config.reward, FEEDBACK)[0]
    if not staying or config.leave is None:
        return values
    left = leaves(config, world.users, state, jnp.arange(values.shape[0]))
    return values - jnp.where(left, 1.0 + values.max() - values.min(), 0.0)


def offer(world: World) -> Array:
    """Items that may be shown: [R] int32."""
    if world.recommendable is not None:
        return world.recommendable
    return jnp.arange(world.item_table.shape[0], dtype=jnp.int32)


def _scaled(vectors: np.ndarray) -> np.ndarray:
    """Centre vectors and scale them to unit variance over all numbers; ratios of distances do not change."""
    vectors = vectors.astype(np.float32)
    centred = vectors - vectors.mean(0)
    return centred / max(float(centred.std()), 1e-8)
