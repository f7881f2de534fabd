from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from jax.sharding import PartitionSpec

from jaxrec.checks import InputError
from jaxrec.sharding.compile import compiled
from jaxrec.sharding.mesh import DATA, MODEL, make_mesh, replicated, state_shardings

SHARDS, USERS, WIDTH = 8, 3, 4
FIELDS = ("users", "replay")


class Users(struct.PyTreeNode):
    keys: jax.Array  # [S]
    mean: jax.Array  # [S, N, W]


class State(struct.PyTreeNode):
    params: dict
    users: Users
    updates: jax.Array


def init(key: jax.Array) -> State:
    keys = jax.random.split(key, SHARDS)
    params = {"w": jnp.zeros(WIDTH), "users": jnp.ones(2)}  # a parameter may have the name of a field
    return State(params, Users(keys, jnp.zeros((SHARDS, USERS, WIDTH))), jnp.asarray(0, jnp.int32))


def update(state: State) -> State:
    """A step towards what every shard draws for itself."""
    both = jax.vmap(jax.random.split)(state.users.keys)
    drawn = jax.vmap(lambda key: jax.random.normal(key, (USERS, WIDTH)))(both[:, 0]) + 1.0
    gradient = jax.grad(lambda w: jnp.square(w[None, None] - drawn).mean())(state.params["w"])
    users = Users(both[:, 1], 0.9 * state.users.mean + drawn)
    return State({**state.params, "w": state.params["w"] - 0.5 * gradient}, users, state.updates + 1)


def train(devices: int, updates: int = 5) -> tuple[State, Any]:
    shardings = state_shardings(make_mesh(devices), jax.eval_shape(init, jax.random.key(0)), FIELDS, SHARDS)
    state = compiled(init, out_shardings=shardings)(jax.random.key(0))
    step = compiled(update, donate=0, out_shardings=shardings)
    for _ in range(updates):
        state = step(state)
    return state, step


def test_the_mesh_lays_the_asked_for_devices_along_the_data_axis() -> None:
    assert dict(make_mesh(4).shape) == {DATA: 4, MODEL: 1}
    assert dict(make_mesh(1).shape) == {DATA: 1, MODEL: 1}
    assert list(make_mesh(4).devices[:, 0]) == jax.devices()[:4]


def test_zero_asks_for_all_devices() -> None:
    assert make_mesh().shape[DATA] == make_mesh(0).shape[DATA] == len(jax.devices()) == 8


def test_more_devices_than_there_are_is_refused() -> None:
    with pytest.raises(InputError, match=r"^train\.devices: expected at most the 8 devices present, got 9\.$"):
        make_mesh(9)


def test_users_are_laid_over_the_devices_and_all_else_is_on_each() -> None:
    mesh = make_mesh(4)
    got = state_shardings(mesh, jax.eval_shape(init, jax.random.key(0)), FIELDS, SHARDS)
    assert got.users.keys.spec == got.users.mean.spec == PartitionSpec(DATA)
    everywhere = [got.params["w"], got.params["users"], got.updates]
    assert all(sharding == replicated(mesh) and sharding.spec == PartitionSpec() for sharding in everywhere)


@pytest.mark.parametrize("shards", [6, 1, 4])
def test_devices_that_do_not_divide_the_shards_are_refused_with_two_ways_out(shards: int) -> None:
    with pytest.raises(InputError) as caught:
        state_shardings(make_mesh(8), jax.eval_shape(init, jax.random.key(0)), FIELDS, shards)
    message = str(caught.value)
    assert message.startswith(f"learner.num_shards: 8 devices do not divide {shards} logical shards; ")
    assert f"a multiple of 8, or train.devices to a divisor of {shards}" in message and "\n" not in message


@pytest.mark.parametrize("devices", [2, 4, 8])
def test_any_number_of_devices_gives_the_numbers_of_one(devices: int) -> None:
    (one, _), (many, _) = train(1), train(devices)
    assert len(many.users.mean.sharding.device_set) == devices
    assert many.users.mean.addressable_shards[0].data.shape == (SHARDS // devices, USERS, WIDTH)
    assert int(one.updates) == int(many.updates) == 5
    np.testing.assert_allclose(many.params["w"], one.params["w"], rtol=1e-6)
    np.testing.assert_allclose(many.users.mean, one.users.mean, rtol=1e-6)
    np.testing.assert_array_equal(jax.random.key_data(many.users.keys), jax.random.key_data(one.users.keys))


def test_gradients_meet_in_one_all_reduce_and_nothing_else_crosses() -> None:
    state, step = train(4, updates=1)
    text = step.lower(state).compile().as_text()
    assert text.count(" all-reduce(") + text.count(" all-reduce-start(") == 1
    assert "all-gather" not in text and "all-to-all" not in text
