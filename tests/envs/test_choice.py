"""Choice models against probabilities worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec import make_env
from jaxrec.checks import InputError
from jaxrec.config.choice import ChoiceConfig
from jaxrec.envs.choice import CHOICES, make_choice

COUNT = 40_000


def taken(config: ChoiceConfig, scores: list[float]) -> np.ndarray:
    """What many users with the same scores take: [COUNT, K]."""
    choice = make_choice(config)
    draws = jax.random.uniform(jax.random.key(3), (COUNT, choice.draws(len(scores))))
    return np.asarray(jax.jit(jax.vmap(choice.pick, in_axes=(None, 0)))(jnp.array(scores), draws))


@pytest.mark.parametrize(
    ("config", "scores", "want"),
    [
        # weights 2, 1, 0 and 2 for none
        (ChoiceConfig(name="proportional", none=1.0), [1.0, 0.0, -1.0], [0.4, 0.2, 0.0]),
        # e^0, e^ln3 and e^ln4 for none
        (ChoiceConfig(name="logit", none=float(np.log(4))), [0.0, float(np.log(3))], [1 / 8, 3 / 8]),
        # one half, then one half of .5 x .8, then three quarters of .5 x .5 x .64
        (ChoiceConfig(name="cascade", decay=0.8), [0.0, 0.0, float(np.log(3))], [0.5, 0.2, 0.12]),
        # one half x 1, three quarters x .9, one half x .81
        (ChoiceConfig(name="position", decay=0.9), [0.0, float(np.log(3)), 0.0], [0.5, 0.675, 0.405]),
    ],
)
def test_items_are_taken_as_often_as_the_equation_says(config: ChoiceConfig, scores: list, want: list) -> None:
    clicks = taken(config, scores)
    want = np.array(want)
    np.testing.assert_array_less(np.abs(clicks.mean(0) - want), 4 * (want * (1 - want) / COUNT) ** 0.5 + 1e-9)
    assert set(np.unique(clicks)) <= {0.0, 1.0}
    if make_choice(config).single:
        assert clicks.sum(1).max() == 1.0


def test_positions_are_independent() -> None:
    clicks = taken(ChoiceConfig(name="position", decay=1.0), [0.0, 0.0])
    assert abs(np.corrcoef(clicks.T)[0, 1]) < 4 / COUNT**0.5


@pytest.mark.parametrize("name", sorted(CHOICES))
def test_extreme_scores_stay_finite(name: str) -> None:
    for scores in ([1e30, -1e30, 0.0], [-1e30] * 3):
        clicks = taken(ChoiceConfig(name=name), scores)[:50]  # pyright: ignore[reportArgumentType]
        assert np.isfinite(clicks).all()
        assert (clicks[:, 1] == 0).all()


def test_any_single_choice_drives_interest_evolution_and_several_clicks_are_refused() -> None:
    env = make_env("interest_evolution", choice={"name": "cascade", "decay": 0.5})
    state, _ = env.reset(jax.random.key(0), env.world)
    _, out = env.step(jax.random.key(1), state, jnp.array([0, 1, 2]), env.world)
    assert out.feedback[:, 0].sum() <= 1
    with pytest.raises(InputError, match=r"env\.choice\.name: these users click at most one document"):
        make_env("interest_evolution", choice={"name": "position"})
