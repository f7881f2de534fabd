import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.envs.rewards import feedback_weights, make_reward

KINDS = ("click", "watch_time", "quality")
FEEDBACK = jnp.array([[0.0, 0.0, 3.0], [1.0, 4.0, -2.0]])  # [K = 2, F = 3]


@pytest.mark.parametrize(
    ("weights", "want"),
    [
        ({"watch_time": 1.0}, 4.0),
        ({"click": 1.0, "watch_time": 0.5, "quality": -2.0}, 1 + 2 - 2.0),
        ({"quality": 1}, 1.0),
        ({}, 0.0),
    ],
)
def test_the_reward_is_a_weighted_sum_over_the_slate(weights: dict, want: float) -> None:
    reward = make_reward(weights, KINDS)
    np.testing.assert_allclose(reward(FEEDBACK), want)
    assert jax.jit(reward)(FEEDBACK).shape == ()


@pytest.mark.parametrize(("left", "want"), [(False, 4 + 0.5), (True, 4 + 0.5 - 3.0)])
def test_depth_counts_every_request_and_leave_the_last(left: bool, want: float) -> None:
    reward = make_reward({"watch_time": 1.0, "depth": 0.5, "leave": -3.0}, KINDS)
    np.testing.assert_allclose(reward(FEEDBACK, jnp.asarray(left)), want)


def test_items_are_worth_their_feedback_alone() -> None:
    assert feedback_weights({"quality": 2, "depth": 1.0}, KINDS) == (0.0, 0.0, 2.0)


def test_the_type_of_the_feedback_is_kept() -> None:
    reward = make_reward({"click": 1.0, "depth": 1.0}, KINDS)
    assert reward(FEEDBACK.astype(jnp.bfloat16), jnp.asarray(True)).dtype == jnp.bfloat16


def test_an_unknown_kind_of_feedback_is_named() -> None:
    with pytest.raises(InputError, match=r"^env\.reward: no 'watch_tme'; did you mean 'watch_time'\? \(known: click"):
        make_reward({"watch_tme": 1.0}, KINDS)
    with pytest.raises(InputError, match=r"^env\.reward: no 'leaves'; did you mean 'leave'\?"):
        make_reward({"leaves": -1.0}, KINDS)


def test_feedback_called_like_an_outcome_is_refused() -> None:
    with pytest.raises(InputError, match=r"^data\.feedback\.depth: an outcome"):
        make_reward({"depth": 1.0}, ("depth",))


def test_the_old_name_of_the_comeback_day_is_translated() -> None:
    with pytest.raises(InputError, match=r"env\.reward: 'return_day' is now called 'comeback_day'; rename it\."):
        make_reward({"return_day": -0.1}, KINDS, comebacks=True)


def test_feedback_of_another_number_of_kinds_is_our_bug_and_stops() -> None:
    reward_of = make_reward({"click": 1.0}, ("click", "like"))
    with pytest.raises(AssertionError):
        reward_of(jnp.ones((3, 1)))  # would broadcast over the kinds
