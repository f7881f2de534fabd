import math

import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.runs.divergence import check_sane, supervised_limits, value_limits


def check(row: dict[str, float], sizes: list[float] | None = None, limits=supervised_limits, latest=None) -> None:
    check_sane(
        [{"step": 6, "loss": 0.5}, {"step": 7, "loss": 0.5, **row}],
        None if sizes is None else np.array([[1.0, 1.0], sizes]),
        ["query.kernel", "value.bias"],
        limits=limits,
        may_be_nan=("episode_return",),
        update="update",
        latest=latest,
        advice="Lower it.",
    )


def refusal(*arguments, **options) -> str:
    with pytest.raises(InputError) as caught:
        check(*arguments, **options)
    return str(caught.value)


def test_sane_rows_pass_and_a_metric_may_be_nan_if_it_says_so() -> None:
    check({"loss": -3.0, "episode_return": math.nan}, [9e4, 1.0])
    check({"loss": 0.1})


def test_a_loss_names_the_update_and_the_last_good_checkpoint() -> None:
    assert refusal({"loss": math.nan}, latest=4) == (
        "update 7: the loss is nan, training diverged; checkpoint 4 is the last good one. Lower it."
    )
    assert refusal({"loss": 1.6e19}).startswith("update 7: the loss is 1.6e+19 (sane up to 1e+06), training diverged")


def test_the_parameter_is_named_even_if_every_metric_is_fine() -> None:
    assert refusal({}, [1.0, 1e9]).startswith("update 7: parameter value.bias reaches 1e+09 (sane up to 1e+05),")
    both = refusal({"loss": math.inf}, [math.nan, 1e9])
    assert both.startswith("update 7: the loss is inf and parameter query.kernel is nan, training diverged")


def test_gradients_and_values_are_judged_by_what_rewards_can_add_up_to() -> None:
    limits = value_limits(gamma=0.9, reward_scale=1.0)  # values up to 1000 x 10 x 1
    check({"q_mean": 9e3, "loss": 9e7, "grad_norm": 1e13, "reward": 0.5}, limits=limits)
    assert "the q_mean is 2e+04" in refusal({"q_mean": 2e4, "reward": 0.5}, limits=limits)
    assert "the loss is 2e+08" in refusal({"loss": 2e8, "reward": 0.5}, limits=limits)
    assert "the grad_norm is 2e+14" in refusal({"grad_norm": 2e14}, limits=limits)
    check({"q_mean": 2e4, "reward": 5.0}, limits=limits)  # larger rewards explain larger values
