"""Train PPO on interest evolution through the gymnax interface.

pip install "jaxrec[gymnax]"
python examples/gymnax_ppo.py

The loop, from `Net` to `play`, is in the style of PureJaxRL and written for gymnax 1.0. It uses nothing of jaxrec and
also runs on gymnax's own environments with continuous actions. An action is a query: one weight per column of the item
table, which here is a topic.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.training.train_state import TrainState

import jaxrec
from jaxrec.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Hyper-parameters of PPO."""

    num_envs: int = 256
    num_steps: int = 128
    updates: int = 40
    epochs: int = 4
    minibatches: int = 2
    learning_rate: float = 1e-3
    gamma: float = 1.0  # a click's value shows only when the session ends
    gae_lambda: float = 0.95
    clip: float = 0.2
    value_weight: float = 0.5
    max_grad_norm: float = 0.5
    log_std: float = -2.0  # at the start


class Net(nn.Module):
    """Mean and deviation of the actions [..., A], and the value [...], of observations [..., V]."""

    size: int
    log_std: float

    @nn.compact
    def __call__(self, obs: Array) -> tuple[Array, Array, Array]:
        """Two networks of one hidden layer."""

        def head(size: int, scale: float) -> Array:
            hidden = nn.tanh(nn.Dense(64, kernel_init=nn.initializers.orthogonal(2.0**0.5))(obs))
            return nn.Dense(size, kernel_init=nn.initializers.orthogonal(scale))(hidden)

        log_std = self.param("log_std", nn.initializers.constant(self.log_std), (self.size,))
        mean = head(self.size, 0.01)
        return mean, jnp.broadcast_to(jnp.exp(log_std), mean.shape), head(1, 1.0)[..., 0]


class Step(NamedTuple):
    """What the update needs of one step, each [T, N]."""

    obs: Array
    action: Array
    log_prob: Array
    value: Array
    reward: Array
    after: Array  # value of the next state, 0 where the episode terminated
    done: Array


def log_prob(mean: Array, std: Array, action: Array) -> Array:
    """Log density of the normal distribution without its constant; [..., A] -> [...]."""
    return -(0.5 * jnp.square((action - mean) / std) + jnp.log(std)).sum(-1)


def rollout(env: Any, params: Any, config: Config, train_state: TrainState, start: tuple, key: Array):
    """Act for `num_steps` steps of all users, from observations and states; -> the last of these, steps [T, N]."""
    space, net = env.action_space(params), train_state.apply_fn

    def one(carry: tuple, key: Array) -> tuple[tuple, Step]:
        obs, state = carry
        key_act, key_step = jax.random.split(key)
        mean, std, value = net(train_state.params, obs)
        action = mean + std * jax.random.normal(key_act, mean.shape)
        next_obs, state, reward, terminated, truncated, info = jax.vmap(env.step, in_axes=(0, 0, 0, None))(
            jax.random.split(key_step, config.num_envs), state, jnp.clip(action, space.low, space.high), params
        )
        after = jnp.where(terminated, 0.0, net(train_state.params, info["final_observation"])[2])
        step = Step(obs, action, log_prob(mean, std, action), value, reward, after, terminated | truncated)
        return (next_obs, state), step

    return jax.lax.scan(one, start, jax.random.split(key, config.num_steps))


def advantages(steps: Step, config: Config) -> Array:
    """Generalised advantages [T, N]."""

    def one(later: Array, step: Step) -> tuple[Array, Array]:
        delta = step.reward + config.gamma * step.after - step.value
        now = delta + jnp.where(step.done, 0.0, config.gamma * config.gae_lambda * later)
        return now, now

    return jax.lax.scan(one, jnp.zeros_like(steps.value[0]), steps, reverse=True)[1]


def loss(weights: Any, net: Callable, steps: Step, advantage: Array, config: Config) -> Array:
    """PPO's loss of one minibatch [B]."""
    mean, std, value = net(weights, steps.obs)
    ratio = jnp.exp(log_prob(mean, std, steps.action) - steps.log_prob)
    scaled = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    clipped = jnp.clip(ratio, 1.0 - config.clip, 1.0 + config.clip)
    value_loss = jnp.square(value - steps.value - advantage).mean()
    return -jnp.minimum(ratio * scaled, clipped * scaled).mean() + 0.5 * config.value_weight * value_loss


