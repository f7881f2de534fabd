"""The parts that all learners from a replay share: exploring, replay, gradient steps, the target network.

Learners of slates differ in their loss: `make_value_learner(env, config, loss, remember)`. Everything else is a choice
of the config: windows of n steps, priorities (arXiv 1511.05952), how slates are explored (`jaxrec.learn.explore`).
Learners of vectors (`jaxrec.learn.actor_critic`) give more `Parts` of their own to `make_replay_learner`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxrec.config.replay_learners import ReplayConfig, ValueConfig
from jaxrec.learn import priorities
from jaxrec.learn import replay as ring
from jaxrec.learn.explore import check_countable, counted, make_explorer, next_heads
from jaxrec.learn.heads import Streams, descend_heads
from jaxrec.learn.rollout import (
    Decision,
    Users,
    UsersWithMemory,
    critic_view,
    experience_metrics,
    rollout,
    split_shards,
)
from jaxrec.learn.state import annealed_rate, first_fields, make_optimizer
from jaxrec.learn.value_state import (
    Explorer,
    ExploringState,
    PrioritisedState,
    ValueState,
    exploring_state,
    first_state,
)
from jaxrec.nets.policy import Policy, make_policy, to_items
from jaxrec.ops.descend import descend
from jaxrec.ops.schedules import linear
from jaxrec.types import Array, Env, Learner, Metrics, Observation, Params, Transition, World


class Judgement(struct.PyTreeNode):
    """What a loss says besides its value."""

    metrics: Metrics
    error: Array  # [S, B] absolute temporal-difference error of every window


# Parameters, those of the target network, the policy, a minibatch, world, the config -> loss [], judgement.
Loss = Callable[[Params, Params, Policy, ring.Sample, World, Any], tuple[Array, Judgement]]
# Transitions [T, S, N, ...] -> what the replay keeps of them, in the same order of axes.
Remember = Callable[[Transition], ring.Experience]


def make_value_learner(env: Env, config: ValueConfig, loss: Loss, remember: Remember) -> Learner:
    """Build a learner of values of slates' items; raises InputError if actions are not slates."""
    size = env.spec.slate_size  # raises for other actions
    check_countable(env.spec, config)
    policy, optimizer = make_policy(env.spec, config.policy), make_optimizer(config)
    descend_once = partial(_gradient_step, policy=policy, loss=loss, optimizer=optimizer, config=config)

    def explorer(state: ValueState, world: World) -> Explorer:
        found = make_explorer(policy, config, state, world, size)
        return found._replace(choose=lambda key, obs, memory: to_items(found.choose(key, obs, memory), obs, world))

    def first(fields: dict[str, Any], key: Array, world: World) -> ValueState:
        return exploring_state(config, fields, key, policy, optimizer, world)

    return make_replay_learner(env, config, Parts(policy.init, optimizer, explorer, descend_once, remember, first))


class Parts(NamedTuple):
    """What learners from a replay differ in."""

    fresh: Callable[[Array, World], Params]  # key, world -> new parameters
    optimizer: optax.GradientTransformation
    explorer: Callable[[Any, World], Explorer]
    # State without users and replay, key [S], replay, memory of the user streams, world, learning rate -> state after
    # one minibatch, metrics
    descend_once: Callable[[Any, Array, ring.Replay, Streams | None, World, Array], tuple[Any, Metrics]]
    remember: Remember
    # Fields of `ValueState`, key, world -> the first state; None: that of `first_state`
    first: Callable[[dict[str, Any], Array, World], ValueState] | None = None


def make_replay_learner(env: Env, config: ReplayConfig, parts: Parts) -> Learner:
    """Build a learner over an auto-resetting environment that learns from a replay of what users did."""

    def init(key: Array, world: World, params: Params | None = None) -> ValueState:
        key_policy, key_users, key_first = jax.random.split(key, 3)
        start: Params = parts.fresh(key_policy, world) if params is None else params
        fields = first_fields(env, config, start, parts.optimizer, key_users, world)
        fields |= {
            "target_params": jax.tree.map(jnp.copy, start),  # the state is donated, so no buffer may be shared
            "gradient_step": jnp.asarray(0, jnp.int32),
            "replay": ring.empty(_example(fields["users"], env, parts.remember, world, config), config.replay_steps),
        }
        if parts.first is None:
            return first_state(config, fields)
        return parts.first(fields, key_first, world)

    def update(state: ValueState, world: World) -> tuple[ValueState, Metrics]:
        rate = annealed_rate(config, state)
        explorer = parts.explorer(state, world)
        users, transitions = collect(env, explorer, state, world, config)
        streams = users.memory if isinstance(users, UsersWithMemory) else None
        key, key_sample = split_shards(users.key, 2)
        rows = jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), parts.remember(transitions))
        replay = ring.add(state.replay, rows)
        if isinstance(state, PrioritisedState) and state.priorities is not None:
            state = state.replace(priorities=priorities.add(state.priorities, state.replay, config.horizon))
        if isinstance(state, ExploringState) and state.counts is not None:
            state = state.replace(counts=counted(state.counts, transitions))

        def gradient_step(learned: Any, step_key: Array) -> tuple[Any, Metrics]:
            return parts.descend_once(learned, step_key, replay, streams, world, rate)

        def learn(learned: Any) -> tuple[Any, Metrics]:
            learned, metrics = jax.lax.scan(gradient_step, learned, split_shards(key_sample, config.gradient_steps))
            return learned, jax.tree.map(jnp.mean, metrics)

        def wait(learned: Any) -> tuple[Any, Metrics]:
            return learned, jax.tree.map(jnp.zeros_like, jax.eval_shape(learn, learned)[1])

        # The branch reads the ring but does not return it, so the ring is not copied.
        transitions_kept = replay.size * config.num_users
        ready = (replay.size > config.n_step) & (transitions_kept >= config.learning_starts)
        learned, metrics = jax.lax.cond(ready, learn, wait, state.replace(users=None, replay=None))
        metrics |= experience_metrics(users, transitions)
        metrics |= explorer.metrics | {"learning_rate": rate, "replay_size": transitions_kept}
        return learned.replace(users=users.replace(key=key), replay=replay, step=state.step + 1), metrics

    return Learner(init, update)


