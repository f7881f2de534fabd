import dataclasses
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.logged import ComebackConfig, LoggedConfig, TemperConfig
from jaxrec.envs import auto_reset, logged
from jaxrec.envs.logged_world import load_simulator, save_simulator
from jaxrec.supervised.comeback import ComebackModel
from jaxrec.types import Env, World
from tests.constant_users import constant_world

# A user who likes nothing loses 1 of temper a request: 2.5, 1.5, .5: gone after the second.
CONFIG = LoggedConfig(
    slate_size=2,
    requests=4,
    leave=TemperConfig(start=2.5, target=1.0),
    comeback_model=ComebackConfig(sessions=3),
    reward={"liked": 1.0, "leave": -3.0, "comeback_day": -0.1},
    response="last_rows",
)
NOTHING, EVERYTHING = 1e-6, 1.0


def world_of(*probabilities: float, c: float = 0.0, v: float = 0.0) -> World:
    world = constant_world(*[[p] for p in probabilities])
    width, members = world.users.members.config.width, len(probabilities)
    comeback = ComebackModel(
        jnp.full((members, width), v), jnp.full(members, c), jnp.asarray(0.1), jnp.asarray(0.4), source="seed"
    )
    return world.replace(users=world.users.replace(comeback=comeback))


def make(config: LoggedConfig, world: World) -> Env:
    env = logged.make(config, world)
    return env._replace(reset=jax.jit(env.reset), step=jax.jit(env.step))


def play(env: Env, world: World, steps: int, seed: int = 0):
    """States and outputs of `steps` requests of one user."""
    state, _ = env.reset(jax.random.key(seed), world)
    states, outs = [state], []
    for n in range(steps):
        slate = jnp.array([5 + 2 * n, 6 + 2 * n], jnp.int32)
        state, out = env.step(jax.random.fold_in(jax.random.key(seed), n), state, slate, world)
        states.append(state)
        outs.append(out)
    return states, outs


def test_the_same_user_comes_back_until_the_last_session_ends() -> None:
    world = world_of(NOTHING)
    env = make(CONFIG, world)
    states, outs = play(env, world, 6)
    assert [bool(out.terminated) for out in outs] == [False] * 5 + [True]
    assert not any(bool(out.truncated) for out in outs)
    assert [int(s.session) for s in states] == [0, 0, 1, 1, 2, 2, 2]
    assert [int(s.request) for s in states[:-1]] == [0, 1, 0, 1, 0, 1]
    np.testing.assert_allclose([s.leave for s in states[:-1]], [2.5, 1.5, 2.5, 1.5, 2.5, 1.5])
    for n, state in enumerate(states[1:]):  # the history goes on, whatever ends
        assert state.history.items[-2:].tolist() == [5 + 2 * n, 6 + 2 * n]
        assert int(state.history.count) == int(states[0].history.count) + 2 * (n + 1)
        chex.assert_trees_all_equal(outs[n].obs.history_items, state.history.items)
        assert int(outs[n].obs.history_shown) == 2 * (n + 1)  # of all visits, as the history
        chex.assert_trees_all_equal(outs[n].final_obs, outs[n].obs)


def test_days_are_rewarded_where_sessions_end_and_nowhere_else() -> None:
    world = world_of(NOTHING)
    _, outs = play(make(CONFIG, world), world, 6)
    for n, out in enumerate(outs):
        if n % 2 == 0:
            assert float(out.reward) == 0.0
        else:
            day = (float(out.reward) + 3.0) / -0.1
            assert day == pytest.approx(round(day), abs=1e-3) and 1 <= round(day) <= 10


@pytest.mark.parametrize(("p", "c", "want"), [(NOTHING, 0.0, 2.44), (NOTHING, -0.15, 3.40), (EVERYTHING, -0.25, 3.40)])
def test_mean_days_of_known_chances(p: float, c: float, want: float) -> None:
    # P = .4; .4 - .15; .4 - .25 + .1 x a slate that is liked altogether.
    world = world_of(p, p, c=c)
    leave = TemperConfig(start=1.0, target=2.0)  # one request of nothing or of one liked slate is enough
    config = dataclasses.replace(CONFIG, leave=leave, reward={"liked": 1.0, "comeback_day": 1.0})
    env = logged.make(config, world)
    state, _ = env.reset(jax.random.key(0), world)
    keys = jax.random.split(jax.random.key(1), 8000)
    step = jax.jit(jax.vmap(env.step, in_axes=(0, None, None, None)))
    _, out = step(keys, state, jnp.array([5, 6], jnp.int32), world)
    days = np.asarray(out.reward - out.feedback.sum((1, 2)))
    assert days.mean() == pytest.approx(want, abs=0.005 + 4 * float(days.std()) / len(days) ** 0.5)


