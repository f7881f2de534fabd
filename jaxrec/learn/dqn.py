"""Deep Q-learning over slates of independent items, with replay on the device.

Each shown item has its own value, Q(s, i) = value(s) + logits(s, i) of the two-tower policy (dueling without centring,
arXiv 1511.06581, eq. 7): ranking by logits is ranking by Q, so serving works as for any other policy. The slate is the
K best items. A shown item's target is its reward plus the discounted mean of the target network over the next K
best, chosen by the network being learned (double, arXiv 1509.06461). Targets of one slate sum to the slate's own
Bellman equation; with K = 1 this is ordinary DQN.
"""

import chex
import jax
import jax.numpy as jnp
import optax

from jaxrec.config.learners import DqnConfig
from jaxrec.learn import replay as ring
from jaxrec.learn.rollout import Decision, Users, experience_metrics, rollout, split_shards
from jaxrec.learn.state import LearnerState, annealed_rate, first_fields, make_optimizer
from jaxrec.nets.policy import Policy, PolicyOutput, make_policy, to_items
from jaxrec.ops.descend import descend
from jaxrec.ops.exploration import epsilon_greedy_slate
from jaxrec.ops.losses import td_loss
from jaxrec.ops.schedules import linear
from jaxrec.ops.slates import top_slate
from jaxrec.types import (
    Array,
    Env,
    EnvSpec,
    Learner,
    Metrics,
    Observation,
    Params,
    SlateAction,
    Transition,
    VectorAction,
    World,
)


class DqnState(LearnerState):
    """What one update reads and writes."""

    target_params: Params
    gradient_step: Array  # [] int32, gradient steps so far
    replay: ring.Replay


def make(env: Env, config: DqnConfig) -> Learner:
    """Build DQN over an auto-resetting environment whose actions are slates."""
    slate_size = env.spec.slate_size  # raises for other actions
    policy = make_policy(env.spec, config.policy)
    optimizer = make_optimizer(config)

    def init(key: Array, world: World, params: Params | None = None) -> DqnState:
        key_policy, key_users = jax.random.split(key)
        start: Params = policy.init(key_policy, world) if params is None else params
        fields = first_fields(env, config, start, optimizer, key_users, world)
        return DqnState(
            **fields,
            target_params=jax.tree.map(jnp.copy, start),  # the state is donated, so no buffer may be shared
            gradient_step=jnp.asarray(0, jnp.int32),
            replay=ring.empty(_example(fields["users"].obs, env.spec.action, slate_size), config.replay_steps),
        )

    def update(state: DqnState, world: World) -> tuple[DqnState, Metrics]:
        epsilon = linear(state.step, config.epsilon_start, config.epsilon_end, config.epsilon_updates)
        rate = annealed_rate(config, state)
        users, transitions = _collect(env, policy, state, world, epsilon, config.horizon)
        key, key_sample = split_shards(users.key, 2)
        replay = ring.add(state.replay, _experience(transitions, env.spec, config))

        def gradient_step(learned: DqnState, step_key: Array) -> tuple[DqnState, Metrics]:
            count = config.batch_size // config.shards
            batch = ring.sample(step_key, replay, count, config.n_step, config.gamma)
            grad, metrics = jax.grad(dqn_loss, has_aux=True)(
                learned.params, learned.target_params, policy, batch, world, config
            )
            params, opt_state = descend(optimizer, grad, learned.params, learned.opt_state, rate)
            done = learned.gradient_step + 1
            target = follow(params, learned.target_params, done, config)
            learned = learned.replace(params=params, target_params=target, opt_state=opt_state, gradient_step=done)
            return learned, metrics | {"grad_norm": optax.tree.norm(grad)}

        def learn(learned: DqnState) -> tuple[DqnState, Metrics]:
            learned, metrics = jax.lax.scan(gradient_step, learned, split_shards(key_sample, config.gradient_steps))
            return learned, jax.tree.map(jnp.mean, metrics)

        def wait(learned: DqnState) -> tuple[DqnState, Metrics]:
            return learned, jax.tree.map(jnp.zeros_like, jax.eval_shape(learn, learned)[1])

        # The branch reads the ring but does not return it, so the ring is not copied.
        transitions_kept = replay.size * config.num_users
        ready = (replay.size > config.n_step) & (transitions_kept >= config.learning_starts)
        learned, metrics = jax.lax.cond(ready, learn, wait, state.replace(users=None, replay=None))
        metrics |= experience_metrics(users, transitions)
        metrics |= {"epsilon": epsilon, "learning_rate": rate, "replay_size": transitions_kept}
        return learned.replace(users=users.replace(key=key), replay=replay, step=state.step + 1), metrics

    return Learner(init, update)