def _gradient_step(
    learned: Any,
    key: Array,
    replay: ring.Replay,
    streams: Streams | None,
    world: World,
    rate: Array,
    *,
    policy: Policy,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    config: ValueConfig,
) -> tuple[Any, Metrics]:
    """One minibatch: parameters, target network and, if there are such, heads and priorities.

    `learned` has neither users nor replay.
    """
    learned, batch, where = draw(learned, key, replay, config)
    grad, judged = jax.grad(loss, has_aux=True)(learned.params, learned.target_params, policy, batch, world, config)
    params, opt_state = descend(optimizer, grad, learned.params, learned.opt_state, rate)
    done = learned.gradient_step + 1
    target, metrics = follow(params, learned.target_params, done, config), judged.metrics
    if streams is not None:
        heads, more = descend_heads(
            learned.heads,
            learned,
            batch,
            streams.taught,
            world,
            rate,
            policy=policy,
            loss=loss,
            optimizer=optimizer,
            follow=lambda params, target: follow(params, target, done, config),
            config=config,
        )
        learned, metrics = learned.replace(heads=heads), metrics | more
    learned = learned.replace(params=params, target_params=target, opt_state=opt_state, gradient_step=done)
    learned = reprioritised(learned, where, judged.error, config)
    return learned, metrics | {"grad_norm": optax.tree.norm(grad)}


def draw(
    learned: Any, key: Array, replay: ring.Replay, config: ReplayConfig
) -> tuple[Any, ring.Sample, priorities.Places | None]:
    """Draw a minibatch, uniformly or by priority; the places are those whose priorities change afterwards."""
    count = config.batch_size // config.shards
    if not config.priority:
        return learned, ring.sample(key, replay, count, config.n_step, config.gamma), None
    correction = linear(learned.step, config.priority_correction, 1.0, config.priority_updates)
    where, weight = priorities.draw(key, learned.priorities, replay, count, config.n_step, correction)
    batch = ring.windows(replay, where.start, where.user, config.n_step, config.gamma)
    return learned, batch.replace(weight=batch.weight * weight), where


def reprioritised(learned: Any, where: priorities.Places | None, error: Array, config: ReplayConfig) -> Any:
    """Set the priorities of the drawn windows from their errors, if there are priorities."""
    if where is None:
        return learned
    return learned.replace(priorities=priorities.update(learned.priorities, where, error, config.priority))


def collect(
    env: Env, explorer: Explorer, state: ValueState, world: World, config: ReplayConfig
) -> tuple[Users, Transition]:
    """Roll out the actions that the explorer chooses; transitions are [T, S, N, ...]."""

    def act(key: Array, obs: Observation, memory: Streams | None = None) -> Decision:
        return Decision(explorer.choose(key, obs, memory))

    return rollout(
        env,
        act,
        lambda extras, *_: extras,
        state.users,
        world,
        config.horizon,
        show_hidden=config.policy.value == "hidden",
        remember=next_heads if isinstance(state.users, UsersWithMemory) else None,
    )


def follow(params: Params, target_params: Params, gradient_step: Array, config: ReplayConfig) -> Params:
    """Move the target network by `target_rate`, every `target_period` gradient steps."""
    moved = optax.incremental_update(params, target_params, config.target_rate)
    return optax.periodic_update(moved, target_params, gradient_step, config.target_period)


def shown(obs: Observation, slate: Array) -> Observation:
    """The same user with the shown items as the only candidates."""
    if obs.candidate_features is not None:
        features = jnp.take_along_axis(obs.candidate_features, slate[..., None], axis=-2)
        return obs.replace(candidate_features=features, mask=None)
    ids = slate if obs.candidates is None else jnp.take_along_axis(obs.candidates, slate, axis=-1)
    return obs.replace(candidates=ids, mask=None)


def _example(users: Users, env: Env, remember: Remember, world: World, config: ReplayConfig) -> ring.Experience:
    """Build one step of every user [S, N, ...], used only for its shapes."""
    obs = critic_view(env, users, world) if config.policy.value == "hidden" else users.obs
    lead = jax.tree.leaves(obs)[0].shape[:2]
    flag, reward = jnp.zeros(lead, jnp.bool_), jnp.zeros(lead)
    feedback = jnp.zeros((*lead, env.spec.shown, len(env.spec.feedback)))
    return remember(Transition(obs, env.spec.action.zeros(lead), reward, flag, flag, feedback))