def test_the_last_leave_is_drawn_like_the_others() -> None:
    config = dataclasses.replace(CONFIG, comeback_model=ComebackConfig(sessions=1))
    world = world_of(NOTHING)
    _, outs = play(make(config, world), world, 2)
    assert bool(outs[1].terminated)
    assert float(outs[1].reward) <= -3.1


def test_a_cut_visit_ends_the_episode() -> None:
    world = world_of(EVERYTHING)
    states, outs = play(make(CONFIG, world), world, 4)
    assert [bool(out.truncated) for out in outs] == [False, False, False, True]
    assert not any(bool(out.terminated) for out in outs)
    assert [int(s.session) for s in states] == [0] * 5


def test_tastes_of_the_next_visit_are_those_of_its_beginning() -> None:
    world = world_of(NOTHING)
    states, _ = play(make(dataclasses.replace(CONFIG, drift=0.5), world), world, 3)
    chex.assert_trees_all_equal(states[1].person, states[0].history)
    chex.assert_trees_all_equal(states[2].person, states[2].history)
    chex.assert_trees_all_equal(states[3].person, states[2].history)


def test_without_a_return_model_no_number_changes() -> None:
    config = dataclasses.replace(CONFIG, comeback_model=None, reward={"liked": 1.0})
    for world in (world_of(0.5), constant_world([0.5])):
        states, outs = play(make(config, world), world, 3, seed=4)
        assert states[-1].session is None
        want = []
        for n in range(3):  # the draw as it is without days
            draw = jax.random.uniform(jax.random.fold_in(jax.random.key(4), n), (2, 1))
            want.append((draw < 0.5).astype(jnp.float32))
        chex.assert_trees_all_equal([out.feedback for out in outs], want)


def test_auto_reset_replaces_who_is_gone_for_good() -> None:
    world = world_of(NOTHING)
    env = auto_reset(logged.make(CONFIG, world))
    states, outs = play(env._replace(reset=jax.jit(env.reset), step=jax.jit(env.step)), world, 6)
    assert (int(states[-1].session), int(states[-1].request)) == (0, 0)
    assert int(states[-2].session) == 2
    assert outs[-1].final_obs.history_items.tolist()[-2:] == [15, 16]
    assert 16 not in outs[-1].obs.history_items.tolist()


def test_vmapped_users_equal_single_ones() -> None:
    world = world_of(0.3, 0.4, c=-0.1, v=0.2)
    env = make(CONFIG, world)
    keys = jax.random.split(jax.random.key(6), 5)
    slate = jnp.array([7, 9], jnp.int32)
    states, _ = jax.vmap(env.reset, in_axes=(0, None))(keys, world)
    states = states.replace(leave=jnp.array([2.5, 1.0, 1.0, 1.0, 2.5]))
    after, out = jax.vmap(env.step, in_axes=(0, 0, None, None))(keys, states, slate, world)
    for n in range(5):
        state = jax.tree.map(lambda x, n=n: x[n], states)
        single = env.step(keys[n], state, slate, world)
        chex.assert_trees_all_close(jax.tree.map(lambda x, n=n: x[n], (after, out)), single, rtol=1e-5)


def test_a_saved_simulator_keeps_its_return_model(tmp_path: Path) -> None:
    world = world_of(0.3, c=-0.1, v=0.2)
    save_simulator(tmp_path / "simulator", world)
    chex.assert_trees_all_equal(load_simulator(tmp_path / "simulator"), world)
    assert '"source": "seed"' in (tmp_path / "simulator" / "description.json").read_text()
    save_simulator(tmp_path / "without", constant_world([0.5]))
    assert load_simulator(tmp_path / "without").users.comeback is None


def test_mistakes_are_one_line() -> None:
    with pytest.raises(InputError, match=r"env\.comeback_model: no user leaves, so none comes back"):
        LoggedConfig(comeback_model=ComebackConfig())
    with pytest.raises(InputError, match=r"env\.comeback_model: the simulator was fitted without one"):
        logged.make(CONFIG, constant_world([0.5]))
    other = dataclasses.replace(CONFIG, comeback_model=ComebackConfig(base=0.5))
    with pytest.raises(InputError, match=r"env\.comeback_model\.base: 0\.5, but .* was fitted with 0\.4"):
        logged.make(other, world_of(0.5))
    single = dataclasses.replace(CONFIG, comeback_model=None)
    with pytest.raises(InputError, match=r"env\.reward\.comeback_day: these users do not come back"):
        logged.make(single, world_of(0.5))
