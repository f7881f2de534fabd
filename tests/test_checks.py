import math

import numpy as np
import pytest

from jaxrec.checks import InputError, check_name, check_range, check_shape, suggest


def test_a_shape_matches_where_every_given_axis_does() -> None:
    check_shape("x", np.zeros((2, 3)), (2, 3))
    check_shape("x", np.zeros((2, 3)), (None, 3))
    check_shape("x", np.zeros(()), ())


@pytest.mark.parametrize("want", [(2, 4), (2,), (2, 3, 1), (None, None, None)])
def test_another_shape_is_refused_with_wanted_and_got(want: tuple) -> None:
    with pytest.raises(InputError, match=r"slate: expected shape \(.*\), got \(2, 3\)") as caught:
        check_shape("slate", np.zeros((2, 3)), want)
    assert "\n" not in str(caught.value)


def test_free_axes_are_called_any() -> None:
    with pytest.raises(InputError, match=r"^x: expected shape \(any, 4\), got \(2, 3\)\.$"):
        check_shape("x", np.zeros((2, 3)), (None, 4))


def test_both_ends_of_a_range_belong_to_it_unless_the_lower_is_open() -> None:
    check_range("gamma", 0, 0, 1)
    check_range("gamma", 1, 0, 1)
    check_range("rate", 1e-9, 0, open_low=True)
    with pytest.raises(InputError, match=r"^rate: expected a value above 0, got 0\.$"):
        check_range("rate", 0, 0, open_low=True)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.inf, -math.inf, math.nan])
def test_values_outside_a_range_and_nan_are_refused(value: float) -> None:
    with pytest.raises(InputError, match=r"^gamma: expected a value at least 0 and at most 1, got "):
        check_range("gamma", value, 0, 1)


def test_nan_is_refused_by_a_range_without_ends() -> None:
    with pytest.raises(InputError, match="got nan"):
        check_range("x", math.nan)


def test_an_unknown_name_comes_with_the_nearest_and_all_known_ones() -> None:
    check_name("learner.name", "ppo", ["ppo", "dqn"])
    with pytest.raises(InputError) as caught:
        check_name("env", "interest_evolutoin", {"logged": 1, "interest_evolution": 2})
    want = "env: no 'interest_evolutoin'; did you mean 'interest_evolution'? (known: interest_evolution, logged)."
    assert str(caught.value) == want


def test_nothing_is_suggested_for_a_name_unlike_all_others() -> None:
    assert suggest("zzz", ["ppo", "dqn"]) == ""
    assert suggest("pppo", iter(["ppo", "dqn"])) == "; did you mean 'ppo'?"
    assert suggest("x", []) == ""


def test_an_input_error_is_a_value_error() -> None:
    assert issubclass(InputError, ValueError)
