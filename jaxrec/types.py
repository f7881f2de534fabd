"""The few types that all packages share.

Axis letters: `B` batch, `T` time, `K` slate, `M` candidates, `I` catalogue, `E` embedding, `F` feedback kinds,
`H` history, `C` context, `A` actions, `U` user interests, `R` recommendable items, `S` logical shards, `N` users per
shard, `D` features of one position.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrec.checks import InputError

Array = jax.Array
Params = Any  # a plain nested dict of arrays
Metrics = dict[str, Array]

PADDING = -1  # item id of an empty history position; histories are right-aligned, newest last


class World(struct.PyTreeNode):
    """World parameters: everything large that users and policies read but reinforcement learning does not own.

    They are an argument of every `reset`, `step`, `init` and `update`. They are never closed over, never donated, and
    never in the learner's state.
    """

    item_table: Array  # [I, E] one row per item: text embedding and other features
    recommendable: Array | None = None  # [R] int32, increasing: items that a policy may show; None: all of them
    usual_context: Array | None = None  # [C] mean of the log, which policies assume if a visit's context is unknown
    users: Any = None  # what one user model reads besides the table; its type is in that model's file
    tastes: Any = None  # `jaxrec.nets.tastes.Tastes` without persons, which policies with `belief` read

    @property
    def num_recommendable(self) -> int:
        """R, the number of items that a policy may show."""
        return self.item_table.shape[0] if self.recommendable is None else self.recommendable.shape[0]

    def offered(self) -> np.ndarray:
        """Numbers [R] of the items that a policy may show, increasing, on the host."""
        every = self.recommendable is None
        return np.arange(self.item_table.shape[0]) if every else np.asarray(self.recommendable)


class Observation(struct.PyTreeNode):
    """What the agent sees; fields that a family of environments does not have are None.

    Items are given by id, not by embedding: policies gather rows of `World.item_table` on the device.
    """

    user: Array | None = None  # [..., U] interests
    context: Array | None = None  # [..., C]
    history_items: Array | None = None  # [..., H] int32, newest last, PADDING where empty
    history_feedback: Array | None = None  # [..., H, F]
    history_shown: Array | None = None  # [...] int32, latest rows that were shown in this episode; None: none
    candidates: Array | None = None  # [..., M] int32 item ids; None: the whole catalogue, or documents in no table
    candidate_features: Array | None = None  # [..., M, D] of documents that are in no table
    mask: Array | None = None  # [..., M] bool, candidates that may be shown

    @property
    def offers_candidates(self) -> bool:
        """True: an action holds positions among M candidates or documents. False: it holds item ids."""
        return self.candidates is not None or self.candidate_features is not None


class CriticView(Observation):
    """An observation with what the simulator knows besides; only the value network of a learner in training sees it.

    It is a class of its own, so that observations that are kept, and their checkpoints, lack the field.
    """

    hidden: Array | None = None  # [..., Z]


class StepOutput(struct.PyTreeNode):
    """What one step of an environment returns."""

    obs: Observation  # what the policy sees next; under auto-reset a new user's first observation
    reward: Array  # [...]
    terminated: Array  # [...] bool, the user left: do not bootstrap
    truncated: Array  # [...] bool, session cap: bootstrap from the value of final_obs
    feedback: Array  # [..., K, F] of every shown item
    final_obs: Observation  # the old user's last observation; equals obs unless the episode just ended
    final_hidden: Array | None = (
        None  # [..., Z] of the user of final_obs; under auto-reset, where the simulator says it
    )
    stay: Array | None = None  # [...] where users are kept: chance that the user would have stayed, a discount


class Transition(struct.PyTreeNode):
    """One step as learners keep it, with a single observation; `extras` is the algorithm's own struct."""

    obs: Observation
    action: Array  # [..., *EnvSpec.action.shape]: a slate [..., K] int32, or a vector [..., A]
    reward: Array  # [...]
    terminated: Array  # [...] bool
    truncated: Array  # [...] bool
    feedback: Array  # [..., K, F]
    stay: Array | None = None  # [...] of the step
    extras: Any = None
    env_state: Any = None  # of the users before the step, if the learner asks for it


@dataclasses.dataclass(frozen=True, kw_only=True)
class SlateAction:
    """K items without repetition: positions among the candidates, or item ids if the whole catalogue is on offer."""

    name: Literal["slate"] = "slate"
    size: int  # K

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one user's action."""
        return (self.size,)

    @property
    def dtype(self) -> np.dtype:
        """Type of its numbers."""
        return np.dtype(np.int32)

    def zeros(self, lead: tuple[int, ...] = ()) -> Array:
        """An action of every user of `lead`, for its shape and type: [*lead, K]."""
        return jnp.zeros((*lead, *self.shape), self.dtype)


