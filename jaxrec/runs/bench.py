"""A short benchmark of one device at hand (`jaxrec bench`): simulators, PPO, encoder, replay.

A call is timed on a clock until its results are ready, after one that compiles. A figure is the median of `calls` calls
with the lowest and the highest, as in the scripts of benchmarks/, which measure more and longer.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrec.config.on_policy import PpoConfig
from jaxrec.config.schema import TrainConfig
from jaxrec.encoder.architecture import Architecture, LayerKind
from jaxrec.encoder.transformer import Transformer
from jaxrec.envs import auto_reset
from jaxrec.learn import make_learner, replay
from jaxrec.learn.program import compile_learner
from jaxrec.ops.draws import distinct
from jaxrec.progress import track
from jaxrec.runs.devices import describe_devices
from jaxrec.runs.users.registry import make_env
from jaxrec.sharding.compile import compiled
from jaxrec.types import Array, Env, Observation, World

FAMILIES = ("interest_evolution", "interest_exploration", "long_term_satisfaction", "sardine")


class Sizes(NamedTuple):
    """How much is measured."""

    users: int = 4096  # of a simulator
    steps: int = 32  # of a call of it
    learning_users: int = 512
    horizon: int = 32
    texts: int = 64
    tokens: int = 64  # of a text
    layers: int = 6  # of the encoder, which has the shape of all-MiniLM-L6-v2
    width: int = 384
    transitions: int = 102_400  # that the replay holds
    sampled: int = 512
    calls: int = 7


class Figure(NamedTuple):
    """A rate: the median of the calls, and their spread."""

    name: str
    value: float
    unit: str
    lowest: float
    highest: float


USUAL = Sizes()


def bench(sizes: Sizes = USUAL) -> dict[str, Any]:
    """Measure everything on one device, the first: names and versions, and one entry per figure."""
    figures = []
    with track("bench", len(FAMILIES) + 3) as advance:
        for figure in _figures(sizes):
            figures.append(figure._asdict())
            advance(1, figure.name)
    versions = {name: version(name) for name in ("jax", "jaxlib", "flax")}
    device = f"one device of {describe_devices()}"
    return {"benchmark": "bench", "device": device, "versions": versions, "figures": figures}


def _figures(sizes: Sizes) -> Iterator[Figure]:
    for name in FAMILIES:
        yield _simulator(make_env(name), sizes)
    yield _ppo(make_env("interest_evolution"), sizes)
    yield _encoder(sizes)
    yield _replay(sizes)


def _rate(name: str, unit: str, amount: float, calls: int, call: Callable[[], Any]) -> Figure:
    """`amount` per call as a rate per second."""
    jax.block_until_ready(call())
    rates = []
    for _ in range(calls):
        started = time.perf_counter()
        jax.block_until_ready(call())
        rates.append(amount / (time.perf_counter() - started))
    return Figure(name, statistics.median(rates), unit, min(rates), max(rates))


def _total(tree: Any) -> Array:
    """A number that depends on every element, so that the compiler removes none."""
    return sum((jnp.asarray(x, jnp.float32).sum() for x in jax.tree.leaves(tree)), jnp.zeros(()))


def _simulator(env: Env, sizes: Sizes) -> Figure:
    """Random slates for all users, who are replaced when they leave."""
    env = auto_reset(env)
    offered = env.spec.num_candidates or env.spec.num_items

    def one(carry: tuple[Array, Any, Array, World], _: None) -> tuple[tuple[Array, Any, Array, World], None]:
        key, state, total, world = carry
        key, key_slate, key_step = jax.random.split(key, 3)
        uniform = jax.random.uniform(key_slate, (sizes.users, env.spec.slate_size))
        slate = jax.vmap(distinct, in_axes=(0, None))(uniform, offered)
        keys = jax.random.split(key_step, sizes.users)
        state, out = jax.vmap(env.step, in_axes=(0, 0, 0, None))(keys, state, slate, world)
        return (key, state, total + _total(out), world), None

    def many(key: Array, state: Any, world: World) -> tuple[Array, Any, Array]:
        (key, state, total, _), _ = jax.lax.scan(one, (key, state, jnp.zeros(()), world), length=sizes.steps)
        return key, state, total

    def reset(key: Array, world: World) -> Any:
        return jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(key, sizes.users), world)[0]

    program, held = compiled(many), [jax.random.key(0), compiled(reset)(jax.random.key(1), env.world)]

    def call() -> Array:
        held[0], held[1], total = program(held[0], held[1], env.world)
        return total

    return _rate(f"simulator {env.spec.name}", "user steps/s", sizes.users * sizes.steps, sizes.calls, call)


def _ppo(env: Env, sizes: Sizes) -> Figure:
    """Rollout, advantages and gradient steps of one update."""
    config = PpoConfig(num_users=sizes.learning_users, horizon=sizes.horizon)
    train = TrainConfig(updates=1, updates_per_call=1, checkpoint_every=1, devices=1)
    program = compile_learner(make_learner("ppo", auto_reset(env), config), env.world, train, config.shards)
    held = [program.init(jax.random.key(0), program.world)]

    def call() -> Any:
        held[0], metrics = program.update_many(held[0], program.world)
        return metrics

    return _rate("PPO, interest_evolution", "updates/s", 1, sizes.calls, call)


def _encoder(sizes: Sizes) -> Figure:
    """Random weights: the time depends on the shape alone."""
    heads = sizes.width // 32
    config = Architecture(
        vocab_size=30522,
        hidden_size=sizes.width,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=32,
        intermediate_size=4 * sizes.width,
        layers=(LayerKind(),) * sizes.layers,
        hidden_act="gelu",
        query_scale=32**-0.5,
    )
    module: Any = Transformer(config)
    ids = jax.random.randint(jax.random.key(1), (sizes.texts, sizes.tokens), 0, config.vocab_size, jnp.int32)
    mask = jnp.ones_like(ids)
    params = compiled(module.init)(jax.random.key(0), ids, mask)
    program = compiled(lambda params, ids, mask: module.apply(params, ids, mask).mean(1))
    name = f"encoder {sizes.layers} x {sizes.width}, texts of {sizes.tokens} tokens"
    return _rate(name, "texts/s", sizes.texts, sizes.calls, lambda: program(params, ids, mask))


def _replay(sizes: Sizes) -> Figure:
    """Add the rows of all users and sample, with the ring donated."""
    users, rows = sizes.learning_users, max(1, sizes.transitions // sizes.learning_users)

    def made(*lead: int) -> replay.Experience:
        flag = jnp.zeros(lead, jnp.bool_)
        history = Observation(history_items=jnp.ones((*lead, 20), jnp.int32), history_feedback=jnp.ones((*lead, 20, 1)))
        slate = jnp.ones((*lead, 5), jnp.int32)
        return replay.Experience(history, slate, jnp.ones((*lead, 5)), flag, flag)

    def add_and_sample(ring: replay.Replay, new: replay.Experience, key: Array) -> tuple[replay.Replay, replay.Sample]:
        ring = replay.add(ring, new)
        return ring, replay.sample(jax.random.split(key, 1), ring, sizes.sampled, 1, 0.9)

    ring = replay.empty(made(1, users), rows)
    held, new, key = [ring.replace(added=jnp.asarray(rows, jnp.int32))], made(1, 1, users), jax.random.key(0)
    program = compiled(add_and_sample, donate=0)

    def call() -> replay.Sample:
        held[0], batch = program(held[0], new, key)
        return batch

    name = f"replay of {rows * users:,}: add {users} and sample {sizes.sampled}"
    return _rate(name, "calls/s", 1, sizes.calls, call)