def dqn_loss(
    params: Params, target_params: Params, policy: Policy, batch: ring.Sample, world: World, config: DqnConfig
) -> tuple[Array, Metrics]:
    """Temporal-difference error of the shown items of a minibatch -> ([], metrics)."""
    items = policy.items(params, world)
    # With the shown items as the only candidates, only their rows enter the product.
    q = q_values(policy.apply(params, items, _shown(batch.obs, batch.action), world))
    following = q_values(policy.apply(target_params, policy.items(target_params, world), batch.next_obs, world))
    chooser = q_values(policy.apply(params, items, batch.next_obs, world)) if config.double else following
    value = best_mean(chooser, following, batch.action.shape[-1])
    target = batch.item_reward + (batch.discount * value)[..., None]
    return td_loss(q, target, batch.weight, config.huber)


def follow(params: Params, target_params: Params, gradient_step: Array, config: DqnConfig) -> Params:
    """Move the target network by `target_rate`, every `target_period` gradient steps."""
    moved = optax.incremental_update(params, target_params, config.target_rate)
    return optax.periodic_update(moved, target_params, gradient_step, config.target_period)


def q_values(output: PolicyOutput) -> Array:
    """Q(s, i) of every item on offer, -inf where masked: [..., M]."""
    return output.logits + output.value[..., None]


def best_mean(chooser: Array, values: Array, slate_size: int) -> Array:
    """Mean of `values` over the best slate by `chooser`, without masked items; [..., M], [..., M] -> [...]."""
    chosen = jnp.take_along_axis(values, top_slate(chooser, slate_size), axis=-1)
    open_ = chosen > -jnp.inf
    return jnp.where(open_, chosen, 0.0).sum(-1) / jnp.maximum(open_.sum(-1), 1).astype(values.dtype)


def credited_rewards(feedback: Array, reward: Array, spec: EnvSpec, credit: str) -> Array:
    """Credit of every shown item; [..., K, F], [...] -> [..., K], which sums to the reward.

    "item": the item's own feedback by `spec.reward_weights`, plus an equal share of the rest of
    the slate's reward. "slate": an equal share of everything.
    """
    chex.assert_equal_shape_prefix((feedback, reward), reward.ndim)
    own = jnp.zeros(feedback.shape[:-1])
    if credit == "item" and spec.reward_weights:
        own = feedback @ jnp.asarray(spec.reward_weights, feedback.dtype)
    return own + ((reward - own.sum(-1)) / own.shape[-1])[..., None]


def _collect(
    env: Env, policy: Policy, state: DqnState, world: World, epsilon: Array, horizon: int
) -> tuple[Users, Transition]:
    """Roll out epsilon-greedy slates; transitions are [T, S, N, ...]."""
    items = policy.items(state.params, world)

    def act(key: Array, obs: Observation) -> Decision:
        logits = policy.apply(state.params, items, obs, world).logits
        explore = jax.vmap(lambda k, scores: epsilon_greedy_slate(k, scores, env.spec.slate_size, epsilon))
        return Decision(to_items(explore(key, logits), obs, world))

    return rollout(env, act, lambda extras, *_: extras, state.users, world, horizon)


def _experience(transitions: Transition, spec: EnvSpec, config: DqnConfig) -> ring.Experience:
    """[T, S, N, ...] -> rows [S, T, N, ...] with scaled rewards."""
    credited = credited_rewards(transitions.feedback, transitions.reward, spec, config.credit) * config.reward_scale
    rows = ring.Experience(
        obs=transitions.obs,
        action=transitions.action,
        item_reward=credited,
        terminated=transitions.terminated,
        truncated=transitions.truncated,
    )
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), rows)


def _example(obs: Observation, action: SlateAction | VectorAction, slate_size: int) -> ring.Experience:
    """Build one step of every user [S, N, ...], used only for its shapes."""
    lead = jax.tree.leaves(obs)[0].shape[:2]
    flag = jnp.zeros(lead, jnp.bool_)
    return ring.Experience(obs, action.zeros(lead), jnp.zeros((*lead, slate_size)), flag, flag)


def _shown(obs: Observation, slate: Array) -> Observation:
    """The same user with the shown items as the only candidates."""
    if obs.candidate_features is not None:
        features = jnp.take_along_axis(obs.candidate_features, slate[..., None], axis=-2)
        return obs.replace(candidate_features=features, mask=None)
    ids = slate if obs.candidates is None else jnp.take_along_axis(obs.candidates, slate, axis=-1)
    return obs.replace(candidates=ids, mask=None)
