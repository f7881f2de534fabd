import numpy as np
import pytest

from jaxrec.supervised.taste_strengths import Strengths, Trial, is_better, same_features, search_strengths

BASE = Strengths(user=8.0, bias=1.0, item=10.0, item_bias=10.0, text=10.0)


def searched(
    losses: dict[Strengths, list[float]], vary: bool = True, groups: tuple[int, ...] = ()
) -> tuple[list[Strengths], Strengths]:
    """What was tried, and the best; strengths that are not in `losses` have a loss of 1 for each of two users."""
    tried: list[Strengths] = []

    def try_out(chosen: Strengths, best: Trial | None) -> Trial:
        assert (best is None) == (not tried)
        tried.append(chosen)
        return Trial(chosen, np.array(losses.get(chosen, [1.0, 1.0])), None)

    return tried, search_strengths(try_out, BASE, vary, groups).strengths


def test_the_search_varies_one_strength_after_another_from_the_best_so_far() -> None:
    strong = BASE._replace(item_bias=40.0)
    found, best = searched({strong: [0.5, 0.9]})
    assert found == [
        BASE,
        BASE._replace(text=2.5),
        BASE._replace(text=40.0),
        BASE._replace(bias=0.25),
        BASE._replace(bias=4.0),
        BASE._replace(item_bias=2.5),
        BASE._replace(item_bias=5.0),
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


@pytest.mark.parametrize(
    ("of_eight", "of_sixteen", "of_both", "best"),
    [
        ([1.0, 1.0], [1.0, 1.0], None, BASE),  # no better than components
        (
            [0.5, 1.3],
            [1.0, 1.0],
            [1.0, 1.0],
            BASE._replace(groups=8, components=False),
        ),  # simpler: a little suffices
        ([0.9, 0.9], [0.2, 1.4], [0.9, 0.9], BASE._replace(groups=8, components=False)),  # gains .7 and -.5: unsure
        ([0.9, 0.9], [0.7, 0.8], [0.7, 0.8], BASE._replace(groups=16, components=False)),
        ([0.9, 0.9], [0.7, 0.8], [0.5, 0.5], BASE._replace(groups=16)),  # the components say more
    ],
)
def test_groups_are_tried_before_strengths(of_eight, of_sixteen, of_both, best: Strengths) -> None:
    eight, sixteen = (BASE._replace(groups=count, components=False) for count in (8, 16))
    losses = {eight: of_eight, sixteen: of_sixteen}
    for both in (eight, sixteen):
        losses[both._replace(components=True)] = of_both
    tried, found = searched(losses, groups=(8, 16))
    assert tried[:3] == [BASE, eight, sixteen]
    assert (tried[3] == best._replace(components=True)) == (of_both is not None)
    assert found == best
    assert all(same_features(one, best) for one in tried[3 + (of_both is not None) :])  # strengths of what was chosen
    assert searched(losses, vary=False, groups=(8, 16))[0] == [BASE]


def test_without_exposure_is_stronger_and_one_user_has_no_error() -> None:
    base = BASE._replace(exposure=30.0)
    losses = {0.0: [0.5, 1.3]}

    def try_out(chosen: Strengths, _: Trial | None) -> Trial:
        return Trial(chosen, np.array(losses.get(chosen.exposure, [1.0, 1.0])), None)

    assert search_strengths(try_out, base, True).strengths.exposure == 0.0
    assert is_better(np.array([0.9]), np.array([1.0]), weaker=True)
    assert not is_better(np.array([1.0]), np.array([1.0]), weaker=False)