@dataclasses.dataclass(frozen=True, kw_only=True)
class VectorAction:
    """A point in item space, or weights of behaviours: A real numbers, each between `low` and `high`.

    `of` says how it becomes a slate of the K = `slate` best items (`jaxrec.nets.nearest`): those whose rows are nearest
    to it ("item"), have the largest product with it ("query"), or whose expected feedback, weighted by it, is highest
    ("behaviours"). "numbers" are anything else, and become no slate.
    """

    name: Literal["vector"] = "vector"
    size: int  # A
    low: float = -math.inf
    high: float = math.inf
    of: Literal["numbers", "item", "query", "behaviours"] = "numbers"
    slate: int = 0  # K; 0: none

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one user's action."""
        return (self.size,)

    @property
    def dtype(self) -> np.dtype:
        """Type of its numbers."""
        return np.dtype(np.float32)

    def zeros(self, lead: tuple[int, ...] = ()) -> Array:
        """An action of every user of `lead`, for its shape and type: [*lead, A]."""
        return jnp.zeros((*lead, *self.shape), self.dtype)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EnvSpec:
    """Sizes, fields and names of one environment; 0 or None if a field is absent."""

    name: str
    action: SlateAction | VectorAction  # what one action is
    num_items: int  # I
    feedback: tuple[str, ...]  # names of the F feedback kinds
    reward_weights: tuple[float, ...] = ()  # [F] reward of one item's feedback; other parts belong to the slate
    num_candidates: int | None = None  # M; None: the whole catalogue, and an action is an item id
    candidate_size: int = 0  # D, features of documents that are in no table
    user_size: int = 0  # U
    context_size: int = 0  # C
    history_length: int = 0  # H
    hidden_size: int = 0  # Z, numbers of `Env.hidden`
    repeats: bool = False  # items of the history may be shown again
    feedback_range: tuple[tuple[float, float], ...] = ()  # [F] lowest and highest; () if unknown
    user_range: tuple[float, float] = (-math.inf, math.inf)  # of every number of `Observation.user`
    candidate_range: tuple[float, float] = (-math.inf, math.inf)  # of every number of `candidate_features`
    context_range: tuple[float, float] = (-math.inf, math.inf)
    # The expected reward of a slate is the sum of `Env.item_rewards` over its items, plus what belongs to no item.
    items_add_up: bool = False
    auto_reset: bool = False  # a user whose episode ends is replaced within the step

    @property
    def item_reward_range(self) -> tuple[float, float]:
        """Lowest and highest reward of one item, by the weights of feedback between 0 and 1."""
        return sum(min(w, 0.0) for w in self.reward_weights), sum(max(w, 0.0) for w in self.reward_weights)

    @property
    def slate_size(self) -> int:
        """K of environments whose actions are slates; raises InputError for others."""
        if not isinstance(self.action, SlateAction):
            raise InputError(
                f"{self.name}: an action is a {self.action.name} of {self.action.size} numbers, expected a slate of "
                "items; use a learner or recommender for such actions."
            )
        return self.action.size

    @property
    def vector(self) -> VectorAction:
        """The action of environments whose actions are vectors; raises InputError for others."""
        if not isinstance(self.action, VectorAction):
            raise InputError(
                f"{self.name}: an action is a slate of {self.action.size} items, expected a vector of numbers; set "
                "env.action, or use a learner of slates such as ppo or dqn."
            )
        return self.action

    @property
    def shown(self) -> int:
        """K, items whose feedback a step gives; 1 for vectors that become no slate."""
        return self.action.size if isinstance(self.action, SlateAction) else max(self.action.slate, 1)


class Expected(struct.PyTreeNode):
    """What is expected of a slate, and its derivatives."""

    reward: Array  # []
    reward_slope: Array  # [d] by the memory
    stay_slope: Array  # [d] of the chance to stay, by the memory
    stay_gain: Array  # [] of the chance to stay, by the slate's reward


class ItemMemory(NamedTuple):
    """How what is shown moves later answers: a memory [d] that fades, and what depends on it; functions of one user."""

    directions: Callable[[World], Array]  # [R, k] what showing each recommendable item adds to the memory
    keep: Callable[[World], Array]  # [] share of the memory that is kept from item to item
    # (state, slate [K] of item ids, world) -> expected reward of the slate, chance to stay after it
    expected: Callable[[Any, Array, World], Expected]


class Env(NamedTuple):
    """Pure functions of one user; batch them with `jax.vmap`, never inside.

    `spec.action` says what an action is: for instance a slate, [K] int32 positions among the candidates (item ids
    if the whole catalogue is on offer), without repetition.
    """

    reset: Callable[[Array, World], tuple[Any, Observation]]
    step: Callable[[Array, Any, Array, World], tuple[Any, StepOutput]]
    world: World  # defaults; passed back in by the caller
    spec: EnvSpec
    # (state, world) -> [R], the expected immediate reward of each recommendable item if it is shown alone; None if it
    # is unknown. Policies never see it. Learners may use it as a target.
    item_rewards: Callable[[Any, World], Array] | None = None
    memory: ItemMemory | None = None  # None: later answers do not depend on what is shown, or it is not known how
    # (state, world) -> [R, F], the feedback that a model of what policies see expects of each recommendable item shown
    # alone; None: there is none. Vectors of behaviour weights rank by it. Wrappers drop it.
    expected_feedback: Callable[[Any, World], Array] | None = None

    # (state, world) -> [Z] what policies do not see of a user, each number of about the size of 1; None: not known.
    # Value networks may read it in training (`policy.value: hidden`).
    hidden: Callable[[Any, World], Array] | None = None

    def hidden_of(self, inner: Callable[[Any], Any]) -> Callable[[Any, World], Array] | None:
        """`hidden` of a wrapper, whose state holds that of this environment as `inner(state)`."""
        known = self.hidden
        return None if known is None else lambda state, world: known(inner(state), world)

    def item_rewards_of(self, inner: Callable[[Any], Any]) -> Callable[[Any, World], Array] | None:
        """`item_rewards` of a wrapper, whose state holds that of this environment as `inner(state)`."""
        known = self.item_rewards
        return None if known is None else lambda state, world: known(inner(state), world)


class Learner(NamedTuple):
    """Pure functions; `state` holds everything that the next update reads except the world parameters.

    `init(key, world, params=None)`: if given, learning starts from `params` instead of fresh ones.
    """

    init: Callable[..., Any]
    update: Callable[[Any, World], tuple[Any, Metrics]]
