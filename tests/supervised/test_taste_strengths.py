import numpy as np
import pytest

from jaxrec.supervised.taste_strengths import Strengths, Trial, is_better, search_strengths

BASE = Strengths(user=8.0, bias=1.0, item=10.0, item_bias=10.0, text=10.0)


def searched(losses: dict[Strengths, list[float]], vary: bool = True) -> tuple[list[Strengths], Strengths]:
    """What was tried, and the best; strengths that are not in `losses` have a loss of 1 for each of two users."""
    tried: list[Strengths] = []

    def try_out(chosen: Strengths, best: Trial | None) -> Trial:
        assert (best is None) == (not tried)
        tried.append(chosen)
        return Trial(chosen, np.array(losses.get(chosen, [1.0, 1.0])), None)

    return tried, search_strengths(try_out, BASE, vary).strengths


def test_the_search_varies_one_strength_after_another_from_the_best_so_far() -> None:
    strong = BASE._replace(item_bias=40.0)
    found, best = searched({strong: [0.5, 0.9]})
    assert found == [
        BASE,
        BASE._replace(text=2.5),
        BASE._replace(text=40.0),
        BASE._replace(item_bias=2.5),
        strong,
        strong._replace(user=2.0),
        strong._replace(user=32.0),
        strong._replace(item=2.5),
        strong._replace(item=40.0),
    ]
    assert best == strong
    assert searched({}, vary=False) == ([BASE], BASE)


@pytest.mark.parametrize(
    ("factor", "losses", "taken"),
    [
        (0.25, [0.7, 0.9], True),  # gains .3 and .1: their sum, .4, is more than its standard error, .2
        (0.25, [0.5, 1.3], False),  # gains .5 and -.3: .2 is less than .8
        (4.0, [0.5, 1.3], True),  # a stronger prior need not be sure
        (4.0, [0.9, 1.2], False),
    ],
)
def test_a_weaker_prior_must_be_better_by_one_standard_error(factor: float, losses: list[float], taken: bool) -> None:
    other = BASE._replace(user=8.0 * factor)
    assert searched({other: losses})[1] == (other if taken else BASE)


def test_without_exposure_is_stronger_and_one_user_has_no_error() -> None:
    base = BASE._replace(exposure=30.0)
    losses = {0.0: [0.5, 1.3]}

    def try_out(chosen: Strengths, _: Trial | None) -> Trial:
        return Trial(chosen, np.array(losses.get(chosen.exposure, [1.0, 1.0])), None)

    assert search_strengths(try_out, base, True).strengths.exposure == 0.0
    assert is_better(np.array([0.9]), np.array([1.0]), weaker=True)
    assert not is_better(np.array([1.0]), np.array([1.0]), weaker=False)
