import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.logged import LoggedConfig, TemperConfig
from jaxrec.envs import logged
from jaxrec.envs.leave import Leave, make_leave
from tests.constant_users import constant_world

SLATE = 6


def make_visits(config: LoggedConfig, world, users: int):
    """World -> requests, total reward and whether the user left by themselves, of whole visits: [users] each."""
    env = logged.make(config, world)

    def visit(key, params):
        key_reset, key_steps = jax.random.split(key)

        def request(carry, step_key):
            state, active = carry
            state, out = env.step(step_key, state, jnp.arange(config.slate_size, dtype=jnp.int32), params)
            over = out.terminated | out.truncated
            return (state, active & ~over), (active, out.reward, active & out.terminated)

        start = env.reset(key_reset, params)[0], jnp.asarray(True)
        _, (active, reward, left) = jax.lax.scan(request, start, jax.random.split(key_steps, config.requests))
        return active.sum(), (reward * active.astype(jnp.float32)).sum(), left.any()

    run = jax.jit(jax.vmap(visit, in_axes=(0, None)))
    keys = jax.random.split(jax.random.key(0), users)
    return lambda world: tuple(np.asarray(x) for x in run(keys, world))


CLOSED_FORM = [  # click probability, depth, total reward
    (0.5, 13.17, 6.58),
    (0.595, 14.03, 8.35),
    (0.6476, 14.56, 9.43),
    (0.6895, 15.01, 10.35),
    (1.0, 20.0, 20.0),
]


def test_depth_and_total_reward_follow_the_closed_form() -> None:
    config = LoggedConfig(slate_size=SLATE, requests=40, leave=TemperConfig(), repeats=True)
    visits = make_visits(config, constant_world([0.5]), users=1000)
    for p, depth, total in CLOSED_FORM:
        lengths, rewards, left = visits(constant_world([p]))
        assert left.all()
        assert lengths.mean() == pytest.approx(depth, rel=0.02)
        assert rewards.mean() / SLATE == pytest.approx(total, rel=0.02)  # there the mean over the slate is counted


@pytest.mark.parametrize("leave", [None, TemperConfig()])
def test_the_cap_cuts_a_visit_that_would_go_on(leave: TemperConfig | None) -> None:
    world = constant_world([0.5])
    config = LoggedConfig(slate_size=SLATE, requests=9, leave=leave)
    lengths, _, left = make_visits(config, world, users=20)(world)
    assert (lengths == 9).all()
    assert not left.any()


def after(leave: Leave, state, feedback):
    """A model that nothing was fitted for and that draws nothing."""
    return leave.after(None, state, feedback, jnp.asarray(0.0))


def test_temper_is_worked_by_hand() -> None:
    config = TemperConfig(start=3.0, target=2.0, weights={"liked": 3.0, "disliked": -3.0})
    leave = make_leave(config, {"liked": 1.0}, ("liked", "disliked"))
    state, left, _ = after(leave, leave.start(), jnp.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]))
    np.testing.assert_allclose(state, 3 + (3 + 0 + 0) / 3 - 2)
    assert not left
    state, left, _ = after(leave, state, jnp.ones((3, 2)) * jnp.array([[1.0, 0.0]]))  # 3 is above the target: no change
    np.testing.assert_allclose(state, 2.0)
    state, left, _ = after(leave, state, jnp.array([[0.0, 0.0], [0.0, 1.0], [0.0, 1.0]]))  # never more than -target
    np.testing.assert_allclose(state, 0.0)
    assert left


def test_a_temper_of_one_stays_whatever_the_rounding() -> None:
    leave = make_leave(TemperConfig(start=2.0, target=1 / 3), {"liked": 1.0}, ("liked",))
    state = leave.start()
    for _ in range(3):  # 2 - 3 / 3 = 1
        state, left, _ = after(leave, state, jnp.zeros((3, 1)))
        assert not left
    assert after(leave, state, jnp.zeros((3, 1)))[1]


def test_users_satisfied_by_nothing_are_refused() -> None:
    with pytest.raises(InputError, match=r"env\.leave\.weights: no 'like'; did you mean 'liked'"):
        make_leave(TemperConfig(weights={"like": 1.0}), {}, ("liked",))
    with pytest.raises(InputError, match=r"env\.leave\.weights: all weights are 0"):
        make_leave(TemperConfig(), {"depth": 1.0}, ("liked",))
