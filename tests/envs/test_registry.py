import jax
import pytest

from jaxrec import list_envs, make_env
from jaxrec.checks import InputError
from jaxrec.config.users import ENV_CONFIGS


def test_every_environment_has_a_config_and_a_name() -> None:
    assert list_envs() == tuple(sorted(ENV_CONFIGS)) and "interest_evolution" in list_envs()


def test_options_are_the_fields_of_the_config() -> None:
    env = make_env("interest_evolution", num_candidates=7, slate_size=2, reward={"click": 1})
    assert (env.spec.name, env.spec.num_candidates, env.spec.slate_size) == ("interest_evolution", 7, 2)
    state, obs = env.reset(jax.random.key(0), env.world)
    _, out = env.step(jax.random.key(1), state, jax.numpy.array([0, 6]), env.world)
    assert obs.candidates is not None and obs.candidates.shape == (7,) and out.reward in (0.0, 1.0)


@pytest.mark.parametrize(
    ("name", "options", "want"),
    [
        ("interest_evolutoin", {}, "make_env: no 'interest_evolutoin'; did you mean 'interest_evolution'?"),
        ("interest_evolution", {"slat_size": 3}, "env has no field 'slat_size'; did you mean 'slate_size'?"),
        ("interest_evolution", {"slate_size": 0}, "env.slate_size: expected a value at least 1"),
        ("interest_evolution", {"slate_size": 11}, "env.slate_size: expected a value at least 1 and at most 10"),
        ("interest_evolution", {"slate_size": "three"}, "env.slate_size: expected a whole number, got 'three'"),
        ("interest_evolution", {"reward": {"clicks": 1}}, "env.reward: no 'clicks'; did you mean 'click'?"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_that_names_it(name: str, options: dict, want: str) -> None:
    with pytest.raises(InputError) as caught:
        make_env(name, **options)
    assert want in str(caught.value) and "\n" not in str(caught.value)