def make_train(env: Any, params: Any, config: Config) -> Callable[[Array], tuple[TrainState, Array]]:
    """Make a function that trains from a key; it gives the networks and the mean reward per step of each update."""

    def minibatch(train_state: TrainState, batch: tuple[Step, Array]) -> tuple[TrainState, None]:
        grads = jax.grad(loss)(train_state.params, train_state.apply_fn, *batch, config)
        return train_state.apply_gradients(grads=grads), None

    def update(carry: tuple, key: Array) -> tuple[tuple, Array]:
        train_state, users = carry
        key_steps, *key_epochs = jax.random.split(key, 1 + config.epochs)
        users, steps = rollout(env, params, config, train_state, users, key_steps)
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (steps, advantages(steps, config)))
        for key_epoch in key_epochs:
            order = jax.random.permutation(key_epoch, config.num_envs * config.num_steps)
            batches = jax.tree.map(lambda x, o=order: x[o].reshape(config.minibatches, -1, *x.shape[1:]), flat)
            train_state, _ = jax.lax.scan(minibatch, train_state, batches)
        return (train_state, users), steps.reward.mean()

    def train(key: Array) -> tuple[TrainState, Array]:
        key_net, key_reset, key_updates = jax.random.split(key, 3)
        net = Net(env.action_space(params).shape[0], config.log_std)
        weights = net.init(key_net, jnp.zeros(env.observation_space(params).shape))
        optimizer = optax.chain(optax.clip_by_global_norm(config.max_grad_norm), optax.adam(config.learning_rate))
        train_state = TrainState.create(apply_fn=net.apply, params=weights, tx=optimizer)
        users = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(key_reset, config.num_envs), params)
        (train_state, _), rewards = jax.lax.scan(
            update, (train_state, users), jax.random.split(key_updates, config.updates)
        )
        return train_state, rewards

    return train


def play(env: Any, act: Callable[[Array, Array], Array], key: Array, episodes: int) -> np.ndarray:
    """Play one episode with each of `episodes` users; `act` takes a key and an observation. -> their returns."""
    params, (key_reset, key_steps) = env.default_params, jax.random.split(key)
    obs, state = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(key_reset, episodes), params)

    def one(carry: tuple) -> tuple:
        key, obs, state, total, playing = carry
        key, key_act, key_step = jax.random.split(key, 3)
        action = jax.vmap(act)(jax.random.split(key_act, episodes), obs)
        obs, state, reward, terminated, truncated, _ = jax.vmap(env.step, in_axes=(0, 0, 0, None))(
            jax.random.split(key_step, episodes), state, action, params
        )
        return key, obs, state, total + jnp.where(playing, reward, 0.0), playing & ~(terminated | truncated)

    start = (key_steps, obs, state, jnp.zeros(episodes), jnp.ones(episodes, bool))
    return np.asarray(jax.lax.while_loop(lambda carry: carry[-1].any(), one, start)[3])


def make(actions: str, scale: float = 1.0) -> Any:
    """Ten candidates, slates of three, a reward of `scale` per minute."""
    env = jaxrec.make_env("interest_evolution", num_candidates=10, slate_size=3, reward={"watch_time": scale})
    return jaxrec.to_gymnax(env, actions=actions)


def main() -> None:
    """Train, then play whole episodes with the unscaled reward and compare with two simple policies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=Config.updates)
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    config = Config(updates=options.updates)
    training = make("query", scale=0.01)  # returns of about 200 would swamp the policy's gradients
    start = time.perf_counter()
    train = jax.jit(make_train(training, training.default_params, config))
    trained, _ = jax.block_until_ready(train(jax.random.key(options.seed)))
    steps = config.updates * config.num_envs * config.num_steps
    print(f"{steps} steps in {time.perf_counter() - start:.0f} s")

    queries, scores = make("query"), make("scores")
    users, box = queries.layout["user"], queries.action_space()
    policies = {
        "PPO": (queries, lambda key, obs: jnp.clip(trained.apply_fn(trained.params, obs)[0], box.low, box.high)),
        "myopic": (queries, lambda key, obs: obs[users]),  # candidates ranked by the user's present interests
        "random": (scores, lambda key, obs: scores.action_space().sample(key)),
    }
    for name, (env, act) in policies.items():
        returns = play(env, act, jax.random.key(options.seed + 1), options.episodes)
        error = 1.96 * returns.std() / options.episodes**0.5
        print(f"{name:6} {returns.mean():.1f} +- {error:.1f} minutes watched over {options.episodes} episodes")


if __name__ == "__main__":
    main()
